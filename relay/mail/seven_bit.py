"""A message for a host that takes no octets above 127: its parts encoded anew (RFC 6152 §3, RFC 2045 §6)."""

import binascii
import re
from collections.abc import Iterator

from relay.domain.errors import RelayError
from relay.mail.fields import section_in_ascii
from relay.mail.gate import has_crlf_alone, split_at_empty_line
from relay.mail.headers import Field, fields_of, first
from relay.mail.mime import (
    DEFAULT_TYPE,
    SIGNED,
    BadMime,
    Described,
    Walk,
    codes_nothing,
    describe,
    type_within,
)
from relay.mail.transfer import of_base64, of_quoted_printable

_MAX_DEPTH = 20
_PIECE = 255 * 1024
"""Octets that are encoded at a time, whole lines or whole groups: nobody else runs meanwhile."""
_GROUP = 57
"""Octets of a line of base64."""
_LINES = 4096
"""Of base64 that are written at a time."""
_BATCH = 1 << 20
_ENCODING = "content-transfer-encoding"
_ABOVE = bytes(range(128)) + b"?" * 128
_IS_ABOVE = re.compile(rb"[\x80-\xff]")
_MAILBOX_LINE = re.compile(rb"From [^\r\n]*+\r\n")


class Unconvertible(RelayError):
    """What stands above 127 stands where no encoding is: in a local part, or in a part that has none.

    Or it stands in more parts, or deeper, than anybody writes.
    """


def rewrite(message: bytes, *, header: bool, body: bool, keeps_header: bool) -> Iterator[bytes]:
    """What a host gets instead, the header section in the first piece; nothing: as it is.

    header: the section is written in ASCII as far as can be. body: all is converted, but for the header
    section where that is kept. All work is done before the first piece. Raises Unconvertible.
    """
    found = message
    if header:
        section, rest = split_at_empty_line(message)
        found = b"".join((section_in_ascii(section), b"\r\n", rest))
        del rest
    written = _written(found, keeps_header) if body else [found]
    if sum(map(len, written)) == len(message) and b"".join(written) == message:
        return
    yield from _batches(written)


def seven_bit(message: bytes, *, keeps_header: bool = False) -> bytes:
    """The message in ASCII, CRLF lines as before. Raises Unconvertible.

    keeps_header: its own header section may stay as it is. A megabyte takes some 20 ms.
    """
    return b"".join(_written(message, keeps_header))


def is_convertible(message: bytes) -> bool:
    """Whether `seven_bit` can convert what stands below its own header section."""
    try:
        _written(message, True)
    except Unconvertible:
        return False
    return True


def _written(message: bytes, keeps_header: bool) -> list[bytes]:
    conversion = _Conversion(message)
    try:
        conversion.entity(0, len(message), 0, keeps_header=keeps_header, is_message=True)
    except BadMime as error:
        raise Unconvertible from error
    return conversion.written


def _batches(written: list[bytes]) -> Iterator[bytes]:
    """The pieces joined to larger ones, which end lines; the first has the header section."""
    batch: list[bytes] = []
    size = 0
    for piece in written:
        batch.append(piece)
        size += len(piece)
        if size >= _BATCH and piece.endswith(b"\r\n"):
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)


class _Conversion(Walk):
    """One message being written anew, from its begin to its end."""

    def __init__(self, message: bytes) -> None:
        super().__init__(message)
        self.written: list[bytes] = []
        self._above = -1
        """Where the first octet above 127 stands, of those behind all that was asked for."""

    def entity(
        self,
        start: int,
        end: int,
        depth: int,
        default_type: str = DEFAULT_TYPE,
        *,
        keeps_header: bool = False,
        is_message: bool = False,
    ) -> None:
        """default_type: what it is without a Content-Type."""
        self.enter(depth, _MAX_DEPTH)
        if self._is_ascii(start, end):
            self.written.append(self.message[start:end])
            return
        if depth and is_message and (line := _MAILBOX_LINE.match(self.message, start, end)):
            self.written.append(line[0].translate(_ABOVE))
            start = line.end()
        header, body_start = self.header(start, end, depth)
        if not self.message.startswith(b"\r\n", start + len(header), end):
            raise Unconvertible  # For some readers the body begins at what is no field.
        if not keeps_header:
            header = section_in_ascii(header)
            if not header.isascii():
                raise Unconvertible
        if self._is_ascii(body_start, end):
            self.written += (header + b"\r\n", self.message[body_start:end])
            return
        fields = fields_of(header)
        described = describe(fields, default_type)
        kept = b"".join(field.raw for field in fields if field.name != _ENCODING)
        if is_message and first(fields, "mime-version") is None:
            kept += b"MIME-Version: 1.0\r\n"
        self._body(kept, fields, described, body_start, end, depth)

    def _body(
        self,
        header: bytes,
        fields: tuple[Field, ...],
        described: Described,
        start: int,
        end: int,
        depth: int,
    ) -> None:
        """header: without what says how the body is written."""
        type_ = described.type
        if type_ == SIGNED:
            raise Unconvertible  # RFC 8551 §3.1.3: encoded anew, its signature would verify no more.
        if type_.startswith("multipart/"):
            self._begin(header, "7bit")
            self._parts_of(described, start, end, depth)
        elif type_ in {"message/rfc822", "message/news"}:
            self._begin(header, "7bit")
            self.entity(start, end, depth + 1, is_message=True)
        elif type_.startswith("message/") and not type_.startswith("message/global"):
            raise Unconvertible
        else:
            body = self.message[start:end]
            if first(fields, "content-type") is None:
                header += b"Content-Type: text/plain; charset=%b\r\n" % _charset_of(body)
            encoding, encoded = _encoded(body, type_, described.encoding)
            self._begin(header, encoding)
            self.written += encoded

    def _begin(self, header: bytes, encoding: str) -> None:
        self.written.append(b"%bContent-Transfer-Encoding: %b\r\n\r\n" % (header, encoding.encode()))

    def _parts_of(self, described: Described, start: int, end: int, depth: int) -> None:
        """A multipart; what is around its parts nobody reads (RFC 2046 §5.1.1)."""
        within, is_part = type_within(described.type), False
        for at, after, is_last in self.marks(described, start, end):
            at = max(start, at)
            self._piece(start, at, is_part, depth, within)
            self.written.append(self.message[at:after])
            start, is_part = after, not is_last
            if is_last:
                break
        self._piece(start, end, is_part, depth, within)

    def _piece(self, start: int, end: int, is_part: bool, depth: int, default_type: str) -> None:
        if is_part:
            self.entity(start, end, depth + 1, default_type)
        else:
            self.written.append(self.message[start:end].translate(_ABOVE))

    def _is_ascii(self, start: int, end: int) -> bool:
        """Asked from the begin to the end, so that no octet is looked at twice."""
        if self._above < start:
            found = _IS_ABOVE.search(self.message, start)
            self._above = found.start() if found else len(self.message)
        return self._above >= end


def _charset_of(text: bytes) -> bytes:
    """Without it the encoding would mean nothing to readers."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return b"unknown-8bit"  # RFC 1428 §3
    return b"utf-8"


# ── leaves ───────────────────────────────────────────────────────────────────────────────


def _encoded(body: bytes, type_: str, encoding: str) -> tuple[str, list[bytes]]:
    """The encoding, and the body in it; what an encoding should have kept below 128 is decoded first."""
    if encoding == "base64":
        body, is_whole = of_base64(body)
        if not is_whole:
            raise Unconvertible
    elif encoding == "quoted-printable":
        body = of_quoted_printable(body)
    elif not codes_nothing(encoding):
        raise Unconvertible
    # What was decoded may have a CR or LF of its own, which quoted-printable would send as it is.
    if type_.startswith("text/") and encoding != "base64" and has_crlf_alone(body):
        return "quoted-printable", list(_quoted(body))
    return "base64", list(_base64(body))


def _quoted(body: bytes) -> Iterator[bytes]:
    """Of a body that has CRLF alone."""
    start = 0
    while start < len(body):
        end = len(body)
        if end - start > _PIECE:
            line = body.rfind(b"\r\n", start, start + _PIECE)
            end = line + 2 if line >= 0 else start + _PIECE
            end -= body[end - 1] == 13  # a CR, whose LF comes next
        piece = body[start:end]
        # CPython ends soft line breaks as the first line of the piece ends; without one, in LF.
        quoted = binascii.b2a_qp(piece)
        yield quoted if b"\r\n" in piece else quoted.replace(b"\n", b"\r\n")
        if end < len(body) and not piece.endswith(b"\r\n"):
            yield b"=\r\n"
        start = end


def _base64(octets: bytes) -> Iterator[bytes]:
    for at in range(0, len(octets), _LINES * _GROUP):
        piece = octets[at : at + _LINES * _GROUP]
        yield b"".join(
            binascii.b2a_base64(piece[start : start + _GROUP], newline=False) + b"\r\n"
            for start in range(0, len(piece), _GROUP)
        )
