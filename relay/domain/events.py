"""What happened, as immutable facts. What all events of a submission share stays with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from relay.domain.ids import AccountId, IpAddress, MessageId, PoolId, SubaccountId, TransmissionId
from relay.domain.message import Message, Particulars
from relay.domain.outcome import Peer
from relay.domain.value import value


@value
class Subject:
    """The message that an event is about, with what the queue forgets when it leaves."""

    message_id: MessageId
    transmission_id: TransmissionId
    account: AccountId
    subaccount: SubaccountId | None
    rcpt_to: str
    domain: str
    rcpt_type: str
    size_bytes: int
    sending_ip: IpAddress
    """Empty for what never came to be a message."""
    ip_pool: PoolId
    particulars: Particulars | None = None

    @classmethod
    def of(cls, message: Message) -> "Subject":
        return cls(
            message.id,
            message.transmission_id,
            message.account,
            message.subaccount,
            message.rcpt_to,
            message.domain,
            str(message.rcpt_type),
            message.size_bytes,
            message.pin.ip,
            message.pin.pool,
            message.particulars,
        )


@value
class Injection:
    """The message was accepted and is in the queue."""

    at: datetime
    about: Subject


@value
class Delivery:
    """The next hop accepted the message; it is not necessarily in the mailbox."""

    at: datetime
    about: Subject
    num_retries: int
    """Failed attempts before this one."""
    queue_time_ms: int
    """From injection to this attempt."""
    peer: Peer
    reply: str


@dataclass(frozen=True, slots=True)
class Delay:
    """An attempt failed for now; the message waits for another."""

    at: datetime
    about: Subject
    num_retries: int
    queue_time_ms: int
    peer: Peer
    bounce_class: int
    error_code: int
    raw_reason: str
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Bounce:
    """The message failed for good."""

    at: datetime
    about: Subject
    num_retries: int
    queue_time_ms: int
    peer: Peer
    bounce_class: int
    error_code: int
    raw_reason: str


@dataclass(frozen=True, slots=True)
class PolicyRejection:
    """An injection was refused, for good or (a 4yz reply of SMTP) for now; no message came to be."""

    at: datetime
    account: AccountId
    subaccount: SubaccountId | None
    remote_addr: str
    mail_from: str
    rcpt_to: str
    bounce_class: int
    error_code: int
    raw_reason: str
    ip_pool_raw: str = ""
    recv_method: str = ""
    """`esmtp` or `rest`; empty: not known any more."""


@dataclass(frozen=True, slots=True)
class GenerationFailure:
    """The content of an accepted transmission could not be rendered for a recipient; there is no message."""

    at: datetime
    about: Subject
    bounce_class: int
    error_code: int
    raw_reason: str


@dataclass(frozen=True, slots=True)
class GenerationRejection:
    """A rule of ours forbade the message for a recipient of an accepted transmission (R33)."""

    at: datetime
    about: Subject
    bounce_class: int
    error_code: int
    raw_reason: str


@dataclass(frozen=True, slots=True)
class Operated:
    """An operator held, released, retried, cancelled or re-pinned the message."""

    at: datetime
    about: Subject
    verb: str
    actor: str
    detail: str = ""


Attempt = Delivery | Delay | Bounce
"""What an attempt comes to."""

Failure = Delay | Bounce | PolicyRejection | GenerationFailure | GenerationRejection
"""What went wrong, for now or for good, with its class and its reply."""

Event = (
    Injection
    | Delivery
    | Delay
    | Bounce
    | PolicyRejection
    | GenerationFailure
    | GenerationRejection
    | Operated
)


@dataclass(frozen=True, slots=True)
class EventKind:
    """What is true of all events of one class, and how they are called."""

    event: type[Event]
    name: str
    """In the store, at the command line and, where it is public, at REST and in tables."""
    word: str
    """For people: what happened, in one word."""
    tone: Literal["good", "wait", "bad", "still"]
    """Of the badge that the word stands on."""
    group: Literal["message_event", "gen_event"] | None
    """Among SparkPost's classes of events; None: it is told to nobody outside, nor counted."""
    is_end: bool
    """Whether there is no message any more, or never was one."""

    @property
    def is_public(self) -> bool:
        return self.group is not None

    @property
    def is_attempt(self) -> bool:
        return issubclass(self.event, Attempt)

    @property
    def is_failure(self) -> bool:
        return issubclass(self.event, Failure)


EVENT_KINDS = (
    EventKind(Injection, "injection", "accepted", "still", "message_event", is_end=False),
    EventKind(Delivery, "delivery", "delivered", "good", "message_event", is_end=True),
    EventKind(Delay, "delay", "delayed", "wait", "message_event", is_end=False),
    EventKind(Bounce, "bounce", "bounced", "bad", "message_event", is_end=True),
    EventKind(PolicyRejection, "policy_rejection", "refused", "bad", "message_event", is_end=True),
    EventKind(GenerationFailure, "generation_failure", "not generated", "bad", "gen_event", is_end=True),
    EventKind(GenerationRejection, "generation_rejection", "rejected", "bad", "gen_event", is_end=True),
    EventKind(Operated, "operated", "operated", "still", None, is_end=False),
)
"""All there are, in the order in which people read them."""

_BY_CLASS: Mapping[type[Event], EventKind] = {kind.event: kind for kind in EVENT_KINDS}


def kind_of(event: Event) -> EventKind:
    return _BY_CLASS[type(event)]
