"""Who may send from what: the rows, and the live directory of a process."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.domain.ids import (
    Revision,
)


class DirectoryStore(Protocol):
    """The directory's rows."""

    async def revision(self) -> Revision: ...

    async def snapshot(self) -> Snapshot: ...

    async def apply(
        self, changes: Sequence[Change], based_on: Revision, actor: str, now: datetime
    ) -> Revision:
        """All changes, their audit lines and the next revision in one transaction.

        An account that still has queued mail cannot be removed: Conflict, by name. A removed
        IP that still has queued mail is retired. Raises StaleDirectory when based_on is past.
        """

    async def reap_retired(self, now: datetime) -> int:
        """Remove retired IPs that no message is pinned to any more; returns how many. Any: a new revision."""


class Directory(Protocol):
    """The live directory of this process."""

    @property
    def snapshot(self) -> Snapshot: ...

    async def refresh(self) -> Snapshot:
        """The newest snapshot; reloaded only when the revision moved."""

    async def apply(self, changes: Sequence[Change], actor: str) -> Snapshot:
        """Write changes computed from the current snapshot; swapped in before it returns.

        Raises StaleDirectory, Conflict.
        """
