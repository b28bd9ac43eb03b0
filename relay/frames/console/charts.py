"""Charts drawn as SVG on the server: bars that stand on each other, one for each step of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 960, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 24
_SPARK_WIDTH, _SPARK_HEIGHT = 220, 30
_GAP = 0.18
"""Of a bar's place, left empty."""
_LABELS = 8
_LINES = 4


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of all bars, from the first step to the last."""

    name: str
    tone: str
    """A class of the style sheet, `s1` to `s3`."""
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Span:
    """The steps of time that a chart shows, all of the same length."""

    first: datetime
    step: timedelta
    number: int

    @property
    def end(self) -> datetime:
        return self.first + self.step * self.number

    def starts(self) -> tuple[datetime, ...]:
        return tuple(self.first + self.step * position for position in range(self.number))

    def position(self, at: datetime) -> int:
        """Which step the moment is in; outside 0 … number - 1 when in none."""
        return (at - self.first) // self.step

    def label(self, start: datetime) -> str:
        """How the step is called: its day, or the time it begins at."""
        return f"{start.day} {start:%b}" if self.step >= timedelta(days=1) else f"{start:%H:%M}"


def highest(series: Sequence[Series]) -> int:
    """What the tallest bar stands for."""
    return max((sum(values) for values in zip(*(one.values for one in series), strict=True)), default=0)


def stack(span: Span, series: Sequence[Series], label: str) -> Markup:
    """A chart with axes. label: what it shows, for whoever does not see it."""
    limit, line = _scale(highest(series))
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [_open(_WIDTH, _HEIGHT, label)]
    for value in range(0, limit + 1, line):
        y = _TOP + inner_height * (1 - value / limit)
        parts.append(_axis(_LEFT, y, _WIDTH - _RIGHT, y))
        parts.append(_text(_LEFT - 6, y + 4, "end", f"{value:,}"))
    place = inner_width / span.number
    every = -(-span.number // _LABELS)
    for position, start in enumerate(span.starts()):
        x = _LEFT + place * position
        parts += _bar(span, start, series, position, (x, place), (_TOP, inner_height), limit)
        if position % every == 0:
            parts.append(_text(x + place / 2, _HEIGHT - 7, "middle", span.label(start)))
    return Markup("").join([*parts, Markup("</svg>")])


def spark(span: Span, series: Sequence[Series], limit: int, label: str) -> Markup:
    """A small chart without axes and without words, for one row of many.

    limit: what a bar of full height stands for.
    """
    place, height = _SPARK_WIDTH / span.number, _SPARK_HEIGHT - 1
    width = max(place * (1 - _GAP), 1)
    bases = [float(height)] * span.number
    parts = [_open(_SPARK_WIDTH, _SPARK_HEIGHT, label), _axis(0, height + 0.5, _SPARK_WIDTH, height + 0.5)]
    for one in series:
        bars = []
        for position, value in enumerate(one.values):
            if value:
                tall = max(height * value / max(limit, 1), 1.0)
                bases[position] -= tall
                x, y = place * position + place * _GAP / 2, bases[position]
                bars.append(f"M{x:.1f} {y:.1f}h{width:.1f}v{tall:.1f}h-{width:.1f}z")
        if bars:
            parts.append(Markup('<path class="bars {}" d="{}"/>').format(one.tone, "".join(bars)))
    return Markup("").join([*parts, Markup("</svg>")])


def _bar(
    span: Span,
    start: datetime,
    series: Sequence[Series],
    position: int,
    across: tuple[float, float],
    down: tuple[float, float],
    limit: int,
) -> Iterator[Markup]:
    """The parts of one bar from the bottom up, in a group that says its numbers."""
    (x, place), (top, height) = across, down
    shown = [(one, one.values[position]) for one in series if one.values[position]]
    if not shown:
        return
    told = ", ".join(f"{value:,} {one.name.lower()}" for one, value in shown)
    yield Markup("<g><title>{}</title>").format(f"{_moment(span, start)}: {told}")
    base = top + height
    for one, value in shown:
        tall = max(height * value / limit, 1.0)
        base -= tall
        yield Markup(
            f'<rect class="{escape(one.tone)}" x="{x + place * _GAP / 2:.1f}" y="{base:.1f}"'
            f' width="{max(place * (1 - _GAP), 1):.1f}" height="{tall:.1f}"/>'
        )
    yield Markup("</g>")


def _moment(span: Span, start: datetime) -> str:
    if span.step >= timedelta(days=1):
        return f"{start:%Y-%m-%d}"
    return f"{start:%Y-%m-%d %H:%M}–{start + span.step:%H:%M}"


def _scale(most: int) -> tuple[int, int]:
    """A round limit that is at least most, and how far apart its lines stand."""
    line = 1
    while line * _LINES < most:
        # 1, 2, 5, 10, 20, 50 …
        line = line * 5 // 2 if str(line).startswith("2") else line * 2
    return max(-(-most // line), 1) * line, line


def _open(width: int, height: int, label: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        width, height, label
    )


def _axis(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup(f'<line class="axis" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
