"""The last look at what goes out, whoever made it: octets that no next hop reads in another way than we do.

All mail: each line of the header section begins a field or folds one, and there is no NUL, no bare CR and no
bare LF (RFC 5321 §2.3.8, RFC 5322 §2.2). What we composed has the fields that it must have, once each
(RFC 5322 §3.6).
"""

import re
from collections import Counter
from io import IncrementalNewlineDecoder

from relay.domain.errors import NoSender, Unsendable
from relay.mail.headers import fields_of, own_mailbox

MAX_HEADER_OCTETS = 256 * 1024
MAX_HEADER_LINES = 5000
MAX_LINE_OCTETS = 100 * 1024
"""A hundred times what RFC 5321 §4.5.3.1.6 allows; what is longer is no text that anybody wrote."""

_SECTION = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r\n\0]*+\r\n(?:[ \t][^\r\n\0]*+\r\n)*+)*+")
_ONCE = ("from", "date", "message-id")
_AT_MOST_ONCE = ("to", "cc", "subject", "reply-to")


def check_header(header: bytes) -> None:
    """Of any mail: the section without the empty line behind it. Raises Unsendable."""
    section = _SECTION.match(header)
    end = section.end() if section else 0
    if end != len(header):
        line = header[end : end + 40].split(b"\n")[0]
        raise Unsendable(f"a line of the header section is neither a field nor the rest of one: {line!r}")


def check_body(body: bytes) -> None:
    """Of any mail: what stands behind the empty line, which may be nothing. Raises Unsendable."""
    if b"\0" in body:
        raise Unsendable("a NUL octet in the body")
    if not has_crlf_alone(body):
        raise Unsendable("a bare CR or LF in the body")


def has_crlf_alone(octets: bytes) -> bool:
    """Whether each CR and LF belongs to a CRLF. A text decoder tells it sooner than counting does."""
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(octets.decode("latin-1"), final=True)
    return decoder.newlines in (None, "\r\n")


def check_composed(header: bytes) -> None:
    """Of what we composed ourselves. Raises Unsendable, NoSender."""
    check_header(header)
    if len(header) > MAX_HEADER_OCTETS or header.count(b"\n") > MAX_HEADER_LINES:
        raise Unsendable(
            f"the header section has more than {MAX_HEADER_OCTETS} octets or {MAX_HEADER_LINES} lines"
        )
    if len(header) > MAX_LINE_OCTETS and max(map(len, header.split(b"\n"))) > MAX_LINE_OCTETS:
        raise Unsendable(f"a line of the header section has more than {MAX_LINE_OCTETS} octets")
    fields = fields_of(header)
    found = Counter(field.name for field in fields)
    for name in _ONCE:
        if found[name] != 1:
            raise Unsendable(f"{found[name]} fields {name.title()} where there must be one")
    for name in _AT_MOST_ONCE:
        if found[name] > 1:
            raise Unsendable(f"{found[name]} fields {name.title()} where one may be")
    if own_mailbox(fields) is None:
        raise NoSender


def split_at_empty_line(message: bytes) -> tuple[bytes, bytes]:
    """Header section and body as the next hop finds them: an empty line is between them, and nothing else."""
    if message.startswith(b"\r\n"):
        return b"", message[2:]
    header, empty_line, body = message.partition(b"\r\n\r\n")
    return (header + b"\r\n", body) if empty_line else (message, b"")


def check_stored(prefix: bytes, body: bytes, is_composed: bool) -> None:
    """Of a message as it would be sent, that no earlier look is known of. Raises Unsendable, NoSender."""
    header, content = split_at_empty_line(body)
    if len(header) == len(body):
        raise Unsendable("no empty line ends the header section")
    (check_composed if is_composed else check_header)(prefix + header)
    check_body(content)
