"""The suppression lists."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from relay.domain.ids import AccountId, SubaccountId
from relay.domain.suppression import Kind, Source, Suppression


class ListOrder(Enum):
    """In which entries are listed; within one moment they are by subaccount and recipient."""

    RECIPIENT = "recipient"
    ASCENDING = "asc"
    DESCENDING = "desc"
    """By the time of the last update."""


@dataclass(frozen=True, slots=True)
class SuppressionQuery:
    """Which entries of an account; every field given must match."""

    account: AccountId
    all_subaccounts: bool = False
    subaccount: SubaccountId | None = None
    """Whose list when not all: a subaccount's, or the account's own (None)."""
    recipient: str | None = None
    domain: str = ""
    kinds: frozenset[Kind] = frozenset()
    sources: frozenset[Source] = frozenset()
    description: str = ""
    """Stands in it, in whatever case."""
    is_description_whole: bool = False
    """It is all of it, letter by letter."""
    list_id: str | None = None
    """Of that mailing list; empty: of none. None: of any or none."""
    since: datetime | None = None
    until: datetime | None = None
    """Of the last update; since is inclusive, until is not."""
    order: ListOrder = ListOrder.RECIPIENT


@dataclass(frozen=True, slots=True)
class SuppressionPage:
    """Part of what a query finds, in its order."""

    entries: tuple[Suppression, ...]
    total: int
    """How many the query finds."""
    has_more: bool


class SuppressionStore(Protocol):
    """Whom accounts must not write to. Each method is one transaction."""

    async def put(self, entries: Sequence[Suppression]) -> None:
        """Add, or change source, description and time of what is there: not of what compliance put there."""

    async def remove(
        self,
        account: AccountId,
        subaccount: SubaccountId | None,
        recipient: str,
        kinds: Collection[Kind],
        list_id: str | None = None,
    ) -> bool:
        """Whether anything was there to remove. list_id: see `SuppressionQuery`.

        Raises ComplianceEntry, and removes nothing then.
        """

    async def find(
        self, query: SuppressionQuery, limit: int, offset: int = 0, after: Suppression | None = None
    ) -> SuppressionPage:
        """Entries in order, those behind `after` when given."""

    async def count(self, query: SuppressionQuery) -> Mapping[Source, int]:
        """How many entries of each source the query finds; those that it finds none of are left out."""

    async def among(
        self, account: AccountId, subaccount: SubaccountId | None, kind: Kind, recipients: Collection[str]
    ) -> Mapping[str, Source]:
        """Which of these recipients (as `key_of` makes them) are on the list, and why."""
