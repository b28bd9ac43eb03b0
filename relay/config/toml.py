"""TOML files, and what is wrong with one that cannot be read, in words of the file's own."""

import re
import tomllib
from pathlib import Path
from typing import Any

from relay.config.problems import ConfigError, line

_BOM = "\ufeff"
_POSITION = re.compile(r" \(at (.+)\)$")
_KEY = re.compile(r"""\s*([\w."' -]+?)\s*=""")
_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"Cannot declare \((.*)\) twice", "[{name}] is there already", "each table once, with all its keys"),
    (
        r"Cannot (?:mutate|redefine).*\((.*)\)",
        "{name} has all its keys already",
        "them in one place, in its table",
    ),
    (r"Cannot overwrite a value", "{key} has a value already", "each key once: remove one of the two"),
    (r"Duplicate inline table key '(.*)'", "{name} has a value already", "each key once: remove one of them"),
    (r"Expected '=' after a key.*", "a key without a value", 'KEY = VALUE, such as node = "n1"'),
    (r"Invalid statement|Invalid initial character for a key part", "no key", "KEY = VALUE, or a [table]"),
    (
        r"Invalid value",
        "no value",
        'text in quotes ("n1"), a number, true, false, or a list (["smtp", "api"])',
    ),
    (r"Unclosed array", "a list without its end", "] behind its last entry, and commas between them"),
    (
        r"Unclosed inline table",
        "a table without its end",
        "} behind its last key, commas between keys, all on one line",
    ),
    (r"Expected '\]' at the end of a table.*|Expected '\]\]'.*", "a table without its end", "[NAME]"),
    (
        r"Expected newline or end of document.*",
        "more than one value on a line",
        "one KEY = VALUE a line, text in quotes",
    ),
    (
        r"Illegal character '\\n'|Unterminated string|Expected [\"'].*",
        "text without its end",
        "the same quote behind it",
    ),
    (r"Unescaped '\\' in a string", "a backslash", r"\\ for each one, or text in single quotes"),
)
"""Python's messages, and what we say: what is there, and what was expected."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file. Raises ConfigError."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError((line(path, "", error.strerror or str(error), "a readable file"),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((line(path, f"octet {error.start}", "not UTF-8", "UTF-8 text"),)) from error
    if text.startswith(_BOM):
        expected = "UTF-8 without one: save it so"
        raise ConfigError((line(path, "line 1", "begins with a byte order mark", expected),))
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((_problem(path, text, str(error)),)) from error


def _problem(path: Path, text: str, message: str) -> str:
    found = _POSITION.search(message)
    place, what = ("", message) if found is None else (found[1], message[: found.start()])
    for pattern, told, expected in _WORDS:
        if (match := re.fullmatch(pattern, what)) is not None:
            name = _dotted(match[1]) if match.re.groups else ""
            return line(path, place, told.format(name=name, key=_key_at(text, place)), expected)
    return line(path, place, what, "TOML")


def _dotted(names: str) -> str:
    """`'smtp', 'trusted'` as a file writes it."""
    return ".".join(part.strip(" '\"") for part in names.split(",") if part.strip())


def _key_at(text: str, place: str) -> str:
    """What the line, or the last one with anything in it, sets."""
    lines = text.splitlines()
    number = re.match(r"line (\d+)", place)
    at = int(number[1]) if number is not None else len(text.rstrip().splitlines())
    spelt = lines[at - 1] if 0 < at <= len(lines) else ""
    if table := re.match(r"\s*\[+([^\]]+)\]", spelt):
        return f"[{table[1]}]"
    key = _KEY.match(spelt)
    return key[1] if key is not None else "a key"
