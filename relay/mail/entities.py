"""Entities of MIME, written: a text, a file, several as one (RFC 2045, RFC 2046)."""

import binascii
from base64 import encodebytes
from collections.abc import Iterator, Sequence
from typing import TypeVar

from relay.domain.transmission import File
from relay.mail.words import parameter

Later = TypeVar("Later")
"""What stands for octets that are not known yet."""

_MAX_7BIT_LINE = 998


def text_entity(type_: str, text: str) -> bytes:
    """A text with its fields: as it is when it is ASCII in short lines, else quoted-printable."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    if not text.endswith("\r\n"):
        text += "\r\n"
    octets = text.encode("utf-8", "replace")
    encoding = b"7bit"
    if not octets.isascii() or b"\0" in octets or _has_long_line(octets):
        encoding, octets = b"quoted-printable", binascii.b2a_qp(octets)
    return (
        b"Content-Type: " + type_.encode("ascii") + b"; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + octets
    )


def file_entity(file: File, is_inline: bool) -> bytes:
    """A file with its fields, in base64."""
    name = file.name.replace("/", "_").replace("\\", "_") or "file"
    fields = [
        b"Content-Type: " + file.type.encode("ascii", "replace") + b";\r\n " + parameter("name", name),
        b"Content-Transfer-Encoding: base64",
        b"Content-Disposition: "
        + (b"inline" if is_inline else b"attachment")
        + b";\r\n "
        + parameter("filename", name),
    ]
    if is_inline:
        fields.append(b"Content-ID: <" + file.name.encode("ascii", "replace") + b">")
    return b"\r\n".join(fields) + b"\r\n\r\n" + encodebytes(file.data).replace(b"\n", b"\r\n")


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
