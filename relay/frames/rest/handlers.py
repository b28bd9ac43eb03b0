"""The end of every request that is refused: what the client is told, and what the log is."""

import logging
import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from relay.domain.errors import NotGranted, RelayError
from relay.frames.rest.auth import tell_forbidden
from relay.frames.rest.errors import ApiError, answer, api_error, internal_error, not_found
from relay.frames.rest.hangup import Gone
from relay.net.tally import LogTally

_GONE = 499
"""Nobody reads it: the client has hung up."""

TellRefusal = Callable[[Request, ApiError, Exception], Awaitable[None]]
"""What is done with a refusal besides answering it; the error is what it came from."""

log = logging.getLogger("relay.api")


def add_handlers(app: FastAPI, tell_refusal: TellRefusal) -> None:
    """Every refusal in SparkPost's shapes, FastAPI's own among them."""
    forbidden = LogTally(log)

    async def on_api_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        await tell_refusal(request, error, error)
        return answer(error)

    async def on_relay_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RelayError)
        if isinstance(error, NotGranted):
            tell_forbidden(request, error, forbidden)
        found = api_error(error, request.scope["path"])
        if found is None:
            return internal_error(error, request.method, request.scope["path"])
        await tell_refusal(request, found, error)
        return answer(found)

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        path = request.scope["path"]
        if error.status_code == 405 and (methods := _methods_of(request.app, path)):
            allowed = ", ".join(sorted(methods))
            described = f"{request.method} is not supported on {path}"
            return answer(ApiError(405, "invalid http method", described, "1102", headers={"Allow": allowed}))
        if error.status_code in (404, 405):
            return answer(not_found(path, request.app.state.has_resources))
        return answer(ApiError(error.status_code, str(error.detail)))

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        params = [str(problem["loc"][-1]) for problem in error.errors()]
        described = ", ".join(f"param '{param}' is not valid" for param in params)
        return answer(ApiError(400, "invalid params", described, "1200"))

    async def on_gone(request: Request, error: Exception) -> Response:
        return Response(status_code=_GONE)

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(Gone, on_gone)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(RelayError, on_relay_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)


def _methods_of(app: FastAPI, path: str) -> set[str]:
    """What may be done with the path, as the description of the API has it."""
    described = app.openapi()["paths"]
    if path in described:
        return {method.upper() for method in described[path]}
    found: set[str] = set()
    for template, operations in described.items():
        pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", template))
        if re.fullmatch(pattern, path):
            found |= {method.upper() for method in operations}
    return found
