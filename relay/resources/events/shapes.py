"""Events as SparkPost's Events API shows them."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import assert_never

from relay.domain.events import (
    EVENT_KINDS,
    Attempt,
    Bounce,
    Delay,
    Delivery,
    Event,
    Failure,
    GenerationFailure,
    GenerationRejection,
    Injection,
    Operated,
    PolicyRejection,
    Subject,
)
from relay.domain.message import Submission

Fields = dict[str, object]

_NAMES: Mapping[type[Event], str] = {kind.event: kind.name for kind in EVENT_KINDS if kind.is_public}
NAMES = frozenset(_NAMES.values())
"""What happens here and is told. Opens, clicks and complaints are not seen."""
OTHER_NAMES = frozenset(
    {
        *("out_of_band", "spam_complaint", "open", "initial_open", "click", "amp_open", "amp_initial_open"),
        *("amp_click", "list_unsubscribe", "link_unsubscribe", "sms_status", "relay_injection"),
        *("relay_rejection", "relay_delivery", "relay_tempfail", "relay_permfail", "ab_test_completed"),
        "ab_test_cancelled",
    }
)
"""SparkPost's other names: no event of ours has one."""

_ADDRESS = re.compile(r"[^\s<>@\"']{1,64}@[^\s<>@\"',;:()\[\]]{1,255}")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9a-fA-F]{0,4}:[0-9a-fA-F:]{0,39}(?![\w:])")
"""What may be one: a time of day looks alike."""


def event_name(event: Event) -> str:
    """SparkPost's word for it; `operated` has none and is never shown."""
    return _NAMES[type(event)]


def event_fields(id_: str, event: Event, submission: Submission | None) -> Fields:
    """The event as one flat object. Numbers are text, as the original has them; what is unknown is absent.

    submission: as it is told of the event's message.
    """
    fields: Fields = {
        "type": event_name(event),
        "event_id": id_,
        "timestamp": iso(event.at),
    }
    match event:
        case PolicyRejection():
            fields |= _rejection(event)
        case Injection(about=about):
            fields |= _about(about, submission)
            fields["msg_size"] = str(about.size_bytes)
        case Delivery(about=about):
            fields |= _about(about, submission) | _attempt(event)
            fields["msg_size"] = str(about.size_bytes)
            fields["outbound_tls"] = str(event.peer.outbound_tls)
        case Delay(about=about):
            fields |= _about(about, submission) | _attempt(event) | _failure(event)
            fields["outbound_tls"] = str(event.peer.outbound_tls)
        case Bounce(about=about):
            fields |= _about(about, submission) | _attempt(event) | _failure(event)
        case GenerationFailure(about=about) | GenerationRejection(about=about):
            fields |= _about(about, submission) | _failure(event)
        case Operated():
            raise TypeError("what an operator did is no event of SparkPost's")
        case _:
            assert_never(event)
    return {name: value for name, value in fields.items() if value not in ("", None)}


def iso(moment: datetime) -> str:
    """To the millisecond, UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def mask(text: str) -> str:
    """A reason without the addresses and IPs in it, so that equal causes have equal texts."""
    text = _IPV4.sub("a.b.c.d", _ADDRESS.sub("user@domain", text))
    return _IPV6.sub(lambda found: "a:b:c:d" if _is_ipv6(found[0]) else found[0], text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _about(about: Subject, submission: Submission | None) -> Fields:
    recipient = about.rcpt_to.lower()
    fields: Fields = {
        "customer_id": str(about.account),
        "subaccount_id": None if about.subaccount is None else str(about.subaccount),
        "message_id": about.message_id,
        "transmission_id": about.transmission_id,
        "rcpt_to": recipient,
        "raw_rcpt_to": about.rcpt_to,
        "rcpt_hash": hashlib.sha256(recipient.encode("utf-8", "replace")).hexdigest(),
        "rcpt_type": about.rcpt_type,
        "recipient_domain": about.domain,
        "routing_domain": about.domain,
        "sending_ip": about.sending_ip,
        "ip_pool": about.ip_pool,
        "delv_method": "esmtp" if about.sending_ip else "",
    }
    return fields if submission is None else fields | _of_submission(submission)


def _of_submission(submission: Submission) -> Fields:
    options = submission.options
    return {
        "ip_pool_raw": options.ip_pool or "",
        "campaign_id": options.campaign_id,
        "msg_from": submission.mail_from,
        "friendly_from": address_within(submission.friendly_from),
        "sending_domain": submission.sending_domain,
        "subject": submission.subject,
        "rcpt_meta": dict(options.metadata),
        "rcpt_tags": list(options.tags),
        "injection_time": iso(submission.accepted),
        "recv_method": submission.recv_method,
        "transactional": "1" if options.transactional else "0",
        # What was done, not what was asked for.
        "open_tracking": False,
        "click_tracking": False,
        "initial_pixel": False,
    }


def _attempt(event: Attempt) -> Fields:
    return {
        "num_retries": str(event.num_retries),
        "queue_time": str(event.queue_time_ms),
        "ip_address": event.peer.ip_address,
    }


def _failure(event: Failure) -> Fields:
    return {
        "bounce_class": str(event.bounce_class),
        "error_code": str(event.error_code),
        "reason": mask(event.raw_reason),
        "raw_reason": event.raw_reason,
    }


def _rejection(event: PolicyRejection) -> Fields:
    recipient = event.rcpt_to.lower()
    return {
        "customer_id": str(event.account),
        "subaccount_id": None if event.subaccount is None else str(event.subaccount),
        "rcpt_to": recipient,
        "raw_rcpt_to": event.rcpt_to,
        "recipient_domain": recipient.rpartition("@")[2],
        "msg_from": event.mail_from,
        "remote_addr": event.remote_addr,
        "recv_method": event.recv_method,
        "ip_pool_raw": event.ip_pool_raw,
        **_failure(event),
    }


def address_within(text: str) -> str:
    """The address of a From field's text: in angle brackets, or all of it."""
    inner = text.rpartition("<")[2].partition(">")[0]
    return inner.strip() if "<" in text and "@" in inner else text
