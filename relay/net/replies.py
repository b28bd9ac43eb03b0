"""Replies in what a server sends (RFC 5321 §4.2): the code counts, however long or odd the rest is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_MAX_REPLY = 256 * 1024
"""Octets of a reply that are read; RFC 5321 §4.5.3.1.5 allows 512 a line."""
_KEPT_OF_LINE = 8192
_KEPT_LINES = 1000


class Unreadable(Exception):
    """No reply can be found in what comes; says why."""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply as it came."""

    code: int
    lines: Sequence[bytes]
    """What stands behind the codes, the first thousand lines and the last, without blanks around."""


class Replies:
    """Takes the octets of one connection as they come."""

    def __init__(self, *, skips_empty: bool = False) -> None:
        """skips_empty: pass over empty lines ahead of a reply."""
        self._skips_empty = skips_empty
        self._buffer = b""
        self._lines: list[bytes] = []
        self._code = b""  # of the lines so far of a reply that goes on
        self._read_bytes = 0  # of the reply that has not ended, but for its last line

    def feed(self, data: bytes) -> Iterator[Said]:
        """The replies that end in data. Raises Unreadable, after the code of an overlong one."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            said = self._take_line(line)
            if said is not None:
                yield said
            elif self._read_bytes > _MAX_REPLY:
                yield from self._overlong()
        if len(self._buffer) > _KEPT_OF_LINE:
            if not self._code and not _has_code(self._buffer):
                raise Unreadable("malformed reply")
            self._read_bytes += len(self._buffer) - _KEPT_OF_LINE
            self._buffer = self._buffer[:_KEPT_OF_LINE]
        if self._read_bytes > _MAX_REPLY:
            yield from self._overlong()

    def unfinished(self) -> Said | None:
        """The reply in a line that was not ended, when nothing that might follow could change its code."""
        if self._buffer[3:] and _is_last(self._buffer):
            return self._end(self._buffer)
        return None

    def _take_line(self, line: bytes) -> Said | None:
        if _is_last(line):
            return self._end(line)
        if line[3:4] == b"-" and line[:3].isdigit():
            self._code, line = line[:3], line[4:]
        elif not self._code and (line.strip() or not self._skips_empty):
            raise Unreadable("malformed reply")
        self._read_bytes += len(line) + 5
        if self._code and len(self._lines) < _KEPT_LINES:
            self._lines.append(line.strip())
        return None

    def _end(self, line: bytes) -> Said:
        said = Said(int(line[:3]), (*self._lines, line[3:].strip()))
        self._lines.clear()
        self._code, self._read_bytes = b"", 0
        return said

    def _overlong(self) -> Iterator[Said]:
        said = self.unfinished()
        if said is None and _is_last(self._code):
            said = self._end(self._code)
        if said is not None:
            yield said
        raise Unreadable("overlong reply")


def _has_code(line: bytes) -> bool:
    return line[:3].isdigit() and b"200" <= line[:3] <= b"599" and not line[3:4].isdigit()


def _is_last(line: bytes) -> bool:
    """Whether a line has a code that ends its reply: behind it stands nothing, or no hyphen and no figure."""
    return _has_code(line) and line[3:4] != b"-"
