"""When a deferred message is tried again, and when given up (docs/rules.md#retries, RFC 5321 §4.5.4.1)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_MAX_DOUBLINGS = 20
"""A million times the first gap: past any expiry, and far from what a timedelta can hold."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Gaps of first_retry, doubling, up to max_gap; nothing is kept past its expiry."""

    first_retry: timedelta = timedelta(minutes=20)
    max_gap: timedelta | None = None
    """None: uncapped (A26)."""
    expire_after: timedelta = timedelta(hours=72)
    """From acceptance, whatever the reason for waiting."""
    hold_expire_after: timedelta = timedelta(days=14)

    def gap(self, attempts: int) -> timedelta:
        """The wait after that many failed attempts (at least 1)."""
        gap: timedelta = self.first_retry * (1 << min(attempts - 1, _MAX_DOUBLINGS))
        return gap if self.max_gap is None else min(gap, self.max_gap)

    @property
    def gaps(self) -> list[timedelta]:
        """After 1, 2, … failed attempts, as far as they differ or matter."""
        return [min(self.gap(attempts), self.expire_after) for attempts in range(1, _MAX_DOUBLINGS + 2)]

    def next_attempt(self, attempts: int, expires: datetime, now: datetime) -> datetime:
        """When to try again after that many failed attempts, but no later than expiry.

        A message due at its expiry is not tried then: it fails, at 72 h and not before.
        """
        return min(now + self.gap(attempts), expires)
