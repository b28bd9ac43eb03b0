"""Replies in what a server sends (RFC 5321 §4.2): the code counts, however long or odd the rest is."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_MAX_REPLY = 256 * 1024
"""Octets of a reply that are read; RFC 5321 §4.5.3.1.5 allows 512 a line."""
_KEPT_OF_LINE = 8192
_KEPT_LINES = 1000
_CODE = re.compile(rb"[2-5][0-9]{2}(?![0-9])")
_LAST = re.compile(rb"[2-5][0-9]{2}(?![0-9-])")
"""A code that ends its reply: behind it stands nothing, or no hyphen and no figure."""


class Unreadable(Exception):
    """No reply can be found in what comes; says why."""


class Said(NamedTuple):
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
            if _LAST.match(line):
                yield self._end(line)
            else:
                self._take_line(line)
                if self._read_bytes > _MAX_REPLY:
                    yield from self._overlong()
        if len(self._buffer) > _KEPT_OF_LINE:
            if not self._code and not _CODE.match(self._buffer):
                raise Unreadable("malformed reply")
            self._read_bytes += len(self._buffer) - _KEPT_OF_LINE
            self._buffer = self._buffer[:_KEPT_OF_LINE]
        if self._read_bytes > _MAX_REPLY:
            yield from self._overlong()

    def unfinished(self) -> Said | None:
        """The reply in a line that was not ended, when nothing that might follow could change its code."""
        if self._buffer[3:] and _LAST.match(self._buffer):
            return self._end(self._buffer)
        return None

    def _take_line(self, line: bytes) -> None:
        """One that ends no reply."""
        if line[3:4] == b"-" and line[:3].isdigit():
            self._code, line = line[:3], line[4:]
        elif not self._code and (line.strip() or not self._skips_empty):
            raise Unreadable("malformed reply")
        self._read_bytes += len(line) + 5
        if self._code and len(self._lines) < _KEPT_LINES:
            self._lines.append(line.strip())

    def _end(self, line: bytes) -> Said:
        text = line[3:].strip()
        if not self._code and not self._read_bytes:
            return Said(int(line[:3]), (text,))
        said = Said(int(line[:3]), (*self._lines, text))
        self._lines.clear()
        self._code, self._read_bytes = b"", 0
        return said

    def _overlong(self) -> Iterator[Said]:
        said = self.unfinished()
        if said is None and _LAST.match(self._code):
            said = self._end(self._code)
        if said is not None:
            yield said
        raise Unreadable("overlong reply")
