"""Submissions that become messages after they were accepted: what is kept of them until then.

submitted ── start_time ──► Generating ── last recipient ──► Success
    │                           │
    └───────── cancelled ───────┴──────► Canceled
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from relay.domain.address import Mailbox
from relay.domain.directory import SendingIp
from relay.domain.errors import RelayError
from relay.domain.ids import AccountId, SubaccountId, TransmissionId
from relay.domain.message import Options, Pin
from relay.domain.resolve import Decision, choose_ip

MAX_AHEAD = timedelta(days=31)
"""How far ahead `start_time` may lie (A15)."""
TOO_LATE_TO_CANCEL = timedelta(seconds=660)
"""A scheduled transmission cannot be cancelled by id when it starts in less than this (A16)."""
KEPT_AFTER_END = timedelta(hours=24)
"""How long a scheduled transmission is listed once it has ended."""
SET_ASIDE_AFTER = 3
"""Processes that may end at work on a transmission, with no recipient stored in between."""
CHUNK = 500
"""Recipients that become messages in one transaction."""


class TransmissionState(StrEnum):
    """In the words of SparkPost's API."""

    SUBMITTED = "submitted"
    GENERATING = "Generating"
    SUCCESS = "Success"
    CANCELED = "Canceled"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path of a transmission and what is particular to it."""

    mailbox: Mailbox
    name: str = ""
    header_to: str = ""
    """What `To:` says instead of the address: that is how REST does cc and bcc."""
    return_path: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    substitution_data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment or an inline image; of an image the name is the Content-ID."""

    name: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class InlineContent:
    """A message in parts. All texts but the files' are in the substitution language."""

    from_email: str
    subject: str
    from_name: str = ""
    text: str | None = None
    html: str | None = None
    amp_html: str | None = None
    reply_to: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[File, ...] = ()
    inline_images: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Rfc822Content:
    """A whole message by the client, CRLF lines."""

    message: bytes


Content = InlineContent | Rfc822Content


@dataclass(frozen=True, slots=True)
class Routing:
    """One decision for all recipients, by value: it survives the pool and its IPs (R27-R29)."""

    decision: Decision
    ips: tuple[SendingIp, ...]
    """In the order of their turns, with address, bind address, EHLO name and weight."""
    first_turn: int

    def pin(self, index: int) -> Pin:
        """The recipient of that index takes the turn of that number."""
        ip = choose_ip(self.ips, self.first_turn + index)
        return Pin(self.decision.pool, ip.address, ip.hostname, ip.bind)


@dataclass(frozen=True, slots=True)
class Rejection:
    """No recipient can be sent to; each is told so by an event (R33)."""

    decision: Decision
    """As far as it came: the steps say why."""
    reason: str
    is_failure: bool = False
    """What they ask for takes too much: no fault of a rule. Found out anew by whoever makes the messages."""


Verdict = Routing | Rejection


@dataclass(frozen=True, slots=True)
class Transmission:
    """A submission with many recipients or a start time; these stand in the store beside it."""

    id: TransmissionId
    account: AccountId
    subaccount: SubaccountId | None
    accepted: datetime
    start: datetime
    """When its messages are made; for an immediate one when it was accepted."""
    is_scheduled: bool
    remote_addr: str
    options: Options
    """What holds for all recipients; the metadata and tags of a recipient go before these."""
    num_rcpts: int
    description: str = ""
    return_path: str = ""
    substitution_data: Mapping[str, object] = field(default_factory=dict)
    substitutes: bool = True
    """False: braces mean nothing (`options.perform_substitutions`)."""
    asked_options: Mapping[str, object] = field(default_factory=dict)
    """`options` of the request as it came, to be shown again."""


@dataclass(frozen=True, slots=True)
class CampaignCancellation:
    """The wish that no mail of a campaign that was accepted until then leaves any more."""

    id: int
    account: AccountId
    subaccount: SubaccountId | None
    """Whose mail alone; None: the account's own."""
    campaign_id: str
    asked: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transmission has come."""

    state: TransmissionState = TransmissionState.SUBMITTED
    position: int = 0
    """The index of the next recipient."""
    num_generated: int = 0
    num_failed: int = 0
    began: datetime | None = None
    ended: datetime | None = None


@dataclass
class NotCancellable(RelayError):
    """The transmission exists and cannot be cancelled by id as it stands."""

    state: TransmissionState
    is_too_close: bool


def check_cancellable(progress: Progress, start: datetime, now: datetime) -> None:
    """Raises NotCancellable unless it is still to come, and not too soon."""
    if progress.state is not TransmissionState.SUBMITTED:
        raise NotCancellable(progress.state, is_too_close=False)
    if start - now < TOO_LATE_TO_CANCEL:
        raise NotCancellable(progress.state, is_too_close=True)
