"""The REST application: all resources, behind one guard, with one way to refuse."""

from fastapi import APIRouter, FastAPI

from relay import __version__
from relay.api.docs import describe
from relay.api.errors import BASE
from relay.api.guard import Guard
from relay.api.handlers import add_handlers
from relay.api.rate import Rates
from relay.api.routes import (
    account,
    api_keys,
    billing,
    docs,
    events,
    front,
    health,
    ip_pools,
    message_events,
    previews,
    sending_domains,
    sending_ips,
    subaccounts,
    suppressions,
    transmissions,
)
from relay.api.services import Services

ROUTERS: tuple[APIRouter, ...] = (
    ip_pools.router,
    sending_ips.router,
    subaccounts.router,
    account.router,
    api_keys.router,
    billing.router,
    sending_domains.router,
    suppressions.router,
    events.router,
    message_events.router,
    transmissions.router,
    previews.router,
)
"""Each resource's, under /api/v1."""


def build_app(
    services: Services, idle_s: float = 60.0, body_s: float = 600.0, *, has_resources: bool = True
) -> FastAPI:
    """has_resources: without, only health is told.

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
    app.state.has_resources = has_resources
    app.state.rates = Rates(services.requests_per_second)
    app.include_router(health.router)
    app.include_router(front.router)
    if has_resources:
        app.include_router(docs.router)
        for router in ROUTERS:
            app.include_router(router, prefix=BASE)
    add_handlers(app)
    describe(app)
    app.add_middleware(Guard, budget=services.budget, idle_s=idle_s, body_s=body_s)
    return app
