"""What is wrong with a configuration file, told in full: file, key, value and what was expected."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from relay.domain.errors import RelayError

_LONGEST_VALUE = 80
_HIDDEN = "(not shown)"
_SECRETS = ("password", "passwd", "secret", "token", "api_key", "key", "key_sha256")
_PASSWORD_IN_URL = re.compile(r"(//[^/@\s:]*:)[^@\s]*@")
_KEY_FILES = (("smtp", "key"), ("http", "key"))
_LISTS = ("tuple_type", "list_type", "frozen_set_type")
_IN_BRACKETS = re.compile(r"\[[^\]]*\]")
_WORDS: Mapping[str, str] = {
    "missing": "a value",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "frozen_set_type": "a list",
    "model_type": "a table",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} entry",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""The kinds of pydantic's errors, in the words of a TOML file."""

Location = tuple[str | int, ...]
"""Keys and list positions that lead to a value."""


class Table(BaseModel):
    """A table of a configuration file: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


AnyTable = TypeVar("AnyTable", bound=Table)


@dataclass
class ConfigError(RelayError, ValueError):
    """Configuration that stops the start; str() is one line for each problem."""

    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Lacking(ValueError):
    """What must stand in a table and does not; str() is what was expected."""

    def __init__(self, expected: str, *, key: bool = True) -> None:
        """key: the problem is this key's; else that of its table, which may get one of several."""
        super().__init__(expected)
        self.key = key


def line(source: str | Path, key: str, value: str, expected: str) -> str:
    """One problem. value is what `shown` made of it."""
    return ": ".join(part for part in (str(source), key, value, f"expected {expected}") if part)


def show_value(value: object, location: Location = ()) -> str:
    """The value as the file spells it, cut short; a secret, which the key's name tells, is not shown."""
    if value is None:
        return "missing"
    name = next((part for part in reversed(location) if isinstance(part, str)), "")
    if _is_secret(name) and location not in _KEY_FILES:
        return _HIDDEN
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        return "a list of tables"
    text = without_password(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def without_password(url: str) -> str:
    """The URL, fit for a log."""
    return _PASSWORD_IN_URL.sub(rf"\1{_HIDDEN}@", url)


def parse_table(
    model: type[AnyTable],
    tree: object,
    source_of: Callable[[Location], str],
    key_of: Callable[[Location], str] = lambda location: write_dotted(location),
) -> AnyTable:
    """The model that the tree spells.

    source_of and key_of name the place of a problem. Raises ConfigError.
    """
    try:
        # By way of JSON, pydantic's strict mode takes lists for tuples and text for enumerations,
        # as a file must write them, and still converts nothing else.
        return model.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(
            tuple(_problem(model, details, source_of, key_of) for details in error.errors(include_url=False))
        ) from error


def write_dotted(location: Location) -> str:
    """`smtp.listen[#1]`; list positions count from 1."""
    return "".join(f"[#{part + 1}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def known_key(key: str, known: Iterable[str]) -> str:
    """What was expected instead of an unknown key, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, 1)
    return f"a known key; did you mean {near[0]}?" if near else f"one of the keys {', '.join(names)}"


def _is_secret(name: str) -> bool:
    """Also when it is misspelt."""
    return bool(difflib.get_close_matches(name.lower(), _SECRETS, 1, cutoff=0.7))


def _problem(
    model: type[Table],
    details: ErrorDetails,
    source_of: Callable[[Location], str],
    key_of: Callable[[Location], str],
) -> str:
    location, kind, context = details["loc"], details["type"], details.get("ctx", {})
    value = show_value(None if kind == "missing" else details["input"], location)
    if kind == "extra_forbidden":
        fields = frozenset(_fields_at(model, location[:-1]))
        expected = known_key(str(location[-1]), fields)
        # However badly its key is spelt, it may be the secret that the table is about.
        value = _HIDDEN if fields & {"password", "key_sha256"} else value
    elif kind == "value_error":
        lacking = context["error"]
        expected = str(lacking)
        if isinstance(lacking, Lacking):
            value, location = show_value(None), location if lacking.key else location[:-1]
    elif kind in _LISTS:
        expected = _list_for(model, location, details["input"], key_of)
    elif kind == "model_type" and isinstance(location[-1], int):
        expected = f"a table that begins with {_header(key_of(location))}"
    else:
        expected = _WORDS[kind].format(**context) if kind in _WORDS else details["msg"]
        expected = expected.replace("'", '"')
    return line(source_of(location), key_of(location), value, expected)


def _list_for(
    model: type[Table], location: Location, value: object, key_of: Callable[[Location], str]
) -> str:
    """What was expected instead of a value that is no list."""
    if _table_in(_annotation_at(model, location)) is not None:
        return f"tables that begin with {_header(key_of(location))}"
    if not isinstance(value, str) or len(value) > _LONGEST_VALUE:
        return "a list"
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return f"a list, such as {json.dumps(parts, ensure_ascii=False)}"


def _header(key: str) -> str:
    """`[[account.pool]]` of `account[1].pool`."""
    return f"[[{_IN_BRACKETS.sub('', key)}]]"


def _fields_at(model: type[Table], location: Location) -> Iterable[str]:
    """The keys that a table there may have."""
    return _model_at(model, location).model_fields


def _model_at(model: type[Table], location: Location) -> type[Table]:
    for part in location:
        if isinstance(part, str):
            model = _table_in(model.model_fields[part].annotation) or model
    return model


def _annotation_at(model: type[Table], location: Location) -> object:
    field = _model_at(model, location[:-1]).model_fields.get(str(location[-1]))
    return None if field is None else field.annotation


def _table_in(annotation: object) -> type[Table] | None:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for part in get_args(annotation) if (found := _table_in(part))), None)
