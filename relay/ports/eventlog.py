"""Reading what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.domain.events import Event
from relay.domain.ids import AccountId, IpAddress, MessageId, SubaccountId, TransmissionId
from relay.domain.message import Submission


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the submission that it belongs to; a policy rejection has none."""

    id: str
    event: Event
    submission: Submission | None
    """As it is told of the message that the event is about."""


@dataclass(frozen=True, slots=True)
class EventPlace:
    """Where a page ended; the next one goes on behind it."""

    at_us: int
    id: int
    total: int
    """How many events the search found when it began: later pages do not count again."""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events of an account. Empty means any; of several values one must fit, and every field must."""

    account: AccountId | None
    """None, for operators alone: of all."""
    since: datetime
    until: datetime
    """since is inclusive, until is not."""
    kinds: frozenset[str] = frozenset()
    """Names of SparkPost's."""
    subaccounts: frozenset[SubaccountId] = frozenset()
    """0 is the account itself."""
    ids: frozenset[int] = frozenset()
    messages: frozenset[MessageId] = frozenset()
    transmissions: frozenset[TransmissionId] = frozenset()
    sending_ips: frozenset[IpAddress] = frozenset()
    bounce_classes: frozenset[int] = frozenset()
    recipients: frozenset[str] = frozenset()
    """In whatever case, as the next two."""
    recipient_domains: frozenset[str] = frozenset()
    from_addresses: frozenset[str] = frozenset()
    ip_pools: tuple[str, ...] = ()
    """Keywords: whole parts between spaces, hyphens and underscores, in their order. So are all below."""
    reasons: tuple[str, ...] = ()
    sending_domains: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Part of what a search finds, newest first."""

    told: tuple[Told, ...]
    total: int
    next: EventPlace | None
    """None: there is no more."""


@dataclass(frozen=True, slots=True)
class FoundEvents:
    """Part of what a search finds, newest first, without a count of the whole."""

    told: tuple[Told, ...]
    next: int | None
    """The place where the next page goes on; None: there is no more."""
    is_cut: bool
    """The page ended because enough was looked at, not because it is full: there may be more."""


class EventLog(Protocol):
    """Reading what enqueue and settle appended."""

    async def append(self, events: Sequence[Event]) -> None:
        """For events that no message change carries: policy rejections.

        Raises StoreUnavailable, and OverCapacity while the disk has no room for more mail.
        """

    async def story(self, message: MessageId) -> list[Told]:
        """Everything about one message, oldest first."""

    async def of_transmission(self, transmission: TransmissionId) -> list[Told]: ...

    async def recent(self, limit: int) -> list[Told]:
        """Newest first."""

    async def find(self, query: EventQuery, limit: int, after: int | None = None) -> FoundEvents:
        """Up to limit of the events that the query means, behind `after` when given, quickly however many.

        Newest first: in the order in which they were stored, which time follows but for moments.
        """

    async def summarise(self) -> int:
        """Note which terms blocks of older events have, for searches to leave out the other blocks.

        Returns how many blocks were noted. Nothing depends on it but how long searches take.
        """

    async def search(self, query: EventQuery, limit: int, after: EventPlace | None = None) -> EventPage:
        """Up to limit of the events that the query means, newest first, behind `after` when given.

        One search at a time in a process: others wait their turn.
        """

    async def trim(self, before: datetime) -> int:
        """Remove older events, and submissions that nothing refers to; returns how many events."""
