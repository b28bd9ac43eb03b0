"""Who may send from what: the rows, and the live directory of a process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.domain.ids import AccountId, Revision
from relay.ports.idempotency import Answered


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change of one object: who, what, before and after, as JSON without secrets."""

    at: datetime
    actor: str
    revision: Revision
    what: str
    """`put pool 1/news`, `remove api_key …`, `set routes`."""
    before: str | None
    """None: it was not there."""
    after: str | None
    id: int = 0
    """Its number; later lines have higher ones."""


class DirectoryStore(Protocol):
    """The directory's rows."""

    async def revision(self) -> Revision: ...

    async def snapshot(self) -> Snapshot: ...

    async def apply(
        self,
        changes: Sequence[Change],
        based_on: Revision,
        actor: str,
        now: datetime,
        answered: Answered | None = None,
    ) -> Revision:
        """All changes, their audit lines, the ledger and the next revision in one transaction.

        An account that still has queued mail cannot be removed: Conflict, by name. A removed
        IP that still has queued mail is retired, a released one knows whose mail it carries.
        answered: kept in the same transaction for whoever repeats the request.
        Raises StaleDirectory when based_on is past, StaleRequest when the request was given up.
        """

    async def reap_ips(self, now: datetime) -> int:
        """Remove retired IPs that no message is pinned to any more, and let released ones be had again.

        Returns how many. Any: a new revision.
        """

    async def note_key_uses(self, days: Mapping[str, date]) -> None:
        """The last days (UTC) on which keys, by their hashes, were used."""

    async def key_uses(self) -> Mapping[str, date]:
        """Of keys that are there; one that was not used is absent."""

    async def audit(self, limit: int) -> list[AuditLine]:
        """The latest changes, newest first."""

    async def audit_of(
        self,
        limit: int,
        *,
        account: AccountId | None = None,
        about: str | None = None,
        after: int | None = None,
    ) -> list[AuditLine]:
        """The latest changes, newest first, older than the line of id `after` when given.

        account: those of the account and of what it has or had; what an object was while
        another had it is not told: then it was not there. about: of one object, kind and key
        as lines name it (`sending_ip 192.0.2.1`, `pool 1/news`).
        """

    async def trim_audit(self, before: datetime, kept: int) -> int:
        """Forget lines older than before, and of each account all but its newest `kept`. Returns how many."""


class Directory(Protocol):
    """The live directory of this process."""

    @property
    def snapshot(self) -> Snapshot: ...

    async def refresh(self) -> Snapshot:
        """The newest snapshot; reloaded only when the revision moved."""

    def note_key_use(self, sha256: str) -> None:
        """The key was used just now; the day is stored soon."""

    async def was_revoked(self, key_sha256: str) -> bool:
        """Whether there was a key with that hash, as far as the audit lines remember. Never raises."""

    async def apply(
        self, changes: Sequence[Change], actor: str, answered: Answered | None = None
    ) -> Snapshot:
        """Write changes computed from the current snapshot; swapped in before it returns.

        answered: kept with them for whoever repeats the request. Raises StaleDirectory,
        Conflict, StaleRequest.
        """
