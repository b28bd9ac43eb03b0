"""Layers and the one-way rule: who may import whom. Holds the table, walks the syntax trees."""

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 400

CORE = {"domain", "mail", "ports"}
LAYERS: Mapping[str, tuple[set[str], set[str]]] = {
    # what it may import:  of ours                     of others
    "domain": (set(), {"idna"}),
    "mail": ({"domain"}, {"cryptography", "css_inline"}),
    "ports": ({"domain", "mail"}, set()),
    "config": ({"domain", "mail"}, {"pydantic", "pydantic_core"}),
    "store": (CORE, {"psycopg", "psycopg_pool"}),
    "net": (CORE, {"aiosmtplib", "argon2", "cryptography", "dns", "uvicorn"}),
    "ingress": (
        CORE | {"config", "accept", "net.descriptors", "net.handshake", "net.listening", "net.tally"},
        {"aiosmtpd"},
    ),
    "accept": (CORE, set()),
    "egress": (CORE | {"accept"}, set()),
    "frames": (CORE | {"config", "accept.budget", "net.tally"}, {"pydantic", "pydantic_core"}),
    "frames.rest": (set(), {"fastapi", "starlette"}),
    "frames.console": (set(), {"jinja2", "markdown_it", "markupsafe", "starlette"}),
    "frames.commands": (set(), {"typer"}),
    "frames.commands.session": ({"net", "store"}, set()),
    "resources": (CORE | {"config", "frames"}, {"fastapi", "markupsafe", "pydantic", "starlette", "typer"}),
    "resources.transmissions": ({"accept"}, set()),
    "sink": ({"config", "domain", "net.listening"}, {"pydantic", "typer"}),
}
"""What a part of the house may import, with what its parts in turn may beyond that.

A driver never names another driver or an adapter; JSON and rows stay where they are read. The shell is a
process of its own: its session opens the store.
"""
RULES_OF_FRAMES = {"actor", "caps", "change", "consequences", "once", "retention", "sign_in"}
"""What use cases hang in: the rest of the frames is for edges."""
SHARED = {"rules": {"rules"}, "words": {"rules", "words"}}
"""Of another resource a file may import its rules, and an edge also its words: how others speak of it."""
HOMES = {
    ("domain", "idna"): "relay/domain/address.py",
    ("mail", "cryptography"): "relay/mail/dkim.py",
    ("mail", "css_inline"): "relay/mail/inline_css.py",
}
"""The one file of a layer that may use a package which the rest of it has no business with."""
FREE = {"__init__", "__main__", "process", "testing"}
"""These put the rest together: anything goes."""
PURE = {"domain", "mail"}
IMPURE = {
    *("asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "random", "secrets", "select"),
    *(
        "signal",
        "smtplib",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ),
}
"""No input or output, no clock, no chance: values in, values out."""


def violations(root: Path) -> Iterator[str]:
    """What breaks the rules in the package `relay` under root, one sentence each."""
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts) for path in (root / "relay").rglob("*.py")
    }
    for path in sorted((root / "relay").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(root).as_posix()
        parts = path.relative_to(root / "relay").with_suffix("").parts
        if (lines := text.count("\n")) > MAX_LINES:
            yield f"{where}: {lines} lines, more than {MAX_LINES}"
        if parts[0] not in LAYERS and parts[0] not in FREE:
            yield f"{where}: {parts[0]} is in no row of the table"
            continue
        for node in ast.walk(ast.parse(text)):
            for module in _imported(node, modules):
                if complaint := _complaint(parts, module, where):
                    yield f"{where}:{getattr(node, 'lineno', 0)}: {complaint}"


def _imported(node: ast.AST, modules: Collection[str]) -> Iterator[str]:
    """Full names of the modules that one statement imports; a relative one begins with a dot."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level:
        yield "." * node.level + (node.module or "")
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        for alias in node.names:
            full = f"{module}.{alias.name}"
            yield full if full in modules or module in ("relay", "relay.resources") else module


def _complaint(parts: Sequence[str], module: str, where: str) -> str:
    top, _, rest = module.partition(".")
    if not top:
        return "relative import"
    layer = parts[0]
    if layer in FREE:
        return ""
    places = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    rows = [LAYERS[place] for place in places if place in LAYERS]
    if top == "relay":
        allowed = {layer, "__version__"}.union(*(ours for ours, _ in rows))
        if not any(rest == name or rest.startswith(f"{name}.") for name in allowed):
            return f"{'.'.join(parts[:-1] or parts)} may not import {rest or 'relay'}"
        return _complaint_of_resource(parts, rest.split(".")) if layer == "resources" else ""
    if top in sys.stdlib_module_names:
        return f"{layer} is pure: no {top}" if layer in PURE and top in IMPURE else ""
    is_at_home = any(top in others for _, others in rows) and where == HOMES.get((layer, top), where)
    return "" if is_at_home else f"{layer} is not the home of {top}"


def _complaint_of_resource(parts: Sequence[str], imported: Sequence[str]) -> str:
    """The second axis: a resource is a room of its own, and what decides knows no door."""
    resource, file = parts[1], parts[-1]
    if imported[0] == "frames" and file == "rules" and imported[1] not in RULES_OF_FRAMES:
        return f"rules know no {'.'.join(imported)}"
    if imported[0] != "resources":
        return ""
    shared = imported[2] if len(imported) > 2 else ""
    if imported[1] == resource:
        return (
            "" if shared in SHARED.get(file, {shared}) else f"{file} know no {shared} of their own resource"
        )
    allowed = SHARED.get(file, {"rules", "words"})
    return "" if shared in allowed else f"{resource} may not import {shared or 'all'} of {imported[1]}"


def test_every_module_keeps_to_its_layer() -> None:
    assert list(violations(ROOT)) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        pytest.param(
            "domain/a.py", "import relay.mail.dsn", "1: domain may not import mail.dsn", id="upwards"
        ),
        pytest.param(
            "mail/a.py", "x = 1\nfrom relay import ports", "2: mail may not import ports", id="from relay"
        ),
        pytest.param("domain/a.py", "from relay import x", "1: domain may not import x", id="the root"),
        pytest.param(
            "ingress/a.py",
            "from relay.frames.console.app import x",
            "1: ingress may not import frames.console.app",
            id="the way of mail knows no rooms",
        ),
        pytest.param(
            "accept/a.py",
            "from relay.resources.ip_pools import rules",
            "1: accept may not import resources.ip_pools",
            id="nor what is managed",
        ),
        pytest.param(
            "ingress/a.py", "from relay.store import x", "1: ingress may not import store", id="an adapter"
        ),
        pytest.param(
            "ingress/a.py",
            "from relay.net.dns import x",
            "1: ingress may not import net.dns",
            id="a part of one that is not allowed",
        ),
        pytest.param(
            "egress/a.py",
            "def f():\n    from relay.ingress.msys import x",
            "2: egress may not import ingress.msys",
            id="inside a function",
        ),
        pytest.param(
            "frames/rest/a.py",
            "from relay.resources.queue.rules import x",
            "1: frames.rest may not import resources.queue.rules",
            id="a frame that names a resource",
        ),
        pytest.param(
            "frames/commands/a.py",
            "from relay.store import x",
            "1: frames.commands may not import store",
            id="a frame beside the one that opens the store",
        ),
        pytest.param(
            "resources/a/pages.py",
            "from relay.resources.b.pages import x",
            "1: a may not import pages of b",
            id="room to room",
        ),
        pytest.param(
            "resources/a/rest.py",
            "from relay.resources import b",
            "1: a may not import all of b",
            id="a whole room",
        ),
        pytest.param(
            "resources/a/rules.py",
            "from relay.resources.b.words import x",
            "1: a may not import words of b",
            id="words are for edges",
        ),
        pytest.param(
            "resources/a/rules.py",
            "from relay.resources.a.rest import x",
            "1: rules know no rest of their own resource",
            id="rules that know a door",
        ),
        pytest.param(
            "resources/a/rules.py",
            "from relay.frames.rest.errors import x",
            "1: rules know no frames.rest.errors",
            id="rules that know a frame's door",
        ),
        pytest.param(
            "resources/a/rest.py",
            "from relay.store import x",
            "1: resources.a may not import store",
            id="a room that writes by itself",
        ),
        pytest.param(
            "resources/a/rest.py",
            "from relay.accept.door import x",
            "1: resources.a may not import accept.door",
            id="a room that hands in mail",
        ),
        pytest.param("domain/deep/a.py", "import os.path", "1: domain is pure: no os", id="purity"),
        pytest.param("mail/a.py", "from time import time", "1: mail is pure: no time", id="purity of mail"),
        pytest.param(
            "accept/a.py", "from pydantic import x", "1: accept is not the home of pydantic", id="home"
        ),
        pytest.param(
            "frames/rest/a.py",
            "import jinja2",
            "1: frames is not the home of jinja2",
            id="home of another part",
        ),
        pytest.param(
            "mail/trace.py",
            "from cryptography.x509 import x",
            "1: mail is not the home of cryptography",
            id="a file that is not the one",
        ),
        pytest.param(
            "ports.py", "import aiosmtplib", "1: ports is not the home of aiosmtplib", id="home, module"
        ),
        pytest.param("process/a.py", "from . import b", "1: relative import", id="relative, anywhere"),
        pytest.param("net/a.py", "from ..domain import b", "1: relative import", id="relative"),
        pytest.param("utils/a.py", "", " utils is in no row of the table", id="a package nobody planned"),
        pytest.param("process/a.py", "\n" * 401, " 401 lines, more than 400", id="too long"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, text: str, complaint: str) -> None:
    planted = tmp_path / "relay" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(text, encoding="utf-8")
    assert list(violations(tmp_path)) == [f"relay/{path}:{complaint}"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("domain/a.py", "import re\nfrom relay.domain.ids import x", id="itself and the library"),
        pytest.param("store/sqlite/a.py", "import sqlite3\nimport relay.ports", id="downwards"),
        pytest.param("config/a.py", "from pydantic import BaseModel", id="at home"),
        pytest.param("ingress/a.py", "from relay.net.tally import Tally", id="the part of another"),
        pytest.param(
            "frames/commands/session.py", "from relay.store import Store", id="the one that opens it"
        ),
        pytest.param(
            "resources/a/pages.py",
            "import relay.resources.a.bulk\nimport relay.resources.b.rules\nimport relay.resources.b.words",
            id="its own room, rules and words of others",
        ),
        pytest.param(
            "resources/a/rules.py",
            "import relay.resources.b.rules\nimport relay.frames.change",
            id="rules of others, and what they hang in",
        ),
        pytest.param("resources/transmissions/rest.py", "import relay.accept.draft", id="who hands in mail"),
        pytest.param("mail/dkim.py", "import cryptography", id="the one file"),
        pytest.param("testing/a.py", "import aiosmtplib\nfrom relay.net import x\nimport os", id="anything"),
        pytest.param("__main__.py", "from relay.process.main import main\n" * 400, id="400 lines"),
    ],
)
def test_what_the_table_allows_is_allowed(tmp_path: Path, path: str, text: str) -> None:
    planted = tmp_path / "relay" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(text, encoding="utf-8")
    assert list(violations(tmp_path)) == []


def test_a_name_is_imported_from_where_it_is_defined() -> None:
    """The published kit for tests alone hands out what others define."""
    places = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("relay/**/*.py")
        if re.search(r"^__all__\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert places == {"relay/testing/__init__.py"}


_WRITING = re.compile(r"\w+Store|WakeUps")


def test_a_door_has_no_port_that_writes() -> None:
    """But for the one by which a repeated request is known, which the frames themselves ask."""
    edges = [path for path in ROOT.glob("relay/resources/*/*.py") if path.stem not in ("rules", "bulk")]
    edges += [ROOT / "relay/frames/services.py", *ROOT.glob("relay/frames/*/*.py")]
    found = {
        f"{path.relative_to(ROOT)}: {alias.name}"
        for path in edges
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("relay.ports")
        for alias in node.names
        if _WRITING.fullmatch(alias.name)
    }
    assert found == {
        "relay/frames/services.py: IdempotencyStore",
        "relay/frames/services.py: ReportStore",
    }


def test_no_modules_import_one_another_in_a_circle() -> None:
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.glob("relay/**/*.py")
    }
    imports = {
        module: {
            name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            for name in _imported(node, paths)
            if name in paths
        }
        for module, path in paths.items()
    }
    while ends := [module for module, names in imports.items() if not names & imports.keys()]:
        for module in ends:
            del imports[module]
    assert sorted(imports) == []


_IN_WORDS_OF_PYTHON = re.compile(r"(?:\bstr\(|\{)(?:ipaddress\.)?(?:ip_address|IPv[46]Address)\(")


def test_no_address_is_written_in_the_form_of_the_python_at_hand() -> None:
    """`ip_text` writes it: what is stored under one Python is looked for under another."""
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sorted((ROOT / "relay").rglob("*.py"))
        for match in _IN_WORDS_OF_PYTHON.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


_MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|work|home/[\w.-]+|Users/[\w.-]+)/")


def test_no_file_of_the_repository_names_a_folder_of_somebodys_machine() -> None:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert Path(__file__) in files
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        if path.is_file()
        for match in _MACHINE_PATH.finditer(path.read_bytes().decode("utf-8", "replace"))
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["root", "work", "home/jane", "Users/jane.doe"])
def test_a_planted_machine_path_is_found(folder: str) -> None:
    assert _MACHINE_PATH.search(f"see /{folder}/notes.txt")
    assert not _MACHINE_PATH.search(f"https://example.com/{folder}/notes.txt")


_DOORS = {"get", "post", "put", "delete", "command", "callback"}
"""A function that hangs at a door is called by nobody: endpoints, pages and commands may be called alike."""
_IN_DESCRIPTION = {"relay/frames/rest/shapes.py", "relay/resources/accounts/rest.py"}
"""Shapes are called as the description of the API has them."""
_PARTICIPLE = re.compile(
    r"[a-z]+[^e]ed|told|shown|made|said|sent|held|kept|given|taken|written|found|left|seen|known|done|built|lost|met"
    r"|paid|drawn|foretold|heard|bought|spent|rewritten|broken|chosen|hidden"
)
_ROOTS = {"shed", "wed", "embed"}


def _public_names() -> Iterator[tuple[str, str]]:
    """Functions and classes that other modules may ask for, each with its file."""
    for path in sorted(ROOT.glob("relay/**/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                hung = {
                    ast.unparse(found).partition("(")[0].rpartition(".")[2] for found in node.decorator_list
                }
                if not node.name.startswith("_") and not hung & _DOORS:
                    yield node.name, path.relative_to(ROOT).as_posix()


def test_a_public_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for name, place in _public_names():
        if place not in _IN_DESCRIPTION:
            places.setdefault(name, []).append(place)
    assert {name: found for name, found in places.items() if len(found) > 1 and name != "main"} == {}


def test_a_public_function_is_called_by_a_verb() -> None:
    bare = [
        (name, place) for name, place in _public_names() if name.islower() and _PARTICIPLE.fullmatch(name)
    ]
    assert [found for found in bare if found[0] not in _ROOTS] == []
