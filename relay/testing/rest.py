"""Clients of a test relay's REST API."""

import httpx

from relay.frames.rest.errors import BASE
from relay.process.runtime import Relay

TIMEOUT_S = 20


def rest_client_of(
    relay: Relay, key: str | None, subaccount: int | None = None, *, over_socket: bool = False
) -> httpx.AsyncClient:
    """A client of /api/v1 that shows this key; None: no key."""
    headers = {} if key is None else {"Authorization": key}
    if subaccount is not None:
        headers["X-MSYS-SUBACCOUNT"] = str(subaccount)
    if over_socket:
        return httpx.AsyncClient(base_url=f"{relay.http_url}{BASE}", headers=headers, timeout=TIMEOUT_S)
    transport = httpx.ASGITransport(relay.http_app)
    return httpx.AsyncClient(transport=transport, base_url=f"http://relay.test{BASE}", headers=headers)
