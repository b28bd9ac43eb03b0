"""Waiting for the thing itself, where nothing announces it: another process, a store, a socket."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_STEP_S = 0.01


async def eventually(look: Callable[[], Awaitable[T]], timeout_s: float = 20) -> T:
    """The first answer of look that is true; asked again every 10 ms. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(_STEP_S)
