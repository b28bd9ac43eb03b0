"""A template cut into text and braces, and which of its lines leave no line.

A line that holds statements and blanks alone leaves no line. What follows an `else` or `end` that begins
its line goes on where the text before it ended, without the line break.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise, takewhile

from relay.mail.amp import MustacheAreas
from relay.mail.budget import BadTemplate
from relay.mail.expression import MAX_TOKENS

TOO_MANY = f"a text may have at most {MAX_TOKENS:,} names and signs in braces"
TOKENS_OF_BRACES = 2

_STATEMENT = re.compile(r"(if|elseif|else|each|end)(?![A-Za-z0-9_])\s*(.*)", re.DOTALL)
_GOES_ON = frozenset({"else", "elseif", "end"})
_REST_OF_LINE = re.compile(r"[ \t]*+(?:\r?\n|\Z)")
_BLANKS = " \t"
_MAX_EXPRESSION = 1000
"""Characters between two pairs of braces."""


@dataclass(frozen=True, slots=True)
class Braces:
    """A pair of braces, double or triple, that is ours to fill."""

    start: int
    end: int
    line: int
    inner: str
    is_raw: bool
    word: str = ""
    """Of a statement, whose argument `inner` is then."""


class Break(Enum):
    """What is done about the line break that the text ends in so far."""

    TAKEN_BACK = "taken back"


Piece = str | Braces | Break


def split_at_braces(text: str, areas: MustacheAreas | None) -> Iterator[Piece]:
    """The template from left to right. Raises BadTemplate.

    areas: where braces are the reader's own.
    """
    at, begins_line = 0, True
    held: list[Braces] = []
    """The statements that a line begins with; nothing but blanks is between them."""
    for braces in _scan(text, areas):
        if held:
            if braces.word and not text[at : braces.start].strip(_BLANKS):
                held.append(braces)
                at = braces.end
                continue
            begins_line, at = yield from _line(text, held, at)
            held = []
        before = text[at : braces.start]
        shown = before.rstrip(_BLANKS)
        if braces.word and (shown.endswith("\n") if shown else begins_line):
            held = [braces]
            yield shown
        else:
            begins_line = False
            yield before
            yield braces
        at = braces.end
    if held:
        _, at = yield from _line(text, held, at)
    yield text[at:]


def _line(text: str, held: list[Braces], at: int) -> Generator[Piece, None, tuple[bool, int]]:
    """What is left of the statements that a line begins with; whether a line begins then, and where.

    at: where the last of them ends.
    """
    rest = _REST_OF_LINE.match(text, at)
    if rest:
        yield from held
        return True, rest.end()
    going_on = len(list(takewhile(lambda braces: braces.word in _GOES_ON, held)))
    if going_on:
        yield from held[:going_on]
        yield Break.TAKEN_BACK
    else:
        yield text[text.rfind("\n", 0, held[0].start) + 1 : held[0].start]
        yield held[0]
    for before, braces in pairwise(held[max(going_on - 1, 0) :]):
        yield text[before.end : braces.start]
        yield braces
    return False, at


def _scan(text: str, areas: MustacheAreas | None) -> Iterator[Braces]:
    line, counted, seek, left = 1, 0, 0, MAX_TOKENS // TOKENS_OF_BRACES
    while (start := text.find("{{", seek)) >= 0:
        line += text.count("\n", counted, start)
        counted = start
        is_raw = text.startswith("{{{", start)
        opening, closing = ("{{{", "}}}") if is_raw else ("{{", "}}")
        end = text.find(closing, start + len(opening))
        if end < 0:
            raise BadTemplate(f"substitution is missing its ending '{closing}'", line)
        inner, seek = text[start + len(opening) : end].strip(), end + len(closing)
        if areas is not None and areas.keep(start, inner):
            continue
        left -= 1
        if len(inner) > _MAX_EXPRESSION:
            raise BadTemplate("expression is too long", line)
        if left < 0:
            raise BadTemplate(TOO_MANY, line)
        statement = None if is_raw else _STATEMENT.fullmatch(inner)
        if statement is None:
            yield Braces(start, seek, line, inner, is_raw)
        else:
            yield Braces(start, seek, line, statement[2], False, statement[1])
