"""Header fields: found without touching them, read where we need to know (RFC 5322 §2.2, RFC 2047)."""

import binascii
import re
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from relay.domain.address import comparable_domain
from relay.mail.charsets import is_known, may_hide_ascii
from relay.mail.transfer import of_base64

_FIELD = rb"([!-9;-~]++)[ \t]*+:([^\n]*+\n(?:[ \t][^\n]*+\n)*+)"
_SECTION = re.compile(rb"(?:%b)*+" % _FIELD)
_FIELDS = re.compile(rb"^" + _FIELD, re.MULTILINE)
"""From the beginning of a line: a long one that is no field is looked at once."""
_FOLD = re.compile(rb"\r\n[ \t]+")
MAX_TOLD = 1000
"""Characters of a subject or a sender that events repeat; what is sent is another matter."""
_MAX_TOLD_OCTETS = 4 * MAX_TOLD


class Field(NamedTuple):
    """One header field of a message. A tuple: thousands may stand in one section."""

    name: str
    """Lower-case."""
    value: bytes
    """All after the colon but the last CRLF: still folded, still encoded."""
    raw: bytes
    """As received, the last CRLF included."""


def split_message(message: bytes) -> tuple[bytes, bytes]:
    """The header section and the body; either may be empty.

    An empty line between them belongs to neither (RFC 5322 §2.1). Without one the body begins
    where Postfix lets it begin: at the first line that is neither a field nor the continuation
    of one. Lines end in CRLF: whoever took the message in saw to that.
    """
    section = _SECTION.match(message)
    end = section.end() if section else 0
    return message[:end], message[end + 2 * message.startswith(b"\r\n", end) :]


def fields_of(header: bytes) -> tuple[Field, ...]:
    """The fields of a header section that `split_message` made, in order."""
    # A list is made sooner than a tuple of what a generator yields.
    found = [
        Field(each[1].decode("ascii").lower(), each[2].removesuffix(b"\n").removesuffix(b"\r"), each[0])
        for each in _FIELDS.finditer(header)
    ]
    return tuple(found)


def first(fields: Iterable[Field], name: str) -> Field | None:
    """The first field of that lower-case name."""
    for field in fields:
        if field.name == name:
            return field
    return None


def unfold(value: bytes) -> bytes:
    """The value on one line: each line break with the white space behind it is one space."""
    return _FOLD.sub(b" ", value)


def decode_header(value: bytes) -> str:
    """What the value says to a reader: unfolded, encoded words decoded, without control characters.

    Octets that are not UTF-8 become U+FFFD, words that cannot be decoded stay as they are.
    """
    text = unfold(value).decode("utf-8", "replace").strip()
    if "=?" in text:
        text = decode_words(text)
    return text if text.isprintable() else text.translate(_CONTROLS)


def tell_header(value: bytes) -> str:
    """What the value says, as far as people are told of it: `decoded`, but no more than a long line."""
    return decode_header(value[:_MAX_TOLD_OCTETS])[:MAX_TOLD]


def from_address(fields: Iterable[Field]) -> str | None:
    """The address in From, `local@domain` as written.

    None when nobody can be said to speak for the message: no From field or several, one that
    cannot be read, or mailboxes of different domains. Of several in one domain it is the first.
    """
    addresses = _from_addresses(fields)
    if len(addresses) == 1:
        return addresses[0]
    domains = {comparable_domain(address.rpartition("@")[2]) for address in addresses}
    return addresses[0] if len(domains) == 1 else None


def own_mailbox(fields: Iterable[Field]) -> str | None:
    """The address of the one mailbox in the one From field, by RFC 5322 §3.4; None: there is no such."""
    addresses = _from_addresses(fields, is_strict=True)
    return addresses[0] if len(addresses) == 1 else None


def _from_addresses(fields: Iterable[Field], is_strict: bool = False) -> list[str]:
    """Strict: a comment ends."""
    values = [field.value for field in fields if field.name == "from"]
    if len(values) != 1 or len(values[0]) > _MAX_FROM_OCTETS:
        return []
    text = unfold(values[0]).decode("utf-8", "replace").rstrip()
    return _addresses(_without_comments(text, is_strict) if "(" in text else text)


# ── mailboxes (RFC 5322 §3.4) ────────────────────────────────────────────────────────────

_MAX_FROM_OCTETS = 10_000
_ATOM = r'[^\s()<>\[\]:;@\\,"]++'
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_ADDRESS = rf"(?:{_ATOM}|{_QUOTED})@(?:{_ATOM}|\[[^\[\]\\\s]*+\])"
_ENCODED = r"=\?[!->@-~]++\?[BbQq]\?[!->@-~]*+\?="
_MAILBOX = re.compile(
    rf"\s*+(?:(?:(?:{_ENCODED}|{_ATOM}|{_QUOTED})\s*+)*+<\s*+({_ADDRESS})\s*+>|({_ADDRESS}))\s*+"
)
_COMMENT_MARK = re.compile(rf"{_QUOTED}|\\.|[()]", re.DOTALL)
_INNER_MARK = re.compile(r"\\.|[()]", re.DOTALL)
"""In a comment a quote is a character as any other (RFC 5322 §3.2.2)."""


def _addresses(text: str) -> list[str]:
    """The addresses of a mailbox list; empty when it is none. Groups are not for From."""
    found: list[str] = []
    at = 0
    while mailbox := _MAILBOX.match(text, at):
        found.append(mailbox[1] or mailbox[2])
        at = mailbox.end() + 1
        if mailbox.end() == len(text):
            return found
        if text[mailbox.end()] != ",":
            break
    return []


def _without_comments(text: str, is_strict: bool) -> str:
    """Comments nest; each becomes a space. One that does not end takes the rest along; strict: all."""
    kept: list[str] = []
    depth = at = end = 0
    while mark := (_INNER_MARK if depth else _COMMENT_MARK).search(text, end):
        end = mark.end()
        if mark[0] == "(":
            if not depth:
                kept.append(text[at : mark.start()])
            depth += 1
        elif mark[0] == ")" and depth:
            depth -= 1
            at = end
    if depth:
        return "" if is_strict else " ".join(kept)
    return " ".join((*kept, text[at:]))


# ── encoded words (RFC 2047) ─────────────────────────────────────────────────────────────

_CONTROLS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]+)(?:\*[A-Za-z0-9-]*)?\?([BbQq])\?([!->@-~]*)\?=")
_WORDS = re.compile(rf"{_WORD.pattern}(?:[ \t]+{_WORD.pattern})*")


def decode_words(text: str) -> str:
    """The text with its encoded words decoded; one that cannot be stays as it is.

    The white space between neighbouring words is theirs.
    """
    return _WORDS.sub(_decode_run, text)


def _decode_run(run: re.Match[str]) -> str:
    """Octets are joined before they are decoded: some writers split words in mid-character."""
    words = [(charset.lower(), encoding, payload) for charset, encoding, payload in _WORD.findall(run[0])]
    if not all(is_known(charset) for charset, _, _ in words):
        return run[0]
    try:
        return "".join(
            b"".join(_whole(encoding, payload) for _, encoding, payload in same).decode(charset)
            for charset, same in groupby(words, itemgetter(0))
        )
    except (binascii.Error, LookupError, UnicodeDecodeError):
        return run[0]


def may_hide_braces(text: str) -> bool:
    """Whether there may be braces in those encoded words that could not be decoded and are left in it."""
    words = _WORD.findall(text)
    octets = b"".join(_octets(encoding, payload)[0] for _, encoding, payload in words)
    return b"{{" in octets or any(may_hide_ascii(charset) for charset, _, _ in words)


def _whole(encoding: str, payload: str) -> bytes:
    """Raises binascii.Error."""
    octets, is_whole = _octets(encoding, payload)
    if not is_whole:
        raise binascii.Error(payload)
    return octets


def _octets(encoding: str, payload: str) -> tuple[bytes, bool]:
    """And whether nothing is damaged."""
    if encoding in "Bb":
        return of_base64((payload + "=" * (-len(payload) % 4)).encode())
    return binascii.a2b_qp(payload.encode(), header=True), True
