"""Mailboxes as people write them: a name and an address in one text, several with commas (RFC 5322 §3.4).

Read forgivingly, because clients glue names of shops and people before addresses without quoting them: what
stands in the last `<…>` is the address and all before it is the name. What was read is written anew, so that
nobody behind us reads anything else. Each reader passes over its text once.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice

from relay.domain.address import Mailbox, parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.mail.headers import decode_words

_LONGEST_ADDRESS = 320
"""Characters that can be one, with a comment behind it."""
_MARK = re.compile(r'\\.|[",]', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WITH_COMMENT = re.compile(r"([^\s()<>]++)\s*\(([^()]*+)\)")
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
_ENDS_LINES = frozenset({"Cc", "Cs", "Zl", "Zp", "Zs"})
"""Categories of Unicode: controls, halves of characters, separators."""

Named = tuple[str, Mailbox]
"""A display name, decoded, perhaps empty; and the mailbox."""


def split_name(text: str) -> tuple[str, str]:
    """Display name and address of one mailbox, both as they stand; a comment behind it is left out."""
    return _split(text.strip(), text.strip())


def split_template(text: str) -> tuple[str, str]:
    """As `split_name`, of a text in which values are to be filled: what stands in braces is no structure."""
    text = text.strip()
    return _split(text, _masked(text))


def _split(text: str, shape: str) -> tuple[str, str]:
    """shape: the text, without what has no part in its structure."""
    end = _before_comments(shape)
    at = shape.rfind("<", 0, end)
    if at >= 0 and shape[end - 1] == ">":
        return text[:at].strip(), text[at + 1 : end - 1].strip()
    commented = _WITH_COMMENT.fullmatch(shape)
    if commented:
        return text[slice(*commented.span(2))].strip(), text[slice(*commented.span(1))]
    return "", text[:end]


def _masked(text: str) -> str:
    """With letters for all in braces."""
    pieces, at = [], 0
    while (start := text.find("{{", at)) >= 0 and (end := text.find("}}", start)) >= 0:
        end += 3 if text.startswith("}}}", end) else 2
        pieces += [text[at:start], "x" * (end - start)]
        at = end
    return "".join((*pieces, text[at:]))


def _before_comments(text: str) -> int:
    """Where the text ends without the comments behind it, which may nest (RFC 5322 §3.2.2)."""
    end, depth = len(text), 0
    if not text.endswith(")"):
        return end
    for mark in reversed(tuple(_COMMENT_MARK.finditer(text))):
        if not depth and (mark.end() != end or mark[0] != ")"):
            break
        depth += {"(": -1, ")": 1}.get(mark[0], 0)
        if not depth:
            end = mark.start()
            while end and text[end - 1].isspace():
                end -= 1
    return end


def read_mailbox(text: str) -> Named:
    """The one mailbox that the text is. Raises MalformedAddress."""
    name, address = split_name(one_line(text))
    return read_name(name), parse_mailbox(address)


def _mailboxes(text: str) -> Iterator[Named]:
    """All that the text lists, at least one. Raises MalformedAddress when something in it is none.

    A comma separates behind `>` and behind a bare address; elsewhere it belongs to a name.
    """
    start, is_quoted, is_empty = 0, False, True
    for mark in _MARK.finditer(text):
        is_quoted ^= mark[0] == '"'
        if mark[0] == "," and not is_quoted:
            end = mark.start()
            if end - start < 2 and not text[start:end].strip():
                # An empty place between commas (RFC 5322 §4.4).
                start = end + 1
            elif ends_mailbox(text, start, end):
                yield read_mailbox(text[start:end])
                start, is_empty = end + 1, False
    if is_empty or text[start:].strip():
        yield read_mailbox(text[start:])


def sole_mailbox(text: str) -> Named:
    """The mailbox that the text lists and no other. Raises MalformedAddress."""
    found = tuple(islice(_mailboxes(one_line(text)), 2))
    if len(found) != 1:
        raise MalformedAddress(text)
    return found[0]


def read_name(text: str) -> str:
    """What a display name says: without its quotes, encoded words decoded; no structure any more."""
    quoted = _QUOTED.fullmatch(text)
    return ESCAPED.sub(r"\1", quoted[1]) if quoted else decode_words(text)


def one_line(text: str) -> str:
    """The text without control characters, runs of white space as one space: nothing that ends a field.

    A joiner or a soft hyphen stays: with a blank for it, `pay<soft hyphen>pal` would be two words.
    """
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(char) in _ENDS_LINES else char for char in text)
    return " ".join(text.split())


def ends_mailbox(text: str, start: int, end: int) -> bool:
    """Whether a mailbox ends there, with the `>` of an address or as a bare one; it looks back a little."""
    last = end - (text[end - 1] == " ")
    begin = max(start, last - _LONGEST_ADDRESS)
    if begin > start and text.find("<", begin, last) < 0:
        return False
    _, address = split_name(text[begin:last])
    try:
        parse_mailbox(address)
    except MalformedAddress:
        return False
    return True
