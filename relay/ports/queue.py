"""The durable queue."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from relay.domain.events import Event
from relay.domain.ids import (
    AccountId,
    Epoch,
    IpAddress,
    MessageId,
    NodeName,
    PoolId,
    Revision,
    SubaccountId,
    TransmissionId,
    WorkerId,
)
from relay.domain.lifecycle import Settlement
from relay.domain.message import Body, Message, State, Submission
from relay.domain.suppression import Kind
from relay.domain.value import value
from relay.ports.idempotency import Answered


@value
class ListCheck:
    """That the suppression list is to be asked for a batch, in its own transaction."""

    kind: Kind
    """Of the mail."""
    known: frozenset[str] = frozenset()
    """Recipients that the batch leaves out already, as `key_of` makes them."""


@value
class EnqueueBatch:
    """One submission with all that it became. All or nothing."""

    submission: Submission
    bodies: Sequence[Body]
    messages: Sequence[Message]
    events: Sequence[Event]
    revision: Revision
    """Of the directory under which the messages were pinned."""
    claimed: Mapping[IpAddress, Epoch] = field(default_factory=dict)
    """Lanes of this worker with a place reserved: their messages start in flight."""
    list_check: ListCheck | None = None
    """None: suppressed recipients get the mail too."""
    answered: Answered | None = None
    """Kept in the same transaction for whoever repeats the request."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One sending IP's outbound flow, held by this worker under an epoch."""

    ip: IpAddress
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Head:
    """One domain waiting in a lane, and when its first message is due."""

    domain: str
    due: datetime


@value
class Claimed:
    """A message now in flight for us, and the shared body it sends after its prefix."""

    message: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class MailFilter:
    """Which unfinished messages; every field given must match. account None is for operators alone."""

    account: AccountId | None
    subaccount: SubaccountId | None = None
    """0 is the account itself. Not for `waiting`."""
    ip: IpAddress | None = None
    pool: PoolId | None = None
    domain: str | None = None
    state: State | None = None
    transmission: TransmissionId | None = None
    """Not for `waiting`."""
    ids: tuple[MessageId, ...] = ()
    """Not for pages and counts of `ReportStore`, which go through all that waits."""


class QueueStore(Protocol):
    """The durable queue. Each method is one transaction; none decides anything."""

    async def enqueue(self, batch: EnqueueBatch, then: Callable[[bool | None], None] | None = None) -> bool:
        """Store all or nothing. On return the mail survives power loss.

        True: messages of `claimed` lanes are in flight under the given epochs, one attempt
        counted. False: an epoch had moved on, so every message is queued. Cancelling the
        caller neither interrupts nor undoes it. Raises StaleDirectory, StoreUnavailable, IdTaken,
        OverCapacity while the disk has no room for more mail, QueueShareFull, and
        RecipientsSuppressed for messages that the batch's check should have left out.

        then is called exactly once, in the caller's loop, with the same answer, or None when
        nothing was stored; also when the caller was cancelled meanwhile. What must follow a
        commit whatever becomes of the client belongs there.
        """

    async def hold_lanes(self, worker: WorkerId, node: NodeName, ttl_s: float, limit: int) -> list[Lane]:
        """Renew this worker's lanes and take free, expired or orphaned ones, up to limit in all.

        A lane exists for each sending IP that may be held on the node or that still has
        mail. One that changes hands gets a higher epoch. Only here does the database's
        clock count, not `Clock`.
        """

    async def fair_share(self, node: NodeName) -> int:
        """How many lanes a worker may hold so that all live ones of the node find some: at least 1."""

    async def release_lanes(self, worker: WorkerId, ips: Sequence[IpAddress] | None = None) -> None:
        """Give up these lanes, or all."""

    async def orphans(self, lane: Lane) -> list[Message]:
        """What older epochs left in flight, now under this one, `orphaned` counted up.

        The caller settles each.
        """

    async def heads(self, lane: Lane, until: datetime, domains: Sequence[str] | None = None) -> list[Head]:
        """One row a domain (of these; None: of all) that has queued mail due by then: when the first is."""

    async def pull_forward(self, lane: Lane, now: datetime, gaps: Sequence[timedelta], limit: int) -> int:
        """Make queued mail due that waits for longer than the gap of its attempt; how much there was.

        gaps: after 1, 2, … failed attempts; the last is that of all later ones. A clock that was
        set back leaves such mail.
        """

    async def claim(
        self, lane: Lane, domains: Sequence[str], now: datetime, limit: int, max_bytes: int
    ) -> list[Claimed]:
        """Mark due messages in flight, oldest due first, and count the attempt.

        Not those past `expires`. At least one, however large, when any is due. Empty when the epoch moved on.
        """

    async def claim_overdue(self, lane: Lane, now: datetime, limit: int) -> list[Message]:
        """Mark queued and held messages past `expires` in flight, no attempt counted."""

    async def settle(self, lane: Lane, settlements: Sequence[Settlement]) -> list[MessageId]:
        """Apply outcomes and append their events; returns the ids no longer ours to settle.

        A wish to hold turns a Requeue into held; a wish to cancel leaves it queued and due
        at once, with the wish, for the next claim to discard. A body goes with its last
        message. Also removes a message that a newer epoch queued again and has not claimed,
        when the settlement is a Finish.
        """

    async def select(self, what: MailFilter, limit: int, offset: int = 0) -> list[Message]:
        """Unfinished messages, oldest acceptance first."""

    async def count(self, what: MailFilter) -> int: ...

    async def hold(self, what: MailFilter, now: datetime, until: datetime, actor: str) -> int:
        """Queued → held with `until` as deadline; in flight: a wish. Returns how many."""

    async def release(self, what: MailFilter, now: datetime, actor: str) -> int:
        """Held → queued and due now; the time held is added to the original expiry."""

    async def retry(self, what: MailFilter, now: datetime, actor: str) -> int:
        """Queued messages become due now."""

    async def cancel(self, what: MailFilter, now: datetime, actor: str) -> int:
        """Queued or held → queued, due now, with the wish to cancel; in flight: the wish."""

    async def repin(self, what: MailFilter, to: IpAddress, now: datetime, actor: str) -> int:
        """Queued and held messages get the pin of that sending IP, and keep their pool id.

        Those in flight are not touched. Raises UnknownObject, and Conflict when the selected
        mail is of an account that may not send from that IP: then none is touched.
        """

    async def body(self, message: MessageId) -> bytes | None:
        """The shared body of an unfinished message; for a DSN, which quotes its header section."""

    async def last_ungated(self) -> MessageId:
        """The newest message that a version without the gate stored; empty: none. It never changes."""

    async def composed(self, transmissions: Collection[TransmissionId]) -> frozenset[TransmissionId]:
        """Those of them whose messages the relay wrote itself: by REST, and notices of failure."""


class WakeUps(Protocol):
    """How the processes of one store tell each other that there is something to look at.

    A courtesy, not a promise: whoever holds a lane also looks by himself.
    """

    def tell(self, ip: IpAddress | None = None, domain: str = "") -> None:
        """To all others: mail for that domain waits in that lane.

        No domain: look at the whole lane. No IP: look at all, and at who holds what.
        """

    def hear(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        """Have heard called, in this loop, with what others tell."""
