"""A clock that a test moves by hand, so that three days of retries take no time at all."""

import asyncio
from datetime import UTC, datetime, timedelta

_TURNS = 200
"""How often `settle` lets the loop go round: far more than any chain of call-backs of ours is long."""


class HandMovedClock:
    """A `relay.ports.Clock` that stands still until it is told otherwise. It belongs to one event loop."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self._now = start
        self.steady = True
        """Whether it says that nobody set it."""
        self._waiters: dict[asyncio.Timeout, datetime] = {}

    def now(self) -> datetime:
        """Aware UTC; the same until the clock is moved."""
        return self._now

    def is_steady(self) -> bool:
        """As the test says."""
        return self.steady

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        """True once event is set, False when until (None: never) came first."""
        if event.is_set():
            return True
        if until is not None and until <= self._now:
            # A caller that polls with a past deadline must not keep the loop to itself.
            await asyncio.sleep(0)
            return event.is_set()
        # The time-out has no length of its own: `advance_to` pulls it when the moment has come.
        deadline = asyncio.timeout(None)
        try:
            async with deadline:
                if until is not None:
                    self._waiters[deadline] = until
                await event.wait()
        except TimeoutError:
            return event.is_set()
        finally:
            self._waiters.pop(deadline, None)
        return True

    def advance(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> datetime:
        """Move forward by the sum of what is given; returns the new time."""
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        return self.advance_to(self._now + step)

    def advance_to(self, moment: datetime) -> datetime:
        """Move forward to that moment and wake whoever waited for it. Raises ValueError for the past."""
        if moment < self._now:
            raise ValueError(f"the clock stands at {self._now.isoformat()} and does not go back")
        self._now = moment
        for deadline in [deadline for deadline, until in self._waiters.items() if until <= moment]:
            del self._waiters[deadline]
            deadline.reschedule(asyncio.get_running_loop().time())
        return moment

    @property
    def next_wake(self) -> datetime | None:
        """The earliest moment that somebody waits for, or None."""
        return min(self._waiters.values(), default=None)

    async def settle(self) -> None:
        """Let the loop run until what the last move woke has gone to sleep again.

        Bounded. It does not wait for sockets, threads or files: for those, wait for the thing itself.
        """
        for _ in range(_TURNS):
            await asyncio.sleep(0)
