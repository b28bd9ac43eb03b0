"""The REST application: all resources, behind one guard, with one way to refuse."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from relay import __version__
from relay.frames.rest import docs_page, front, health
from relay.frames.rest.description import describe_app
from relay.frames.rest.errors import BASE
from relay.frames.rest.guard import Guard
from relay.frames.rest.handlers import TellRefusal, add_handlers
from relay.frames.rest.rate import Rates
from relay.frames.services import Services


def build_app(
    services: Services,
    routers: Sequence[APIRouter],
    tell_refusal: TellRefusal,
    idle_s: float = 60.0,
    body_s: float = 600.0,
) -> FastAPI:
    """routers: of the resources; without any, only health is told. tell_refusal: hears of each refusal.

    idle_s: how long a client may be silent inside a body, or not take what we answer. body_s: how
    long a body may take as a whole.
    """
    app = FastAPI(
        title="relay",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.has_resources = bool(routers)
    app.state.rates = Rates(services.requests_per_second)
    app.include_router(health.router)
    app.include_router(front.router)
    if routers:
        app.include_router(docs_page.router)
    for router in routers:
        app.include_router(router, prefix=BASE)
    add_handlers(app, tell_refusal)
    describe_app(app)
    app.add_middleware(Guard, budget=services.budget, idle_s=idle_s, body_s=body_s)
    return app
