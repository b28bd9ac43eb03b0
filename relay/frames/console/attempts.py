"""Attempts over time as pages chart them: the periods to look back on, and one colour for each outcome."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from relay.domain.events import EVENT_KINDS
from relay.frames.console.charts import Series, Span
from relay.ports.report import Tally

ATTEMPTS: Mapping[str, tuple[str, str]] = {
    kind.name: (kind.word.capitalize(), f"s{number}")
    for number, kind in enumerate((kind for kind in EVENT_KINDS if kind.is_attempt), 1)
}
"""By the name of the kind: its word, and its colour in the charts."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a page looks back on."""

    name: str
    label: str
    step: timedelta
    number: int

    def span(self, now: datetime) -> Span:
        """Up to the step that is running."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        running = epoch + (now - epoch) // self.step * self.step
        return Span(running - self.step * (self.number - 1), self.step, self.number)


RANGES: Mapping[str, Range] = {
    one.name: one
    for one in (
        Range("3h", "3 hours", timedelta(minutes=10), 18),
        Range("24h", "24 hours", timedelta(hours=1), 24),
        Range("10d", "10 days", timedelta(days=1), 10),
    )
}


def attempts_in(span: Span, tallies: Iterable[Tally]) -> tuple[Series, ...]:
    """A series for each kind of attempt, step by step; other tallies do not count."""
    counts = {kind: [0] * span.number for kind in ATTEMPTS}
    for tally in tallies:
        if is_attempt(span, tally):
            counts[tally.kind][span.position(tally.at)] += tally.count
    return tuple(Series(name, tone, tuple(counts[kind])) for kind, (name, tone) in ATTEMPTS.items())


def is_attempt(span: Span, tally: Tally) -> bool:
    """Whether it counts attempts of that time."""
    return tally.kind in ATTEMPTS and 0 <= span.position(tally.at) < span.number
