"""The last look at what goes out, whoever made it: octets that no next hop reads in another way than we do.

All mail: each line of the header section begins a field or folds one, and there is no NUL, no bare CR and no
bare LF (RFC 5321 §2.3.8, RFC 5322 §2.2). What we composed has the fields that it must have, once each
(RFC 5322 §3.6).
"""

import re
from collections.abc import Sequence
from io import IncrementalNewlineDecoder
from typing import NamedTuple, NoReturn

from relay.domain.errors import NoSender, Unsendable
from relay.mail.headers import fields_of, own_mailbox

MAX_HEADER_OCTETS = 256 * 1024
MAX_HEADER_LINES = 5000
MAX_LINE_OCTETS = 100 * 1024
"""A hundred times what RFC 5321 §4.5.3.1.6 allows; what is longer is no text that anybody wrote."""
_PIECE = 256 * 1024
"""Octets that are looked at while nobody else runs."""

_SECTION = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r]*+\r\n(?:[ \t][^\r]*+\r\n)*+)*+")
"""Each CR has its LF. What is not CR is passed over several times sooner than what is none of three."""
_ODD_OCTET = re.compile(rb"\0|(?<!\r)\n")
_NAME = re.compile(rb"^([!-9;-~]++)", re.MULTILINE)
_ONCE = (b"from", b"date", b"message-id")
_AT_MOST_ONCE = (b"to", b"cc", b"subject", b"reply-to")
_COUNTED = frozenset(_ONCE + _AT_MOST_ONCE)


def check_header(header: bytes) -> None:
    """Of any mail: the section without the empty line behind it. Raises Unsendable."""
    section = _SECTION.match(header)
    end = section.end() if section else 0
    if end == len(header) and (header.count(b"\n") > header.count(b"\r") or b"\0" in header):
        end = _before_odd_octet(header)
    if end != len(header):
        line = header[end : end + 40].split(b"\n")[0]
        raise Unsendable(f"a line of the header section is neither a field nor the rest of one: {line!r}")


def _before_odd_octet(header: bytes) -> int:
    """Where the line begins that has a NUL or an LF without its CR."""
    odd = _ODD_OCTET.search(header)
    return header.rfind(b"\n", 0, odd.start()) + 1 if odd else len(header)


def check_body(*body: bytes) -> None:
    """Of any mail: what stands behind the empty line, in pieces; it may be nothing. Raises Unsendable."""
    if any(b"\0" in piece for piece in body):
        raise Unsendable("a NUL octet in the body")
    if not has_crlf_alone(*body):
        raise Unsendable("a bare CR or LF in the body")


def has_crlf_alone(*octets: bytes) -> bool:
    """Whether each CR and LF belongs to a CRLF. A text decoder tells it sooner than counting does."""
    decoder = IncrementalNewlineDecoder(None, translate=False)
    for piece in octets:
        for at in range(0, len(piece), _PIECE):
            decoder.decode(piece[at : at + _PIECE].decode("latin-1"))
    decoder.decode("", final=True)
    return decoder.newlines in (None, "\r\n")


class Section(NamedTuple):
    """Some lines of a header section that passed `check_header`, and what is to be known of them.

    A tuple: each recipient has one of its own.
    """

    size_bytes: int
    num_lines: int
    longest_bytes: int
    """Of a line; 0 where none can be too long."""
    names: tuple[bytes, ...]
    """Lower-case, of those fields whose number matters."""
    has_sender: bool
    """Whether its From is one mailbox."""


def read_section(header: bytes) -> Section:
    """Raises Unsendable."""
    check_header(header)
    names = tuple([name for name in _NAME.findall(header.lower()) if name in _COUNTED])
    longest = max(map(len, header.split(b"\n"))) if len(header) > MAX_LINE_OCTETS else 0
    has_sender = b"from" in names and own_mailbox(fields_of(header)) is not None
    return Section(len(header), header.count(b"\n"), longest, names, has_sender)


_NOTHING = Section(0, 0, 0, (), False)


def check_composed(own: Section, shared: Section = _NOTHING) -> None:
    """Of a header section that we composed ourselves, in two pieces. Raises Unsendable, NoSender."""
    if (
        own.size_bytes + shared.size_bytes > MAX_HEADER_OCTETS
        or own.num_lines + shared.num_lines > MAX_HEADER_LINES
    ):
        raise Unsendable(
            f"the header section has more than {MAX_HEADER_OCTETS} octets or {MAX_HEADER_LINES} lines"
        )
    if own.longest_bytes > MAX_LINE_OCTETS or shared.longest_bytes > MAX_LINE_OCTETS:
        raise Unsendable(f"a line of the header section has more than {MAX_LINE_OCTETS} octets")
    names = own.names + shared.names
    if len(found := frozenset(names)) != len(names) or not found.issuperset(_ONCE):
        _tell_number(names)
    if not (own.has_sender or shared.has_sender):
        raise NoSender


def _tell_number(names: Sequence[bytes]) -> NoReturn:
    """Raises Unsendable with the first field that is there too often, or not at all."""
    for name in _ONCE:
        if (found := names.count(name)) != 1:
            raise Unsendable(f"{found} fields {name.decode().title()} where there must be one")
    twice = next(name for name in _AT_MOST_ONCE if names.count(name) > 1)
    raise Unsendable(f"{names.count(twice)} fields {twice.decode().title()} where one may be")


def split_at_empty_line(message: bytes) -> tuple[bytes, bytes]:
    """Header section and body as the next hop finds them: an empty line is between them, and nothing else."""
    if message.startswith(b"\r\n"):
        return b"", message[2:]
    header, empty_line, body = message.partition(b"\r\n\r\n")
    return (header + b"\r\n", body) if empty_line else (message, b"")


def check_stored(prefix: bytes, body: bytes, is_composed: bool) -> None:
    """Of a message as it would be sent, that no earlier look is known of. Raises Unsendable, NoSender."""
    header, content = split_at_empty_line(body)
    if len(header) == len(body):
        raise Unsendable("no empty line ends the header section")
    if is_composed:
        check_composed(read_section(prefix + header))
    else:
        check_header(prefix + header)
    check_body(content)
