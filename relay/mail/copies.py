"""The header fields that name the other recipients of a message: Cc for all copies, Bcc for one (C §2.5)."""

from base64 import b64encode
from collections.abc import Sequence

from relay.domain.address import Mailbox
from relay.domain.message import Copy

_ATOM_OCTETS = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~ "
)
_ENCODED_WORD_OCTETS = 42
"""UTF-8 octets a word; in base64 with its frame they stay under the 75 that RFC 2047 §2 allows."""


def cc_field(copies: Sequence[Copy]) -> bytes:
    """`Cc:` with all entries, one a line so that no line passes 998 octets (RFC 5322 §2.1.1)."""
    return b"Cc: " + b",\r\n ".join(_entry(copy) for copy in copies) + b"\r\n"


def bcc_field(mailbox: Mailbox) -> bytes:
    """`Bcc:` with the one address whose copy it heads."""
    return b"Bcc: " + mailbox.text.encode() + b"\r\n"


def _entry(copy: Copy) -> bytes:
    address = copy.mailbox.text.encode()
    return _phrase(copy.name) + b" <" + address + b">" if copy.name else address


def _phrase(text: str) -> bytes:
    """A display name: as it is, quoted, or as encoded words (RFC 5322 §3.2.5, RFC 2047)."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    octets = text.encode("utf-8", "replace")
    if all(octet in _ATOM_OCTETS for octet in octets) and len(octets) <= _ENCODED_WORD_OCTETS:
        return octets
    if octets.isascii() and len(octets) <= _ENCODED_WORD_OCTETS:
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"\r\n ".join(b"=?utf-8?b?" + b64encode(word) + b"?=" for word in _words(text))


def _words(text: str) -> list[bytes]:
    """Pieces of the UTF-8 text that fit an encoded word and split no character."""
    words = [b""]
    for char in text:
        octets = char.encode("utf-8", "replace")
        if len(words[-1]) + len(octets) > _ENCODED_WORD_OCTETS:
            words.append(b"")
        words[-1] += octets
    return words
