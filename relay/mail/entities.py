"""Entities of MIME, written: a text, a file, several as one (RFC 2045, RFC 2046)."""

import binascii
import re
from base64 import encodebytes
from collections.abc import Iterator, Sequence
from typing import TypeVar

from relay.domain.transmission import File
from relay.mail.parameters import named_parameters
from relay.mail.words import parameter

Later = TypeVar("Later")
"""What stands for octets that are not known yet."""

_MAX_7BIT_LINE = 998
_COMPOSITE = re.compile(r"(?:message|multipart)/", re.IGNORECASE)
"""Types that have no transfer coding of their own."""
_OCTETS = b"application/octet-stream"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def text_entity(type_: str, text: str, parameters: Sequence[bytes] = ()) -> bytes:
    """A text with its fields: as it is when it is ASCII in short lines, else quoted-printable.

    parameters: of its type besides the charset.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    if not text.endswith("\r\n"):
        text += "\r\n"
    octets = text.encode("utf-8", "replace")
    encoding = b"7bit"
    if not octets.isascii() or b"\0" in octets or _has_long_line(octets):
        encoding, octets = b"quoted-printable", binascii.b2a_qp(octets)
    described = (type_.encode("ascii") + b"; charset=utf-8", *parameters)
    return (
        b"Content-Type: " + b";\r\n ".join(described) + b"\r\n"
        b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + octets
    )


def file_entity(file: File, is_inline: bool) -> bytes:
    """A file with its fields, in base64 unless its type knows none (RFC 2045 §6.4)."""
    name = file.name.replace("/", "_").replace("\\", "_")
    type_, encoding = file.type.encode("ascii", "replace"), b"base64"
    is_named = any(given == "name" for given, _ in named_parameters(type_))
    content = None
    if _COMPOSITE.match(file.type):
        content = _in_lines(file.data)
        if content is None:
            type_, is_named = _OCTETS, False
        else:
            encoding = b"7bit"
    if content is None:
        content = encodebytes(file.data).replace(b"\n", b"\r\n")
    disposition = b"inline" if is_inline else b"attachment"
    fields = [
        b"Content-Type: " + type_ + (b"" if is_named else _named("name", name)),
        b"Content-Transfer-Encoding: " + encoding,
        b"Content-Disposition: " + disposition + _named("filename", name),
    ]
    if is_inline:
        fields.append(b"Content-ID: <" + file.name.encode("ascii", "replace") + b">")
    return b"\r\n".join(fields) + b"\r\n\r\n" + content


def _named(parameter_name: str, name: str) -> bytes:
    return b";\r\n " + parameter(parameter_name, name) if name else b""


def _in_lines(octets: bytes) -> bytes | None:
    """As any host takes it: ASCII in short lines. None when it is not."""
    lines = _LINE_END.sub(b"\r\n", octets)
    if not lines.isascii() or b"\0" in lines or _has_long_line(lines):
        return None
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def multipart(subtype: str, boundary: str, parts: Sequence[Sequence[bytes | Later]]) -> list[bytes | Later]:
    """The entities as one, with its fields."""
    return [
        f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii"),
        *_between(boundary, parts),
        f"--{boundary}--\r\n".encode("ascii"),
    ]


def _between(boundary: str, parts: Sequence[Sequence[bytes | Later]]) -> Iterator[bytes | Later]:
    for part in parts:
        yield f"--{boundary}\r\n".encode("ascii")
        yield from part
        yield b"\r\n"


def _has_long_line(octets: bytes) -> bool:
    if len(octets) <= _MAX_7BIT_LINE:
        return False
    return any(len(line) > _MAX_7BIT_LINE for line in octets.split(b"\r\n"))
