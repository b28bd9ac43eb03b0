"""The MIME tree of a message that a client wrote, read without changing an octet (RFC 2045, RFC 2046)."""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from relay.domain.errors import RelayError
from relay.mail.headers import fields_of, first, split_message, unfolded

MAX_DEPTH = 32
MAX_PARTS = 1000


class BadMime(RelayError):
    """The message cannot be read as a MIME tree."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text of the tree that people see."""

    type: str
    """Lower-case, as `text/plain`."""
    text: str
    header_start: int
    """Where its header section begins in the message; 0 for the message itself."""
    end: int
    kept_fields: tuple[bytes, ...]
    """Its fields but those that say how the text is written."""


def read_leaves(message: bytes) -> Iterator[Leaf]:
    """The texts of the message in order, attached ones left out. Raises BadMime."""
    return _Reader(message).read(0, len(message), 0)


class _Reader:
    def __init__(self, message: bytes) -> None:
        self._message = message
        self._parts = 0

    def read(self, start: int, end: int, depth: int) -> Iterator[Leaf]:
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise BadMime
        entity = self._message[start:end]
        header, body = split_message(entity)
        fields = fields_of(header)
        described = Message()
        for name in ("content-type", "content-disposition", "content-transfer-encoding"):
            field = first(fields, name)
            if field is not None:
                described[name] = unfolded(field.value).decode("ascii", "replace").strip()
        if described.get_content_maintype() == "multipart":
            yield from self._read_parts(described, start + len(entity) - len(body), end, depth)
        elif (
            described.get_content_maintype() == "text" and described.get_content_disposition() != "attachment"
        ):
            text = _decoded(body, described)
            if text is not None:
                kept = tuple(
                    field.raw
                    for field in fields
                    if field.name not in {"content-type", "content-transfer-encoding"}
                )
                yield Leaf(described.get_content_type(), text, start, end, kept)

    def _read_parts(self, described: Message, start: int, end: int, depth: int) -> Iterator[Leaf]:
        boundary = described.get_boundary()
        if not boundary or not boundary.isascii():
            raise BadMime
        mark = b"--" + boundary.encode("ascii")
        begin = None
        for at, after, is_last in self._marks(mark, start, end):
            if begin is not None:
                yield from self.read(begin, at, depth + 1)
            begin = after
            if is_last:
                return
        if begin is None:
            raise BadMime
        yield from self.read(begin, end, depth + 1)

    def _marks(self, mark: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Of each boundary line: where the part before it ends, where the next begins, if it is the last."""
        message, at = self._message, start
        while (found := message.find(mark, at, end)) >= 0:
            line_end = message.find(b"\r\n", found, end)
            line_end = end if line_end < 0 else line_end
            at = found + len(mark)
            rest = message[at:line_end].rstrip(b" \t")
            if rest in {b"", b"--"} and (found == start or message.startswith(b"\r\n", found - 2)):
                yield max(found - 2, start), min(line_end + 2, end), rest == b"--"
                at = line_end


def _decoded(body: bytes, described: Message) -> str | None:
    """The text; None when it cannot be read, so that it stays as it is."""
    encoding = str(described.get("content-transfer-encoding", "7bit")).lower()
    try:
        match encoding:
            case "base64":
                body = binascii.a2b_base64(body)
            case "quoted-printable":
                body = binascii.a2b_qp(body)
            case "7bit" | "8bit" | "binary":
                pass
            case _:
                return None
        return body.decode(described.get_content_charset() or "utf-8")
    except (binascii.Error, LookupError, UnicodeDecodeError):
        return None
