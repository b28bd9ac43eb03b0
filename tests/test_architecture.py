"""Layers and the one-way rule: who may import whom. Holds the table, walks the syntax trees."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 400

CORE = {"domain", "mail", "ports"}
DRIVERS = CORE | {"schema", "service", "telemetry"}
LISTENERS = {"descriptors", "handshake", "listening", "tally"}
LAYERS: Mapping[str, tuple[set[str], set[str]]] = {
    # what it may import:  of ours                     of others
    "domain": (set(), {"idna"}),
    "mail": ({"domain"}, {"cryptography", "css_inline"}),
    "ports": ({"domain", "mail"}, set()),
    "schema": ({"domain", "mail"}, {"pydantic", "pydantic_core"}),
    "telemetry": ({"domain"}, {"prometheus_client"}),
    "service": (CORE, set()),
    "store": (CORE, {"psycopg", "psycopg_pool"}),
    "net": (CORE | LISTENERS, {"aiosmtplib", "argon2", "cryptography", "dns", "uvicorn"}),
    "ingress": (DRIVERS | LISTENERS, {"aiosmtpd"}),
    "egress": (CORE | {"service", "telemetry"}, set()),
    "feed": (DRIVERS, set()),
    "api": (DRIVERS | {"tally"}, {"fastapi", "starlette"}),
    "web": (DRIVERS | {"tally"}, {"jinja2", "markdown_it", "markupsafe", "starlette"}),
    "judgments": ({"domain", "schema", "net", "listening"}, set()),
    "sandbox": (CORE | {"schema"}, set()),
    "handshake": ({"domain", "tally"}, set()),
    "tally": ({"domain"}, set()),
    "descriptors": (set(), set()),
    "listening": (set(), set()),
}
"""A driver never names another driver or an adapter; JSON and rows stay where they are read."""
HOMES = {
    ("domain", "idna"): "relay/domain/address.py",
    ("mail", "cryptography"): "relay/mail/dkim.py",
    ("mail", "css_inline"): "relay/mail/inline_css.py",
}
"""The one file of a layer that may use a package which the rest of it has no business with."""
FREE = {"__init__", "__main__", "cli", "process", "testing"}
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
    for path in sorted((root / "relay").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(root).as_posix()
        layer = path.relative_to(root / "relay").parts[0].removesuffix(".py")
        if (lines := text.count("\n")) > MAX_LINES:
            yield f"{where}: {lines} lines, more than {MAX_LINES}"
        if layer not in LAYERS and layer not in FREE:
            yield f"{where}: {layer} is in no row of the table"
            continue
        for node in ast.walk(ast.parse(text)):
            for module in _imported(node):
                if complaint := _complaint(layer, module, where):
                    yield f"{where}:{getattr(node, 'lineno', 0)}: {complaint}"


def _imported(node: ast.AST) -> Iterator[str]:
    """Full names of the modules that one statement imports; a relative one begins with a dot."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level:
        yield "." * node.level + (node.module or "")
    elif isinstance(node, ast.ImportFrom) and node.module == "relay":
        yield from (f"relay.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""


def _complaint(layer: str, module: str, where: str) -> str:
    top, _, rest = module.partition(".")
    if not top:
        return "relative import"
    if layer in FREE:
        return ""
    ours, others = LAYERS[layer]
    if top == "relay":
        imported = rest.partition(".")[0] or "relay"
        is_allowed = imported in ours | {layer, "__version__"}
        return "" if is_allowed else f"{layer} may not import {imported}"
    if top in sys.stdlib_module_names:
        return f"{layer} is pure: no {top}" if layer in PURE and top in IMPURE else ""
    is_at_home = top in others and where == HOMES.get((layer, top), where)
    return "" if is_at_home else f"{layer} is not the home of {top}"


def test_every_module_keeps_to_its_layer() -> None:
    assert list(violations(ROOT)) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        pytest.param("domain/a.py", "import relay.mail.dsn", "1: domain may not import mail", id="upwards"),
        pytest.param(
            "mail/a.py", "x = 1\nfrom relay import ports", "2: mail may not import ports", id="from relay"
        ),
        pytest.param("domain/a.py", "from relay import x", "1: domain may not import x", id="the root"),
        pytest.param(
            "api/a.py", "from relay.web.app import x", "1: api may not import web", id="driver to driver"
        ),
        pytest.param(
            "ingress/a.py", "from relay.store import x", "1: ingress may not import store", id="an adapter"
        ),
        pytest.param(
            "egress/a.py",
            "def f():\n    from relay.schema.msys import x",
            "2: egress may not import schema",
            id="inside a function",
        ),
        pytest.param("domain/deep/a.py", "import os.path", "1: domain is pure: no os", id="purity"),
        pytest.param("mail/a.py", "from time import time", "1: mail is pure: no time", id="purity of mail"),
        pytest.param(
            "service/a.py", "from pydantic import x", "1: service is not the home of pydantic", id="home"
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
        pytest.param("cli/a.py", "from . import b", "1: relative import", id="relative, anywhere"),
        pytest.param("net/a.py", "from ..domain import b", "1: relative import", id="relative"),
        pytest.param("utils/a.py", "", " utils is in no row of the table", id="a package nobody planned"),
        pytest.param("cli/a.py", "\n" * 401, " 401 lines, more than 400", id="too long"),
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
        pytest.param("schema/a.py", "from pydantic import BaseModel", id="at home"),
        pytest.param("mail/dkim.py", "import cryptography", id="the one file"),
        pytest.param("testing/a.py", "import aiosmtplib\nfrom relay.net import x\nimport os", id="anything"),
        pytest.param("__main__.py", "from relay.cli.main import main\n" * 400, id="400 lines"),
    ],
)
def test_what_the_table_allows_is_allowed(tmp_path: Path, path: str, text: str) -> None:
    planted = tmp_path / "relay" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(text, encoding="utf-8")
    assert list(violations(tmp_path)) == []


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
