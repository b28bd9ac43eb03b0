"""Mailboxes as people write them: a name and an address in one text, several with commas (RFC 5322 §3.4).

Read forgivingly, because clients glue names of shops and people before addresses without quoting them: what
stands in the last `<…>` is the address and all before it is the name. What was read is written anew, so that
nobody behind us reads anything else. Each reader passes over its text once.
"""

import re

from relay.domain.address import Mailbox, parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.mail.headers import decode_words

_LONGEST_ADDRESS = 320
"""Characters that can be one, with a comment behind it."""
_MARK = re.compile(r'\\.|[",]', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WITH_COMMENT = re.compile(r"([^\s()<>]++)\s*\(([^()]*+)\)")
_NOBODY = re.compile(r"[A-Za-z0-9 ._-]{1,100}:\s*;")

Named = tuple[str, Mailbox]
"""A display name, decoded, perhaps empty; and the mailbox."""


def split_name(text: str) -> tuple[str, str]:
    """Display name and address of one mailbox, both as they stand: templates may be in them."""
    text = text.strip()
    at = text.rfind("<")
    if at >= 0 and text.endswith(">"):
        return text[:at].strip(), text[at + 1 : -1].strip()
    commented = _WITH_COMMENT.fullmatch(text)
    return (commented[2].strip(), commented[1]) if commented else ("", text)


def read_mailbox(text: str) -> Named:
    """The one mailbox that the text is. Raises MalformedAddress."""
    name, address = split_name(one_line(text))
    return read_name(name), parse_mailbox(address)


def read_mailboxes(text: str) -> list[Named]:
    """All that the text lists, at least one. Raises MalformedAddress when something in it is none.

    A comma separates behind `>` and behind a bare address; elsewhere it belongs to a name.
    """
    text = one_line(text)
    found: list[Named] = []
    start, is_quoted = 0, False
    for mark in _MARK.finditer(text):
        is_quoted ^= mark[0] == '"'
        if mark[0] == "," and not is_quoted:
            end = mark.start()
            if end - start < 2 and not text[start:end].strip():
                # An empty place between commas (RFC 5322 §4.4).
                start = end + 1
            elif _is_whole(text, start, end):
                found.append(read_mailbox(text[start:end]))
                start = end + 1
    if text[start:].strip() or not found:
        found.append(read_mailbox(text[start:]))
    return found


def sole_mailbox(text: str) -> Named:
    """The mailbox that the text lists and no other. Raises MalformedAddress."""
    found = read_mailboxes(text)
    if len(found) != 1:
        raise MalformedAddress(text)
    return found[0]


NOBODY = "undisclosed-recipients:;"


def names_nobody(text: str) -> bool:
    """Whether it is an empty group, such as `undisclosed-recipients:;`."""
    return _NOBODY.fullmatch(text.strip()) is not None


def read_name(text: str) -> str:
    """What a display name says: without its quotes, encoded words decoded; no structure any more."""
    quoted = _QUOTED.fullmatch(text)
    return _ESCAPED.sub(r"\1", quoted[1]) if quoted else decode_words(text)


def one_line(text: str) -> str:
    """The text without control characters, runs of white space as one space: nothing that ends a field."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a mailbox ends there, with the `>` of an address or as a bare one; it looks back a little."""
    last = end - (text[end - 1] == " ")
    if text[last - 1] == ">":
        at = text.rfind("<", max(start, last - _LONGEST_ADDRESS), last)
        address = text[at + 1 : last - 1] if at >= 0 else ""
    elif last - start <= _LONGEST_ADDRESS:
        _, address = split_name(text[start:last])
    else:
        return False
    try:
        parse_mailbox(address.strip())
    except MalformedAddress:
        return False
    return True
