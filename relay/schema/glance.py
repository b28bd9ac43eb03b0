"""What the body of a refused transmission was about, as far as it can be seen: enough to find it again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.schema.scan import BadJson, read_object

QUICK_BYTES = 64 << 10
"""Larger bodies are looked at where their recipients begin, and no further than that."""
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 320
_RECIPIENTS = b'"recipients"'
_ADDRESS = re.compile(rb'"(?:address|email)"\s*+:\s*+"([!#-\[\]-~]{3,320})"')


@dataclass(frozen=True, slots=True)
class Glance:
    """Of a transmission; empty: not seen."""

    mail_from: str = ""
    rcpt_to: str = ""
    """The first recipient."""
    num_rcpts: int = 1
    ip_pool: str = ""


def glance_at(octets: bytes) -> Glance:
    """What there is to see in a body that may be anything."""
    if len(octets) > QUICK_BYTES:
        begin = octets.find(_RECIPIENTS)
        found = _ADDRESS.search(octets, begin, begin + QUICK_BYTES) if begin >= 0 else None
        text = b"" if found is None else found[1]
        return Glance(rcpt_to=text.decode("ascii")) if b"@" in text else Glance()
    try:
        body = read_object(octets, _MAX_VALUES)
    except BadJson:
        return Glance()
    recipients, content = body.get("recipients"), _table(body.get("content"))
    listed = recipients if isinstance(recipients, list) else []
    return Glance(
        _address(content.get("from")),
        _address(_table(listed[0] if listed else None).get("address")),
        max(1, len(listed)),
        _text(_table(body.get("options")).get("ip_pool")),
    )


def _address(value: object) -> str:
    """By itself, or as `email` of an object."""
    return _text(value) or _text(_table(value).get("email"))


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value[:_MAX_CHARACTERS] if isinstance(value, str) else ""
