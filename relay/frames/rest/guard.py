"""What stands before all routes: limits on bodies and on patience, and the end of every bug of ours."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.accept.budget import BodyBudget
from relay.domain.errors import OverCapacity
from relay.frames.rest.errors import BASE, ApiError, internal_error

MAX_BODY_BYTES = 1 << 20
MAX_BODIES: Mapping[str, int] = {
    f"{BASE}/transmissions": 50_000_000,
    f"{BASE}/utils/content-previewer": 50_000_000,
    f"{BASE}/suppression-list": 50_000_000,
}
"""Paths that take more."""

_UNREAD_BYTES = MAX_BODY_BYTES
"""A body that nobody asked for is read to its end and forgotten up to this size; a longer one is cut off."""


class Guard:
    """ASGI middleware. It also answers `/path/` as `/path`: SparkPost ignores a trailing slash."""

    def __init__(self, app: ASGIApp, budget: BodyBudget, idle_s: float, body_s: float) -> None:
        """idle_s: how long a client may be silent inside a body, or not take what we answer.

        body_s: how long a body may take as a whole.
        """
        self._app, self._budget, self._idle_s, self._body_s = app, budget, idle_s, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/") or "/"
        patience = _Patience(self._idle_s, asyncio.get_running_loop().time() + self._body_s)
        exchange = _Exchange(path, dict(scope["headers"]), self._budget, patience, receive, send)
        try:
            await self._app({**scope, "path": path}, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.is_answered:
                raise
            await internal_error(error, scope["method"], path)(scope, receive, exchange.send)
        finally:
            self._budget.give_back(exchange.taken_bytes)


@dataclass(frozen=True, slots=True)
class _Patience:
    idle_s: float
    body_until: float
    """By the loop's clock."""


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        path: str,
        headers: dict[bytes, bytes],
        budget: BodyBudget,
        patience: _Patience,
        receive: Receive,
        send: Send,
    ) -> None:
        self._limit = MAX_BODIES.get(path, MAX_BODY_BYTES)
        self._announced = _length(headers)
        self._budget, self._patience = budget, patience
        self._receive, self._send = receive, send
        self._is_read = self._announced == 0
        self.taken_bytes = 0
        self.is_answered = False

    async def receive(self) -> Message:
        """Raises ApiError 408 and 413, OverCapacity: while the body is being read, not after."""
        if self._is_read:
            return await self._receive()
        if self._announced is not None and self._announced > self._limit:
            raise _too_large(self._limit)
        message = await self._next()
        size = len(message.get("body", b""))
        if self.taken_bytes + size > self._limit:
            raise _too_large(self._limit)
        if not self._budget.take(size):
            raise OverCapacity
        self.taken_bytes += size
        self._is_read = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        """Raises ApiError 408: a client that is silent for too long, or sends an octet now and then."""
        left_s = self._patience.body_until - asyncio.get_running_loop().time()
        try:
            # What lies there already is got without a turn of the loop, and no time-out would see it.
            if left_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(min(self._patience.idle_s, left_s)):
                return await self._receive()
        except TimeoutError as error:
            raise ApiError(408, "Request timed out", headers={"Connection": "close"}) from error

    async def send(self, message: Message) -> None:
        """Raises TimeoutError when the client does not take it."""
        if message["type"] == "http.response.start":
            self.is_answered = True
            if not self._is_read and (self._announced is None or self._announced > _UNREAD_BYTES):
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        async with asyncio.timeout(self._patience.idle_s):
            await self._send(message)


def _length(headers: dict[bytes, bytes]) -> int | None:
    """Octets of the body as announced; None: not said beforehand. h11 has refused what is no number."""
    if b"transfer-encoding" in headers:
        return None
    value: Any = headers.get(b"content-length", b"0")
    return int(value)


def _too_large(limit_bytes: int) -> ApiError:
    return ApiError(413, "Request body too large", f"the body may have at most {limit_bytes} bytes")
