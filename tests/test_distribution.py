"""What is installed: its names and papers, and that it asks for all it imports."""

import ast
import hashlib
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from trove_classifiers import classifiers

from relay import __version__
from tests.support.installed import checked

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "*.yml", "Makefile", "relay/**/*.py", "relay/**/*.md")
    for path in ROOT.glob(pattern)
)
_STRANGER = re.compile(r"pip3? install (?:[\w.,=<>\[\]'\"-]+ )*['\"]?relay(?![\w.-])")


def _names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def _imported(folder: Path, *, without: Path | None = None) -> set[str]:
    """Distributions whose modules the files below folder import, wherever in them."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        if without is None or without not in path.parents:
            found |= set(_modules(path))
    homes = packages_distributions()
    return {
        canonicalize_name(homes[module][0])
        for module in found - {"relay"}
        if module not in sys.stdlib_module_names
    }


def _modules(path: Path) -> Iterator[str]:
    """Top names of what one file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_its_names() -> None:
    """Other programs, and people's files of requirements, rely on them."""
    assert PROJECT["name"] == "relay-mta"
    assert PROJECT["scripts"] == {"relay": "relay.process.main:main"}
    assert {"testing", "dev"} <= set(PROJECT["optional-dependencies"])


def test_its_licence_is_apaches_word_for_word() -> None:
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2


def test_the_newest_version_of_the_changelog_is_that_of_the_program() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", headings[1])


def test_the_index_knows_its_classifiers() -> None:
    assert set(PROJECT["classifiers"]) <= classifiers


def test_its_wheel_has_every_file_of_the_package_and_the_licence(tmp_path: Path) -> None:
    """Statements, migrations, templates and what the console serves are files, too."""
    checked([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], ROOT)
    (path,) = tmp_path.glob("*.whl")
    with ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (licence,) = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    tracked = checked(["git", "ls-files", "-z", "relay"], ROOT).rstrip("\0").split("\0")
    assert names >= set(tracked)
    assert {Path(name).suffix for name in tracked} >= {".sql", ".html", ".css", ".js", ".typed"}


def test_it_asks_for_what_it_imports_and_for_nothing_else() -> None:
    """What another package happens to bring along may be gone with its next version."""
    used = _imported(ROOT / "relay", without=ROOT / "relay/testing")
    assert used == _names(PROJECT["dependencies"])


def test_the_plugin_asks_for_what_it_imports() -> None:
    extra = _names(PROJECT["optional-dependencies"]["testing"])
    assert _imported(ROOT / "relay/testing") - _names(PROJECT["dependencies"]) == extra


def test_every_dependency_has_an_upper_bound() -> None:
    """A release that breaks its users breaks an installation only once it was looked at."""
    free = [line for line in PROJECT["dependencies"] if "<" not in line and "cryptography" not in line]
    assert free == ["argon2-cffi>=23.1"], "numbered by the year: they say nothing of what breaks"


@pytest.mark.parametrize(("name", "minor"), [("uvicorn", "0.55"), ("aiosmtpd", "1.5")])
def test_packages_whose_internals_are_used_are_bounded_by_their_next_minor_version(
    name: str, minor: str
) -> None:
    (line,) = [line for line in PROJECT["dependencies"] if Requirement(line).name == name]
    assert not Requirement(line).specifier.contains(f"{minor}.0")


def test_no_text_tells_to_install_the_relay_of_somebody_else() -> None:
    """The name `relay` is another project's in the index."""
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in TEXTS
        for match in _STRANGER.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["pip install relay", "pip install -U relay", "pip3 install 'relay[testing]'", "pip install x relay"],
)
def test_a_planted_line_is_found(line: str) -> None:
    assert _STRANGER.search(f"first `{line}`, then")
    assert not _STRANGER.search(line.replace("relay", "relay-mta"))
    assert not _STRANGER.search("pip install .")
