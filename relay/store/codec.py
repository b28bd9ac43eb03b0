"""Rows ⇄ values for the hot tables, by position and by hand; one codec for every database.

Texts from strangers travel inside JSON, which escapes what UTF-8 cannot say.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as fields_of
from operator import attrgetter
from typing import Any

from relay.domain.address import Mailbox, comparable_domain
from relay.domain.events import EVENT_KINDS, Event, PolicyRejection, Subject
from relay.domain.ids import (
    AccountId,
    BodyId,
    Epoch,
    IpAddress,
    MessageId,
    PoolId,
    SubaccountId,
    TransmissionId,
    from_us,
    to_us,
)
from relay.domain.message import Copy, Message, Options, Pin, RcptType, State, Submission, Wish
from relay.domain.outcome import Peer
from relay.domain.resolve import Decision, Step
from relay.ports.eventlog import Told
from relay.store.copy_codec import own_fields, own_of, particulars_fields, particulars_of

Row = Sequence[Any]
"""What a database driver hands out or takes in."""

to_json: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode
from_json: Callable[[str], Any] = json.JSONDecoder().decode

MESSAGE_COLUMNS = (
    "id",
    "transmission_id",
    "account",
    "subaccount",
    "body_id",
    "prefix",
    "mail_from",
    "rcpt_to",
    "domain",
    "rcpt_type",
    "size_bytes",
    "smtputf8",
    "eight_bit",
    "pool",
    "ip",
    "hostname",
    "bind",
    "accepted_us",
    "expires_us",
    "due_us",
    "state",
    "attempts",
    "last_reply",
    "epoch",
    "wish",
    "orphaned",
    "particulars",
)
STORED_MESSAGE_COLUMNS = (*MESSAGE_COLUMNS, "body_row", "shares_body")
SUBMISSION_COLUMNS = ("id", "account", "accepted_us", "fields")
EVENT_COLUMNS = ("at_us", "kind", "message_id", "transmission_id", "account", "ip", "fields")
TOLD_COLUMNS = (
    "event.id",
    *(f"event.{name}" for name in EVENT_COLUMNS),
    *(f"submission.{name}" for name in SUBMISSION_COLUMNS),
)


def sayable(text: str) -> str:
    """The text with a question mark for each octet that was no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


# ── messages ─────────────────────────────────────────────────────────────────────────────


def message_row(
    message: Message, state: State, attempts: int, epoch: Epoch, body_row: int, shares_body: bool
) -> Row:
    """STORED_MESSAGE_COLUMNS of a message that begins in this state."""
    pin, accepted_us = message.pin, to_us(message.accepted)
    return (
        message.id,
        message.transmission_id,
        message.account,
        message.subaccount,
        message.body_id,
        message.prefix,
        sayable(message.mail_from),
        sayable(message.rcpt_to),
        message.domain,
        str(message.rcpt_type),
        message.size_bytes,
        message.smtputf8,
        message.eight_bit,
        pin.pool,
        pin.ip,
        pin.hostname,
        pin.bind,
        accepted_us,
        to_us(message.expires),
        accepted_us if message.due is message.accepted else to_us(message.due),
        str(state),
        attempts,
        sayable(message.last_reply),
        epoch,
        str(message.wish),
        message.orphaned,
        to_json(own_fields(message)) if message.particulars or message.dsn_request else "",
        body_row,
        shares_body,
    )


def message(row: Row) -> Message:
    """A row that begins with MESSAGE_COLUMNS; more may follow."""
    return Message(
        MessageId(row[0]),
        TransmissionId(row[1]),
        AccountId(row[2]),
        None if row[3] is None else SubaccountId(row[3]),
        BodyId(row[4]),
        row[5],
        row[6],
        row[7],
        row[8],
        RcptType(row[9]),
        row[10],
        bool(row[11]),
        bool(row[12]),
        Pin(PoolId(row[13]), IpAddress(row[14]), row[15], IpAddress(row[16])),
        from_us(row[17]),
        from_us(row[18]),
        from_us(row[19]),
        State(row[20]),
        row[21],
        row[22],
        Epoch(row[23]),
        Wish(row[24]),
        row[25],
        *(own_of(from_json(row[26])) if row[26] else ()),
    )


# ── submissions ──────────────────────────────────────────────────────────────────────────

_PLAIN_OPTIONS = (
    "ip_pool",
    "campaign_id",
    "metadata",
    "tags",
    "open_tracking",
    "click_tracking",
    "initial_open",
    "transactional",
    "skip_suppression",
    "inline_css",
    "sandbox",
    "dkim_key",
)
_plain_values = attrgetter(*_PLAIN_OPTIONS)
_PLAIN_DEFAULTS = _plain_values(Options())
_COPIES = ("cc", "bcc", "archive")


def submission_row(submission: Submission) -> Row:
    """SUBMISSION_COLUMNS."""
    decision = submission.decision
    fields = {
        "subaccount": submission.subaccount,
        "recv_method": submission.recv_method,
        "remote_addr": submission.remote_addr,
        "mail_from": submission.mail_from,
        "subject": submission.subject,
        "friendly_from": submission.friendly_from,
        "sending_domain": submission.sending_domain,
        "options": options_fields(submission.options),
        "pool": decision.pool,
        "steps": [(step.rule, step.finding) for step in decision.steps],
    }
    return (submission.id, submission.account, to_us(submission.accepted), to_json(fields))


def submission(row: Row) -> Submission:
    """From SUBMISSION_COLUMNS."""
    fields = from_json(row[3])
    subaccount = fields["subaccount"]
    return Submission(
        TransmissionId(row[0]),
        AccountId(row[1]),
        None if subaccount is None else SubaccountId(subaccount),
        from_us(row[2]),
        fields["recv_method"],
        fields["remote_addr"],
        fields["mail_from"],
        fields["subject"],
        fields["friendly_from"],
        fields["sending_domain"],
        options_of(fields["options"]),
        Decision(PoolId(fields["pool"]), tuple(Step(rule, finding) for rule, finding in fields["steps"])),
    )


def options_fields(options: Options) -> dict[str, object]:
    """Only what was asked for; most mail asks for a pool and little else."""
    fields: dict[str, object] = {}
    values = _plain_values(options)
    if values != _PLAIN_DEFAULTS:
        asked = zip(_PLAIN_OPTIONS, values, _PLAIN_DEFAULTS, strict=True)
        fields = {name: value for name, value, default in asked if value != default}
    for name in _COPIES:
        if copies := getattr(options, name):
            fields[name] = [(copy.mailbox.text, copy.mailbox.domain, copy.name) for copy in copies]
    return fields


def options_of(fields: Mapping[str, Any]) -> Options:
    given: dict[str, Any] = {name: fields[name] for name in _PLAIN_OPTIONS if name in fields}
    for name in _COPIES:
        if name in fields:
            given[name] = tuple(Copy(Mailbox(text, domain), label) for text, domain, label in fields[name])
    if "tags" in given:
        given["tags"] = tuple(given["tags"])
    return Options(**given)


# ── events ───────────────────────────────────────────────────────────────────────────────


_SHARED = frozenset({"at", "about", "account"})
_NAMES: Mapping[type[Event], tuple[str, tuple[str, ...]]] = {
    kind.event: (kind.name, tuple(one.name for one in fields_of(kind.event) if one.name not in _SHARED))
    for kind in EVENT_KINDS
}
"""The name of the kind, and those of its own fields, which stand in this order in the JSON."""
_CLASSES: Mapping[str, Callable[..., Event]] = {kind.name: kind.event for kind in EVENT_KINDS}


def event_row(event: Event) -> Row:
    """EVENT_COLUMNS."""
    kind, names = _NAMES[type(event)]
    own: dict[str, Any] = {name: getattr(event, name) for name in names}
    if isinstance(event, PolicyRejection):
        # For searches alone.
        own["domain"] = comparable_domain(event.rcpt_to.rpartition("@")[2])
        return (to_us(event.at), kind, None, None, event.account, None, to_json(own))
    if "peer" in own:
        own["peer"] = (own["peer"].ip_address, own["peer"].outbound_tls)
    about = event.about
    own["subaccount"] = about.subaccount
    own["rcpt_to"] = about.rcpt_to
    own["domain"] = about.domain
    own["rcpt_type"] = about.rcpt_type
    own["size_bytes"] = about.size_bytes
    own["ip_pool"] = about.ip_pool
    if about.particulars is not None:
        own["particulars"] = particulars_fields(about.particulars)
    return (
        to_us(event.at),
        kind,
        about.message_id,
        about.transmission_id,
        about.account,
        about.sending_ip or None,
        to_json(own),
    )


def read_told(row: Row) -> Told:
    """From TOLD_COLUMNS."""
    event = _event(row[1:8])
    if row[8] is None or isinstance(event, PolicyRejection):
        return Told(str(row[0]), event, None)
    return Told(str(row[0]), event, submission(row[8:12]).of_copy(event.about.particulars))


def _event(row: Row) -> Event:
    """From EVENT_COLUMNS."""
    at, kind, fields = from_us(row[0]), row[1], from_json(row[6])
    subaccount = fields.pop("subaccount")
    event = _CLASSES[kind]
    if event is PolicyRejection:
        fields.pop("domain", None)
        return PolicyRejection(at=at, account=AccountId(row[4]), subaccount=subaccount, **fields)
    about = Subject(
        MessageId(row[2]),
        TransmissionId(row[3]),
        AccountId(row[4]),
        subaccount,
        fields.pop("rcpt_to"),
        fields.pop("domain"),
        fields.pop("rcpt_type"),
        fields.pop("size_bytes"),
        IpAddress(row[5] or ""),
        PoolId(fields.pop("ip_pool")),
        particulars_of(fields.pop("particulars")) if "particulars" in fields else None,
    )
    if "peer" in fields:
        fields["peer"] = Peer(*fields["peer"])
    return event(at=at, about=about, **fields)
