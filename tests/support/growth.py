"""Twice as much takes at most about twice as long, in CPU time of this process."""

import gc
import math
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

MOST = 2.6
SLACK_S = 0.1


def assert_linear(make: Callable[[int], T], work: Callable[[T], object], size: int) -> None:
    """work on what make gives for size and for twice that: the best of three each, where it matters."""
    small, large = make(size), make(2 * size)
    once, twice = math.inf, _once(work, large)
    if twice <= SLACK_S:
        return
    for _ in range(3):
        once = min(once, _once(work, small))
        if twice <= MOST * once + SLACK_S:
            return
        twice = min(twice, _once(work, large))
    pytest.fail(f"{once:.3f} s, and {twice:.3f} s for twice as much")


def _once(work: Callable[[T], object], given: T) -> float:
    # Others' garbage is not this one's, nor is the search for it among all that the tests have made.
    gc.collect()
    gc.freeze()
    try:
        began = time.process_time()
        work(given)
        return time.process_time() - began
    finally:
        gc.unfreeze()
