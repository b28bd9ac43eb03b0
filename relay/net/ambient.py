"""The real time and randomness of this machine, as the ports `Clock` and `Entropy` want them."""

import asyncio
import logging
import os
import time
from contextlib import suppress
from datetime import datetime

from relay.domain.ids import from_us

log = logging.getLogger("relay")

_LOOK_AGAIN_S = 60
"""A time-out counts monotonic seconds; the wall clock may be set, or the machine sleep, meanwhile."""


_JUMP_S = 30.0
"""By how much the wall clock must leave the monotonic one between two looks: more than any drift."""
_UNSTEADY_S = 600.0


class SystemClock:
    """`Clock`. It knows when the time was set."""

    def __init__(self) -> None:
        self._apart_s = self._apart()
        self._steady_from = float("-inf")

    def is_steady(self) -> bool:
        """False within ten minutes after the time was set, by someone or after a sleep of the machine."""
        apart_s, since = self._apart(), time.monotonic()
        if abs(apart_s - self._apart_s) > _JUMP_S:
            log.warning(
                "the clock was set by %+.0f s: nothing expires or is trimmed for ten minutes",
                apart_s - self._apart_s,
            )
            self._steady_from = since + _UNSTEADY_S
        self._apart_s = apart_s
        return since >= self._steady_from

    def _apart(self) -> float:
        """Seconds by which the wall clock is ahead of the monotonic one."""
        return self.now().timestamp() - time.monotonic()

    def now(self) -> datetime:
        """Aware UTC."""
        return from_us(time.time_ns() // 1000)

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        """True once event is set, False when until (None: never) came first.

        It lasts no longer than it was to last when it began: set back, the clock does not prolong it.
        """
        loop = asyncio.get_running_loop()
        ends_at = float("inf") if until is None else loop.time() + (until - self.now()).total_seconds()
        while not event.is_set():
            left_s = ends_at - loop.time()
            if until is not None:
                left_s = min(left_s, (until - self.now()).total_seconds())
            if left_s <= 0:
                # A caller that polls with a past deadline must not keep the loop to itself.
                await asyncio.sleep(0)
                return event.is_set()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, _LOOK_AGAIN_S)):
                    await event.wait()
        return True


class SystemEntropy:
    """`Entropy`."""

    def octets(self, count: int) -> bytes:
        return os.urandom(count)
