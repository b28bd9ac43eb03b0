"""The content of a transmission: in parts, or as a whole message."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from relay.domain.address import parse_mailbox
from relay.domain.errors import HeaderTooLarge, MalformedAddress, Unsendable
from relay.domain.transmission import Content, File, InlineContent, Rfc822Content
from relay.frames.rest.fault import Fault, Faults, take_sized, take_typed
from relay.mail.mailboxes import read_name, sole_mailbox, split_template
from relay.mail.submitted import tidy

MAX_FILE_NAME_BYTES = 255
MAX_FILE_TYPE_BYTES = 500
"""With its parameters: it stands on one line."""
MAX_FROM_BYTES = 5_000
"""Of its name and of its address, which are read while others wait."""
MAX_HEADERS = 200
MAX_HEADER_BYTES = 10_000

_PARTS = (
    "from",
    "subject",
    "text",
    "html",
    "amp_html",
    "reply_to",
    "headers",
    "attachments",
    "inline_images",
)
_STORED = {"template_id": "template", "ab_test_id": "ab_test_id"}
_RESERVED = frozenset({"subject", "from", "to", "reply-to"})
_NAME = re.compile(r"[!-9;-~]{1,100}", re.ASCII)
_TYPE = re.compile(
    r"[\w.+-]{1,100}/[\w.+-]{1,100}(?:; ?[\w-]{1,50}=(?:\"[ !#-~]{0,200}\"|[\w.+:/'-]{1,200}))*", re.ASCII
)
_NO_FILE = File("", "", b"")
_CONTENT_ID = re.compile(r"[!#-;=?-~]{1,255}", re.ASCII)

NO_CONTENT: Content = Rfc822Content(b"")
"""What stands for one that is wrong, while other faults are looked for."""


def parse_content(given: Mapping[str, Any]) -> Content:
    """`content` of the body. Raises Fault."""
    content: dict[str, Any] = take_typed(given, "content", dict, {})
    if given.get("content") is None:
        raise Fault(1400, "content object or template_id required")
    parts = [name for name in _PARTS if content.get(name) is not None]
    for name, kind in _STORED.items():
        if content.get(name) is not None:
            if parts or content.get("email_rfc822") is not None:
                raise Fault(1301, "Both content object and template_id are specified")
            raise Fault(1603, f"{kind} '{str(content[name])[:100]}' does not exist")
    if content.get("email_rfc822") is not None:
        if parts:
            raise Fault(1301, f"content.email_rfc822 and content.{parts[0]} are mutually exclusive")
        message: str = take_typed(content, "email_rfc822", str, "", "content.")
        if not message.strip():
            raise Fault(1400, "content.email_rfc822 is a required field")
        return Rfc822Content(_tidied(message.encode("utf-8", "replace")))
    if not parts:
        raise Fault(1400, "No valid fields exist in the 'content' object")
    return _inline(content)


def _tidied(message: bytes) -> bytes:
    try:
        return tidy(message)
    except Unsendable as error:
        raise Fault(1300, f"content.email_rfc822 cannot be sent: {error.detail}") from error
    except HeaderTooLarge as error:
        limit = error.limit_bytes
        raise Fault(1300, f"content.email_rfc822 has more than {limit} bytes of header section") from error


def _inline(content: Mapping[str, Any]) -> InlineContent:
    faults = Faults()
    name, email = faults.take(("", ""), _sender, content)
    subject = faults.take("?", take_typed, content, "subject", str, "", "content.")
    if not subject:
        faults.add(Fault(1400, "content.subject is a required field"))
    texts = {
        key: faults.take("?", take_typed, content, key, str, None, "content.")
        for key in ("text", "html", "amp_html")
    }
    if not (texts["text"] or texts["html"]):
        faults.add(Fault(1400, "At least one of 'text' or 'html' needs to exist in 'content'"))
    found = InlineContent(
        from_email=email,
        subject=subject,
        from_name=name,
        text=texts["text"] or None,
        html=texts["html"] or None,
        amp_html=texts["amp_html"] or None,
        reply_to=faults.take("", take_typed, content, "reply_to", str, "", "content."),
        headers=faults.take({}, _headers, content),
        attachments=faults.take((), _files, content, "attachments"),
        inline_images=faults.take((), _files, content, "inline_images"),
    )
    faults.check()
    return found


def _sender(content: Mapping[str, Any]) -> tuple[str, str]:
    """Display name and address. Raises Fault."""
    given = content.get("from")
    if given is None or given == "":
        raise Fault(1400, "content.from is a required field")
    if isinstance(given, dict):
        faults = Faults()
        name = faults.take("", take_sized, given, "name", MAX_FROM_BYTES, "content.from.")
        email = faults.take("?", take_sized, given, "email", MAX_FROM_BYTES, "content.from.")
        if not email:
            faults.add(Fault(1400, "content.from.email is a required field"))
        faults.check()
    else:
        text = take_sized(content, "from", MAX_FROM_BYTES, "content.")
        if "{{" in text:
            name, email = split_template(text)
            return read_name(name), email
        name, email = "", text
    if "{{" in email:
        return name, email
    try:
        named = (name, parse_mailbox(email.strip())) if name.strip() else sole_mailbox(email)
    except MalformedAddress as error:
        raise Fault(7001, "No sending domain specified") from error
    return named[0], named[1].text


def _headers(content: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, Any] = take_typed(content, "headers", dict, {}, "content.")
    if len(headers) > MAX_HEADERS:
        raise Fault(1300, f"content.headers is limited to {MAX_HEADERS} entries")
    faults = Faults()
    for name in headers:
        lower = name.lower()
        if not _NAME.fullmatch(name) or lower in _RESERVED or lower.startswith("content-"):
            faults.add(Fault(1300, f"header '{name[:100]}' is not allowed in content.headers"))
    values = {
        name: faults.take("", take_sized, headers, name, MAX_HEADER_BYTES, "content.headers.")
        for name in headers
    }
    faults.check()
    return {name: value for name, value in values.items() if value}


def _files(content: Mapping[str, Any], field: str) -> tuple[File, ...]:
    files: list[Any] = take_typed(content, field, list, [], "content.")
    faults, is_inline = Faults(), field == "inline_images"
    found = [
        faults.take(_NO_FILE, _file, file, f"content.{field}[{index}]", is_inline)
        for index, file in enumerate(files)
    ]
    faults.check()
    return tuple(found)


def _file(given: Any, field: str, is_inline: bool) -> File:
    if not isinstance(given, dict):
        take_typed({field: given or 0}, field, dict, {})
    faults, prefix = Faults(), f"{field}."
    for name in ("name", "type", "data"):
        if not faults.take("?", take_typed, given, name, str, "", prefix) and (is_inline or name != "name"):
            faults.add(Fault(1400, f"{prefix}{name} is a required field"))
    faults.check()
    name = faults.take("?", take_sized, given, "name", MAX_FILE_NAME_BYTES, prefix)
    if is_inline and not _CONTENT_ID.fullmatch(name):
        faults.add(Fault(1300, f"{prefix}name must be usable as a Content-ID"))
    if not _TYPE.fullmatch(faults.take("a/b", take_sized, given, "type", MAX_FILE_TYPE_BYTES, prefix)):
        faults.add(Fault(1300, f"{prefix}type is not a MIME type"))
    data = faults.take(b"", _octets, given["data"], field)
    faults.check()
    return File(name, given["type"], data)


def _octets(data: str, field: str) -> bytes:
    try:
        return b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Fault(1300, f"{field}.data must be base64") from error
