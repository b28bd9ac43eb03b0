"""What is handed in, and what the queue holds: envelope, options, submission, message, pin."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from relay.domain.address import Mailbox
from relay.domain.dsn import DsnRequest
from relay.domain.ids import (
    AccountId,
    BodyId,
    Epoch,
    IpAddress,
    MessageId,
    PoolId,
    SubaccountId,
    TransmissionId,
)
from relay.domain.resolve import Decision
from relay.domain.value import value

MAX_CAMPAIGN_BYTES = 64
MAX_METADATA_BYTES = 10_000
MAX_TAGS = 10
MAX_TAG_BYTES = 255
MAX_POOL_CHARACTERS = 255
"""Of what was asked for: it is quoted in replies and events. No pool has an id this long."""


class RcptType(StrEnum):
    """Which copy a message is. The copy for a RCPT TO has no type."""

    TO = ""
    CC = "cc"
    BCC = "bcc"
    ARCHIVE = "archive"


class State(StrEnum):
    """Where a message of the queue stands. Finished messages have left it."""

    QUEUED = "queued"
    IN_FLIGHT = "in_flight"
    HELD = "held"


class Wish(StrEnum):
    """What an operator asked of a message in flight; obeyed when it is queued again."""

    NONE = ""
    HOLD = "hold"
    CANCEL = "cancel"


@value
class Pin:
    """The sending IP of one message, by value: it survives the pool and the IP (R27-R29)."""

    pool: PoolId
    ip: IpAddress
    """The public address: identity in queue, API and events."""
    hostname: str
    """The EHLO name."""
    bind: IpAddress
    """The local source address when the message was pinned; used when the IP is no longer known."""


@dataclass(frozen=True, slots=True)
class Copy:
    """An entry of `cc`, `bcc` or `archive`."""

    mailbox: Mailbox
    name: str = ""


@value
class Options:
    """What X-MSYS-API, or a request body, asked for."""

    ip_pool: str | None = None
    """Verbatim; None when missing, null or empty."""
    campaign_id: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    cc: tuple[Copy, ...] = ()
    bcc: tuple[Copy, ...] = ()
    archive: tuple[Copy, ...] = ()
    open_tracking: bool | None = None
    click_tracking: bool | None = None
    initial_open: bool | None = None
    transactional: bool | None = None
    skip_suppression: bool = False
    inline_css: bool = False
    sandbox: bool = False
    dkim_key: str = ""


@value
class Envelope:
    """Reverse-path and forward-paths of one transaction (RFC 5321 §3.3). Not the header fields."""

    mail_from: str
    """The address without brackets; empty for the null reverse-path."""
    recipients: tuple[Mailbox, ...]
    smtputf8: bool = False
    eight_bit: bool = False
    """BODY=8BITMIME was declared, or the body needs it (RFC 6152)."""
    requests: tuple[DsnRequest | None, ...] = ()
    """For each recipient what is to be told of it (RFC 3461); empty: nobody asked."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """Where one recipient's copy differs from what its submission says of all of them. Empty: it does not."""

    subject: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Goes before the submission's, key by key."""
    tags: tuple[str, ...] = ()
    mail_from: str = ""
    friendly_from: str = ""
    sending_domain: str = ""


@value
class Submission:
    """One accepted injection: what all its messages share and every event about them tells."""

    id: TransmissionId
    account: AccountId
    subaccount: SubaccountId | None
    accepted: datetime
    recv_method: str
    """`esmtp` or `rest`."""
    remote_addr: str
    mail_from: str
    """As injected, before any bounce domain; DSNs go here."""
    subject: str
    friendly_from: str
    sending_domain: str
    options: Options
    decision: Decision

    def of_copy(self, own: Particulars | None) -> "Submission":
        """The same as it is told of the copy with these particulars."""
        if own is None:
            return self
        options = self.options
        return replace(
            self,
            mail_from=own.mail_from or self.mail_from,
            subject=own.subject or self.subject,
            friendly_from=own.friendly_from or self.friendly_from,
            sending_domain=own.sending_domain or self.sending_domain,
            options=replace(
                options, metadata={**options.metadata, **own.metadata}, tags=own.tags or options.tags
            ),
        )


@value
class Message:
    """The queue's unit: one recipient's copy, with its pin."""

    id: MessageId
    transmission_id: TransmissionId
    account: AccountId
    subaccount: SubaccountId | None
    body_id: BodyId
    prefix: bytes
    """Header fields of this copy alone, CRLF-ended; they go before the shared body."""
    mail_from: str
    """The reverse-path that the next hop sees."""
    rcpt_to: str
    """The forward-path as given."""
    domain: str
    """The recipient domain, lower-case A-labels, or an address literal with its brackets."""
    rcpt_type: RcptType
    size_bytes: int
    """Octets that DATA carries: prefix and body, without dot-stuffing."""
    smtputf8: bool
    eight_bit: bool
    pin: Pin
    accepted: datetime
    expires: datetime
    due: datetime
    state: State = State.QUEUED
    attempts: int = 0
    last_reply: str = ""
    """The last temporary failure, for the reason of a timeout."""
    epoch: Epoch = Epoch(0)
    wish: Wish = Wish.NONE
    orphaned: int = 0
    """How many holders of its lane died or lost it while this message was in flight."""
    particulars: Particulars | None = None
    """None: it is as the submission says."""
    dsn_request: DsnRequest | None = None
    """None: the client asked for nothing."""


@value
class Body:
    """The octets that messages of one submission share, CRLF lines, not dot-stuffed."""

    id: BodyId
    content: bytes
