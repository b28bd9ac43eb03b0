"""What the signs of the substitution language do to values."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from relay.mail.budget import OCTETS_A_STEP, Budget

Value = Any
"""What JSON can say."""

_DIGITS = re.compile(r"\s*+[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?\s*+", re.ASCII)
_LONGEST_NUMBER = 400
"""A text of more characters is no number: reading it would cost more than the step that it is."""
_WHOLE = 10.0**14
"""Whole numbers up to here are told with all their digits."""


def counts(value: Value) -> bool:
    """Whether a condition of that value holds."""
    return value is not None and value is not False


def negate(value: Value) -> bool:
    return not counts(value)


def length(value: Value) -> int:
    return len(value) if isinstance(value, list | str) else 0


def is_empty(value: Value) -> bool:
    return value is None or (isinstance(value, list | dict | str) and not value)


def member(value: Value, key: Value) -> Value:
    """By name of an object, by number from 1 of an array; null where there is nothing."""
    if isinstance(value, Mapping):
        return value.get(key) if isinstance(key, str) else None
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool):
        return value[key - 1] if 1 <= key <= len(value) else None
    return None


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_of(value: Value) -> float:
    """What arithmetic takes it for. Raises ValueError."""
    if _is_number(value):
        return float(value)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _DIGITS.fullmatch(value):
        return float(value)
    raise ValueError(value)


def as_told(number: float) -> int | float:
    """With 14 digits, and without a fraction where there is none. Raises OverflowError."""
    if math.isinf(number) or math.isnan(number):
        raise OverflowError
    told = float(f"{number:.14g}")
    return int(told) if told.is_integer() and abs(told) < _WHOLE else told


COMPUTE: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def _equal(budget: Budget, left: Value, right: Value) -> bool:
    """Of the same kind and the same through and through; each value that is looked at is a step."""
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    if type(left) is not type(right):
        return False
    if isinstance(left, str):
        budget.spend(len(left) // OCTETS_A_STEP)
        return bool(left == right)
    if isinstance(left, list):
        return len(left) == len(right) and all(
            _looked_at(budget, one, other) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            name in right and _looked_at(budget, value, right[name]) for name, value in left.items()
        )
    return bool(left == right)


def _looked_at(budget: Budget, left: Value, right: Value) -> bool:
    budget.spend(3)
    return _equal(budget, left, right)


def _is_ordered(budget: Budget, left: Value, right: Value) -> bool:
    """Whether one can come before the other."""
    if isinstance(left, str) and isinstance(right, str):
        budget.spend(min(len(left), len(right)) // OCTETS_A_STEP)
        return True
    return _is_number(left) and _is_number(right)


Comparison = Callable[[Budget, Value, Value], bool]

COMPARE: Mapping[str, Comparison] = {
    "==": _equal,
    "!=": lambda budget, left, right: not _equal(budget, left, right),
    "<": lambda budget, left, right: _is_ordered(budget, left, right) and left < right,
    ">": lambda budget, left, right: _is_ordered(budget, left, right) and left > right,
    "<=": lambda budget, left, right: _is_ordered(budget, left, right) and left <= right,
    ">=": lambda budget, left, right: _is_ordered(budget, left, right) and left >= right,
}
