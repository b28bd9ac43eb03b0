"""A message as a client hands it in: read in one way, by whichever door it comes (RFC 5322, RFC 6409 §8).

Where lines end is decided first, and where the header section does; only then are bare CR and LF
mended. So what a value holds is never taken for a field.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from relay.domain.errors import BadOptions, HeaderTooLarge, Unsendable
from relay.mail.gate import MAX_HEADER_LINES, MAX_HEADER_OCTETS, MAX_LINE_OCTETS, has_crlf_alone
from relay.mail.headers import split_message

NOT_PASSED_ON = frozenset(
    {
        *("bcc", "resent-bcc", "x-msys-api", "x-binding"),
        *("return-path", "envelope-to", "delivery-date", "content-length"),
    }
)
"""Lower-case names of fields that are in no copy.

The first list hidden recipients or steer this relay. The others are for the server of final delivery
alone to write: from an earlier delivery they would tell another's return path (RFC 5321 §4.4), recipients
of the envelope, and a length that is true no more. Delivered-To is such a field too, but stays: by it a
server notices that the message was there before.
"""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ODD_FRONT = (b"From ", b">", _BYTE_ORDER_MARK)
_MBOX_LINE = re.compile(rb">*+From (?![ \t]*+:)")
_LINE = rb"(?:[^\n]*+(?<!\r)\n)*+[^\n]*+(?<=\r)\n"
"""Up to CRLF; a bare LF is within it."""
_SECTION = re.compile(rb"(?:[!-9;-~]++[ \t]*+:%b(?:[ \t]%b)*+)*+" % (_LINE, _LINE))
_SECTION_OF_LF = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+")
_EMPTY_LINE = {b"\r\n": re.compile(rb"\r++\n"), b"\n": re.compile(rb"\r*+\n")}
_CLOSING = {end: re.compile(end + line.pattern) for end, line in _EMPTY_LINE.items()}
_BEFORE_LINE_END = re.compile(rb"(?<!\r)\r++\0")
_SPACES = bytes.maketrans(b"\r\n", b"  ")
_STRAY = re.compile(rb"^x-msys-api[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Parts(NamedTuple):
    """A message taken apart; the empty line between belongs to neither part."""

    header: bytes
    """Fields and their folds, lines of CRLF."""
    body: bytes
    """As it came: `repaired` mends its lines where it must be."""
    is_closed: bool
    """Whether an empty line, or the end, closes the header section: not a line that is no field."""


def take_apart(content: bytes, is_plain: bool) -> Parts:
    """is_plain: each CR and LF in it belongs to a CRLF. The last line ends in CRLF.

    Lines end in CRLF, in a message that has none before its end in LF; any other CR or LF in the header
    section becomes a space. A byte order mark before it is dropped. Lines by which a mailbox file parts its
    messages, `From …`, become fields `X-Mailbox-Line`, as with Postfix. Any other line that is neither a
    field nor the rest of one begins the body. Raises Unsendable, HeaderTooLarge.
    """
    if b"\0" in content:
        raise Unsendable("NUL octet in message")
    if is_plain:
        check_lines(content)
    line_end = b"\r\n" if is_plain else _line_end_of(content)
    if content.startswith(_ODD_FRONT):
        content = _with_fields_in_front(content, line_end)
    parts = _split(content) if is_plain else _split_and_repair(content, line_end)
    if parts.header.count(b"\n") > MAX_HEADER_LINES:
        raise Unsendable("too many header lines")
    return parts


def repair(body: bytes, slice_octets: int = 128 * 1024) -> Iterator[bytes]:
    """Each CR, LF and CRLF as CRLF; in slices, each milliseconds of work."""
    at = 0
    while at < len(body):
        end = at + slice_octets
        # No slice ends between CR and LF.
        end += body[end - 1 : end + 1] == b"\r\n"
        yield body[at:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        at = end


def check_lines(octets: bytes) -> None:
    """Raises Unsendable for a line that is no text that anybody wrote."""
    at = 0
    while len(octets) - at > MAX_LINE_OCTETS:
        end = octets.rfind(b"\n", at, at + MAX_LINE_OCTETS)
        if end < 0:
            raise Unsendable("line too long")
        at = end + 1


def check_no_stray_options(parts: Parts) -> None:
    """Raises MalformedOptions when X-MSYS-API is text of the body that looks like a header section.

    There it would be obeyed by nobody, and read by every recipient. The body is repaired.
    """
    if parts.header and parts.is_closed:
        return
    begin = 0
    while parts.body.startswith(b"\r\n", begin):
        begin += 2
    end = parts.body.find(b"\r\n\r\n", begin)
    if _STRAY.search(parts.body[begin : None if end < 0 else end]):
        raise BadOptions("X-MSYS-API stands below a line that is no header field")


def tidy(message: bytes) -> bytes:
    """The whole message as `take_apart` reads it, with a body that is `repaired`. Raises what it raises.

    A line that is no field stands where it stood: whoever composes a message of it says so.
    """
    if not message.endswith(b"\n"):
        message += b"\n" if message.endswith(b"\r") else b"\r\n"
    is_plain = has_crlf_alone(message)
    parts = take_apart(message, is_plain)
    body = parts.body if is_plain else b"".join(repair(parts.body))
    check_lines(body)
    return parts.header + (b"\r\n" if parts.is_closed else b"") + body


def _line_end_of(content: bytes) -> bytes:
    """By whether a CRLF stands before the last one. Single octets are looked for first: that is quicker."""
    last = len(content) - 2
    at = content.find(b"\n", 0, last)
    if at > 0 and content[at - 1] == 0x0D:
        return b"\r\n"
    if at < 0 or content.find(b"\r", at, last) < 0:
        return b"\n"
    return b"\r\n" if content.find(b"\r\n", at, last) >= 0 else b"\n"


def _with_fields_in_front(content: bytes, line_end: bytes) -> bytes:
    """Without byte order marks, and with fields for the lines of a mailbox file."""
    front: list[bytes] = []
    at = 0
    while True:
        while content.startswith(_BYTE_ORDER_MARK, at):
            at += len(_BYTE_ORDER_MARK)
        if not _MBOX_LINE.match(content, at):
            return b"".join((*front, content[at:]))
        found = content.find(line_end, at)
        end = len(content) if found < 0 else found + len(line_end)
        front += (b"X-Mailbox-Line: ", content[at:end])
        if len(front) > 2 * MAX_HEADER_LINES:
            raise Unsendable("too many header lines")
        at = end


def _split(content: bytes) -> Parts:
    """Raises HeaderTooLarge, by where the first empty line stands: before anything is taken apart."""
    if (
        len(content) > MAX_HEADER_OCTETS
        and not content.startswith(b"\r\n")
        and content.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS) < 0
    ):
        raise HeaderTooLarge(MAX_HEADER_OCTETS)
    header, body = split_message(content)
    return Parts(header, body, len(header) + len(body) != len(content) or not body)


def _split_and_repair(content: bytes, line_end: bytes) -> Parts:
    """Raises HeaderTooLarge, as `_split`."""
    empty_line = _EMPTY_LINE[line_end]
    if (
        len(content) > MAX_HEADER_OCTETS
        and not empty_line.match(content)
        and not _CLOSING[line_end].search(content, 0, MAX_HEADER_OCTETS)
    ):
        raise HeaderTooLarge(MAX_HEADER_OCTETS)
    section = (_SECTION if line_end == b"\r\n" else _SECTION_OF_LF).match(content)
    end = section.end() if section else 0
    empty = empty_line.match(content, end)
    body = content[empty.end() if empty else end :]
    # There is no NUL in it, which can stand for the ends of lines meanwhile.
    header = _BEFORE_LINE_END.sub(b"\0", content[:end].replace(line_end, b"\0"))
    header = header.translate(_SPACES).replace(b"\0", b"\r\n")
    check_lines(header)
    return Parts(header, body, empty is not None or not body)
