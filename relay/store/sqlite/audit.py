"""The audit lines: adding one; the latest, those of one object, and those that concern an account."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from relay.domain.ids import AccountId, Revision, from_us, to_us
from relay.ports.directory import AuditLine
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.statements import SQL, one

# As the indexes have them.
_ABOUT = "substr(what, instr(what, ' ') + 1)"
_BEFORE = "iif(json_valid(before), before ->> '$.account', NULL)"
_AFTER = "iif(json_valid(after), after ->> '$.account', NULL)"


def add_line(
    connection: Connection, actor: str, now: datetime, what: str, before: str | None, after: str | None
) -> None:
    """Of what is no change of the directory. before, after: JSON objects; `account` says whose it is."""
    revision = one(connection, "revision")
    connection.execute(SQL["audit"], (to_us(now), actor, revision, what, before, after))


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


def old_lines(connection: Connection, before_us: int, limit: int) -> list[int]:
    """Ids of those among the first lines that are older. Ids follow time: none in the first, none at all."""
    rows = connection.execute("SELECT id, at_us FROM audit ORDER BY id LIMIT ?", (limit,))
    return [id_ for id_, at_us in rows if at_us < before_us]


def lines_beyond(connection: Connection, account: AccountId, kept: int, limit: int) -> list[int]:
    """Ids of the account's lines before its newest `kept`, so many at most."""
    terms = (f"{_ABOUT} = :object", f"{_BEFORE} = :account", f"{_AFTER} = :account")
    values = {"account": account, "object": f"account {account}", "kept": kept, "limit": limit}
    newest = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM audit WHERE {term} ORDER BY id DESC LIMIT :kept)" for term in terms
    )
    found = connection.execute(
        f"SELECT id FROM ({newest}) ORDER BY id DESC LIMIT 1 OFFSET :kept - 1",
        values,
    ).fetchone()
    if found is None:
        return []
    older = " UNION ".join(
        f"SELECT id FROM (SELECT id FROM audit WHERE {term} AND id < :first ORDER BY id LIMIT :limit)"
        for term in terms
    )
    rows = connection.execute(f"{older} LIMIT :limit", {**values, "first": found[0]})
    return [id_ for (id_,) in rows]


def remove_lines(connection: Connection, ids: Sequence[int]) -> None:
    connection.executemany("DELETE FROM audit WHERE id = ?", [(id_,) for id_ in ids])


def _shown(column: str, owner: str, account: AccountId | None) -> str:
    """The column, or NULL where it tells of another's object."""
    return column if account is None else f"iif({_ABOUT} = :object OR {owner} = :account, {column}, NULL)"


def _line(row: Sequence[Any]) -> AuditLine:
    id_, at_us, actor, revision, what, before, after = row
    return AuditLine(from_us(at_us), actor, Revision(revision), what, before, after, id_)
