"""What `relay` imports is declared, and where it leans on what a library calls private, bounded above."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

from aiosmtpd.smtp import SMTP
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from relay.ingress.connection import Connection

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_PRIVATE = re.compile(r"_[A-Za-z]\w*")


def declared(extra: str = "") -> Mapping[str, Requirement]:
    """By name, as pyproject.toml lists them; with those of the extra."""
    listed = [*PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] if extra else ())]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in listed}


@cache
def tops() -> Mapping[str, list[str]]:
    return packages_distributions()


def distribution_of(module: str) -> str:
    (name,) = set(tops()[module.partition(".")[0]])
    return canonicalize_name(name)


def is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top != "relay" and top not in sys.stdlib_module_names


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "relay").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Modules, and names with their module: `uvicorn.Server`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_is_imported_is_declared() -> None:
    lacking, found = set(), set()
    for path, tree in sources():
        is_kit = path.is_relative_to(ROOT / "relay/testing")
        known = declared("testing" if is_kit else "")
        for name in filter(is_foreign, imports_of(tree)):
            found.add(distribution_of(name))
            if distribution_of(name) not in known:
                lacking.add(f"{path.relative_to(ROOT)} imports {name}")
    assert not lacking
    assert set(declared()) - found == set(), "declared, and imported nowhere"


def test_whose_internals_are_used_is_bounded_above() -> None:
    used = dict(internals())
    assert {"aiosmtpd", "aiosmtplib", "uvicorn"} <= set(used)
    known = declared("testing")
    unbounded = [
        f"{name}: {what}"
        for name, what in used.items()
        if not any(specifier.operator in ("<", "==", "~=") for specifier in known[name].specifier)
    ]
    assert not unbounded


def test_adr_3_names_what_is_used_of_aiosmtpd() -> None:
    text = (ROOT / "docs/adr/0003-our-own-data-reader-in-aiosmtpd.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`(\w+)`", text) if _PRIVATE.fullmatch(name)}
    assert named == names_in(SMTP) & names_in(Connection)


def internals() -> Iterator[tuple[str, str]]:
    """Libraries, and what of theirs is used that they do not promise."""
    for path, tree in sources():
        for name in filter(is_foreign, imports_of(tree)):
            if any(_PRIVATE.fullmatch(part) for part in name.split(".")):
                yield distribution_of(name), f"{path.name} imports {name}"
        for node in ast.walk(tree):
            # A name that is put into a module of theirs.
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "vars" and node.args:
                name = ast.unparse(node.args[0])
                if name.partition(".")[0] in {top.partition(".")[0] for top in imports_of(tree)}:
                    yield distribution_of(name), f"{path.name} changes {name}"
        if any(isinstance(node, ast.ClassDef) and node.bases for node in ast.walk(tree)):
            yield from inherited(path)


def inherited(path: Path) -> Iterator[tuple[str, str]]:
    """What classes of that file have in common with the private part of a class that they derive from."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] in ("__init__", "__main__"):
        return
    module = importlib.import_module(".".join(parts))
    for ours in classes_of(module):
        for base in filter(lambda base: is_foreign(base.__module__), ours.__mro__[1:]):
            if base.__module__.partition(".")[0] in ("pydantic", "starlette", "fastapi"):
                continue  # to derive from is what these are for
            mentioned = names_in(base) & names_in(ours)
            is_protocol = any(part in base.__module__ for part in ("protocol", "_impl"))
            if mentioned or is_protocol:
                told = ", ".join(sorted(mentioned)) or "its protocol"
                yield distribution_of(base.__module__), f"{ours.__qualname__} uses {told}"


def classes_of(module: ModuleType) -> Iterator[type]:
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ == module.__name__:
            yield kind


def names_in(kind: type) -> set[str]:
    """Private attributes that the class body defines or touches on self."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()"):
            found.add(node.attr)
    return {name for name in found if _PRIVATE.fullmatch(name)}
