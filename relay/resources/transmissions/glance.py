"""What the body of a refused transmission was about, as far as it can be seen: enough to find it again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.domain.address import parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.domain.transmission import Content, InlineContent
from relay.mail.headers import fields_of, split_message, unfold
from relay.mail.mailboxes import sole_mailbox, split_name
from relay.mail.scan import BadJson, read_object

QUICK_BYTES = 64 << 10
"""Larger bodies are looked at where their recipients begin, and no further than that."""
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 320
_MAX_SENDER = 5_000
"""Characters of a From that is read."""
_MAX_HEADER = 16 << 10
"""Characters of a whole message in which From is looked for."""
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
    recipients, return_path = body.get("recipients"), body.get("return_path")
    listed = recipients if isinstance(recipients, list) else []
    return Glance(
        glance_address(return_path) or _sender(_table(body.get("content"))),
        address_given(_table(listed[0] if listed else None)),
        max(1, len(listed)),
        _text(_table(body.get("options")).get("ip_pool")),
    )


def address_given(recipient: Mapping[str, object]) -> str:
    """As it was written, whatever it is: by itself, or as `email` of an object."""
    address = recipient.get("address")
    return _text(address) or _text(_table(address).get("email"))


def sender_of(content: Content) -> str:
    """The address in From, before anything is filled in; empty: it is none yet."""
    if isinstance(content, InlineContent):
        return glance_address(content.from_email)
    return _from_of_message(content.message[:_MAX_HEADER])


def _sender(content: Mapping[str, object]) -> str:
    given, message = content.get("from"), content.get("email_rfc822")
    if given is None and isinstance(message, str):
        lines = message[:_MAX_HEADER].replace("\r\n", "\n")
        return _from_of_message(lines.replace("\n", "\r\n").encode("utf-8", "replace"))
    return glance_address(given) or glance_address(_table(given).get("email"))


def glance_address(value: object) -> str:
    """The address of the one mailbox that the text is; empty where it is none, or waits for values."""
    if not isinstance(value, str) or len(value) > _MAX_SENDER:
        return ""
    try:
        if "{{" not in value:
            return sole_mailbox(value)[1].text
        _, address = split_name(value)
        return "" if "{{" in address else parse_mailbox(address).text
    except MalformedAddress:
        return ""


def _from_of_message(begin: bytes) -> str:
    header, _ = split_message(begin)
    if len(header) == len(begin):
        # It may go on: its last line is not whole.
        header = header[: header.rfind(b"\r\n", 0, -2) + 2]
    found = [unfold(field.value) for field in fields_of(header) if field.name == "from"]
    return glance_address(found[0].decode("utf-8", "replace")) if len(found) == 1 else ""


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value[:_MAX_CHARACTERS] if isinstance(value, str) else ""
