"""What is wrong with a transmission's body, and the readers that find it (C §3.1, §3.6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.domain.errors import RelayError

MAX_POOL_CHARACTERS = 255

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
    """One fault: code and sentence are the contract's own."""

    code: int
    detail: str


def typed(given: Mapping[str, Any], name: str, kind: type, default: Any, prefix: str = "") -> Any:
    """given[name], which is of that JSON type; default when it is missing or null. Raises Fault."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        found, needed = _TYPE_NAMES[type(value)], _TYPE_NAMES[kind]
        raise Fault(1300, f"field '{prefix}{name}' is of type '{found}', but needs to be of type '{needed}'")
    return value


def sized(given: Mapping[str, Any], name: str, max_bytes: int, prefix: str = "") -> str:
    """A text of at most so many octets of UTF-8. Raises Fault."""
    text: str = typed(given, name, str, "", prefix)
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
    name: str = typed(options, "ip_pool", str, "", "options.")
    if len(name) > MAX_POOL_CHARACTERS or not name.isprintable():
        raise Fault(
            1300,
            f"field 'options.ip_pool' is limited to {MAX_POOL_CHARACTERS} printable characters",
        )
    return name or None
