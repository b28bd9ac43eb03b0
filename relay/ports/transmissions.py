"""Submissions whose messages are made after they were accepted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.domain.errors import RelayError
from relay.domain.events import Event
from relay.domain.ids import AccountId, MessageId, PoolId, Revision, SubaccountId, TransmissionId
from relay.domain.message import Body, Message, Submission
from relay.domain.transmission import (
    CampaignCancellation,
    Content,
    Progress,
    Recipient,
    Transmission,
    Verdict,
)
from relay.ports.idempotency import Answered


@dataclass(frozen=True, slots=True)
class TransmissionStanding:
    """A transmission as it stands."""

    transmission: Transmission
    progress: Progress
    verdict: Verdict | None
    """None until it is decided."""
    tries: int = 0
    """How often a process ended or hung at work on it since a recipient was stored."""
    is_begun: bool = False
    """Its holder is at work on it; else it is only held."""
    set_aside: datetime | None = None
    """Since when nobody is to work on it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the recipients from `position` up to `next` became."""

    transmission: TransmissionId
    position: int
    next: int
    submission: Submission | None
    """With the first recipients only."""
    bodies: Sequence[Body]
    messages: Sequence[Message]
    events: Sequence[Event]
    num_failed: int
    cause: RelayError | None = None
    """Why the last of those that failed did."""

    @property
    def num_generated(self) -> int:
        """Suppressed recipients count: each is told to be injected and bounced."""
        return self.next - self.position - self.num_failed


class TransmissionStore(Protocol):
    """Transmissions and their recipients. Each method is one transaction; none decides anything."""

    async def add_recipients(
        self,
        transmission: TransmissionId,
        account: AccountId,
        first: int,
        recipients: Sequence[Recipient],
    ) -> None:
        """Up to CHUNK recipients, from the index first on, before the transmission is submitted.

        Raises IdTaken when there are some already, QueueShareFull.
        """

    async def drop_recipients(self, transmission: TransmissionId) -> None:
        """Those of a transmission that was not submitted after all."""

    async def submit(
        self,
        transmission: Transmission,
        content: Content,
        verdict: Verdict | None,
        revision: Revision,
        answered: Answered | None = None,
    ) -> None:
        """On return it survives power loss, with the recipients that were added.

        revision: of the directory under which the verdict was found. answered: kept in the same
        transaction for whoever repeats the request. Raises StaleDirectory, IdTaken, StaleRequest,
        QueueShareFull.
        """

    async def hold_due(
        self, holder: str, now: datetime, ttl_s: float, limit: int
    ) -> list[TransmissionStanding]:
        """Renew this holder's transmissions and take due ones that nobody holds; the earliest first.

        What is held for longer than its ttl_s, by the database's clock, is free again; what a
        process held that is gone, at once. Of what another had begun the tries are counted; what
        was set aside is left alone, and so is what would be new to this holder of an account whose share
        of the queue is full.
        """

    async def mark(self, transmission: TransmissionId, holder: str, *, is_begun: bool) -> None:
        """The holder begins the work on it, or leaves it for later and lives on."""

    async def set_aside(self, transmission: TransmissionId, holder: str, event: Event, now: datetime) -> bool:
        """Nobody takes it until `retry`; with the event that tells it. False: the holder has it no more."""

    async def retry(self, transmission: TransmissionId, now: datetime, actor: str) -> bool:
        """What was set aside may be taken again, with no tries counted; False when it was not.

        With an audit line.
        """

    async def release(self, holder: str) -> None:
        """Give up all that this holder has; in good order, so that nothing is counted."""

    async def next_start(self, after: datetime) -> datetime | None:
        """The earliest start after that moment, of those still to come."""

    async def content(self, transmission: TransmissionId) -> Content | None: ...

    async def recipients(self, transmission: TransmissionId, position: int) -> list[Recipient]:
        """Those from position on, as many as stand together: at most CHUNK."""

    async def address_at(self, transmission: TransmissionId, position: int) -> tuple[str, str]:
        """Address and domain of that recipient, and nothing else of what is kept; empty when it is gone."""

    async def decide(self, transmission: TransmissionId, verdict: Verdict, revision: Revision) -> bool:
        """Write the verdict and begin; False when it is not `submitted` any more. Raises StaleDirectory."""

    async def check_room(self, account: AccountId) -> None:
        """Raises QueueShareFull while mail of the account leaves no room for what it has under way."""

    async def advance(self, made: Made, holder: str, now: datetime) -> bool:
        """Messages, events and the new position at once.

        False, and nothing is stored, when the position is another, it was cancelled, or somebody
        else holds it. An immediate one is forgotten with its last recipient. Raises QueueShareFull.
        """

    async def find(self, transmission: TransmissionId) -> TransmissionStanding | None: ...

    async def listed(self, account: AccountId, ended_since: datetime) -> list[TransmissionStanding]:
        """The account's scheduled ones, oldest first, but for those that ended before."""

    async def all(
        self, account: AccountId | None, limit: int, *, with_ended: bool
    ) -> list[TransmissionStanding]:
        """Of that account or of all: what was set aside first, then the oldest."""

    async def undecided(self, account: AccountId, pool: PoolId, bound: Collection[SubaccountId]) -> int:
        """How many scheduled ones of the account would look for the pool at their time (R30).

        Those that name it, whatever the case (A25), and those that name none of `bound`, the
        subaccounts that have the pool (R25).
        """

    async def cancel(self, transmission: TransmissionId, now: datetime) -> bool:
        """`submitted` → `Canceled`, its recipients gone; False when it is not `submitted` any more."""

    async def end(self, transmission: TransmissionId, now: datetime, actor: str) -> bool:
        """→ `Canceled` from wherever it stands, for the operator; False when it had ended.

        With an audit line. Messages that were made stay. An immediate one is forgotten.
        """

    async def cancel_campaign(self, cancellation: CampaignCancellation) -> None:
        """Cancel its unfinished transmissions, and keep the wish for the messages. The id is the store's."""

    async def cancellations(self) -> list[CampaignCancellation]:
        """Those not yet done."""

    async def mail_of(
        self, cancellation: CampaignCancellation, after: MessageId, limit: int
    ) -> list[Message]:
        """Unfinished messages that it means, by id, those behind `after`."""

    async def close(self, cancellation: CampaignCancellation) -> None:
        """It is done."""

    async def forget(self, ended_before: datetime, unsubmitted_before: TransmissionId) -> int:
        """Drop what ended before, and recipients of lesser ids that were never submitted; how many."""
