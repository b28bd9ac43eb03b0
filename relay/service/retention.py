"""Forgetting in time: events after ten days, retired IPs once their lane is empty (C §3.15)."""

import asyncio
import logging
from datetime import timedelta

from relay.domain.errors import StoreUnavailable
from relay.ports import Clock, DirectoryStore, EventLog

EVENTS_KEPT = timedelta(days=10)
_EVERY = timedelta(hours=1)

log = logging.getLogger("relay.retention")


async def keep_house(
    events: EventLog, directory: DirectoryStore, clock: Clock, stopping: asyncio.Event
) -> None:
    """Trim the event log and remove empty retired IPs, every hour until stopping is set."""
    while True:
        try:
            removed = await events.trim(clock.now() - EVENTS_KEPT)
            reaped = await directory.reap_retired(clock.now())
        except StoreUnavailable:
            log.warning("nothing trimmed: the store is unavailable, next try in %s", _EVERY)
        except Exception:  # The top of a unit of work.
            log.exception("nothing trimmed, for a reason of our own")
        else:
            if removed:
                log.info("trimmed events=%d older_than=%s", removed, EVENTS_KEPT)
            if reaped:
                log.info("removed retired ips=%d: no mail is pinned to them any more", reaped)
        if await clock.wait(stopping, clock.now() + _EVERY):
            return
