"""Parameters of Content-Type, read and kept in one pass (RFC 2045 §5.1, RFC 2231 §3 and §4).

Not the standard library's reader, whose cost grows with the square of what a stranger wrote.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relay.domain.errors import RelayError
from relay.mail.headers import unfold
from relay.mail.mailboxes import ESCAPED
from relay.mail.words import NOT_ASCII, parameter, percent_encode

MAX_PARAMETERS = 100

# Each match succeeds and reaches to the next semicolon outside quotes: nothing is read twice.
_PARAMETER = re.compile(
    r'[;\s]*+([^\s=;"]*+)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"?|([^;]*+)))?[^;]*+', re.DOTALL
)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_NUMBERED = re.compile(r"([^*]+)\*(?:([0-9]{1,3})(\*?))?")
"""`name*`, `name*0` and `name*0*`."""


@dataclass
class TooManyParameters(RelayError):
    """A field has more parameters than anybody needs."""

    limit: int


def first_word(value: bytes) -> str:
    """What stands before the parameters, lower-case, without a comment behind it."""
    word = _text(value).partition(";")[0].strip().lower()
    return word.partition("(")[0].rstrip() or word


def parameters_of(value: bytes) -> dict[str, str]:
    """By lower-case name, of names given twice the first. Raises TooManyParameters.

    What was written in pieces is joined; octets that are not ASCII become U+FFFD, since nothing
    that is asked for here may have one.
    """
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, str]] = {}
    for number, (name, text) in enumerate(_given(_text(value).partition(";")[2]), 1):
        if number > MAX_PARAMETERS:
            raise TooManyParameters(MAX_PARAMETERS)
        numbered = _NUMBERED.fullmatch(name)
        if numbered is None:
            plain.setdefault(name, text)
            continue
        position = int(numbered[2] or 0)
        if numbered[2] is None or numbered[3]:
            # Only the first piece says in which charset and language it is.
            encoded = text if position else text.rpartition("'")[2]
            text = _PERCENT.sub(_ascii, encoded)
        pieces.setdefault(numbered[1], {}).setdefault(position, text)
    joined = {name: "".join(_in_order(found)) for name, found in pieces.items()}
    return joined | plain


def named_parameters(value: bytes) -> list[tuple[str, bytes]]:
    """Each with its lower-case name, as it may be written again: in ASCII, and otherwise as it came."""
    text = unfold(value).decode("utf-8", "replace").partition(";")[2]
    return [
        (match[1].lower(), _in_ascii(match))
        for match in _PARAMETER.finditer(text)
        if match[1] and match[1].isascii()
    ]


def _in_ascii(match: re.Match[str]) -> bytes:
    """A parameter by RFC 2231 where it is not ASCII; octets of one that is by it already are coded alone."""
    as_written = match[0].strip("; \t")
    if as_written.isascii():
        return as_written.encode("ascii")
    text = ESCAPED.sub(r"\1", match[2]) if match[2] else (match[3] or "").rstrip()
    name, is_extended, place = match[1].partition("*")
    if not is_extended:
        return parameter(name, text)
    if not place.endswith("*") and place:
        charset = "utf-8''" if place == "0" else ""
        return f"{name}*{place}*={charset}".encode("ascii") + percent_encode(text)
    return match[1].encode("ascii") + b"=" + NOT_ASCII.sub(_percent, text).encode("ascii")


def _percent(octets: re.Match[str]) -> str:
    return percent_encode(octets[0]).decode("ascii")


def _ascii(octet: re.Match[str]) -> str:
    code = int(octet[1], 16)
    return chr(code) if code < 128 else "\ufffd"


def _text(value: bytes) -> str:
    return unfold(value).decode("ascii", "replace").strip()


def _given(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, bare in _PARAMETER.findall(text):
        if name:
            yield name.lower(), ESCAPED.sub(r"\1", quoted) if quoted else bare.rstrip()


def _in_order(pieces: dict[int, str]) -> Iterator[str]:
    """From 0 on, up to the first that is missing (RFC 2231 §3)."""
    for position in range(len(pieces)):
        if position not in pieces:
            return
        yield pieces[position]
