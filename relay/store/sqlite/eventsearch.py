"""The search in the event log as SQL: one statement made of the filters given, and one that counts.

Filters work on columns and on the JSON beside them. Only what narrows a search to few events has
an index; the rest looks at blocks of events that may have what is wanted, or, where those are many
and a total is asked for, at the events of the account between two times. Newest first.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Any

from relay.domain.events import EVENT_KINDS
from relay.domain.ids import to_us
from relay.ports.eventlog import EventPage, EventPlace, EventQuery, FoundEvents
from relay.store.codec import TOLD_COLUMNS, Row, read_told, sayable, to_json
from relay.store.sqlite.event_blocks import WantedTerms, candidates, one_id
from relay.store.sqlite.executor import Connection

BUDGET_S = 0.06
"""How long `find` looks for more before it hands out what it has."""
_MOST_BLOCKS = 64
"""A search that must look into more of them goes by time instead."""
_CHUNK = 4096
"""Events of a transmission that `find` looks at in one go."""
_WITH_SUBMISSION = "LEFT JOIN submission ON submission.id = event.transmission_id"
_FROM = f"FROM event {_WITH_SUBMISSION}"
_FROM_BLOCKS = f"""FROM json_each(:blocks) AS block CROSS JOIN event
ON event.id >= block.value ->> '$[0]' AND event.id < block.value ->> '$[1]' {_WITH_SUBMISSION}"""
_BETWEEN = "event.id >= :first AND event.id < :end"
_HIGHEST_FIRST = "ORDER BY event.id DESC LIMIT :limit"
_COLUMNS = ", ".join(TOLD_COLUMNS)
_NEWEST_FIRST = "ORDER BY event.at_us DESC, event.id DESC LIMIT :limit"
_BEHIND = "(event.at_us, event.id) < (:at_us, :id)"
_OWN = "coalesce(nullif(event.fields ->> '$.particulars[{}]', ''), submission.fields ->> '$.{}')"
"""What is told of the copy: its own, by the place in `codec`, or what is told of all."""
_SUBJECT = _OWN.format(0, "subject")
_FRIENDLY_FROM = _OWN.format(4, "friendly_from")
_SENDING_DOMAIN = _OWN.format(5, "sending_domain")
_FEW = 20
_HIDDEN = ", ".join(f"'{kind.name}'" for kind in EVENT_KINDS if not kind.is_public)
_SEARCHABLE = f"event.kind NOT IN ({_HIDDEN})"
"""What operators did is told by `relay queue show`; SparkPost has no such event."""
_KINDS_OF_FAILURE = ", ".join(f"'{kind.name}'" for kind in EVENT_KINDS if kind.is_failure)
_FAILURES = f"event.kind IN ({_KINDS_OF_FAILURE})"


def search(connection: Connection, query: EventQuery, limit: int, after: EventPlace | None) -> EventPage:
    """Up to limit events behind `after`, newest first."""
    blocks = _few_blocks(connection, query)
    asked = _Search(query, by_id=blocks is not None)
    source, values = _FROM, asked.values
    if blocks is not None:
        source, values["blocks"] = _FROM_BLOCKS, to_json(blocks)
    where = " AND ".join(asked.terms)
    behind = where
    if after is not None:
        behind, values = f"{where} AND {_BEHIND}", {**values, "at_us": after.at_us, "id": after.id}
    text = f"SELECT {_COLUMNS} {source} WHERE {behind} {_NEWEST_FIRST}"
    rows = connection.execute(text, {**values, "limit": limit + 1}).fetchall()
    page, has_more = rows[:limit], len(rows) > limit
    if after is not None:
        total = after.total
    elif has_more:
        source = source if asked.joins or blocks is not None else "FROM event"
        (total,) = connection.execute(f"SELECT count(*) {source} WHERE {where}", asked.values).fetchone()
    else:
        total = len(page)
    place = EventPlace(page[-1][1], page[-1][0], total) if has_more else None
    return EventPage(tuple(read_told(row) for row in page), total, place)


def _few_blocks(connection: Connection, query: EventQuery) -> list[tuple[int, int]] | None:
    """Ranges of ids that alone may have what is wanted; None when there is a better way, or too many."""
    wanted = WantedTerms(query)
    if _has_index(query) or not wanted.is_picky:
        return None
    found = list(islice(candidates(connection, wanted, _end(connection)), _MOST_BLOCKS + 1))
    return found if len(found) <= _MOST_BLOCKS else None


def find(
    connection: Connection, query: EventQuery, limit: int, after: int | None, budget_s: float = BUDGET_S
) -> FoundEvents:
    """`EventLog.find`: range by range as long as the time lasts, but at least one."""
    end = _end(connection)
    end = end if after is None else min(end, after)
    source, asked = _FROM, _Search(query, by_id=True)
    ranges: Iterable[tuple[int, int]] = [(0, end)]
    if query.transmissions:
        source = f"FROM event INDEXED BY event_transmission {_WITH_SUBMISSION}"
        ranges = _chunks(connection, query, end)
    elif not _has_index(query):
        ranges = candidates(connection, WantedTerms(query), end)
    text = f"SELECT {_COLUMNS} {source} WHERE {' AND '.join((_BETWEEN, *asked.terms))} {_HIGHEST_FIRST}"
    rows: list[Row] = []
    deadline: float | None = None
    for first, end in ranges:
        if deadline is None:
            deadline = monotonic() + budget_s
        elif monotonic() >= deadline:
            return FoundEvents(tuple(read_told(row) for row in rows), end, is_cut=True)
        values = {**asked.values, "first": first, "end": end, "limit": limit + 1 - len(rows)}
        rows += connection.execute(text, values)
        if len(rows) > limit:
            page = rows[:limit]
            return FoundEvents(tuple(read_told(row) for row in page), page[-1][0], is_cut=False)
    return FoundEvents(tuple(read_told(row) for row in rows), None, is_cut=False)


def _has_index(query: EventQuery) -> bool:
    return bool(query.ids or query.messages or query.transmissions)


def _end(connection: Connection) -> int:
    """The id that comes after the newest event."""
    return (one_id(connection, "last_event") or 0) + 1


def _chunks(connection: Connection, query: EventQuery, end: int) -> Iterator[tuple[int, int]]:
    """Ranges of ids that have so many events of the transmissions, newest first."""
    text = (
        "SELECT min(id), count(*) FROM (SELECT id FROM event INDEXED BY event_transmission"
        " WHERE transmission_id IN (SELECT value FROM json_each(:transmissions)) AND id < :end"
        " ORDER BY id DESC LIMIT :limit)"
    )
    values = {"transmissions": to_json(list(query.transmissions)), "limit": _CHUNK}
    number = _CHUNK
    while number == _CHUNK:
        first, number = connection.execute(text, {**values, "end": end}).fetchone()
        if number:
            yield first, end
            end = first


class _Search:
    """Terms of the condition, and their values."""

    def __init__(self, query: EventQuery, *, by_id: bool) -> None:
        """by_id: the events are looked at in ranges of ids."""
        # With a plus, a term takes no index: those over ids and messages leave less to look at.
        mark = "+" if by_id or _has_index(query) else ""
        self.terms = [f"{mark}event.at_us >= :since_us", f"{mark}event.at_us < :until_us"]
        self.values: dict[str, Any] = {"since_us": to_us(query.since), "until_us": to_us(query.until)}
        if query.account is not None:
            self.terms.insert(0, f"{mark}event.account = :account")
            self.values["account"] = query.account
        self._one_of("event.kind", "kinds", query.kinds)
        if not query.kinds:
            self.terms.append(_SEARCHABLE)
        if query.bounce_classes or query.reasons:
            # Said of the kind, which the index has: what was delivered is not looked at.
            self.terms.append(_FAILURES)
        self._one_of("event.id", "ids", query.ids)
        self._one_of("event.message_id", "messages", query.messages)
        self._one_of("event.transmission_id", "transmissions", query.transmissions)
        self._one_of("event.ip", "ips", query.sending_ips)
        self._one_of("coalesce(event.fields ->> '$.subaccount', 0)", "subaccounts", query.subaccounts)
        self._one_of("event.fields ->> '$.bounce_class'", "classes", query.bounce_classes)
        self._one_of("lower(event.fields ->> '$.rcpt_to')", "recipients", _lower(query.recipients))
        self._one_of("event.fields ->> '$.domain'", "domains", _lower(query.recipient_domains))
        self._words("event.fields ->> '$.ip_pool'", "pools", query.ip_pools)
        self._words("event.fields ->> '$.raw_reason'", "reasons", query.reasons)
        self._words(_SENDING_DOMAIN, "sending_domains", query.sending_domains)
        self._words(_SUBJECT, "subjects", query.subjects)
        self._words("submission.fields ->> '$.options.campaign_id'", "campaigns", query.campaigns)
        self.joins = bool(query.sending_domains or query.subjects or query.campaigns or query.from_addresses)
        """Whether a term is about the submission."""
        if query.from_addresses:
            self._any(
                "from_addresses",
                _lower(query.from_addresses),
                f"lower({_FRIENDLY_FROM}) = value OR instr(lower({_FRIENDLY_FROM}), '<' || value || '>') > 0",
            )

    def _one_of(self, what: str, name: str, values: Collection[object]) -> None:
        if values:
            self.terms.append(f"{what} IN (SELECT value FROM json_each(:{name}))")
            self.values[name] = to_json(list(values))

    def _words(self, what: str, name: str, keywords: Iterable[str]) -> None:
        """Keywords: `black` finds `Black-Friday`, `fri` does not."""
        padded = [_padded(keyword) for keyword in keywords]
        if padded:
            self._any(name, padded, f"instr({_normal(what)}, value) > 0")

    def _any(self, name: str, values: Sequence[str], condition: str) -> None:
        """The condition, which speaks of `value`, holds for one of the values."""
        if len(values) > _FEW:
            self.terms.append(f"EXISTS (SELECT 1 FROM json_each(:{name}) WHERE {condition})")
            self.values[name] = to_json(values)
            return
        # A subquery for each event costs as much as the rest.
        names = [f"{name}_{number}" for number in range(len(values))]
        self.terms.append(f"({' OR '.join(condition.replace('value', f':{one}') for one in names)})")
        self.values.update(zip(names, values, strict=True))


def _normal(what: str) -> str:
    """SQL for the text in small letters with one space wherever its parts meet."""
    return f"(' ' || replace(replace(lower({what}), '-', ' '), '_', ' ') || ' ')"


def _padded(keyword: str) -> str:
    """The same of a keyword. Small letters as SQLite makes them: ASCII alone."""
    return f" {_ascii_lower(sayable(keyword)).replace('-', ' ').replace('_', ' ')} "


def _lower(texts: Iterable[str]) -> list[str]:
    return [_ascii_lower(sayable(text)) for text in texts]


def _ascii_lower(text: str) -> str:
    return text.translate(_SMALL)


_SMALL = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
