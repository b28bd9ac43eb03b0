"""What messages are put together of: octets that are the same for everybody, and what makes them for one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relay.mail.budget import Budget
from relay.mail.entities import text_entity
from relay.mail.fields import steps_of, value_of
from relay.mail.inline_css import inline_css
from relay.mail.template import Template

Data = Mapping[str, Any]
Piece = bytes | Callable[[Data, Budget], bytes]
"""Octets, or what makes them for one recipient."""


def piece_of(make: Callable[[Data, Budget], bytes], is_constant: bool) -> Piece:
    return make({}, Budget()) if is_constant else make


def join_pieces(pieces: Sequence[Piece], data: Data, budget: Budget) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else piece(data, budget) for piece in pieces)


def merge_pieces(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Neighbouring octets joined."""
    found: list[Piece] = []
    octets: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            octets.append(piece)
        else:
            found += [b"".join(octets), piece]
            octets.clear()
    return (*found, b"".join(octets)) if octets or not found else tuple(found)


def field_of(name: str, template: Template, data: Data, budget: Budget) -> bytes:
    text = template.render(data, budget)
    lower = name.lower()
    budget.spend(steps_of(lower, text))
    return name.encode("ascii") + b": " + value_of(lower, text) + b"\r\n"


def entity_of(
    type_: str,
    parameters: Sequence[bytes],
    template: Template,
    inlines_css: bool,
    data: Data,
    budget: Budget,
) -> bytes:
    text = template.render(data, budget)
    if inlines_css:
        text = inline_css(text)
        budget.write(text)
    return text_entity(type_, text, parameters)
