"""Transmissions ⇄ rows. One codec for every database."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from relay.domain.address import Mailbox
from relay.domain.directory import SendingIp
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId, TransmissionId, from_us, to_us
from relay.domain.resolve import Decision, Step
from relay.domain.transmission import (
    CampaignCancellation,
    Content,
    File,
    InlineContent,
    Progress,
    Recipient,
    Rejection,
    Rfc822Content,
    Routing,
    Transmission,
    TransmissionState,
    Verdict,
)
from relay.ports.transmissions import TransmissionStanding
from relay.store.codec import Row, from_json, options_fields, options_of, to_json

TRANSMISSION_COLUMNS = (
    "id",
    "account",
    "subaccount",
    "campaign_id",
    "is_scheduled",
    "start_us",
    "num_rcpts",
    "fields",
)
STANDING_COLUMNS = (
    *TRANSMISSION_COLUMNS,
    "state",
    "position",
    "num_generated",
    "num_failed",
    "began_us",
    "ended_us",
    "verdict",
    "tries",
    "trying",
    "set_aside_us",
)


def transmission_row(transmission: Transmission) -> Row:
    """TRANSMISSION_COLUMNS."""
    fields = {
        "accepted_us": to_us(transmission.accepted),
        "remote_addr": transmission.remote_addr,
        "options": options_fields(transmission.options),
        "description": transmission.description,
        "return_path": transmission.return_path,
        "substitution_data": transmission.substitution_data,
        "substitutes": transmission.substitutes,
        "asked_options": transmission.asked_options,
    }
    return (
        transmission.id,
        transmission.account,
        transmission.subaccount,
        transmission.options.campaign_id,
        transmission.is_scheduled,
        to_us(transmission.start),
        transmission.num_rcpts,
        to_json(fields),
    )


def standing(row: Row) -> TransmissionStanding:
    """From STANDING_COLUMNS."""
    fields = from_json(row[7])
    transmission = Transmission(
        id=TransmissionId(row[0]),
        account=AccountId(row[1]),
        subaccount=_subaccount(row[2]),
        accepted=from_us(fields["accepted_us"]),
        start=from_us(row[5]),
        is_scheduled=bool(row[4]),
        remote_addr=fields["remote_addr"],
        options=options_of(fields["options"]),
        num_rcpts=row[6],
        description=fields["description"],
        return_path=fields["return_path"],
        substitution_data=fields["substitution_data"],
        substitutes=fields["substitutes"],
        asked_options=fields["asked_options"],
    )
    progress = Progress(
        TransmissionState(row[8]),
        row[9],
        row[10],
        row[11],
        None if row[12] is None else from_us(row[12]),
        None if row[13] is None else from_us(row[13]),
    )
    return TransmissionStanding(
        transmission,
        progress,
        None if row[14] is None else _verdict(from_json(row[14])),
        tries=row[15],
        is_begun=bool(row[16]),
        set_aside=None if row[17] is None else from_us(row[17]),
    )


def cancellation(row: Row) -> CampaignCancellation:
    return CampaignCancellation(row[0], AccountId(row[1]), _subaccount(row[2]), row[3], from_us(row[4]))


def _subaccount(value: int | None) -> SubaccountId | None:
    return None if value is None else SubaccountId(value)


# ── verdicts ─────────────────────────────────────────────────────────────────────────────


def verdict_text(verdict: Verdict) -> str:
    decision = verdict.decision
    fields: dict[str, object] = {
        "pool": decision.pool,
        "steps": [(step.rule, step.finding) for step in decision.steps],
    }
    match verdict:
        case Routing(ips=ips, first_turn=first_turn):
            fields["ips"] = [(ip.address, ip.bind, ip.hostname, ip.weight) for ip in ips]
            fields["first_turn"] = first_turn
        case Rejection(reason=reason):
            fields["reason"] = reason
    return to_json(fields)


def _verdict(fields: Mapping[str, Any]) -> Verdict:
    decision = Decision(
        PoolId(fields["pool"]), tuple(Step(rule, finding) for rule, finding in fields["steps"])
    )
    if "reason" in fields:
        return Rejection(decision, fields["reason"])
    ips = tuple(
        SendingIp(IpAddress(address), IpAddress(bind), hostname, weight=weight)
        for address, bind, hostname, weight in fields["ips"]
    )
    return Routing(decision, ips, fields["first_turn"])


# ── recipients ───────────────────────────────────────────────────────────────────────────


def recipients_text(recipients: Sequence[Recipient]) -> str:
    return to_json([_recipient_fields(recipient) for recipient in recipients])


def recipients_of(text: str) -> list[Recipient]:
    return [
        Recipient(Mailbox(address, domain), **_recipient_values(rest))
        for address, domain, *rest in from_json(text)
    ]


_RECIPIENT_FIELDS = ("name", "header_to", "return_path", "tags", "metadata", "substitution_data")


def _recipient_values(rest: Sequence[Any]) -> dict[str, Any]:
    values = dict(zip(_RECIPIENT_FIELDS, rest, strict=False))
    if "tags" in values:
        values["tags"] = tuple(values["tags"])
    return values


def _recipient_fields(recipient: Recipient) -> list[object]:
    """As far as it says something."""
    fields: list[object] = [getattr(recipient, name) for name in _RECIPIENT_FIELDS]
    while fields and not fields[-1]:
        fields.pop()
    return [recipient.mailbox.text, recipient.mailbox.domain, *fields]


# ── content ──────────────────────────────────────────────────────────────────────────────

_TEXTS = ("from_email", "subject", "from_name", "text", "html", "amp_html", "reply_to", "headers")
_FILES = ("attachments", "inline_images")


def content_text(content: Content) -> str:
    match content:
        case Rfc822Content(message=message):
            return to_json({"rfc822": b64encode(message).decode("ascii")})
        case InlineContent():
            fields = {name: getattr(content, name) for name in _TEXTS}
            for name in _FILES:
                fields[name] = [
                    (file.name, file.type, b64encode(file.data).decode("ascii"))
                    for file in getattr(content, name)
                ]
            return to_json(fields)


def content_of(text: str) -> Content:
    fields = from_json(text)
    if "rfc822" in fields:
        return Rfc822Content(b64decode(fields["rfc822"]))
    for name in _FILES:
        fields[name] = tuple(File(label, type_, b64decode(data)) for label, type_, data in fields[name])
    return InlineContent(**fields)
