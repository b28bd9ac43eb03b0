"""Changing the live directory: compute on the newest snapshot, write, and again when somebody was quicker."""

from collections.abc import Callable, Sequence

from relay.domain.changes import Change, Put, entries_of
from relay.domain.directory import Snapshot
from relay.domain.errors import StaleDirectory
from relay.frames.caps import Caps
from relay.ports.directory import Directory

_TRIES = 10

Judge = Callable[[Snapshot], None]
"""Raises unless whoever asks may change something in this directory."""


async def change_directory(
    directory: Directory,
    compute: Callable[[Snapshot], Sequence[Change]],
    actor: str,
    judge: Judge | None = None,
    caps: Caps | None = None,
) -> Sequence[Change]:
    """Write what compute makes of the newest directory; what is so already is not written.

    caps: of the account; None: whoever asks is not bound.
    Returns the changes. Raises what compute raises, OverCap, Conflict, StoreUnavailable, StaleDirectory.
    """
    for _ in range(_TRIES):
        snapshot = await directory.refresh()
        if judge is not None:
            judge(snapshot)
        changes = compute(snapshot)
        if caps is not None:
            caps.check(snapshot, changes)
        stored = frozenset(entries_of(snapshot))
        needed = [change for change in changes if not isinstance(change, Put) or change.entry not in stored]
        if not needed:
            return changes
        try:
            await directory.apply(needed, actor)
        except StaleDirectory:
            continue
        return changes
    raise StaleDirectory
