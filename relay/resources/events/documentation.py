"""What `/events/message/documentation` and `/samples` tell: made of the events themselves."""

from datetime import UTC, datetime, timedelta

from relay.domain.address import Mailbox
from relay.domain.errors import PoolEmpty
from relay.domain.events import (
    Bounce,
    Delay,
    Delivery,
    Event,
    GenerationFailure,
    GenerationRejection,
    Injection,
    PolicyRejection,
    Subject,
    kind_of,
)
from relay.domain.ids import AccountId, IpAddress, MessageId, PoolId, SubaccountId, TransmissionId
from relay.domain.message import Options, Submission
from relay.domain.outcome import Peer
from relay.domain.resolve import Decision
from relay.domain.words import reason_for
from relay.resources.events.shapes import Fields, event_fields, event_name

_AT = datetime(2024, 5, 17, 9, 30, 12, 345000, tzinfo=UTC)
_MAILBOX = Mailbox("Jane@example.com", "example.com")
_ABOUT = Subject(
    MessageId("618a4f3c2b1d9e0f7a65"),
    TransmissionId("1755093247712512"),
    AccountId(1),
    SubaccountId(101),
    _MAILBOX.text,
    _MAILBOX.domain,
    "cc",
    1337,
    IpAddress("192.0.2.17"),
    PoolId("marketing"),
)
_PEER = Peer("198.51.100.9", 1)
_SUBMISSION = Submission(
    _ABOUT.transmission_id,
    _ABOUT.account,
    _ABOUT.subaccount,
    _AT - timedelta(seconds=2),
    "esmtp",
    "203.0.113.5",
    "bounces@sender.example",
    "Summer is coming",
    "Shop <news@sender.example>",
    "sender.example",
    Options(ip_pool="Marketing", campaign_id="summer", metadata={"customer": "42"}, tags=("sale",)),
    Decision(PoolId("marketing"), ()),
)
_LATER = "451 4.2.1 <jane@example.com> mailbox busy"
_UNKNOWN = "550 5.1.1 <jane@example.com>: no such user"

_EVENTS: tuple[tuple[Event, str], ...] = (
    (Injection(_AT, _ABOUT), "The message was accepted and queued."),
    (
        Delivery(_AT, _ABOUT, 0, 2000, _PEER, "250 2.0.0 Ok"),
        "The server of the recipient's domain took the message.",
    ),
    (
        Delay(_AT, _ABOUT, 0, 2000, _PEER, 70, 451, _LATER),
        "The server put the message off; it will be tried again.",
    ),
    (
        Bounce(_AT, _ABOUT, 1, 1202000, _PEER, 10, 550, _UNKNOWN),
        "The message failed for good.",
    ),
    (
        PolicyRejection(
            _AT,
            AccountId(1),
            SubaccountId(101),
            "203.0.113.5",
            "bounces@sender.example",
            _MAILBOX.text,
            25,
            550,
            "550 5.7.1 Unconfigured Sending Domain <sender.example>",
            "marketing",
            "esmtp",
        ),
        "An injection was refused; after an error_code of 4yz by SMTP the client should try again.",
    ),
    (
        GenerationFailure(_AT, _ABOUT, 25, 550, "550 5.6.0 [internal] substitution failed"),
        "No message could be made for a recipient of a transmission.",
    ),
    (
        GenerationRejection(_AT, _ABOUT, 25, 550, reason_for(PoolEmpty("marketing"))),
        "A rule of this relay forbade the message for a recipient of a transmission.",
    ),
)

_DESCRIPTIONS = {
    "type": "What happened",
    "event_id": "Identifies the event",
    "timestamp": "When it happened, ISO 8601",
    "customer_id": "The account",
    "subaccount_id": "The subaccount; absent for the account itself",
    "message_id": "Identifies the message: one recipient's copy",
    "transmission_id": "Identifies the injection that the message came of",
    "rcpt_to": "The recipient, in small letters",
    "raw_rcpt_to": "The recipient as given",
    "rcpt_hash": "SHA-256 of rcpt_to",
    "rcpt_type": "cc, bcc or archive; absent for a RCPT TO",
    "rcpt_meta": "Metadata of the message",
    "rcpt_tags": "Tags of the message",
    "recipient_domain": "Domain of the recipient",
    "routing_domain": "Domain that the message is delivered to",
    "sending_ip": "The IP that the message leaves from",
    "ip_pool": "The pool that was used",
    "ip_pool_raw": "The pool that was asked for, verbatim",
    "campaign_id": "The campaign",
    "msg_from": "The envelope sender as injected",
    "friendly_from": "The address in From",
    "sending_domain": "The domain of that address",
    "subject": "The subject",
    "msg_size": "Octets of the message",
    "injection_time": "When the message was accepted",
    "queue_time": "Milliseconds from injection to this attempt",
    "num_retries": "Failed attempts before this one",
    "ip_address": "The server that was spoken to",
    "outbound_tls": "1 TLS was used, 0 it was not offered, -1 it failed",
    "bounce_class": "Class of the failure",
    "error_code": "The three digits of the reply",
    "reason": "The reply, addresses and IPs masked",
    "raw_reason": "The reply as it came",
    "recv_method": "esmtp or rest",
    "delv_method": "How the message is delivered",
    "transactional": "1 when the message was marked so",
    "open_tracking": "Whether opens are tracked",
    "click_tracking": "Whether clicks are tracked",
    "initial_pixel": "Whether first opens were to be tracked",
    "remote_addr": "The client that handed in",
}


_CLASSES = {
    "message_event": ("Message Events", "What happened to a message on its way."),
    "gen_event": ("Generation Events", "What kept a message from being made."),
}
"""By SparkPost's name of the class."""


def samples() -> list[Fields]:
    """One event of each type, as a search would show it."""
    return [_shown(number, event) for number, (event, _) in enumerate(_EVENTS, 1)]


def documentation() -> list[dict[str, object]]:
    """For each type what it means, and what its fields say."""
    return [
        {
            "type": event_name(event),
            "description": description,
            "event": _fields(number, event),
        }
        for number, (event, description) in enumerate(_EVENTS, 1)
    ]


def documentation_in_classes() -> dict[str, object]:
    """The same by class and type, as SparkPost tells it for webhooks."""
    classes: dict[str, dict[str, object]] = {name: {} for name in _CLASSES}
    for number, (event, description) in enumerate(_EVENTS, 1):
        group = kind_of(event).group
        assert group is not None
        classes[group][event_name(event)] = {
            "display_name": event_name(event).replace("_", " ").title(),
            "description": description,
            "event": _fields(number, event),
        }
    return {
        name: {"display_name": title, "description": description, "events": classes[name]}
        for name, (title, description) in _CLASSES.items()
    }


def _fields(number: int, event: Event) -> dict[str, object]:
    return {
        name: {"description": _DESCRIPTIONS[name], "sampleValue": value}
        for name, value in _shown(number, event).items()
    }


def _shown(number: int, event: Event) -> Fields:
    return event_fields(str(number), event, None if isinstance(event, PolicyRejection) else _SUBMISSION)
