"""Text in header fields: as it is, quoted, or as encoded words (RFC 5322 §3.2.5, RFC 2047, RFC 2231)."""

from base64 import b64encode
from collections.abc import Sequence

from relay.domain.address import Mailbox
from relay.domain.errors import MalformedAddress
from relay.mail.headers import decode_words
from relay.mail.mailboxes import Named, one_line, read_mailboxes

_ATOM_OCTETS = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~ "
)
_ENCODED_WORD_OCTETS = 42
"""UTF-8 octets a word; in base64 with its frame they stay under the 75 that RFC 2047 §2 allows."""
_MAX_LINE = 890
"""Of the 998 octets that RFC 5322 §2.1.1 allows; the name of the field stands before, up to 100."""
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


def unstructured(text: str) -> bytes:
    """The value of a field that only people read, such as Subject; folded where it is long."""
    text = one_line(text)
    if not text.isascii() or any(len(word) > _MAX_LINE for word in text.split(" ")):
        return _encoded(text)
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) > 77:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line]).encode("ascii")


def mailbox_list(text: str) -> bytes | None:
    """The value of a field that lists mailboxes, one a line, names encoded; None when it is no such list."""
    try:
        return written(read_mailboxes(text))
    except MalformedAddress:
        return None


def written(mailboxes: Sequence[Named]) -> bytes:
    """The value of a field that lists these, one a line."""
    return b",\r\n ".join(mailbox(name, address) for name, address in mailboxes)


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
    return name.encode("ascii") + b"*=utf-8''" + percent_encoded(text)


def percent_encoded(text: str) -> bytes:
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
