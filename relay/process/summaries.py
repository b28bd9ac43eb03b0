"""Keeping the summaries of older events up to date, so slowly that the mail does not notice."""

import asyncio
import logging
from datetime import timedelta

from relay.domain.errors import StoreUnavailable
from relay.ports.ambient import Clock
from relay.ports.eventlog import EventLog

_EVERY = timedelta(seconds=5)
_REST = 30
"""For each moment of work so many of rest: at most three per cent of one processor."""
_LONGEST = timedelta(minutes=1)

log = logging.getLogger("relay.summaries")


async def keep_summaries(events: EventLog, clock: Clock, stopping: asyncio.Event) -> None:
    """Summarise blocks of events as they fill, until stopping is set; several processes may."""
    while True:
        began, done = clock.now(), 0
        try:
            done = await events.summarise()
        except StoreUnavailable:
            log.warning("no events summarised: the store is unavailable, next try in %s", _EVERY)
        except Exception:  # The top of a unit of work.
            log.exception("no events summarised, for a reason of our own")
        now = clock.now()
        # The clock may be set meanwhile.
        rest = min(_REST * (now - began), _LONGEST) if done and now >= began else _EVERY
        if await clock.wait(stopping, now + rest):
            return
