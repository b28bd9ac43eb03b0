"""Lists in pages: a cursor says after which object the next page begins."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Request

from relay.frames.rest.errors import ApiError
from relay.frames.rest.shapes import Link, Links

INITIAL = "initial"
"""The cursor of the first page."""
PER_PAGE, MOST_PER_PAGE = 25, 100

_MAX_CURSOR = 1000

Item = TypeVar("Item")
Position = list[str | int]
"""What an object is sorted by; no two of a list have the same."""


def encode_cursor(position: Position) -> str:
    text = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def decode_cursor(cursor: str | None, like: Position) -> Position | None:
    """None: the first page. like: a position of the same list. Raises ApiError 400."""
    if not cursor or cursor == INITIAL:
        return None
    try:
        if len(cursor) <= _MAX_CURSOR:
            padded = cursor + "=" * (-len(cursor) % 4)
            position = json.loads(base64.b64decode(padded, b"-_", validate=True))
            if isinstance(position, list) and [type(part) for part in position] == [
                type(one) for one in like
            ]:
                return position
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise ApiError(400, "cursor is not valid", param="cursor", value=cursor[:_MAX_CURSOR])


def per_page(text: str | None, usual: int = PER_PAGE, most: int = MOST_PER_PAGE) -> int:
    """Raises ApiError 400."""
    if text is None:
        return usual
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most:
        return int(text)
    raise ApiError(400, f"per_page must be a number from 1 to {most}", param="per_page", value=text[:100])


def page_of(
    items: Sequence[Item],
    position_of: Callable[[Item], Position],
    cursor: str | None,
    size: int,
    like: Position,
    *,
    is_descending: bool = False,
) -> tuple[list[Item], str | None]:
    """One page of a list that is whole in memory, and the cursor of the next page. Raises ApiError 400."""
    after = decode_cursor(cursor, like)
    ordered = sorted(items, key=position_of, reverse=is_descending)
    if after is not None:
        ordered = [
            item
            for item in ordered
            if (position_of(item) < after if is_descending else position_of(item) > after)
        ]
    page = ordered[:size]
    return page, encode_cursor(position_of(page[-1])) if len(ordered) > size else None


def links(request: Request, cursor: str | None) -> Links:
    """`next` is the same request with the cursor of the next page; cursor None: there is none."""
    return Links() if cursor is None else Links(next=_at(request, cursor))


def relations(request: Request, cursor: str | None) -> list[Link]:
    """The same as a list, with the first page, as the suppression list tells it."""
    is_first = request.query_params.get("cursor") in (None, "", INITIAL)
    if cursor is None and is_first:
        return []
    found = [Link(href=_at(request, INITIAL), rel="first")]
    return found if cursor is None else [*found, Link(href=_at(request, cursor), rel="next")]


def _at(request: Request, cursor: str) -> str:
    """The same request with that cursor. `page` goes: the cursor says where to go on."""
    asked = [
        (name, value) for name, value in request.query_params.multi_items() if name not in {"cursor", "page"}
    ]
    return f"{request.scope['path']}?{urlencode([('cursor', cursor), *asked])}"
