"""Changing the live directory: compute on the newest snapshot, write, and again when somebody was quicker."""

from collections.abc import Callable, Sequence

from relay.domain.changes import Change, Put, entries_of
from relay.domain.directory import Snapshot
from relay.domain.errors import StaleDirectory
from relay.frames.actor import Actor
from relay.ports.directory import Directory

TRIES = 10
"""How often a change is computed again because somebody was quicker."""


async def change_directory(
    directory: Directory, compute: Callable[[Snapshot], Sequence[Change]], actor: Actor
) -> Sequence[Change]:
    """Write what compute makes of the newest directory; what is so already is not written.

    Whether the actor may, and within what caps, is asked of the very directory that is changed.
    Returns the changes. Raises what compute raises, NotGranted, OverCap, Conflict, StoreUnavailable,
    StaleDirectory.
    """
    for _ in range(TRIES):
        snapshot = await directory.refresh()
        actor.check(snapshot)
        changes = compute(snapshot)
        if actor.caps is not None:
            actor.caps.check(snapshot, changes)
        stored = frozenset(entries_of(snapshot))
        needed = [change for change in changes if not isinstance(change, Put) or change.entry not in stored]
        if not needed:
            return changes
        try:
            await directory.apply(needed, actor.name)
        except StaleDirectory:
            continue
        return changes
    raise StaleDirectory
