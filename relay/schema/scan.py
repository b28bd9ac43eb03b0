"""A JSON object read without keeping one long array of it in memory (RFC 8259)."""

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

_BLANKS = re.compile(r"[ \t\n\r]*")


def scan_object(text: str, array: str, each: Callable[[Any, int], None]) -> dict[str, Any]:
    """The object that text is. Elements of the member `array` go to `each`, with their length in characters.

    Of that member an empty array stays in what is returned. Raises ValueError, RecursionError.
    """
    return _Scanner(text, array, each).read()


def finite(digits: str) -> float:
    """For `parse_float`: no number that only an infinity could stand for. Raises ValueError."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


def _refuse_constant(name: str) -> NoReturn:
    """NaN and the infinities are Python's, not JSON's."""
    raise ValueError(name)


class _Scanner:
    _decoder = json.JSONDecoder(parse_float=finite, parse_constant=_refuse_constant)

    def __init__(self, text: str, array: str, each: Callable[[Any, int], None]) -> None:
        self._text, self._array, self._each = text, array, each
        self._at = 0

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._need("{")
        if not self._take("}"):
            while True:
                name = self._value()
                if not isinstance(name, str):
                    raise ValueError("a name expected")
                self._need(":")
                if name == self._array and self._take("["):
                    if name in found:
                        raise ValueError(f"{name} stands twice")
                    self._elements()
                    found[name] = []
                else:
                    found[name] = self._value()
                if not self._take(","):
                    break
            self._need("}")
        if self._skip() != len(self._text):
            raise ValueError("more than one value")
        return found

    def _elements(self) -> None:
        if self._take("]"):
            return
        while True:
            start = self._skip()
            self._each(self._value(), self._at - start)
            if not self._take(","):
                break
        self._need("]")

    def _value(self) -> Any:
        value, self._at = self._decoder.raw_decode(self._text, self._skip())
        return value

    def _skip(self) -> int:
        blanks = _BLANKS.match(self._text, self._at)
        self._at = self._at if blanks is None else blanks.end()
        return self._at

    def _take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._skip())
        self._at += found
        return found

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise ValueError(f"{sign} expected")
