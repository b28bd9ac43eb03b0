"""Named queries: SQL lives in .sql files, one statement under each `-- name:` line."""

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+).*$", re.MULTILINE)


def load_queries(package: str, file: str, columns: Mapping[str, str]) -> Mapping[str, str]:
    """The statements of a file in package, by name; `{word}` in one stands for columns[word]."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    for word, names in columns.items():
        text = text.replace(f"{{{word}}}", names)
    pieces = _NAME.split(text)[1:]
    return {
        name: statement.strip().rstrip(";") for name, statement in zip(pieces[::2], pieces[1::2], strict=True)
    }
