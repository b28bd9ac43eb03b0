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
PAUSE_S = 0.3


TRIES = 10
"""Whoever shares the core makes one measurement larger, some seconds long; none is made smaller."""


def assert_linear(make: Callable[[int], T], work: Callable[[T], object], size: int) -> None:
    """work on what make gives for size and for twice that: the best of some tries each, where it matters."""
    small, large = make(size), make(2 * size)
    once, twice = math.inf, spend(work, large)
    if twice <= SLACK_S:
        return
    for number in range(TRIES):
        once = min(once, spend(work, small))
        if twice <= MOST * once + SLACK_S:
            return
        time.sleep(PAUSE_S * number)
        twice = min(twice, spend(work, large))
    pytest.fail(f"{once:.3f} s, and {twice:.3f} s for twice as much")


def assert_cheap(work: Callable[[], object], limit_s: float) -> None:
    """At least one of some tries takes no more than that."""
    spent = math.inf
    for number in range(TRIES):
        spent = min(spent, spend(lambda _: work(), None))
        if spent <= limit_s:
            return
        time.sleep(PAUSE_S * number)
    pytest.fail(f"{spent:.3f} s, and {limit_s} s is the most")


def spend(work: Callable[[T], object], given: T) -> float:
    """CPU seconds of this process."""
    # Others' garbage is not this one's, nor is the search for it among all that the tests have made.
    gc.collect()
    gc.freeze()
    try:
        began = time.process_time()
        work(given)
        return time.process_time() - began
    finally:
        gc.unfreeze()
