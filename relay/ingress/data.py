"""What follows DATA: found in large pieces, counted against the budget, and made a message (ADR 3).

Only CRLF.CRLF ends it. Bare CR and LF inside are content, and leave as CRLF or, in the header section, as
a space: what comes in as one message can be read as one message only, here and at every next hop.
"""

import re
from collections.abc import Iterator
from io import IncrementalNewlineDecoder

from relay.accept.budget import BodyBudget
from relay.ingress.replies import NO_ROOM, TOO_LARGE, Complaint
from relay.mail.submitted import Parts, take_apart

_END = b"\r\n.\r\n"
_LONGEST_TAIL = len(_END) - 1
_DOTTED_LINE = re.compile(rb"\r\n\.")
"""CPython 3.11 searches this pattern twice as fast as `in` finds the three octets."""


class DataReader:
    """Takes pieces until the end of data has come. `close` gives back what was taken from the budget."""

    def __init__(self, budget: BodyBudget, max_bytes: int) -> None:
        self._budget, self._max_bytes = budget, max_bytes
        self._pieces: list[bytes] = []
        # The CRLF of the DATA command is the first half of an end that comes at once.
        self._tail = b"\r\n"
        self._received_bytes = self._taken_bytes = 0
        self._refusal = ""
        self._is_dotted = False
        # Counting CR, LF and CRLF takes four times as long as asking what a text decoder has seen.
        self._newlines = IncrementalNewlineDecoder(None, translate=False)

    def feed(self, piece: bytes) -> bytes | None:
        """None: more is to come. Else the end was in this piece, and this is what stood behind it."""
        seam = self._tail + piece[:_LONGEST_TAIL]
        at = seam.find(_END)
        if at >= 0:
            end = at + len(_END) - len(self._tail)
        else:
            # One search serves both: most pieces have no line that begins with a dot.
            dotted = _DOTTED_LINE.search(piece)
            at = -1 if dotted is None else piece.find(_END, dotted.start())
            end = at + len(_END)
            self._is_dotted |= (dotted is not None and dotted.start() != at) or b"\r\n." in seam
        if at < 0:
            self._keep(piece)
            self._tail = (self._tail + piece[-_LONGEST_TAIL:])[-_LONGEST_TAIL:]
            return None
        self._keep(piece[:end] if end < len(piece) else piece)
        return piece[end:]

    def content(self) -> bytes:
        """The message as it came, without the end, still dot-stuffed. Raises Complaint if it was not kept.

        Until `close` it counts twice: what is stored is a copy with other header fields. One
        message alone always finds room for that.
        """
        if self._refusal:
            raise Complaint(self._refusal)
        self._count(self._taken_bytes)
        pieces, self._pieces = self._pieces, []
        if len(pieces[-1]) < len(_END):
            pieces = [b"".join(pieces)]
        pieces[-1] = pieces[-1][: 2 - len(_END)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def count_grown(self, size_bytes: int) -> None:
        """It became as large as that: it counts so, twice, until `close`. Raises Complaint."""
        self._count(max(0, 2 * size_bytes - self._taken_bytes))

    def _count(self, more_bytes: int) -> None:
        """Raises Complaint when there is no room, unless there is nobody else's."""
        if self._budget.taken_bytes > self._taken_bytes and self._budget.room_bytes < more_bytes:
            raise Complaint(NO_ROOM)
        self._budget.count(more_bytes)
        self._taken_bytes += more_bytes

    @property
    def is_dotted(self) -> bool:
        """Whether there may be a stuffed dot in the content."""
        return self._is_dotted

    @property
    def has_crlf_alone(self) -> bool:
        """Whether each CR and LF in it belongs to a CRLF."""
        return self._newlines.newlines == "\r\n"

    def close(self) -> None:
        self._drop()

    def _keep(self, piece: bytes) -> None:
        """Once there is a reason to refuse, nothing is kept, but the client may finish what it says."""
        self._received_bytes += len(piece)
        if self._received_bytes > self._max_bytes + len(_END):
            self._refusal = TOO_LARGE
        elif not self._refusal and not self._budget.take(len(piece)):
            self._refusal = NO_ROOM
        if self._refusal:
            self._drop()
        else:
            self._taken_bytes += len(piece)
            self._pieces.append(piece)
            self._newlines.decode(piece.decode("latin-1"))

    def _drop(self) -> None:
        self._pieces.clear()
        self._budget.give_back(self._taken_bytes)
        self._taken_bytes = 0


def take_parts(content: bytes, max_bytes: int, is_plain: bool = True) -> Parts:
    """Content that is unstuffed, as `take_apart` reads it. Raises Complaint, Unsendable, HeaderTooLarge."""
    if len(content) > max_bytes:
        raise Complaint(TOO_LARGE)
    return take_apart(content, is_plain)


def unstuff(content: bytes, slice_octets: int = 128 * 1024) -> Iterator[bytes]:
    """The content without the dot that the client put before each that begins a line (RFC 5321 §4.5.2).

    In slices, each milliseconds of work.
    """
    at, begins_line = 0, True
    while at < len(content):
        end = at + slice_octets
        # No slice ends between CR and LF.
        end += content[end - 1 : end + 1] == b"\r\n"
        piece = content[at:end]
        ends_line = piece.endswith(b"\r\n")
        if begins_line and piece.startswith(b"."):
            piece = piece[1:]
        yield piece.replace(b"\r\n.", b"\r\n")
        at, begins_line = end, ends_line
