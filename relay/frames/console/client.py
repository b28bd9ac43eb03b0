"""Where a browser speaks from, and what the log is told of its credentials."""

from starlette.requests import Request

from relay.domain.clients import client_address, client_behind
from relay.frames.console.routing import services_for


def client_of(request: Request) -> str:
    """The address, as proxies that are trusted tell it; empty when it is not known."""
    peer = request.client.host if request.client else ""
    told = ",".join(request.headers.getlist("x-forwarded-for"))
    return client_behind(peer, told, services_for(request).trusted_proxies)


def tell_refusal(request: Request, reason: str) -> None:
    """A password or a link was refused."""
    client = client_address(client_of(request) or "::")
    services_for(request).refusals.tell(client, "door=console", f"reason={reason}")
