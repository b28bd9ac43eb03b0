"""A JSON object read without keeping one long array of it in memory (RFC 8259)."""

import json
import math
import re
from collections.abc import Callable, Container
from enum import Enum
from itertools import accumulate
from typing import Any, NoReturn

from relay.domain.errors import RelayError

MAX_VALUES = 2_000_000
"""Objects, arrays and scalars of one body. As Python has them, each is some fifty octets."""
MAX_NESTING = 100
"""Of arrays and objects that are kept."""
MAX_LEVELS = 500
"""Of all of them: as many as every Python reads."""

_SIGN = rb'(?:[^"\[{,]++|"(?:[^"\\]++|\\.)*+"?|[\[{]\s*+[\]}])*+[,\[{]'
_VALUE = re.compile(_SIGN, re.DOTALL)
"""What a value but the outermost stands behind, and all between that sign and the one before."""
_STRIDE = 1000
_VALUES = re.compile(rb"(?:%b){%d}+" % (_SIGN, _STRIDE), re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_SIGNS = bytes(set(range(256)) - {*_STEPS, ord('"')})
_TEXT = re.compile(rb'"[^"]*+"?')
_FOLDS = 20
_CONTAINERS = frozenset({dict, list})
_BLANKS = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonFault(Enum):
    """What keeps octets from being read."""

    NOT_UTF8 = "not UTF-8"
    TOO_MANY_VALUES = "too many values"
    NO_OBJECT = "no JSON object"


class BadJson(RelayError, ValueError):
    """The octets cannot be read as one JSON object."""

    def __init__(self, fault: JsonFault, limit: int = 0) -> None:
        super().__init__(fault, limit)
        self.fault, self.limit = fault, limit
        """limit: values that there may be."""


def read_object(octets: bytes, most: int) -> dict[str, Any]:
    """The object that octets are, with at most so many values in it. Raises BadJson."""
    try:
        check_number_of_values(octets, most)
        text = octets.decode()
        if is_too_deep(octets):
            raise BadJson(JsonFault.NO_OBJECT)
        value = json.loads(text, parse_float=finite, parse_constant=_refuse_constant)
        if has_surrogates(octets):
            check_surrogates(value)
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise BadJson(JsonFault.NOT_UTF8) from error
    except BadJson:
        raise
    except ValueError as error:
        raise BadJson(JsonFault.NO_OBJECT) from error
    if not isinstance(value, dict):
        raise BadJson(JsonFault.NO_OBJECT)
    return value


def check_number_of_values(octets: bytes, most: int = MAX_VALUES) -> None:
    """Before any is made. Raises BadJson."""
    # Each value but the first has a sign of its own before it; those in texts are counted too, at first.
    if sum(map(octets.count, (b",", b"[", b"{"))) < most:
        return
    number, at = 1, 0
    for pattern, step in ((_VALUES, _STRIDE), (_VALUE, 1)):
        while found := pattern.match(octets, at):
            number, at = number + step, found.end()
            if number > most:
                raise BadJson(JsonFault.TOO_MANY_VALUES, most)


def is_too_deep(octets: bytes) -> bool:
    """Whether it has more than MAX_LEVELS of arrays and objects: how deep json reads is each Python's own."""
    if octets.count(b"[") + octets.count(b"{") <= MAX_LEVELS:
        return False
    signs = octets.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_SIGNS)
    signs = rest = _TEXT.sub(b"", signs.replace(b'""', b""))
    # What is flat goes in few steps; each takes two levels off at most.
    for _ in range(_FOLDS):
        rest = rest.replace(b"[]", b"").replace(b"{}", b"")
    if len(rest) + 2 * _FOLDS <= MAX_LEVELS:
        return False
    return max(accumulate(map(_STEPS.__getitem__, signs))) > MAX_LEVELS


def has_surrogates(octets: bytes) -> bool:
    """Whether some may be written in them, whole or half."""
    return _SURROGATE.search(octets) is not None


def check_surrogates(value: Any) -> None:
    """Half a surrogate pair is no character, and no UTF-8 can write it. Raises UnicodeEncodeError."""
    json.dumps(value, ensure_ascii=False).encode()


def is_nested_deeply(value: dict[str, Any]) -> bool:
    """Whether it has more than MAX_NESTING levels of arrays and objects."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINERS
        ]
        if not level:
            return False
    return True


def scan_object(
    text: str, array: str, each: Callable[[Any, int], None], known: Container[str]
) -> dict[str, Any]:
    """The known members of the object that text is.

    Elements of the member `array` go to `each`, with their length in characters; of that member an
    empty array stays in what is returned. Raises ValueError.
    """
    return _Scanner(text, array, each, known).read()


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

    def __init__(
        self, text: str, array: str, each: Callable[[Any, int], None], known: Container[str]
    ) -> None:
        self._text, self._array, self._each, self._known = text, array, each, known
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
                    value = self._value()
                    if name in self._known:
                        found[name] = value
                    del value
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
