"""What is wrong with a transmission's body, and the readers that find it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from relay.domain.errors import RelayError
from relay.domain.message import MAX_POOL_CHARACTERS

MAX_FAULTS = 100
"""That one answer tells."""

T = TypeVar("T")
P = ParamSpec("P")

_TYPE_NAMES: Mapping[type, str] = {
    dict: "json_object",
    list: "json_array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


@dataclass
class Fault(RelayError):
    """A fault: code and sentence are SparkPost's own."""

    code: int
    detail: str
    more: tuple["Fault", ...] = ()
    """What else is wrong with the same body, each with nothing more."""

    @property
    def all(self) -> tuple["Fault", ...]:
        return (Fault(self.code, self.detail), *self.more)


class Faults:
    """Gathers what is wrong with the parts of a body, so that one answer tells all of it."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def take(self, default: T, read: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What read returns; where it raises Fault, that is kept, and the default goes on."""
        try:
            return read(*given, **named)
        except Fault as fault:
            self.add(fault)
            return default

    def add(self, fault: Fault) -> None:
        self._found += fault.all[: MAX_FAULTS - len(self._found)]

    def check(self) -> None:
        """Raises Fault, the first with all others, if there is one."""
        if self._found:
            first, *more = self._found
            raise Fault(first.code, first.detail, tuple(more))


def take_typed(given: Mapping[str, Any], name: str, kind: type, default: Any, prefix: str = "") -> Any:
    """given[name], which is of that JSON type; default when it is missing or null. Raises Fault."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        found, needed = _TYPE_NAMES[type(value)], _TYPE_NAMES[kind]
        raise Fault(1300, f"field '{prefix}{name}' is of type '{found}', but needs to be of type '{needed}'")
    return value


def take_sized(given: Mapping[str, Any], name: str, max_bytes: int, prefix: str = "") -> str:
    """A text of at most so many octets of UTF-8. Raises Fault."""
    text: str = take_typed(given, name, str, "", prefix)
    if (size := len(text.encode("utf-8", "surrogatepass"))) > max_bytes:
        raise Fault(
            1300,
            f"field '{prefix}{name}' is of length '{size}', but needs to be of max length '{max_bytes}'",
        )
    return text


def optional(value: Any, default: Any) -> Any:
    return default if value is None else value


def pool_name(options: Mapping[str, Any]) -> str | None:
    """`ip_pool`, verbatim; None when it is missing, null or empty. Raises Fault (A29)."""
    name: str = take_typed(options, "ip_pool", str, "", "options.")
    if len(name) > MAX_POOL_CHARACTERS or not name.isprintable():
        raise Fault(
            1300,
            f"field 'options.ip_pool' is limited to {MAX_POOL_CHARACTERS} printable characters",
        )
    return name or None
