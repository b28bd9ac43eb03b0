"""Mail as the next hop has it, read by other means than the relay's own, and what is wrong with it."""

import re
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage, Message
from typing import Any

from relay.sink.orders import Attempt

MAX_LINE = 998
"""Of what the relay wrote itself (RFC 5322 §2.1.1)."""

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_PARAMETERS = re.compile(r"(?:SIZE=\d+)?(?: BODY=8BITMIME)?(?: SMTPUTF8)?")
_ONE, _AT_MOST_ONE = ("from", "date", "message-id"), ("to", "cc", "subject", "reply-to")
_OF_A_PART = frozenset({"content-type", "content-transfer-encoding", "content-disposition", "content-id"})


def of_all_mail(attempt: Attempt) -> list[str]:
    """Whoever wrote it: octets that can be read in one way, and an envelope that says nothing besides."""
    head, content = attempt.content.partition(b"\r\n\r\n")[0], attempt.content
    found = []
    if b"\0" in content or re.search(rb"\r(?!\n)|(?<!\r)\n", content):
        found.append("NUL, bare CR or bare LF")
    for number, line in enumerate(head.split(b"\r\n")):
        if not (_FIELD.match(line) or (number and line[:1] in b" \t" and line)):
            found.append(f"no field and no fold: {line[:80]!r}")
    if not _PARAMETERS.fullmatch(attempt.parameters.strip()):
        found.append(f"parameters of MAIL: {attempt.parameters!r}")
    paths = [path for path in (attempt.mail_from, attempt.recipient) if path]
    found += [f"not one address: {path!r}" for path in paths if _unquoted(path).count("@") != 1]
    return found


def of_composed(attempt: Attempt, domains: frozenset[str] | None, max_bytes: int = 20 << 20) -> list[str]:
    """Of what the relay composed: besides, the fields that there must be, and From's one mailbox.

    domains: those that From may be of; None: any.
    """
    found = of_all_mail(attempt)
    head = attempt.content.partition(b"\r\n\r\n")[0]
    counts = Counter(_names(head))
    found += [f"{counts[name]} x {name}" for name in _ONE if counts[name] != 1]
    found += [f"{counts[name]} x {name}" for name in _AT_MOST_ONE if counts[name] > 1]
    if len(attempt.content) > max_bytes + 64_000:
        found.append(f"{len(attempt.content)} octets")
    return found + _of_sender(_sender_of(head), domains)


def of_bound(attempt: Attempt) -> list[str]:
    """Of mail that came by SMTP where From must be one mailbox of acme.test."""
    head = attempt.content.partition(b"\r\n\r\n")[0]
    found = of_all_mail(attempt)
    if _names(head).count("from") != 1:
        found.append("not one From")
    # What it says besides may stand there, because it leaves as it came.
    written = re.sub(r"=\?[!->@-~]+\?[BbQq]\?[!->@-~]*\?=", "", _without_comments(_sender_of(head)))
    return found + _of_sender(written.strip(), frozenset({"acme.test"}))


def of_parts(attempt: Attempt, texts: int, files: int) -> list[str]:
    """Of content that was given in parts: that these are there, no other, with no field of a stranger."""
    content = attempt.content
    found = []
    longest = max(map(len, content.split(b"\r\n")))
    if longest > MAX_LINE:
        found.append(f"a line of {longest} octets")
    if _names(content.partition(b"\r\n\r\n")[0]).count("mime-version") != 1:
        found.append("not one MIME-Version")
    leaves = list(_leaves(message_from_bytes(content)))
    attached = [part for part in leaves if part["content-disposition"]]
    if (len(leaves) - len(attached), len(attached)) != (texts, files):
        found.append(f"{len(leaves)} parts, of them {len(attached)} files")
    for part in leaves if len(leaves) > 1 else []:
        names = [name.lower() for name in part]
        if set(names) - _OF_A_PART or len(set(names)) != len(names):
            found.append(f"a part with {names}")
    return found


def _leaves(part: Message) -> Iterator[Message]:
    """What stands in the relay's own containers."""
    if str(part.get_boundary("")).startswith("=_relay_") and part.is_multipart():
        for inner in part.get_payload():
            assert isinstance(inner, Message)
            yield from _leaves(inner)
    else:
        yield part


def _sender_of(head: bytes) -> str:
    sender = re.search(rb"(?is)(?:^|\r\n)from[ \t]*:((?:[^\r]|\r\n[ \t])*)", head)
    return sender[1].decode("utf-8", "replace").strip() if sender else ""


def _of_sender(written: str, domains: frozenset[str] | None) -> list[str]:
    """Read twice: by the standard library, and by what is left when quotes are gone."""
    plain = _unquoted(written)
    if plain.count("@") != 1 or re.search(r"[,;:()]", plain):
        return [f"From: {written!r}"]
    message: Any = message_from_bytes(
        b"From: " + written.encode() + b"\r\n\r\n", EmailMessage, policy=policy.SMTP
    )
    addresses: tuple[Address, ...] = message["from"].addresses
    if len(addresses) != 1:
        return [f"From with {len(addresses)} mailboxes: {written!r}"]
    domain = plain.rpartition("@")[2].rstrip("> ").lower()
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    if domains is not None and domain not in domains:
        return [f"From of {domain}: {written!r}"]
    return []


def _without_comments(text: str) -> str:
    """RFC 5322 §3.2.2: in a comment a quote is a character as any other."""
    kept, depth, is_quoted, is_escaped = "", 0, False, False
    for char in text:
        is_mark, is_escaped = not is_escaped, char == "\\" and not is_escaped
        is_quoted ^= is_mark and char == '"' and not depth
        depth += is_mark and char == "(" and not is_quoted
        kept += "" if depth else char
        depth -= bool(is_mark and char == ")" and not is_quoted and depth)
    return kept if not depth else ""


def _unquoted(text: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL)


def _names(head: bytes) -> list[str]:
    """Of the fields, lower-case, in order."""
    lines = [line for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    return [line.partition(b":")[0].strip(b" \t").lower().decode("latin-1") for line in lines]
