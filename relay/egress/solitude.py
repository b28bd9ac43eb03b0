"""A message that was in flight when its holder died, ten times over, is attempted while nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PATIENCE_S = 10.0
"""How long the others may be kept from beginning, for the sake of one."""


class Crowded(Exception):
    """Others took too long to put down what they carry."""


class Solitude:
    """Who is being carried by this process: many at a time, or one alone.

    Within `async with` a load is carried as usual; it waits while somebody is alone, or about to be.
    Should the one take the process down, it takes no other attempt along.
    """

    def __init__(self) -> None:
        self._carried = 0
        self._alone = asyncio.Lock()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> None:
        while self._alone.locked():
            await self._wait()
        self._carried += 1

    async def __aexit__(self, *_: object) -> None:
        self._carried -= 1
        self._changed.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Carry one load when all others have been put down; they begin again afterwards. Raises Crowded."""
        try:
            async with self._alone:
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        while self._carried:
                            await self._wait()
                except TimeoutError:
                    raise Crowded from None
                yield
        finally:
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
