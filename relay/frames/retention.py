"""Forgetting in time: events after ten days, changes after 400, answers to repeated requests after one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from relay.domain.errors import StoreUnavailable
from relay.ports.ambient import Clock
from relay.ports.directory import DirectoryStore
from relay.ports.eventlog import EventLog
from relay.ports.idempotency import IdempotencyStore

EVENTS_KEPT = timedelta(days=10)
CHANGES_KEPT = timedelta(days=400)
MOST_CHANGES = 100_000
"""Of one account: audit lines."""
ANSWERS_KEPT = timedelta(hours=24)
"""To whoever repeats a request with its Idempotency-Key."""
GIVEN_UP_AFTER = timedelta(minutes=10)
"""A request with a key that has no answer by then was cut off: it may be repeated."""
_EVERY = timedelta(hours=1)
_LOOK_AGAIN = timedelta(minutes=1)
"""After the time was set."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger("relay.retention")


def ended_before(clock: Clock) -> tuple[datetime, datetime]:
    """Answers from before the first are gone, requests without one from before the second given up.

    Soon after the time was set none is: what was done already would be done again.
    """
    now = clock.now()
    return (now - ANSWERS_KEPT, now - GIVEN_UP_AFTER) if clock.is_steady() else (_NEVER, _NEVER)


async def keep_trim(
    events: EventLog,
    answers: IdempotencyStore,
    directory: DirectoryStore,
    clock: Clock,
    stopping: asyncio.Event,
    forget_more: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Trim the event log, the audit lines, and what was answered, every hour until stopping is set.

    forget_more: does the same for what else grows old in this process's care.
    """
    while True:
        # Taken before it is asked whether it is sound.
        now = clock.now()
        if not clock.is_steady():
            if await clock.wait(stopping, clock.now() + _LOOK_AGAIN):
                return
            continue
        try:
            removed = await events.trim(now - EVENTS_KEPT)
            await answers.forget(now - ANSWERS_KEPT)
            await directory.trim_audit(now - CHANGES_KEPT, MOST_CHANGES)
            if forget_more is not None:
                await forget_more()
        except StoreUnavailable:
            log.warning("nothing trimmed: the store is unavailable, next try in %s", _EVERY)
        except Exception:  # The top of a unit of work.
            log.exception("nothing trimmed, for a reason of our own")
        else:
            if removed:
                log.info("trimmed events=%d older_than=%s", removed, EVENTS_KEPT)
        if await clock.wait(stopping, clock.now() + _EVERY):
            return
