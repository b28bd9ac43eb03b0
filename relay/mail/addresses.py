"""Lists of addresses that readers are shown: mailboxes, and groups of them under a name (RFC 5322 §3.4).

Read as forgivingly as single mailboxes are, in one pass over the text, and written anew. A name may hold
colons and semicolons: they mark a group where the text between them lists mailboxes, and nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.domain.errors import MalformedAddress
from relay.mail.mailboxes import Named, ends_mailbox, one_line, read_mailbox, read_name
from relay.mail.words import mailbox, phrase

_MARK = re.compile(r'\\.|[",:;]|<[^<>"]*>|\[[^\[\]<>",]*\]', re.DOTALL)
"""What stands in brackets is passed over: colons of IPv6 and of URIs."""
_ENDS_ELEMENT = re.compile(r" ?(?:[,;]|\Z)")
NOBODY = "undisclosed-recipients"

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Mailboxes under a name; perhaps none, as in `undisclosed-recipients:;`."""

    name: str
    members: tuple[Named, ...] = ()


Address = Named | Group


def read_addresses(text: str) -> list[Address]:
    """All that the text lists, at least one. Raises MalformedAddress when something in it is no address.

    A comma, or a semicolon, separates behind `>` and behind a bare address.
    """
    text = one_line(text)
    found = [_read(text, element) for element in _Splitter(text).split()]
    if not found:
        raise MalformedAddress(text)
    return found


def read_forgivingly(text: str) -> list[Address]:
    """As `read_addresses`; what is no address becomes a group of nobody with that name: it can be shown."""
    text = one_line(text)
    return list(_all_of(text)) or [Group(NOBODY)]


def _all_of(text: str) -> Iterator[Address]:
    for element in _Splitter(text).split():
        try:
            yield _read(text, element)
        except MalformedAddress:
            assert isinstance(element, tuple)
            yield Group(read_name(text[slice(*element)].strip(" ,:;")) or NOBODY)


def write_addresses(addresses: Sequence[Address]) -> bytes:
    """The value of a field that lists these, one a line."""
    return b",\r\n ".join(_written(address) for address in addresses)


def _written(address: Address) -> bytes:
    if not isinstance(address, Group):
        return mailbox(*address)
    name = phrase(address.name)
    # RFC 2047 §5: white space stands between an encoded word and a sign.
    opening = name + (b" :" if name.endswith(b"?=") else b":")
    members = b",\r\n ".join(mailbox(*member) for member in address.members)
    return opening + (b" " + members if members else b"") + b";"


@dataclass(frozen=True, slots=True)
class _GroupSpan:
    name: _Span
    """From its first character to the colon."""
    members: tuple[_Span, ...]


def _read(text: str, element: "_Span | _GroupSpan") -> Address:
    """Raises MalformedAddress."""
    if isinstance(element, _GroupSpan):
        members = tuple(read_mailbox(text[slice(*member)]) for member in element.members)
        return Group(read_name(text[slice(*element.name)].strip()), members)
    return read_mailbox(text[slice(*element)])


class _Opening(NamedTuple):
    """A colon that may open a group."""

    start: int
    """Of the name before it."""
    colon: int


class _Splitter:
    """Finds where the elements of a list are; what they say is read afterwards, once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[_Span | _GroupSpan] = []
        self._start = 0
        self._opening: _Opening | None = None
        self._behind: list[_Span] = []
        """Mailboxes behind the colon."""

    def split(self) -> "list[_Span | _GroupSpan]":
        is_quoted = False
        for mark in _MARK.finditer(self._text):
            sign, at = mark[0], mark.start()
            is_quoted ^= sign == '"'
            if is_quoted or at < self._start:
                continue
            if sign == ":":
                self._open(at)
            elif sign == "," or (sign == ";" and not self._close(at)):
                self._end(at)
        self._finish(len(self._text))
        return self._found

    def _finish(self, end: int) -> None:
        if self._opening is not None and self._text.find("<", self._opening.colon) < 0:
            # Bare addresses, or none, have no name that the colon could stand in.
            self._close(end)
        self._give_up()
        if not self._is_blank(end):
            self._found.append((self._start, end))

    def _is_blank(self, end: int) -> bool:
        """Whether nothing but a space stands before it: there is one line, without runs of spaces."""
        return end - self._start < 2 and not self._text[self._start : end].strip()

    def _end(self, at: int) -> None:
        if not self._is_blank(at):
            if not ends_mailbox(self._text, self._start, at):
                return
            (self._found if self._opening is None else self._behind).append((self._start, at))
        # Else it is an empty place between commas (RFC 5322 §4.4).
        self._start = at + 1

    def _open(self, at: int) -> None:
        self._give_up()
        if not self._is_blank(at):
            self._opening = _Opening(self._start, at)
            self._start = at + 1

    def _close(self, at: int) -> bool:
        """Whether a group ends there."""
        opening, end = self._opening, _ENDS_ELEMENT.match(self._text, at + 1)
        is_blank = self._is_blank(at)
        if opening is None or end is None or not (is_blank or ends_mailbox(self._text, self._start, at)):
            self._give_up()
            return False
        if not is_blank:
            self._behind.append((self._start, at))
        self._found.append(_GroupSpan(opening, tuple(self._behind)))
        self._opening, self._behind, self._start = None, [], end.end()
        return True

    def _give_up(self) -> None:
        """The colon belongs to a name: that of the first mailbox behind it."""
        if self._opening is None:
            return
        if self._behind:
            self._behind[0] = (self._opening.start, self._behind[0][1])
            self._found += self._behind
        else:
            self._start = self._opening.start
        self._opening, self._behind = None, []
