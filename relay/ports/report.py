"""Read models for people who watch the mail: counts over time, and what waits where."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from relay.domain.ids import AccountId, IpAddress, PoolId
from relay.domain.message import Message
from relay.ports.queue import MailFilter

TALLY_STEP = timedelta(minutes=10)
"""The finest step in which events are counted."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events of one kind there were in one step of time."""

    at: datetime
    """When the step begins; steps are counted from 1970, so days are those of UTC."""
    account: AccountId
    ip: IpAddress
    """Empty for what never came to be a message, and where IPs are counted together."""
    pool: PoolId
    """Empty as ip is."""
    kind: str
    """Its name, as in `EVENT_KINDS`."""
    count: int


class Facet(StrEnum):
    """What waiting mail can be counted by."""

    ACCOUNT = "account"
    IP = "ip"
    POOL = "pool"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class StateCounts:
    """How many messages stand in each state."""

    queued: int = 0
    in_flight: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        return self.queued + self.in_flight + self.held


@dataclass(frozen=True, slots=True)
class Waiting:
    """One group of unfinished messages; what it is not grouped by is None."""

    account: AccountId | None
    ip: IpAddress | None
    pool: PoolId | None
    domain: str | None
    counts: StateCounts
    first_due: datetime | None
    """When the first of its queued messages is due; None: none is queued.

    A group of many IPs and domains is sampled: the first of its largest parts.
    """
    last_reply: str
    """Why that first message waits: its last temporary failure. Empty: it was not tried yet."""


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """Part of the groups, largest first."""

    groups: tuple[Waiting, ...]
    number: int
    """How many groups there are in all."""
    counts: StateCounts
    """Of all of them together."""


@dataclass(frozen=True, slots=True)
class MailPage:
    """Part of the messages that a filter means."""

    messages: tuple[Message, ...]
    next: str | None
    """Where the next page goes on (letters, digits, `.`, `_`, `-`, `~`); None: there is no more."""
    is_cut: bool
    """The page ended because enough was looked at, not because it is full: there may be more."""


class BadPlace(ValueError):
    """What was given as the place to go on is none that a page ended with."""


class ReportStore(Protocol):
    """Counts and lists that are quick however much there is. Nothing of other accounts is in them."""

    async def tallies(
        self,
        account: AccountId | None,
        since: datetime,
        until: datetime,
        step: timedelta,
        *,
        by_ip: bool = True,
    ) -> list[Tally]:
        """Events counted in steps that overlap [since, until), oldest first; steps without any are left out.

        step: a multiple of TALLY_STEP, or ValueError. account: None is all, each by itself.
        by_ip: False counts the IPs and pools of an account together. Operators' deeds are not counted.
        """

    async def waiting(
        self, what: MailFilter, by: Collection[Facet], limit: int, offset: int = 0
    ) -> WaitingPage:
        """Unfinished mail counted by the facets, exactly, largest group first.

        by: empty gives one group of all. Raises ValueError for a filter that counts do not know.
        """

    async def holdings(self) -> dict[AccountId, int]:
        """Octets that accounts hold in the queue: mail, and transmissions with contents and recipients."""

    @property
    def share_bytes(self) -> int:
        """What each of them may hold."""

    async def messages(self, what: MailFilter, limit: int, after: str | None = None) -> MailPage:
        """Unfinished messages: next due first when a domain is given, else next to expire first.

        With a transmission: in the order in which they were made. A page may be cut short
        with subaccount or transmission, and where the mail of others fills a shared IP.
        Raises BadPlace.
        """
