"""Hostile inputs, kept: each was once too much for something, or would be if a bound were lost.

One module for each door: `transmissions` (bodies of POST /transmissions), `messages` (what stands
between DATA and the final dot), `conversations` (SMTP from the greeting on), `requests` (HTTP from its
first octet on). An input is made for a size n, so that a short line tells a long one and twice as much can
be asked for. `tests/alone` replays all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One input of any size."""

    name: str
    make: Callable[[int], bytes]
    size: int
    """The n that is replayed, and the larger of the two that growth is measured with."""
    answers: tuple[int, ...]
    """Status or reply codes of which one must come; any that is no fault of ours when empty."""
    leaves: bool = False
    """Whether it becomes mail that must arrive at the next hop."""
