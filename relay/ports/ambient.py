"""Time and chance, which the core never takes for itself."""

import asyncio
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time, and waiting for it. Never the measure of a network time-out."""

    def now(self) -> datetime:
        """Aware UTC."""

    def is_steady(self) -> bool:
        """False within ten minutes after the time was set: nothing may end for its age then."""

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        """True once event is set, False when until (None: never) came first."""


class Entropy(Protocol):
    """Random octets."""

    def octets(self, count: int) -> bytes: ...
