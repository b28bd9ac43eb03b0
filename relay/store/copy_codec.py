"""What one copy has for itself, for the codec: where it differs from its submission, what is to be told."""

from collections.abc import Sequence
from typing import Any

from relay.domain.dsn import DsnRequest
from relay.domain.message import Message, Particulars


def own_fields(message: Message) -> object:
    """What the column `particulars` has, as JSON; not for a copy like the others."""
    own, asked = message.particulars, message.dsn_request
    fields = None if own is None else particulars_fields(own)
    if asked is None:
        return fields
    return {"own": fields, "dsn": (asked.ret, asked.envid, asked.notify, asked.orcpt)}


def own_of(fields: Any) -> tuple[Particulars | None, DsnRequest | None]:
    """The other way."""
    if isinstance(fields, list):
        return particulars_of(fields), None
    own = fields["own"]
    return None if own is None else particulars_of(own), DsnRequest(*fields["dsn"])


def particulars_fields(particulars: Particulars) -> list[object]:
    fields: list[object] = [particulars.subject, particulars.metadata, particulars.tags]
    sender = [particulars.mail_from, particulars.friendly_from, particulars.sending_domain]
    return fields + sender if any(sender) else fields


def particulars_of(fields: Sequence[Any]) -> Particulars:
    subject, metadata, tags, *sender = fields
    return Particulars(subject, metadata, tuple(tags), *sender)
