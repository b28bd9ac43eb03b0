"""The suppression lists on SQLite."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from relay.domain.errors import ComplianceEntry
from relay.domain.ids import AccountId, SubaccountId, from_us, to_us
from relay.domain.suppression import Kind, Source, Suppression
from relay.ports.suppressions import ListOrder, SuppressionPage, SuppressionQuery
from relay.store.codec import Row, from_json, sayable, to_json
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection, Executor

_COLUMNS = "account, subaccount, recipient, kind, list_id, source, description, created_us, updated_us"
_KEY = ("subaccount", "recipient", "kind", "list_id")
_ORDERS = {
    ListOrder.RECIPIENT: (_KEY, ""),
    ListOrder.ASCENDING: (("updated_us", *_KEY), ""),
    ListOrder.DESCENDING: (("updated_us", *_KEY), " DESC"),
}
"""Columns, and their direction."""
_SQL = load_queries("relay.store.sqlite", "suppressions.sql", {})


class SqliteSuppressions:
    """`SuppressionStore`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def put(self, entries: Sequence[Suppression]) -> None:
        await self._executor.write(lambda connection: _put(connection, entries))

    async def remove(
        self,
        account: AccountId,
        subaccount: SubaccountId | None,
        recipient: str,
        kinds: Collection[Kind],
        list_id: str | None = None,
    ) -> bool:
        values = {
            "account": account,
            "subaccount": subaccount or 0,
            "recipient": sayable(recipient),
            "kinds": to_json([kind.value for kind in kinds]),
            "list_id": list_id,
        }

        def unit(connection: Connection) -> bool:
            sources = [source for (source,) in connection.execute(_SQL["suppression_sources"], values)]
            if Source.COMPLIANCE.value in sources:
                raise ComplianceEntry
            return connection.execute(_SQL["unsuppress"], values).rowcount > 0

        return await self._executor.write(unit)

    async def find(
        self, query: SuppressionQuery, limit: int, offset: int = 0, after: Suppression | None = None
    ) -> SuppressionPage:
        where, values = _where(query)
        text = f"SELECT {_COLUMNS} FROM suppression WHERE {where}"
        page_values = {**values, "limit": limit + 1, "offset": offset}
        columns, direction = _ORDERS[query.order]
        if after is not None:
            places = ", ".join(f":after_{column}" for column in columns)
            text += f" AND ({', '.join(columns)}) {'<' if direction else '>'} ({places})"
            page_values |= {
                "after_updated_us": to_us(after.updated),
                "after_subaccount": after.subaccount or 0,
                "after_recipient": sayable(after.recipient),
                "after_kind": after.kind.value,
                "after_list_id": sayable(after.list_id),
            }
        ordered = ", ".join(f"{column}{direction}" for column in columns)
        text += f" ORDER BY {ordered} LIMIT :limit OFFSET :offset"

        def read(connection: Connection) -> SuppressionPage:
            counted = connection.execute(f"SELECT count(*) FROM suppression WHERE {where}", values)
            (total,) = counted.fetchone()
            entries = [_entry(row) for row in connection.execute(text, page_values)]
            return SuppressionPage(tuple(entries[:limit]), total, len(entries) > limit)

        return await self._executor.read(read)

    async def count(self, query: SuppressionQuery) -> Mapping[Source, int]:
        where, values = _where(query)

        def read(connection: Connection) -> Mapping[Source, int]:
            text = f"SELECT source, count(*) FROM suppression WHERE {where} GROUP BY source"
            return {Source(source): number for source, number in connection.execute(text, values)}

        return await self._executor.read(read)

    async def among(
        self, account: AccountId, subaccount: SubaccountId | None, kind: Kind, recipients: Collection[str]
    ) -> Mapping[str, Source]:
        def read(connection: Connection) -> Mapping[str, Source]:
            found = suppressed_among(connection, account, subaccount, kind, recipients)
            return {recipient: Source(source) for recipient, source in found.items()}

        return await self._executor.read(read)


def suppressing(connection: Connection, accounts: Collection[AccountId]) -> frozenset[AccountId]:
    """Which of the accounts have suppressed anybody: the others need no further look."""
    (found,) = connection.execute(_SQL["suppressing"], (to_json(list(accounts)),)).fetchone()
    return frozenset(map(AccountId, from_json(found)))


def suppressed_among(
    connection: Connection,
    account: AccountId,
    subaccount: SubaccountId | None,
    kind: Kind,
    recipients: Collection[str],
) -> dict[str, str]:
    """Recipient → source, of those that are on the list; of several that which the account cannot remove."""
    values = {
        "account": account,
        "subaccount": subaccount or 0,
        "kind": kind.value,
        "recipients": to_json(list(map(sayable, recipients))),
    }
    (found,) = connection.execute(_SQL["suppressed"], values).fetchone()
    sources: dict[str, str] = {}
    for recipient, source in from_json(found):
        if sources.get(recipient) != Source.COMPLIANCE:
            sources[recipient] = source
    return sources


def suppress_new(connection: Connection, entries: Sequence[Suppression]) -> None:
    """Add what is not there yet."""
    connection.executemany(_SQL["suppress_new"], [_row(entry) for entry in entries])


def _put(connection: Connection, entries: Sequence[Suppression]) -> None:
    connection.executemany(_SQL["suppress"], map(_row, entries))


def _where(query: SuppressionQuery) -> tuple[str, dict[str, Any]]:
    terms, values = ["account = :account"], {"account": query.account}

    def add(term: str, **more: Any) -> None:
        terms.append(term)
        values.update(more)

    if not query.all_subaccounts:
        add("subaccount = :subaccount", subaccount=query.subaccount or 0)
    if query.recipient is not None:
        add("recipient = :recipient", recipient=sayable(query.recipient))
    if query.domain:
        add("substr(recipient, -length(:domain)) = :domain", domain=f"@{query.domain}")
    if query.kinds:
        add("kind IN (SELECT value FROM json_each(:kinds))", kinds=to_json(sorted(query.kinds)))
    if query.sources:
        add("source IN (SELECT value FROM json_each(:sources))", sources=to_json(sorted(query.sources)))
    if query.description and query.is_description_whole:
        add("description = :description", description=sayable(query.description))
    elif query.description:
        add("instr(lower(description), lower(:description)) > 0", description=sayable(query.description))
    if query.list_id is not None:
        add("list_id = :list_id", list_id=sayable(query.list_id))
    if query.since is not None:
        add("updated_us >= :since_us", since_us=to_us(query.since))
    if query.until is not None:
        add("updated_us < :until_us", until_us=to_us(query.until))
    return " AND ".join(terms), values


def _row(entry: Suppression) -> Row:
    return (
        entry.account,
        entry.subaccount or 0,
        sayable(entry.recipient),
        entry.kind.value,
        sayable(entry.list_id),
        entry.source.value,
        sayable(entry.description),
        to_us(entry.created),
        to_us(entry.updated),
    )


def _entry(row: Row) -> Suppression:
    return Suppression(
        AccountId(row[0]),
        SubaccountId(row[1]) if row[1] else None,
        row[2],
        Kind(row[3]),
        Source(row[5]),
        row[6],
        from_us(row[7]),
        from_us(row[8]),
        row[4],
    )
