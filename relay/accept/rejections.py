"""Telling accounts what was refused to them: as events, so many a minute, and never at the reply's cost.

An event that cannot be written waits for the store to take it again. What waits is bounded, and so is
what is written: of an account and a kind so many events a minute, then one that counts the rest.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from relay.domain.errors import NoSharedPool, PoolEmpty, Unavailable
from relay.domain.events import PolicyRejection
from relay.domain.ids import DEFAULT_POOL, AccountId
from relay.ports.eventlog import EventLog

A_MINUTE = 100
"""Events of one account and kind that are written one by one, by all processes together."""
_PERIOD_S = 60.0
_MOST_KINDS = 10_000
"""Of all accounts, that are told apart within a minute."""
_MOST_WAITING = 5_000
_BATCH = 200
_PATIENCE_S = 1.0
"""How long a reply may wait for its event to be written."""
_AGAIN_S = 5.0
_MAX_CHARACTERS = 400

log = logging.getLogger("relay.rejections")


class Rejecting(Protocol):
    """What ingress and api ask of this module."""

    def tell(self, rejection: PolicyRejection, kind: str, slip: str = "", more: int = 0) -> None:
        """Have it told as an event, or counted. kind: one of few, and no word of a client's.

        slip: what an operator has to mend, for the log, once a minute for each account.
        more: so many like it that are counted alone.
        """

    async def told(self) -> None:
        """Until what was told so far is written: not for long, nor at all while the store is in trouble."""


@dataclass(slots=True)
class _Count:
    written: int = 0
    more: int = 0
    last: PolicyRejection | None = None


class Rejections:
    """`Rejecting`, with a writer of its own: `run`."""

    def __init__(self, events: EventLog, processes: int = 1) -> None:
        """processes: so many share what may be written within a minute."""
        self._events = events
        self._a_minute = max(1, A_MINUTE // processes)
        self._counts: dict[tuple[AccountId, str], _Count] = {}
        self._untold = 0
        """Of this minute, that not even a count tells: the log has to."""
        self._waiting: deque[PolicyRejection] = deque()
        self._number_told = self._number_written = 0
        self._news, self._progress = asyncio.Event(), asyncio.Event()
        self._is_closed = False
        self._is_well = True
        """Whether the store took the last that it was given, and in time."""

    def tell(self, rejection: PolicyRejection, kind: str, slip: str = "", more: int = 0) -> None:
        key = rejection.account, f"{kind}{slip}"
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= _MOST_KINDS:
                self._untold += 1 + more
                return
            count = self._counts[key] = _Count()
            if slip:
                log.warning("account=%d mail is refused: %s", rejection.account, slip)
        if count.written >= self._a_minute or len(self._waiting) >= _MOST_WAITING:
            more += 1
        else:
            count.written += 1
            self._put(rejection)
        if more:
            count.more += more
            count.last = rejection
        self._news.set()

    async def told(self) -> None:
        number = self._number_told
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while self._number_written < number and self._is_well and not self._is_closed:
                    await self._progress.wait()
        except TimeoutError:
            self._is_well = False

    async def run(self) -> None:
        """Write what is told, until `close` and all is written."""
        loop = asyncio.get_running_loop()
        ends_at: float | None = None
        while not self._is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(ends_at):
                    await self._news.wait()
            self._news.clear()
            if ends_at is None:
                ends_at = loop.time() + _PERIOD_S
            elif loop.time() >= ends_at:
                self._sum_up()
                ends_at = None
            await self._write()
        self._sum_up()
        await self._write()
        self._sum_up()

    def close(self) -> None:
        """Nothing more is to come."""
        self._is_closed = True
        self._news.set()

    def _put(self, rejection: PolicyRejection) -> None:
        self._waiting.append(rejection)
        self._number_told += 1

    def _sum_up(self) -> None:
        """The minute is over: tell of each kind how many more there were, and begin anew."""
        counts, self._counts = self._counts, {}
        untold, self._untold = self._untold, 0
        for count in counts.values():
            if count.last is not None and len(self._waiting) < _MOST_WAITING:
                self._put(_summary(count.last, count.more))
            else:
                untold += count.more
        if untold:
            log.warning("refusals that no event tells of: more=%d", untold)

    async def _write(self) -> None:
        """All that waits. As long as the store does not take it: again and again, until closed."""
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._events.append(batch)
            except Unavailable:
                self._is_well = False
                self._step()
                if self._is_closed:
                    self._untold += len(self._waiting)
                    self._waiting.clear()
                    return
                await self._rest()
                continue
            except Exception:
                # The refusals stand, whatever became of their events.
                log.exception("refusals not told, for a reason of our own: more=%d", len(batch))
            else:
                self._is_well = True
            for _ in batch:
                self._waiting.popleft()
            self._number_written += len(batch)
            self._step()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                while not self._is_closed:
                    self._news.clear()
                    await self._news.wait()

    def _step(self) -> None:
        """Whoever waits for progress looks again."""
        self._progress.set()
        self._progress = asyncio.Event()


def slip_of(error: Exception) -> str:
    """What an operator has forgotten, where that is why mail is refused; empty: nothing."""
    match error:
        case NoSharedPool():
            return "no shared sending IP is configured, and it has none in its default pool"
        case PoolEmpty(pool=pool) if pool == DEFAULT_POOL:
            return "it has no sending IP in its default pool, and no shared pool on its plan"
        case _:
            return ""


def with_count(reason: str, recipients: int) -> str:
    """One event tells of all recipients of what was refused as a whole; it names the first."""
    reason = _printable(reason)
    return reason if recipients <= 1 else f"{reason} (first of {recipients} recipients)"


def _summary(last: PolicyRejection, more: int) -> PolicyRejection:
    """In one event what has none of its own: it is about no recipient in particular."""
    reason = f"{last.raw_reason} ({more} more within a minute)"
    return replace(last, rcpt_to="", mail_from="", ip_pool_raw="", raw_reason=reason)


def _printable(text: str) -> str:
    """One line, not too long."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    return text[:_MAX_CHARACTERS]
