"""What happened, as immutable facts. What all events of a submission share stays with it."""

from dataclasses import dataclass
from datetime import datetime

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
