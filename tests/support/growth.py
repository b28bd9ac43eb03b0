"""Twice as much takes at most about twice as long, in CPU time of this process."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST = 2.6
SLACK_S = 0.1


def assert_linear(make: Callable[[int], T], work: Callable[[T], object], size: int) -> None:
    """work on what make gives for size and for twice that: the best of three each."""
    once, twice = (_shortest(work, make(number)) for number in (size, 2 * size))
    assert twice <= MOST * once + SLACK_S, f"{once:.3f} s, and {twice:.3f} s for twice as much"


def _shortest(work: Callable[[T], object], given: T) -> float:
    taken = []
    for _ in range(3):
        began = time.process_time()
        work(given)
        taken.append(time.process_time() - began)
    return min(taken)
