"""How many requests a key may make: a token bucket for each."""

import time

_BURST_S = 10
"""A key that was silent may ask at once for what that many seconds allow."""
_MAX_KEYS = 10_000


class Rates:
    """The buckets of all keys that asked for something lately."""

    def __init__(self, per_second: float) -> None:
        self._per_second, self._burst = per_second, max(1.0, per_second * _BURST_S)
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_s(self, key: str) -> float:
        """0 and a token taken, or how long until there is one."""
        now = time.monotonic()
        tokens, since = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        if tokens < 1:
            self._buckets[key] = tokens, now
            return (1 - tokens) / self._per_second
        if len(self._buckets) >= _MAX_KEYS and key not in self._buckets:
            self._buckets.clear()
        self._buckets[key] = tokens - 1, now
        return 0.0
