"""The MIME tree of a message that a client wrote, read without changing an octet (RFC 2045, RFC 2046).

What is read costs in proportion to its length, whoever wrote it: a part is found by its boundary's
lines alone, its header section is short, and no octet is looked at for more than so many levels.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from relay.domain.errors import RelayError
from relay.mail.charsets import is_known, may_hide_ascii
from relay.mail.headers import Field, fields_of, first, split_message
from relay.mail.parameters import TooManyParameters, first_word, named_parameters, parameters_of
from relay.mail.transfer import of_base64, of_quoted_printable, whole_groups

MAX_DEPTH = 32
MAX_PARTS = 1000
MAX_HEADER_BYTES = 64 << 10
"""Of a part."""
MAX_TOP_HEADER_BYTES = 256 << 10
"""Of the message, as by SMTP."""
MAX_BOUNDARY_BYTES = 200
"""RFC 2046 §5.1.1 allows 70."""
MAX_READINGS = 8
"""How often the octets of a message may be read, level by level, on an average."""

_FREE_BYTES = 1 << 20
"""Of a short message they may all stand at the deepest level."""
_FALSE_MARK_BYTES = 256
"""What a line costs that only begins as a boundary does."""
_TEXT = re.compile(r"text/[\w!#$&^.+-]{1,100}", re.ASCII)
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+(?=\r\n|\Z)")
DEFAULT_TYPE = "text/plain"
"""RFC 2045 §5.2."""
SIGNED = "multipart/signed"
"""Whose first part is signed octet by octet as it is encoded (RFC 1847 §2.1)."""
_IS_ITSELF = re.compile(r"[78][-_ ]?bits?|binary", re.ASCII)
"""Transfer codings that code nothing, and how they are misspelt."""
_BEGINS_FIELD = re.compile(rb"[ \t]|[!-9;-~]+[ \t]*:")


@dataclass
class BadMime(RelayError):
    """The message cannot be read as a MIME tree."""

    reason: str
    """What is wrong with it, or which limit it passes."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text of the tree that people see."""

    type: str
    """Lower-case, as `text/plain`."""
    text: str | None
    """None when it cannot be decoded and there may be braces in it."""
    header_start: int
    """Where its header section begins in the message; 0 for the message itself."""
    end: int
    kept_fields: tuple[bytes, ...]
    """Its fields but those that say how the text is written."""
    content_type: bytes
    """The value of that field; empty when there is none."""
    is_signed: bool = False
    """Whether it stands within a multipart/signed, however deep."""

    def parameters(self) -> list[bytes]:
        """Of Content-Type, as they may stand behind `;`; without the charset: what is made has its own."""
        found = named_parameters(self.content_type)
        return [parameter for name, parameter in found if name.partition("*")[0] != "charset"]


def codes_nothing(encoding: str) -> bool:
    """Whether a body with that lower-case transfer coding is the octets that it stands for."""
    return _IS_ITSELF.fullmatch(encoding) is not None


def type_within(type_: str) -> str:
    """What a part of a multipart of that type is when it does not say (RFC 2046 §5.1.5)."""
    return "message/rfc822" if type_ == "multipart/digest" else DEFAULT_TYPE


def read_leaves(message: bytes) -> Iterator[Leaf]:
    """The texts of the message in order, attached ones left out. Raises BadMime."""
    return _Reader(message).read(0, len(message), 0)


def check_section(message: bytes, header: bytes) -> None:
    """The header section that the message begins with is one, and an empty line ends it. Raises BadMime."""
    if not header:
        raise BadMime("it does not begin with a header section")
    if len(header) < len(message) and not message.startswith(b"\r\n", len(header)):
        line = message[len(header) : len(header) + 40].split(b"\r\n")[0]
        number = header.count(b"\n") + 1
        raise BadMime(f"line {number} of its header section is neither a field nor the rest of one: {line!r}")


@dataclass(frozen=True, slots=True)
class Described:
    """What the fields of an entity say of its body; what is missing as RFC 2045 §5.2 has it."""

    type: str
    disposition: str
    encoding: str
    parameters: dict[str, str]
    """Of Content-Type."""


class Walk:
    """Finds the entities of a message, for no more than reading it may cost. Raises BadMime."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self._parts = 0
        self._left_bytes = _FREE_BYTES + MAX_READINGS * len(message)

    def enter(self, depth: int, max_depth: int = MAX_DEPTH) -> None:
        """One entity more, at that depth."""
        self._parts += 1
        if depth > max_depth:
            raise BadMime(f"its parts are nested more than {max_depth} deep")
        if self._parts > MAX_PARTS:
            raise BadMime(f"it has more than {MAX_PARTS} parts")

    def header(self, start: int, end: int, depth: int) -> tuple[bytes, int]:
        """The header section of the entity, and where its body begins."""
        limit_bytes = MAX_HEADER_BYTES if depth else MAX_TOP_HEADER_BYTES
        window = self.message[start : min(end, start + limit_bytes + 1)]
        header, body = split_message(window)
        is_cut = start + len(window) < end
        goes_on = is_cut and b"\n" not in body and _BEGINS_FIELD.match(window, len(header))
        if len(header) > limit_bytes or goes_on:
            raise BadMime(f"the header section of a part has more than {limit_bytes} bytes")
        return header, start + len(window) - len(body)

    def marks(self, described: Described, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Of each boundary line of a multipart, one at least: where the part before it ends, where the
        next begins, if it is the last."""
        boundary = described.parameters.get("boundary", "").rstrip()
        is_usable = boundary.isascii() and boundary.isprintable() and 0 < len(boundary) <= MAX_BOUNDARY_BYTES
        if not is_usable:
            raise BadMime(f"a multipart needs a boundary of 1 to {MAX_BOUNDARY_BYTES} ASCII characters")
        self.spend(end - start)
        is_any = False
        for found in self._lines(b"--" + boundary.encode("ascii"), start, end):
            is_any = True
            yield found
        if not is_any:
            raise BadMime(f"no part begins with the boundary {boundary!r}")

    def _lines(self, mark: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        message, line_mark = self.message, b"\r\n" + mark
        found = start if message.startswith(mark, start, end) else message.find(line_mark, start, end)
        while found >= 0:
            at = found + len(mark if found == start and message.startswith(mark, start) else line_mark)
            after = _AFTER_BOUNDARY.match(message, at, end)
            if after is not None:
                at = after.end()
                yield found, min(at + 2, end), after[1] is not None
            else:
                self.spend(_FALSE_MARK_BYTES)
            found = message.find(line_mark, at, end)

    def spend(self, size_bytes: int) -> None:
        """So many octets are read."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise BadMime(f"its parts of parts have more than {MAX_READINGS} times its bytes")


class _Reader(Walk):
    def read(
        self,
        start: int,
        end: int,
        depth: int,
        default_type: str = DEFAULT_TYPE,
        is_signed: bool = False,
    ) -> Iterator[Leaf]:
        self.enter(depth)
        header, body_start = self.header(start, end, depth)
        fields = fields_of(header)
        described = describe(fields, default_type)
        is_signed = is_signed or described.type == SIGNED
        if described.type.startswith("multipart/"):
            yield from self._read_parts(described, body_start, end, depth, is_signed)
        elif _TEXT.fullmatch(described.type) and described.disposition != "attachment":
            text, has_braces = _decoded(self.message[body_start:end], described)
            if text is not None or has_braces:
                kept = tuple(
                    field.raw
                    for field in fields
                    if field.name not in {"content-type", "content-transfer-encoding"}
                )
                type_field = first(fields, "content-type")
                type_value = b"" if type_field is None else type_field.value
                yield Leaf(described.type, text, start, end, kept, type_value, is_signed)

    def _read_parts(
        self, described: Described, start: int, end: int, depth: int, is_signed: bool
    ) -> Iterator[Leaf]:
        within = type_within(described.type)
        begin = None
        for at, after, is_last in self.marks(described, start, end):
            if begin is not None:
                yield from self.read(begin, max(begin, at), depth + 1, within, is_signed)
            begin = after
            if is_last:
                return
        assert begin is not None
        yield from self.read(begin, end, depth + 1, within, is_signed)


def describe(fields: tuple[Field, ...], default_type: str) -> Described:
    """Raises BadMime."""
    values = {
        name: b"" if (field := first(fields, name)) is None else field.value
        for name in ("content-type", "content-disposition", "content-transfer-encoding")
    }
    is_default = first(fields, "content-type") is None
    type_ = default_type if is_default else first_word(values["content-type"])
    try:
        parameters = parameters_of(values["content-type"])
    except TooManyParameters as error:
        raise BadMime(f"Content-Type has more than {error.limit} parameters") from error
    return Described(
        type_ if type_.count("/") == 1 else DEFAULT_TYPE,
        first_word(values["content-disposition"]),
        first_word(values["content-transfer-encoding"]) or "7bit",
        parameters,
    )


def _decoded(body: bytes, described: Described) -> tuple[str | None, bool]:
    """The text, None when it cannot be read; and whether there may be braces in it."""
    charset = described.parameters.get("charset", "").partition("(")[0].strip() or "utf-8"
    encoding = described.encoding
    octets, is_whole = body, True
    if encoding == "base64":
        octets, is_whole = of_base64(body)
    elif encoding == "quoted-printable":
        octets = of_quoted_printable(body)
    elif not codes_nothing(encoding):
        # RFC 2045 §6.4: nobody knows what it says.
        return None, bool(body.strip())
    has_braces = b"{{" in octets or (not is_whole and b"{{" in whole_groups(body))
    if is_whole and is_known(charset):
        with suppress(LookupError, UnicodeDecodeError):
            return octets.decode(charset), has_braces
    return None, has_braces or (bool(octets) and may_hide_ascii(charset))
