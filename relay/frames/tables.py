"""Tables of `directory.toml` as text."""

import json
from collections.abc import Mapping

_ALWAYS = frozenset({"grants", "require_sending_domain"})
"""Keys that mean something when they are empty or false."""


def write_table(name: str, values: Mapping[str, object], *remarks: str) -> str:
    """One table of an array. What is empty or false says nothing, as in the schema."""
    lines = [f"[[{name}]]"]
    if remarks:
        lines[0] += f"   # {', '.join(remarks)}: kept as it is by apply"
    lines += [
        f"{key} = {_value(value)}"
        for key, value in values.items()
        if key in _ALWAYS or _says_something(value)
    ]
    return "\n".join(lines) + "\n"


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in ("", [])


def _value(value: object) -> str:
    """TOML writes text, whole numbers, booleans and lists of them as JSON does, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
