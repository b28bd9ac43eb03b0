"""Short lists in pages: what of a list stands on the page that is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.frames.console.forms import Form, number_in

PER_PAGE = 25

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Listed(Generic[Item]):
    """One page of a list; page counts from 1."""

    items: Sequence[Item]
    page: int
    pages: int
    number: int
    """Of all items on all pages."""


def page_list(items: Sequence[Item], query: Form, per_page: int = PER_PAGE) -> Listed[Item]:
    """The page that `?page=` names, or the nearest that there is."""
    pages = max(1, -(-len(items) // per_page))
    page = min(max(number_in(query["page"]) or 1, 1), pages)
    return Listed(items[(page - 1) * per_page : page * per_page], page, pages, len(items))
