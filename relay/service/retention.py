"""Forgetting in time: events after ten days, retired IPs once their lane is empty (C §3.15)."""

import asyncio
import logging
from datetime import timedelta

from relay.domain.errors import StoreUnavailable
from relay.ports import Clock, EventLog

EVENTS_KEPT = timedelta(days=10)
_EVERY = timedelta(hours=1)

log = logging.getLogger("relay.retention")


async def keep_trim(events: EventLog, clock: Clock, stopping: asyncio.Event) -> None:
    """Trim the event log every hour until stopping is set."""
    while True:
        try:
            removed = await events.trim(clock.now() - EVENTS_KEPT)
        except StoreUnavailable:
            log.warning("trim failed: the store is unavailable, next try in %s", _EVERY)
        else:
            if removed:
                log.info("trimmed events=%d older_than=%s", removed, EVENTS_KEPT)
        if await clock.wait(stopping, clock.now() + _EVERY):
            return
