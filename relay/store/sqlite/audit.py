"""Reading the audit lines: the latest, those of one object, and those that concern an account."""

from collections.abc import Sequence
from typing import Any

from relay.domain.ids import AccountId, Revision, from_us
from relay.ports import AuditLine
from relay.store.sqlite.executor import Connection

# As the indexes have them.
_ABOUT = "substr(what, instr(what, ' ') + 1)"
_BEFORE = "iif(json_valid(before), before ->> '$.account', NULL)"
_AFTER = "iif(json_valid(after), after ->> '$.account', NULL)"


def audit_of(
    connection: Connection,
    limit: int,
    account: AccountId | None = None,
    about: str | None = None,
    after: int | None = None,
) -> list[AuditLine]:
    """`DirectoryStore.audit_of`."""
    values = {"limit": limit, "account": account, "object": f"account {account}", "about": about, "id": after}
    terms = ["TRUE" if after is None else "id < :id"]
    if about is not None:
        terms.append(f"{_ABOUT} = :about")
    if account is not None:
        terms.append(f"({_ABOUT} = :object OR {_BEFORE} = :account OR {_AFTER} = :account)")
    rows = connection.execute(
        "SELECT id, at_us, actor, revision, what,"
        f" {_shown('before', _BEFORE, account)}, {_shown('after', _AFTER, account)}"
        f" FROM audit WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT :limit",
        values,
    )
    return [_line(row) for row in rows]


def _shown(column: str, owner: str, account: AccountId | None) -> str:
    """The column, or NULL where it tells of another's object."""
    return column if account is None else f"iif({_ABOUT} = :object OR {owner} = :account, {column}, NULL)"


def _line(row: Sequence[Any]) -> AuditLine:
    id_, at_us, actor, revision, what, before, after = row
    return AuditLine(from_us(at_us), actor, Revision(revision), what, before, after, id_)
