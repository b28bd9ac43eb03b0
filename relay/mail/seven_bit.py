"""A message for a host that takes no octets above 127: its parts encoded anew (RFC 6152 §3, RFC 2045 §6)."""

import binascii
import re
from collections.abc import Iterator

from relay.domain.errors import RelayError
from relay.mail.fields import section_in_ascii
from relay.mail.gate import has_crlf_alone
from relay.mail.headers import Field, fields_of, first
from relay.mail.mime import DEFAULT_TYPE, SIGNED, codes_nothing, type_within
from relay.mail.parameters import TooManyParameters, first_word, parameters_of
from relay.mail.transfer import of_base64, of_quoted_printable

_MAX_DEPTH = 20
_PIECE = 255 * 1024
"""Octets that are encoded at a time, whole lines or whole groups: nobody else runs meanwhile."""
_GROUP = 57
"""Octets of a line of base64."""
_ENCODING = "content-transfer-encoding"
_ABOVE = bytes(range(128)) + b"?" * 128


class Unconvertible(RelayError):
    """What stands above 127 stands where no encoding is: in a local part, or in a part that has none."""


def seven_bit(message: bytes, *, keeps_header: bool = False) -> bytes:
    """The message in ASCII, CRLF lines as before. Raises Unconvertible.

    keeps_header: its own header section may stay as it is. A megabyte takes some 20 ms.
    """
    return _entity(message, 0, keeps_header=keeps_header, is_message=True)


def is_convertible(message: bytes) -> bool:
    """Whether `seven_bit` can convert what stands below its own header section."""
    try:
        seven_bit(message, keeps_header=True)
    except Unconvertible:
        return False
    return True


def _entity(
    octets: bytes,
    depth: int,
    default_type: str = DEFAULT_TYPE,
    *,
    keeps_header: bool = False,
    is_message: bool = False,
) -> bytes:
    """default_type: what it is without a Content-Type."""
    if octets.isascii():
        return octets
    end = 0 if octets.startswith(b"\r\n") else octets.find(b"\r\n\r\n") + 2
    header, body = octets[:end], octets[end + 2 :]
    if depth > _MAX_DEPTH or (end < 2 and not octets.startswith(b"\r\n")):
        raise Unconvertible
    if not keeps_header:
        header = section_in_ascii(header)
        if not header.isascii():
            raise Unconvertible
    if body.isascii():
        return header + octets[end:]
    fields = fields_of(header)
    if sum(len(field.raw) for field in fields) != len(header):
        raise Unconvertible  # For some readers the body begins at what is no field.
    type_ = _word(fields, "content-type") or default_type
    encoding = _word(fields, _ENCODING)
    if type_ == SIGNED:
        raise Unconvertible  # RFC 8551 §3.1.3: encoded anew, its signature would verify no more.
    if type_.startswith("multipart/"):
        written, body = "7bit", b"".join(_parts(body, _boundary(fields), depth, type_within(type_)))
    elif type_ in {"message/rfc822", "message/news"}:
        written, body = "7bit", _entity(body, depth + 1, is_message=True)
    elif type_.startswith("message/") and not type_.startswith("message/global"):
        raise Unconvertible
    else:
        written, body = _encoded(body, type_, encoding)
    header = b"".join(field.raw for field in fields if field.name != _ENCODING)
    header += b"".join(_missing(fields, octets, type_, is_message=is_message))
    return header + b"Content-Transfer-Encoding: " + written.encode() + b"\r\n\r\n" + body


def _missing(fields: tuple[Field, ...], octets: bytes, type_: str, *, is_message: bool) -> Iterator[bytes]:
    """Without these the encoding would mean nothing to readers."""
    if is_message and first(fields, "mime-version") is None:
        yield b"MIME-Version: 1.0\r\n"
    if first(fields, "content-type") is None and type_ == DEFAULT_TYPE:
        try:
            octets.decode()
        except UnicodeDecodeError:
            yield b"Content-Type: text/plain; charset=unknown-8bit\r\n"  # RFC 1428 §3
        else:
            yield b"Content-Type: text/plain; charset=utf-8\r\n"


def _word(fields: tuple[Field, ...], name: str) -> str:
    field = first(fields, name)
    return "" if field is None else first_word(field.value)


# ── composite ────────────────────────────────────────────────────────────────────────────


def _boundary(fields: tuple[Field, ...]) -> bytes:
    field = first(fields, "content-type")
    assert field is not None
    try:
        boundary = parameters_of(field.value).get("boundary", "").rstrip()
    except TooManyParameters as error:
        raise Unconvertible from error
    if not boundary or not boundary.isascii():
        raise Unconvertible
    return boundary.encode()


def _parts(body: bytes, boundary: bytes, depth: int, default_type: str) -> Iterator[bytes]:
    """The body with its parts converted; what is around them nobody reads (RFC 2046 §5.1.1)."""
    mark = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*+(?=\r\n|\Z)")
    at, is_part, is_any = 0, False, False
    for found in mark.finditer(body):
        yield from _piece(body[at : found.start()], is_part, depth, default_type)
        yield found[0]
        at, is_part, is_any = found.end(), found[1] is None, True
        if not is_part:
            break
    if not is_any:
        raise Unconvertible
    yield from _piece(body[at:], is_part, depth, default_type)


def _piece(octets: bytes, is_part: bool, depth: int, default_type: str) -> Iterator[bytes]:
    """Behind a boundary, the end of its line included, and up to the next."""
    if is_part:
        yield octets[:2]
        yield _entity(octets[2:], depth + 1, default_type)
    else:
        yield octets.translate(_ABOVE)


# ── leaves ───────────────────────────────────────────────────────────────────────────────


def _encoded(body: bytes, type_: str, encoding: str) -> tuple[str, bytes]:
    """The encoding, and the body in it; what an encoding should have kept below 128 is decoded first."""
    if encoding == "base64":
        body, is_whole = of_base64(body)
        if not is_whole:
            raise Unconvertible
    elif encoding == "quoted-printable":
        body = of_quoted_printable(body)
    elif encoding and not codes_nothing(encoding):
        raise Unconvertible
    # What was decoded may have a CR or LF of its own, which quoted-printable would send as it is.
    if type_.startswith("text/") and encoding != "base64" and has_crlf_alone(body):
        return "quoted-printable", b"".join(_quoted(body))
    return "base64", _base64(body)


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


def _base64(octets: bytes) -> bytes:
    lines = (octets[start : start + _GROUP] for start in range(0, len(octets), _GROUP))
    return b"\r\n".join(binascii.b2a_base64(line, newline=False) for line in lines) + b"\r\n"
