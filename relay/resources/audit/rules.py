"""Who changed what: the lines that each change of the directory leaves."""

from relay.domain.ids import AccountId
from relay.ports.directory import AuditLine, DirectoryStore


class AuditLog:
    """Read alone: the store writes a line with the change that it tells of."""

    def __init__(self, rows: DirectoryStore) -> None:
        self._rows = rows

    async def latest(
        self,
        limit: int,
        *,
        account: AccountId | None = None,
        about: str | None = None,
        after: int | None = None,
    ) -> list[AuditLine]:
        """Newest first, as `DirectoryStore.audit_of` has them."""
        return await self._rows.audit_of(limit, account=account, about=about, after=after)
