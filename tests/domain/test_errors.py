"""The tree of errors: as its picture has it, and with nothing that is never raised."""

import ast
import re
from pathlib import Path

from relay.domain import errors


def test_the_picture_has_each_error_below_its_parent() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"((?:[│ ]   )*(?:[├└]── )?)([A-Z][A-Za-z]+)(?: {2}|$)", line):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            if depth:
                drawn[found[2]] = above[depth - 1]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, errors.RelayError) and kind is not errors.RelayError]
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in ours if kind.__base__ is not None}


def test_each_error_that_is_no_kind_of_others_is_raised() -> None:
    made: set[str] = set()
    for path in (Path(__file__).parents[2] / "relay").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                made.add(ast.unparse(node.exc).partition("(")[0])
            elif isinstance(node, ast.Call):
                made.add(ast.unparse(node.func))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, errors.RelayError) and not kind.__subclasses__()]
    assert not {kind.__name__ for kind in ours} - made
