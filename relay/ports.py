"""What the core asks of the world: Protocols only. `store` and `net` answer, `runtime` joins them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.domain.events import Event
from relay.domain.ids import (
    AccountId,
    Epoch,
    IpAddress,
    MessageId,
    NodeName,
    PoolId,
    Revision,
    TransmissionId,
    WorkerId,
)
from relay.domain.lifecycle import Settlement
from relay.domain.message import Body, Envelope, Message, State, Submission
from relay.domain.outcome import Peer
from relay.domain.reply import Reply
from relay.domain.route import TlsPolicy

# ── ambient ──────────────────────────────────────────────────────────────────────────────


class Clock(Protocol):
    """The time, and waiting for it. Never the measure of a network time-out."""

    def now(self) -> datetime:
        """Aware UTC."""

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        """True once event is set, False when until (None: never) came first."""


class Entropy(Protocol):
    """Random octets."""

    def octets(self, count: int) -> bytes: ...


# ── the queue ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EnqueueBatch:
    """One submission with all that it became. All or nothing."""

    submission: Submission
    bodies: Sequence[Body]
    messages: Sequence[Message]
    events: Sequence[Event]
    revision: Revision
    """Of the directory under which the messages were pinned."""
    claimed: Mapping[IpAddress, Epoch] = field(default_factory=dict)
    """Lanes of this worker with a place reserved: their messages start in flight (A §8)."""


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


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message now in flight for us, and the shared body it sends after its prefix."""

    message: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Selection:
    """Which unfinished messages an operator means; every field given must match."""

    ids: tuple[MessageId, ...] = ()
    ip: IpAddress | None = None
    pool: PoolId | None = None
    account: AccountId | None = None
    domain: str | None = None
    state: State | None = None


class QueueStore(Protocol):
    """The durable queue. Each method is one transaction; none decides anything."""

    async def enqueue(self, batch: EnqueueBatch, then: Callable[[bool | None], None] | None = None) -> bool:
        """Store all or nothing. On return the mail survives power loss.

        True: messages of `claimed` lanes are in flight under the given epochs, one attempt
        counted. False: an epoch had moved on, so every message is queued. Cancelling the
        caller neither interrupts nor undoes it. Raises StaleDirectory, StoreUnavailable.

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

    async def heads(self, lane: Lane, until: datetime) -> list[Head]:
        """One row a domain that has queued mail due by then."""

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

    async def select(self, selection: Selection, limit: int, offset: int = 0) -> list[Message]:
        """Unfinished messages, oldest acceptance first."""

    async def count(self, selection: Selection) -> int: ...

    async def hold(self, selection: Selection, now: datetime, until: datetime, actor: str) -> int:
        """Queued → held with `until` as deadline; in flight: a wish. Returns how many."""

    async def release(self, selection: Selection, now: datetime, actor: str) -> int:
        """Held → queued and due now; the time held is added to the original expiry."""

    async def retry(self, selection: Selection, now: datetime, actor: str) -> int:
        """Queued messages become due now."""

    async def cancel(self, selection: Selection, now: datetime, actor: str) -> int:
        """Queued or held → queued, due now, with the wish to cancel; in flight: the wish."""

    async def repin(self, selection: Selection, to: IpAddress, now: datetime, actor: str) -> int:
        """Queued and held messages get the pin of that sending IP, and keep their pool id.

        Those in flight are not touched.
        """

    async def body(self, message: MessageId) -> bytes | None:
        """The shared body of an unfinished message; for a DSN, which quotes its header section."""


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


# ── directory and events ─────────────────────────────────────────────────────────────────


class DirectoryStore(Protocol):
    """The directory's rows."""

    async def revision(self) -> Revision: ...

    async def snapshot(self) -> Snapshot: ...

    async def apply(
        self, changes: Sequence[Change], based_on: Revision, actor: str, now: datetime
    ) -> Revision:
        """All changes, their audit lines and the next revision in one transaction.

        An account that still has queued mail cannot be removed: Conflict, by name. A removed
        IP that still has queued mail is retired. Raises StaleDirectory when based_on is past.
        """

    async def reap_retired(self, now: datetime) -> int:
        """Remove retired IPs that no message is pinned to any more; returns how many. Any: a new revision."""


class Directory(Protocol):
    """The live directory of this process."""

    @property
    def snapshot(self) -> Snapshot: ...

    async def refresh(self) -> Snapshot:
        """The newest snapshot; reloaded only when the revision moved."""

    async def apply(self, changes: Sequence[Change], actor: str) -> Snapshot:
        """Write changes computed from the current snapshot; swapped in before it returns.

        Raises StaleDirectory, Conflict.
        """


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the submission that it belongs to; a policy rejection has none."""

    id: str
    event: Event
    submission: Submission | None


class EventLog(Protocol):
    """Reading what enqueue and settle appended."""

    async def append(self, events: Sequence[Event]) -> None:
        """For events that no message change carries, such as a policy rejection."""

    async def story(self, message: MessageId) -> list[Told]:
        """Everything about one message, oldest first."""

    async def of_transmission(self, transmission: TransmissionId) -> list[Told]: ...

    async def recent(self, limit: int) -> list[Told]:
        """Newest first."""

    async def trim(self, before: datetime) -> int:
        """Remove older events, and submissions that nothing refers to; returns how many events."""


# ── egress ───────────────────────────────────────────────────────────────────────────────


class Departures(Protocol):
    """What egress offers to mail that is being accepted: the short way. Without egress, nothing."""

    def reserve(self, ip: IpAddress, domain: str, size_bytes: int) -> Epoch | None:
        """A place for one transaction to this domain, if the lane is ours and its path has room."""

    def depart(self, ip: IpAddress, domain: str, mail: Sequence[Claimed]) -> None:
        """Use the place: the mail is in flight. Once for each reservation; without mail to give it back."""

    def queued(self, ip: IpAddress, domain: str, due: datetime) -> None:
        """Mail waits in the lane: look at it."""


class SmtpSession(Protocol):
    """One conversation with one host, ready for MAIL."""

    @property
    def peer(self) -> Peer: ...

    @property
    def extensions(self) -> frozenset[str]:
        """Upper-case EHLO keywords, `SIZE` and `8BITMIME` among them."""

    @property
    def is_usable(self) -> bool:
        """Whether another transaction may begin."""

    async def transact(self, envelope: Envelope, chunks: Sequence[bytes]) -> "Transcript":
        """MAIL, RCPT…, DATA; chunks joined are the content: CRLF lines, not dot-stuffed.

        Never raises for what the peer does.
        """

    async def close(self) -> None:
        """QUIT, briefly, then hang up."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one transaction came to."""

    replies: tuple[Reply, ...]
    """One for each recipient, in their order: the reply that decided its fate."""
    is_lost: bool = False
    """The connection ended."""
    was_dead: bool = False
    """Lost before any reply to MAIL: the session had died unnoticed, nothing was tried."""
    is_ambiguous: bool = False
    """Lost after the final dot."""


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for a smarthost."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoSession:
    """A conversation that never got as far as MAIL; reply.phase says where it ended.

    CONNECT and GREETING speak about the host as a whole and back its path off.
    """

    reply: Reply
    peer: Peer


class Dialer(Protocol):
    """Conversations from a given source address."""

    async def connect(
        self, bind: IpAddress, ehlo: str, host: "Host", tls: TlsPolicy, login: Login | None
    ) -> SmtpSession | NoSession:
        """A session ready for MAIL: connected from bind, greeted, EHLO said, TLS and AUTH done as asked.

        Raises SourceUnplumbed when bind is not on this machine, before any packet leaves.
        """


@dataclass(frozen=True, slots=True)
class Host:
    """A server to connect to."""

    name: str
    """For TLS and for people; equal to the address when configured so."""
    address: IpAddress
    port: int


class MxResolver(Protocol):
    """DNS as routes need it."""

    async def mx(self, domain: str) -> "Mx":
        """MX hosts in order, or the domain itself when it has none (RFC 5321 §5.1)."""

    async def addresses(self, name: str) -> "Addresses":
        """A and AAAA of a host name; an address literal is its own answer."""


@dataclass(frozen=True, slots=True)
class Mx:
    """Exchangers by rising preference. Empty with a reply when mail cannot go there."""

    hosts: tuple[tuple[int, str], ...] = ()
    """(preference, name)."""
    failure: Reply | None = None
    """Null MX (RFC 7505), no such domain, or a resolver that does not answer."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of one host, or why there are none."""

    addresses: tuple[IpAddress, ...] = ()
    failure: Reply | None = None
