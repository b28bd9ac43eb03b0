"""Text in header fields: as it is, quoted, or as encoded words (RFC 5322 §3.2.5, RFC 2047, RFC 2231)."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from relay.domain.address import Mailbox, parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.mail.headers import decode_words
from relay.mail.mailboxes import one_line

_ATOM_OCTETS = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~ "
)
_ENCODED_WORD_OCTETS = 42
"""UTF-8 octets a word; in base64 with its frame they stay under the 75 that RFC 2047 §2 allows."""
_MAX_LINE = 890
"""Of the 998 octets that RFC 5322 §2.1.1 allows; the name of the field stands before, up to 100."""
_BRACKETED = re.compile(r"<([^<>]*+)>")
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_ATTRIBUTE_CHARS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&+-.^_`|~")


def phrase(text: str) -> bytes:
    """A display name: as it is, quoted, or as encoded words.

    Encoded words in it are read, and written anew: many readers decode them inside quotes too.
    """
    text = one_line(decode_words(text) if "=?" in text else text)
    octets = text.encode("utf-8", "replace")
    if "=?" in text:
        return _encoded(text)
    if len(octets) > _ENCODED_WORD_OCTETS or not octets.isascii():
        return _encoded(text)
    if _ATOM_OCTETS.issuperset(octets):
        return octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def encode_unstructured(text: str) -> bytes:
    """The value of a field that only people read, such as Subject; folded where it is long."""
    text = one_line(text)
    if _is_plain(text):
        return _folded(text.split(" "))
    return _encoded(text)


def by_words(text: str) -> bytes:
    """The value of a field that programs may read: no more of it is encoded than must be.

    What stands in angle brackets stays there, in ASCII.
    """
    text = one_line(text)
    if _is_plain(text):
        return _folded(text.split(" "))
    words: list[str] = []
    at = 0
    for bracketed in _BRACKETED.finditer(text):
        words += _plain_words(text[at : bracketed.start()])
        words.append(f"<{_in_brackets(bracketed[1])}>")
        at = bracketed.end()
    return _folded([*words, *_plain_words(text[at:])])


def _is_plain(text: str) -> bool:
    return text.isascii() and all(len(word) <= _MAX_LINE for word in text.split(" "))


def _plain_words(text: str) -> Iterator[str]:
    """Words outside ASCII are encoded, neighbours together, and those that look like encoded ones."""
    for is_plain, run in groupby(text.split(), _stays):
        words = list(run)
        yield from words if is_plain else _encoded(" ".join(words)).decode("ascii").split("\r\n ")


def _stays(word: str) -> bool:
    return word.isascii() and len(word) <= _MAX_LINE and "=?" not in word


def _in_brackets(text: str) -> str:
    """An address with its domain as A-labels; else octets as in URIs (RFC 3987 §3.1, RFC 6068 §2)."""
    if "@" in text and not text.isascii():
        with suppress(MalformedAddress):
            text = parse_mailbox(text.strip()).text
    text = NOT_ASCII.sub(lambda found: percent_encode(found[0]).decode("ascii"), text)
    # White space within an URI in brackets is nothing (RFC 2369 §2).
    return "\r\n ".join(text[at : at + _MAX_LINE] for at in range(0, len(text), _MAX_LINE))


def _folded(words: Sequence[str]) -> bytes:
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) > 77:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line]).encode("ascii")


def mailbox(name: str, address: Mailbox) -> bytes:
    """One mailbox, with its display name if there is one."""
    octets = address.text.encode()
    return phrase(name) + b" <" + octets + b">" if one_line(name) else octets


def parameter(name: str, text: str) -> bytes:
    """A parameter of Content-Type or Content-Disposition: quoted, or percent-encoded (RFC 2231 §4)."""
    text = one_line(text)
    if text.isascii():
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{quoted}"'.encode("ascii")
    return name.encode("ascii") + b"*=utf-8''" + percent_encode(text)


def percent_encode(text: str) -> bytes:
    """All but what may stand in an extended parameter as it is (RFC 2231 §7)."""
    octets = text.encode("utf-8", "replace")
    return b"".join(bytes((octet,)) if octet in _ATTRIBUTE_CHARS else b"%%%02X" % octet for octet in octets)


def _encoded(text: str) -> bytes:
    return b"\r\n ".join(b"=?utf-8?b?" + b64encode(word) + b"?=" for word in _words(text))


def _words(text: str) -> list[bytes]:
    """Pieces of the UTF-8 text that fit an encoded word and split no character."""
    octets, words, begin = text.encode("utf-8", "replace"), [], 0
    while True:
        end = begin + _ENCODED_WORD_OCTETS
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        words.append(octets[begin:end])
        if end >= len(octets):
            return words
        begin = end
