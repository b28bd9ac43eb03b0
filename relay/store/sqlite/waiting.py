"""How much mail waits, from counts that triggers keep; and what a group's first message waits for."""

from collections.abc import Collection, Sequence
from typing import Any

from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId, from_us
from relay.domain.message import State
from relay.ports.queue import MailFilter
from relay.ports.report import Facet, StateCounts, Waiting, WaitingPage
from relay.store.codec import to_json
from relay.store.sqlite.executor import Connection

_MOST_LOOKS = 200
"""For the first messages of a page's groups. Each is made of parts: one account, IP, domain and pool."""
_PASSED = 20_000
"""How much mail of others, due before, is passed over on a shared IP."""

SOME = {None: "TRUE", State.QUEUED: "queued > 0", State.HELD: "held > 0"}
_SUMS = "sum(queued) AS queued, sum(in_flight) AS in_flight, sum(held) AS held"

_TOTALS = "coalesce(sum(queued), 0), coalesce(sum(in_flight), 0), coalesce(sum(held), 0)"
_REPLIES = "SELECT id, last_reply FROM message WHERE id IN (SELECT value FROM json_each(?))"

_PART = ("account", "ip", "domain", "pool")
# The first has the largest part of each group: with max(), SQLite takes the other columns from its row.
_PARTS = (
    """
    SELECT account, ip, domain, pool, max(queued * 2 + held) FROM waiting WHERE {where} AND {of_groups}
    GROUP BY {columns}
    """,
    """
    SELECT account, ip, domain, pool FROM waiting WHERE {where} AND {of_groups} AND queued > 0
    ORDER BY queued DESC LIMIT {most}
    """,
)
_FIRST = """
SELECT due_us, id FROM (
    SELECT due_us, id, account, pool FROM message INDEXED BY message_{state}
    WHERE state = '{state}' AND ip = :ip AND domain = :domain ORDER BY due_us, id LIMIT :passed
) WHERE account = :account AND pool = :pool LIMIT 1
"""


def waiting(
    connection: Connection, what: MailFilter, by: Collection[Facet], limit: int, offset: int
) -> WaitingPage:
    """`ReportStore.waiting`."""
    if what.subaccount is not None or what.transmission is not None:
        raise ValueError("waiting mail is not counted by subaccount or transmission: list its messages")
    columns = [facet.value for facet in Facet if facet in by]
    where, values = conditions(what)
    of = _listed(columns)
    # Few groups are made of the counts at once; many are made once, together with what is in flight.
    is_fine = {Facet.IP, Facet.DOMAIN} <= set(by)
    summed, grouped = ("{}", "") if is_fine else ("sum({})", f" GROUP BY {of}NULL")
    pieces = []
    if what.state is not State.IN_FLIGHT:
        queued = "0" if what.state is State.HELD else summed.format("queued")
        held = "0" if what.state is State.QUEUED else summed.format("held")
        pieces.append(
            f"SELECT {of}{queued} AS queued, 0 AS in_flight, {held} AS held FROM waiting"
            f" WHERE {where} AND {SOME[what.state]}{grouped}"
        )
    if what.state in (None, State.IN_FLIGHT):
        pieces.append(
            f"SELECT {of}0 AS queued, {summed.format('1')} AS in_flight, 0 AS held"
            f" FROM message INDEXED BY message_in_flight WHERE state = 'in_flight' AND {where}{grouped}"
        )
    order = f"queued + in_flight + held DESC{''.join(f', {column}' for column in columns)}"
    # The left join: the totals are told even where the page has no group.
    rows = connection.execute(
        f"WITH counted AS ({' UNION ALL '.join(pieces)}),"
        f" groups AS MATERIALIZED (SELECT {of}{_SUMS} FROM counted GROUP BY {of}NULL),"
        f" page AS (SELECT * FROM groups ORDER BY {order} LIMIT :limit OFFSET :offset),"
        f" totals AS (SELECT count(*), {_TOTALS} FROM groups)"
        f" SELECT totals.*, page.* FROM totals LEFT JOIN page ON TRUE ORDER BY {order}",
        {**values, "limit": limit, "offset": offset},
    ).fetchall()
    number, *totals = rows[0][:4]
    found = [row[4:] for row in rows if row[-1] is not None]
    firsts = _firsts(connection, where, values, columns, found)
    groups = (
        _group(dict(zip(columns, row, strict=False)), row[-3:], firsts.get(place))
        for place, row in enumerate(found)
    )
    return WaitingPage(tuple(groups), number, StateCounts(*totals))


def _listed(columns: Sequence[str]) -> str:
    return "".join(f"{column}, " for column in columns)


def conditions(what: MailFilter, mark: str = "") -> tuple[str, dict[str, object]]:
    """A condition on the columns that counts and messages share, and its parameters, marked so."""
    given = {"account": what.account, "ip": what.ip, "domain": what.domain, "pool": what.pool}
    named = {name: value for name, value in given.items() if value is not None}
    values: dict[str, object] = {f"{name}{mark}": value for name, value in named.items()}
    return " AND ".join(f"{name} = :{name}{mark}" for name in named) or "TRUE", values


def of_subaccount(number: SubaccountId) -> str:
    """0 is the account itself."""
    return "subaccount IS NULL" if number == 0 else f"subaccount = {int(number)}"


_First = tuple[int | None, str]


def _group(of: dict[str, Any], counts: Sequence[int], first: _First | None) -> Waiting:
    due_us, last_reply = first or (None, "")
    return Waiting(
        AccountId(of["account"]) if "account" in of else None,
        IpAddress(of["ip"]) if "ip" in of else None,
        PoolId(of["pool"]) if "pool" in of else None,
        of.get("domain"),
        StateCounts(*counts),
        None if due_us is None else from_us(due_us),
        last_reply,
    )


def _firsts(
    connection: Connection,
    where: str,
    values: dict[str, object],
    columns: Sequence[str],
    groups: Sequence[Sequence[Any]],
) -> dict[int, _First]:
    """For each group by its place: when its first queued message is due, and its last reply.

    Without a queued one, the reply of the first that is held.
    """
    places = {tuple(group[: len(columns)]): place for place, group in enumerate(groups)}
    wanted = ", ".join(f"value ->> '$[{at}]'" for at in range(len(columns)))
    of_groups = f"({', '.join(columns)}) IN (SELECT {wanted} FROM json_each(:groups))" if columns else "TRUE"
    given = {**values, "groups": to_json(list(places))}
    parts: dict[tuple[Any, ...], None] = {}
    for text in _PARTS:
        text = text.format(
            where=where, of_groups=of_groups, columns=", ".join(columns) or "NULL", most=_MOST_LOOKS
        )
        parts.update((row[:4], None) for row in connection.execute(text, given))
    firsts: dict[int, tuple[int, str]] = {}
    for state in ("queued", "held"):
        text, found = _FIRST.format(state=state), dict[int, tuple[int, str]]()
        for of in parts:
            part = dict(zip(_PART, of, strict=True))
            place = places[tuple(part[column] for column in columns)]
            if place in firsts:
                continue
            first = connection.execute(text, {**part, "passed": _PASSED}).fetchone()
            if first is not None:
                found[place] = min(found.get(place, first), first)
        firsts |= {
            place: (due_us if state == "queued" else -1, id_) for place, (due_us, id_) in found.items()
        }
    ids = to_json([id_ for _, id_ in firsts.values()])
    replies = dict(connection.execute(_REPLIES, (ids,)).fetchall())
    return {place: (None if due_us < 0 else due_us, replies[id_]) for place, (due_us, id_) in firsts.items()}
