"""Which terms the events of each block have, so that a search looks only where it may find something.

A block is 1024 events in a row, noted once it is full. Its terms are four octets of CRC-32 each: one
that is missing is certainly not there, one that is there may be another's.
"""

import struct
from binascii import crc32
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from relay.domain.ids import to_us
from relay.ports.eventlog import EventQuery
from relay.store.codec import sayable, to_json
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection

BLOCK = 1024
_MOST_TERMS = 4096
"""Of one field in a block; with more of them the block says that it may have any."""
_MOST_BRACKETS = 4

SQL = load_queries("relay.store.sqlite", "event_blocks.sql", {})


@dataclass(frozen=True, slots=True)
class Block:
    """What is known of a block; since and until are the times of its first and last event."""

    number: int
    since_us: int
    until_us: int
    terms: bytes


def words(text: bytes) -> list[bytes]:
    """The parts between spaces, hyphens and underscores in small letters, as searches compare them."""
    return text.lower().replace(b"-", b" ").replace(b"_", b" ").split(b" ")


# ── noting ───────────────────────────────────────────────────────────────────────────────


def blocks_to_note(connection: Connection, limit: int) -> list[int]:
    """The newest full blocks that are not noted, newest first: searches begin there."""
    rows = connection.execute(SQL["unnoted"], {"block": BLOCK, "limit": limit}).fetchall()
    return [number for (number,) in rows]


def note(connection: Connection, number: int) -> Block:
    """What is to be known of a full block; one whose events are gone has nothing."""
    values = {"first": number * BLOCK, "end": (number + 1) * BLOCK}
    rows = connection.execute(SQL["events"], values).fetchall()
    if not rows:
        return Block(number, 0, 0, b"")
    times, *columns = [set(column) for column in zip(*rows, strict=True)]
    submissions = connection.execute(SQL["submissions"], (to_json(list(columns.pop())),)).fetchall()
    columns += [set(column) for column in zip(*submissions, strict=True)] or [set()] * 4
    terms: set[int] = set()
    for (name, split), found in zip(_FIELDS, columns, strict=True):
        texts = {text for value in found if value is not None for text in split(value)}
        mark = crc32(name.encode())
        terms.update(crc32(text, mark) for text in (texts if len(texts) <= _MOST_TERMS else (_ANY,)))
    return Block(number, min(times), max(times), struct.pack(f"<{len(terms)}I", *terms))


def keep(connection: Connection, block: Block) -> None:
    connection.execute(SQL["keep"], (block.number, block.since_us, block.until_us, block.terms))


def may_note(connection: Connection, holder: str, now_us: int, until_us: int) -> bool:
    """Whether this process is the one that notes, until then if it does not ask again."""
    values = {"holder": holder, "now_us": now_us, "until_us": until_us}
    return connection.execute(SQL["lease"], values).rowcount > 0


def forget(connection: Connection) -> None:
    """Blocks whose events were trimmed."""
    connection.execute(SQL["forget"], {"block": BLOCK})


_Split = Callable[[bytes], Iterable[bytes]]
_ANY = b"\0"


def _whole(text: bytes) -> Iterable[bytes]:
    return (text,)


def _small(text: bytes) -> Iterable[bytes]:
    return (text.lower(),)


def _bracketed(text: bytes) -> Iterable[bytes]:
    """All that a From field may be asked for by: the whole, and what stands between < and >."""
    text = text.lower()
    begins = [place for place, letter in enumerate(text) if letter == b"<"[0]]
    ends = [place for place, letter in enumerate(text) if letter == b">"[0]]
    if len(begins) > _MOST_BRACKETS or len(ends) > _MOST_BRACKETS:
        return (_ANY,)
    return (text, *(text[begin + 1 : end] for begin, end in product(begins, ends) if begin < end))


_FIELDS: Sequence[tuple[str, _Split]] = (
    # In the order of the columns that `events` and `submissions` give.
    ("account", _whole),
    ("kind", _whole),
    ("ip", _whole),
    ("subaccount", _whole),
    ("class", _whole),
    ("rcpt", _small),
    ("domain", _whole),
    ("pool", words),
    ("reason", words),
    ("subject", words),
    ("from", _bracketed),
    ("sender", words),
    ("subject", words),
    ("from", _bracketed),
    ("sender", words),
    ("campaign", words),
)


# ── asking ───────────────────────────────────────────────────────────────────────────────


class WantedTerms:
    """What a block must have for a query to find something in it."""

    def __init__(self, query: EventQuery) -> None:
        self._since_us, self._until_us = to_us(query.since), to_us(query.until)
        fields: Sequence[tuple[str, Collection[object], _Split]] = (
            ("account", () if query.account is None else (query.account,), _whole),
            ("kind", query.kinds, _whole),
            ("ip", query.sending_ips, _whole),
            ("subaccount", query.subaccounts, _whole),
            ("class", query.bounce_classes, _whole),
            ("rcpt", query.recipients, _small),
            ("domain", query.recipient_domains, _small),
            ("pool", query.ip_pools, words),
            ("reason", query.reasons, words),
            ("subject", query.subjects, words),
            ("from", query.from_addresses, _small),
            ("sender", query.sending_domains, words),
            ("campaign", query.campaigns, words),
        )
        self.is_picky = any(values for _, values, _ in fields[3:])
        """Whether it asks for more than the index over account, time, kind and IP knows."""
        self._fields = [_Field(name, values, split) for name, values, split in fields if values]

    def may_be_in(self, block: Block) -> bool:
        return (
            block.until_us >= self._since_us
            and block.since_us < self._until_us
            and all(field.may_be_in(block.terms) for field in self._fields)
        )


class _Field:
    """One filter: any of its values will do, and a value needs all of its words."""

    def __init__(self, name: str, values: Collection[object], split: _Split) -> None:
        texts = [split(sayable(str(value)).encode()) for value in values]
        self._values = [[_octets(name, text) for text in parts if text] for parts in texts]
        self._any = _octets(name, _ANY)

    def may_be_in(self, terms: bytes) -> bool:
        return any(all(_has(terms, part) for part in parts) for parts in self._values) or _has(
            terms, self._any
        )


def _octets(name: str, text: bytes) -> bytes:
    return struct.pack("<I", crc32(text, crc32(name.encode())))


def _has(terms: bytes, term: bytes) -> bool:
    """Whether one of the terms, four octets each, is this one."""
    place = terms.find(term)
    while place % 4 and place >= 0:
        place = terms.find(term, place + 1)
    return place >= 0


def candidates(connection: Connection, wanted: WantedTerms, end: int) -> Iterator[tuple[int, int]]:
    """Ranges of ids (the second is not in it) that may have what is wanted, newest first, below end.

    Blocks that are not noted may have anything.
    """
    first = one_id(connection, "first_event")
    if first is None or first >= end:
        return
    number = (end - 1) // BLOCK
    for row in connection.execute(SQL["blocks"], (number,)):
        block = Block(*row)
        while number > block.number:
            yield _range(number, first, end)
            number -= 1
        if wanted.may_be_in(block):
            yield _range(number, first, end)
        number -= 1
        if number < first // BLOCK:
            return
    while number >= first // BLOCK:
        yield _range(number, first, end)
        number -= 1


def one_id(connection: Connection, name: str) -> int | None:
    """The id that the query of this file gives, if any."""
    (found,) = connection.execute(SQL[name]).fetchone()
    return None if found is None else int(found)


def _range(number: int, first: int, end: int) -> tuple[int, int]:
    return max(number * BLOCK, first), min((number + 1) * BLOCK, end)
