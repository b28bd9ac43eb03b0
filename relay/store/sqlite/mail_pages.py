"""Pages of unfinished messages, read off the indexes of what waits, IP by IP, and joined in order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice

from relay.domain.message import Message, State
from relay.ports.queue import MailFilter
from relay.ports.report import BadPlace, MailPage
from relay.store.codec import MESSAGE_COLUMNS, message, to_json
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.waiting import SOME, conditions, of_subaccount

LOOKED_AT = 200_000
"""Entries of the indexes that a page looks at; but for each IP some."""
_LOOKED_AT_EACH = 2000
_EVENTS_LOOKED_AT = 4000

_COLUMNS = ", ".join(f"message.{column}" for column in MESSAGE_COLUMNS)
_PLACE = re.compile(r"(due|expires|event)\.(\d{1,18})\.([0-9a-f]{0,40})")

_Place = tuple[int, str]
"""A time and the id of a message: the order of a list."""
_START = (-1, "")


@dataclass(frozen=True, slots=True)
class _Index:
    """One of those over waiting mail: by IP, maybe domain, a time and the id."""

    name: str
    condition: str
    by: str
    columns: str
    """What else it has: a list is filtered without a look at the messages."""


_QUEUED = _Index(
    "message_queued", "state = 'queued' AND domain = :domain", "due_us", "domain, account, pool, subaccount"
)
_HELD = _Index(
    "message_held", "state = 'held' AND domain = :domain", "due_us", "domain, account, pool, subaccount"
)
_ALL_WAITING = _Index(
    "message_waiting", "state <> 'in_flight'", "expires_us", "account, pool, state, subaccount"
)
_ALL_HELD = _Index("message_held_waiting", "state = 'held'", "expires_us", "account, pool, subaccount")


@dataclass(frozen=True, slots=True)
class _Run:
    """Places in order, as far as was looked."""

    places: Sequence[_Place]
    cut: _Place | None = None
    """Where looking ended before enough was found; None: there is no more, or there is enough."""


def messages(
    connection: Connection, what: MailFilter, limit: int, after: str | None, looked_at: int = LOOKED_AT
) -> MailPage:
    """`ReportStore.messages`; looked_at: see LOOKED_AT."""
    if what.transmission is not None:
        return _of_transmission(connection, what, limit, after)
    order = "expires" if what.domain is None else "due"
    begin = _START if after is None else _place(order, after)
    runs = list(_waiting_runs(connection, what, limit, begin, looked_at))
    if what.state in (None, State.IN_FLIGHT):
        runs.append(_in_flight(connection, what, f"{order}_us", limit, begin))
    # What comes after the place where one run was cut may not be the next.
    end = min((run.cut for run in runs if run.cut is not None), default=None)
    joined = merge(*(run.places for run in runs))
    places = [place for place in islice(joined, limit + 1) if end is None or place <= end]
    is_full = len(places) > limit
    last = places[limit - 1] if is_full else end
    goes_on = None if last is None else f"{order}.{last[0]}.{last[1]}"
    return MailPage(_fetched(connection, places[:limit]), goes_on, is_cut=not is_full and end is not None)


def _waiting_runs(
    connection: Connection, what: MailFilter, limit: int, begin: _Place, looked_at: int
) -> Iterator[_Run]:
    """Of each IP that has such mail, as the counts tell."""
    where, values = conditions(what)
    if what.state is State.IN_FLIGHT:
        return
    counted = connection.execute(
        f"SELECT ip, sum(queued), sum(held) FROM waiting WHERE {where} AND {SOME[what.state]} GROUP BY ip",
        values,
    ).fetchall()
    each = max(min(looked_at, _LOOKED_AT_EACH), looked_at // max(1, len(counted)))
    for ip, queued, held in counted:
        if what.domain is None:
            number = {None: queued + held, State.QUEUED: queued, State.HELD: held}[what.state]
            indexes = [(_ALL_HELD if what.state is State.HELD else _ALL_WAITING, number)]
        else:
            numbers = {State.QUEUED: (_QUEUED, queued), State.HELD: (_HELD, held)}
            indexes = [of for state, of in numbers.items() if what.state in (None, state)]
        for index, number in indexes:
            if number:
                yield _waiting_run(connection, what, index, ip, min(limit + 1, number), begin, each)


def _waiting_run(
    connection: Connection,
    what: MailFilter,
    index: _Index,
    ip: str,
    wanted: int,
    begin: _Place,
    looked_at: int,
) -> _Run:
    where, values = conditions(what)
    values |= {"ip": ip, "at_us": begin[0], "id": begin[1], "looked_at": looked_at, "wanted": wanted}
    if index is _ALL_WAITING and what.state is not None:
        where += f" AND state = '{what.state.value}'"
    listed = (
        f"SELECT {index.by} AS at_us, id, ip, {index.columns} FROM message INDEXED BY {index.name}"
        f" WHERE {index.condition} AND ip = :ip AND ({index.by}, id) > (:at_us, :id)"
        f" ORDER BY {index.by}, id"
    )
    text = f"SELECT at_us, id FROM ({listed} LIMIT :looked_at) WHERE {where} AND {_subaccount(what)}"
    found = connection.execute(f"{text} LIMIT :wanted", values).fetchall()
    if len(found) == wanted:
        return _Run(found)
    text = f"SELECT at_us, id FROM ({listed} LIMIT 1 OFFSET :looked_at - 1)"
    return _Run(found, connection.execute(text, values).fetchone())


def _in_flight(connection: Connection, what: MailFilter, by: str, limit: int, begin: _Place) -> _Run:
    """They are few: as many as are being handed over right now."""
    where, values = conditions(what)
    rows = connection.execute(
        f"SELECT {by}, id FROM message INDEXED BY message_in_flight"
        f" WHERE state = 'in_flight' AND {where} AND {_subaccount(what)} AND ({by}, id) > (:at_us, :after)"
        f" ORDER BY {by}, id LIMIT :limit",
        {**values, "at_us": begin[0], "after": begin[1], "limit": limit + 1},
    )
    return _Run(rows.fetchall())


def _of_transmission(connection: Connection, what: MailFilter, limit: int, after: str | None) -> MailPage:
    """By the injections of the transmission, in the order in which its messages were made."""
    where, values = conditions(what)
    if what.state is not None:
        where += f" AND state = '{what.state.value}'"
    values |= {
        "transmission": what.transmission,
        "after": -1 if after is None else _place("event", after)[0],
        "limit": limit + 1,
        "looked_at": _EVENTS_LOOKED_AT,
    }
    listed = (
        "SELECT id, message_id, kind FROM event INDEXED BY event_transmission"
        " WHERE transmission_id = :transmission AND id > :after ORDER BY id"
    )
    qualified = where.replace("account =", "message.account =").replace("ip =", "message.ip =")
    rows = connection.execute(
        f"SELECT injection.id, {_COLUMNS} FROM ({listed} LIMIT :looked_at) AS injection"
        " CROSS JOIN message ON message.id = injection.message_id"
        f" WHERE injection.kind = 'injection' AND {qualified} AND {_subaccount(what)}"
        " ORDER BY injection.id LIMIT :limit",
        values,
    ).fetchall()
    page = tuple(message(row[1:]) for row in rows[:limit])
    if len(rows) > limit:
        return MailPage(page, f"event.{rows[limit - 1][0]}.", is_cut=False)
    last = connection.execute(f"SELECT id FROM ({listed} LIMIT 1 OFFSET :looked_at - 1)", values).fetchone()
    return MailPage(page, None if last is None else f"event.{last[0]}.", is_cut=last is not None)


def _subaccount(what: MailFilter) -> str:
    return "TRUE" if what.subaccount is None else of_subaccount(what.subaccount)


def _place(order: str, text: str) -> _Place:
    """Raises BadPlace."""
    match = _PLACE.fullmatch(text)
    if match is None or match[1] != order:
        raise BadPlace(f"not a place where a page of this list ended: {text!r}")
    return int(match[2]), match[3]


def _fetched(connection: Connection, places: Sequence[_Place]) -> tuple[Message, ...]:
    ids = to_json([id_ for _, id_ in places])
    text = f"SELECT {_COLUMNS} FROM message WHERE id IN (SELECT value FROM json_each(?))"
    found = {row[0]: message(row) for row in connection.execute(text, (ids,))}
    return tuple(found[id_] for _, id_ in places)
