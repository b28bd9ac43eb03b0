"""Durations as configuration files write them: `250ms`, `2s`, `20m`, `72h`, `14d`."""

import re
from datetime import timedelta

_FORM = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
LONGEST = timedelta(days=365)
EXPECTED = 'a duration from "1ms" to "365d", such as "250ms", "2s", "20m", "72h", "14d"'


def parse_duration(text: object) -> timedelta:
    """The time that text spells. Raises ValueError with what was expected."""
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    duration = int(match[1]) * _UNITS[match[2]] if match else text
    if not isinstance(duration, timedelta) or not timedelta() < duration <= LONGEST:
        raise ValueError(EXPECTED)
    return duration


def duration_text(duration: timedelta) -> str:
    """As a file would write it, in the largest unit that goes into it: `72h` is `3d`."""
    name, unit = next(
        (name, unit)
        for name, unit in reversed(_UNITS.items())
        if duration % unit == timedelta() or name == "ms"
    )
    return f"{duration // unit}{name}"
