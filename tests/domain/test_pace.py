"""How long a path that cannot be reached is left alone."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.domain.pace import RESTED, Rest

T0 = datetime(2026, 1, 1, tzinfo=UTC)
RETRY = timedelta(minutes=20)


def rests(first_retry: timedelta, count: int) -> list[float]:
    """The lengths in seconds of that many rests, each begun when the last was over."""
    rest, now, found = RESTED, T0, []
    for _ in range(count):
        rest = rest.longer(now, first_retry)
        found.append((rest.until - now).total_seconds())
        now = rest.until
    return found


def test_rests_double_from_a_minute_to_ten_minutes() -> None:
    assert rests(RETRY, 7) == [60, 120, 240, 480, 600, 600, 600]


def test_a_shorter_first_retry_is_the_first_rest() -> None:
    assert rests(timedelta(seconds=10), 8) == [10, 20, 40, 80, 160, 320, 600, 600]


def test_a_thousand_failures_do_not_overflow() -> None:
    assert rests(RETRY, 1000)[-1] == 600


def test_failures_during_a_rest_are_the_same_failure() -> None:
    rest = RESTED.longer(T0, RETRY)
    assert rest.longer(T0 + timedelta(seconds=59), RETRY) == rest
    assert rest.longer(T0 + timedelta(seconds=60), RETRY).failures == 2


@pytest.mark.parametrize(("seconds", "is_over"), [(0, False), (59, False), (60, True), (61, True)])
def test_a_rest_is_over_at_its_end(seconds: int, is_over: bool) -> None:
    assert Rest(1, T0 + timedelta(seconds=60)).is_over(T0 + timedelta(seconds=seconds)) == is_over
    assert RESTED.is_over(T0)


@pytest.mark.parametrize(("minutes", "is_over"), [(9, False), (60, True)])
def test_a_clock_that_is_set_back_does_not_prolong_a_rest_beyond_the_longest(
    minutes: int, is_over: bool
) -> None:
    assert Rest(1, T0 + timedelta(seconds=60)).is_over(T0 - timedelta(minutes=minutes)) == is_over
