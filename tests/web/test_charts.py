"""Charts: what a bar says, how high it is, and that a name in them is text."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from relay.frames.console.charts import Series, Span, spark, stack

SPAN = Span(datetime(2026, 3, 1, 10, tzinfo=UTC), timedelta(hours=1), 3)
SVG = "{http://www.w3.org/2000/svg}"


def parsed(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(chart).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))


def test_a_bar_says_its_time_and_its_numbers() -> None:
    series = [Series("Delivered", "s1", (1, 0, 1200)), Series("Bounced", "s3", (0, 0, 5))]
    titles = [title.text for title in parsed(stack(SPAN, series, "Attempts")).iter(f"{SVG}title")]
    assert titles == [
        "2026-03-01 10:00–11:00: 1 delivered",
        "2026-03-01 12:00–13:00: 1,200 delivered, 5 bounced",
    ]


def test_bars_stand_on_each_other_and_stay_inside() -> None:
    series = [Series("Delivered", "s1", (60, 0, 0)), Series("Bounced", "s3", (40, 0, 0))]
    first, second = list(parsed(stack(SPAN, series, "")).iter(f"{SVG}rect"))
    bottom = float(second.attrib["y"]) + float(second.attrib["height"])
    assert bottom == pytest.approx(float(first.attrib["y"]), abs=0.2)
    assert float(second.attrib["y"]) >= 0
    assert float(first.attrib["height"]) / float(second.attrib["height"]) == pytest.approx(1.5, abs=0.01)


def test_the_smallest_number_can_be_seen_beside_the_largest() -> None:
    series = [Series("Delivered", "s1", (1, 1_000_000, 0))]
    (bars,) = parsed(spark(SPAN, series, 1_000_000, "")).iter(f"{SVG}path")
    assert [float(height) for height in re.findall(r"v([0-9.]+)", bars.attrib["d"])] == [1, 29]
    heights = [float(bar.attrib["height"]) for bar in parsed(stack(SPAN, series, "")).iter(f"{SVG}rect")]
    assert min(heights) >= 1


@pytest.mark.parametrize(
    ("most", "lines"), [(0, "1"), (1, "1"), (4, "4"), (5, "6"), (99, "100"), (1001, "1,500")]
)
def test_the_axis_ends_at_a_round_number(most: int, lines: str) -> None:
    texts = [
        text.text for text in parsed(stack(SPAN, [Series("x", "s1", (most, 0, 0))], "")).iter(f"{SVG}text")
    ]
    assert lines in texts


def test_a_label_is_text_whatever_it_is_made_of() -> None:
    chart = spark(SPAN, [Series("<b>", "s1", (1, 0, 0))], 1, '"><script>')
    assert "<script>" not in chart
    assert "<b>" not in chart


@pytest.mark.parametrize(
    ("at", "position"),
    [
        pytest.param(SPAN.first, 0, id="first"),
        pytest.param(SPAN.first + timedelta(hours=2, minutes=59), 2, id="last"),
        pytest.param(SPAN.first - timedelta(seconds=1), -1, id="before"),
        pytest.param(SPAN.first + timedelta(hours=3), 3, id="after"),
    ],
)
def test_a_moment_is_in_one_step(at: datetime, position: int) -> None:
    assert SPAN.position(at) == position
