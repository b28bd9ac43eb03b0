"""How a path that cannot be reached is left alone: at first for a minute, then twice as long each time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FIRST_REST = timedelta(seconds=60)
LONGEST_REST = timedelta(minutes=10)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rest:
    """Since how many failures a path rests, and until when."""

    failures: int = 0
    until: datetime = _LONG_AGO

    def is_over(self, now: datetime) -> bool:
        """Also when more is left than the longest rest lasts: the clock was set back meanwhile."""
        return now >= self.until or self.until - now > LONGEST_REST

    def longer(self, now: datetime, first_retry: timedelta) -> "Rest":
        """After one more failure. Failures during a rest belong to the same cause and change nothing.

        From min(first_retry, 60 s), doubling, to 10 min at most.
        """
        if not self.is_over(now):
            return self
        length = min(first_retry, FIRST_REST) * (1 << min(self.failures, 10))
        return Rest(self.failures + 1, now + min(length, LONGEST_REST))


RESTED = Rest()
