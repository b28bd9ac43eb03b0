"""What time does to the directory: due downgrades, IPs whose last mail has left, unverified domains."""

import asyncio
import logging
from datetime import timedelta

from relay.domain.errors import StaleDirectory, StoreUnavailable
from relay.ports.ambient import Clock
from relay.ports.directory import Directory, DirectoryStore
from relay.resources.accounts.rules import downgrade
from relay.resources.sending_domains.rules import remove_expired

_EVERY = timedelta(minutes=1)
_ACTOR = "billing"

log = logging.getLogger("relay.upkeep")


async def keep_up(directory: Directory, store: DirectoryStore, clock: Clock, stopping: asyncio.Event) -> None:
    """Look once a minute until stopping is set; several processes may."""
    while True:
        try:
            await tend(directory, store, clock)
        except StaleDirectory:
            log.info("upkeep: the directory was changed meanwhile, next try in %s", _EVERY)
        except StoreUnavailable:
            log.warning("upkeep failed: the store is unavailable, next try in %s", _EVERY)
        except Exception:  # The top of a unit of work.
            log.exception("upkeep failed, for a reason of our own")
        if await clock.wait(stopping, clock.now() + _EVERY):
            return


async def tend(directory: Directory, store: DirectoryStore, clock: Clock) -> None:
    """Carry out what is due, but soon after the time was set. Raises StaleDirectory, StoreUnavailable."""
    # Taken before it is asked whether it is sound: the store may let us wait.
    now = clock.now()
    if not clock.is_steady():
        return
    snapshot = await directory.refresh()
    if changes := downgrade(snapshot, now):
        snapshot = await directory.apply(changes, _ACTOR)
        log.info("downgrades carried out: changes=%d", len(changes))
    if forgotten := remove_expired(snapshot, now):
        snapshot = await directory.apply(forgotten, "upkeep")
        log.info("sending domains that nobody verified: removed=%d", len(forgotten))
    if any(ip.is_retired or ip.released_from is not None for ip in snapshot.ips.values()):
        reaped = await store.reap_ips(now)
        if reaped:
            log.info("sending IPs without mail: removed or free again=%d", reaped)
            await directory.refresh()
