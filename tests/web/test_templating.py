"""How values are written for people."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.frames.console.templating import money, plural, size, span, until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "$0.00"), (667, "$6.67"), (200_000, "$2,000.00"), (-5, "-$0.05")]
)
def test_money_has_cents(cents: int, text: str) -> None:
    assert money(cents) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0 B"), (999, "999 B"), (4100, "4.1 kB"), (20_971_520, "21.0 MB")]
)
def test_a_size_has_the_unit_that_fits(octets: int, text: str) -> None:
    assert size(octets) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(milliseconds=250), "250 ms"),
        (timedelta(seconds=61), "1 min 1 s"),
        (timedelta(days=1), "1 d"),
        (timedelta(days=1, hours=2, minutes=3), "1 d 2 h"),
    ],
)
def test_a_span_has_its_two_largest_units(length: timedelta, text: str) -> None:
    assert span(length) == text


def test_a_moment_lies_ahead_behind_or_here() -> None:
    assert until(NOW + timedelta(minutes=3), NOW) == "in 3 min"
    assert until(NOW - timedelta(hours=2), NOW) == "2 h ago"
    assert until(NOW, NOW) == "now"


def test_one_is_not_many() -> None:
    assert [plural(1, "IP"), plural(2, "IP"), plural(0, "entry", "entries")] == ["1 IP", "2 IPs", "0 entries"]
