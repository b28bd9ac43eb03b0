"""The console as one ASGI application: pages, their headers, and the end of every bug of ours."""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.domain.errors import RelayError
from relay.frames.console.errors import WebError, page_error
from relay.frames.console.routing import Pages
from relay.frames.console.static import ROUTE as STATIC
from relay.frames.console.templating import add_templates, render
from relay.frames.services import Services

_PATIENCE_S = 60.0
"""How long a browser may take for what we answer."""
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_METHODS: Mapping[int, str] = {
    404: "There is no such page.",
    405: "This page cannot be used like that.",
}

log = logging.getLogger("relay.web")


def build_console(services: Services, views: Sequence[Pages]) -> ASGIApp:
    """The application that answers people. views: the first that knows a path answers it."""
    for pages in views:
        add_templates(pages.package)
    routes: Sequence[Route] = [STATIC, *(route for pages in views for route in pages.routes)]
    app = Starlette(
        routes=routes,
        exception_handlers={WebError: _on_web_error, RelayError: _on_relay_error, HTTPException: _on_http},
    )
    app.router.redirect_slashes = False
    app.state.services = services
    # Within Starlette, whose own answer to a bug would come first.
    app.add_middleware(_Frame, is_secure=services.is_secure)
    return app


class _Frame:
    """ASGI middleware: headers of every answer, patience with the browser, and what to say of a bug."""

    def __init__(self, app: ASGIApp, is_secure: bool) -> None:
        headers = {**_HEADERS, "Strict-Transport-Security": "max-age=31536000"} if is_secure else _HEADERS
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        is_answered = False

        async def framed(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                headers = list(message.get("headers", ()))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*headers, *self._headers]}
            async with asyncio.timeout(_PATIENCE_S):
                await send(message)

        path = scope["path"].rstrip("/") or "/"
        try:
            await self._app({**scope, "path": path}, receive, framed)
        except Exception as error:
            if is_answered:
                raise
            await _internal(error, scope)(scope, receive, framed)


def _page(status: int, sentence: str, reference: str = "") -> Response:
    return HTMLResponse(render("error.html", status=status, sentence=sentence, reference=reference), status)


def _internal(error: Exception, scope: Scope) -> Response:
    """The log has it all, the person a reference to it."""
    reference = secrets.token_hex(6)
    log.error("reference=%s %s %r failed", reference, scope["method"], scope["path"], exc_info=error)
    return _page(500, "Something went wrong.", reference)


async def _on_web_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WebError)
    return _page(error.status, error.sentence)


async def _on_relay_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RelayError)
    found = page_error(error)
    if found is None:
        return _internal(error, request.scope)
    return _page(found.status, found.sentence)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail: Any = error.detail
    return _page(error.status_code, _METHODS.get(error.status_code, str(detail)))
