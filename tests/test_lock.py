"""What is installed, from where, and how the Makefile behaves when others are at work on the machine."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-tools.lock")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def _entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned requirement of a lock with its hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#")]
    entries = [line.partition("    --hash=") for line in lines if line.strip()]
    return [(Requirement(pin.strip()), re.findall(r"[0-9a-f]{64}", hashes)) for pin, _, hashes in entries]


def _pins(name: str, python: str, system: str = "linux") -> dict[str, str]:
    """Name and version of what a lock installs there."""
    place = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": system}
    pins: dict[str, str] = {}
    for requirement, _ in _entries(name):
        if requirement.marker is None or requirement.marker.evaluate(dict(place)):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert canonicalize_name(requirement.name) not in pins
            pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_the_hashes_of_wheel_and_source(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text, "an index, or a folder: that is for each machine to say"
    assert not re.search(r"^ *-(?!-hash)", text, re.MULTILINE)
    assert len(_entries(name)) > 20
    assert all(hashes for _, hashes in _entries(name))


def test_hashes_are_those_of_every_platform() -> None:
    """Wheels of Linux with both C libraries, macOS and Windows, for each Python from 3.11 on."""
    counted = {requirement.name: len(hashes) for requirement, hashes in _entries("requirements.lock")}
    assert counted["pydantic-core"] > 80
    assert counted["markupsafe"] > 60
    assert counted["uvloop"] > 20


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependency-groups"]["build"]),
        ("requirements-dev.lock", PROJECT["project"]["optional-dependencies"]["testing"]),
        ("requirements-dev.lock", PROJECT["project"]["optional-dependencies"]["dev"][1:]),
        ("requirements-tools.lock", PROJECT["dependency-groups"]["tools"]),
    ],
)
def test_the_lock_has_what_the_project_asks_for(lock: str, wanted: Iterable[str], python: str) -> None:
    """Whoever changes pyproject.toml runs `make lock UPGRADE=`."""
    pins = _pins(lock, python)
    for line in map(Requirement, wanted):
        assert line.specifier.contains(pins[canonicalize_name(line.name)]), line


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_the_suite_runs_with_the_versions_that_are_run(python: str, system: str) -> None:
    run, dev = _pins("requirements.lock", python, system), _pins("requirements-dev.lock", python, system)
    assert run.items() <= dev.items()


def test_the_build_backend_comes_from_the_lock() -> None:
    assert _pins("requirements.lock", "3.11").keys() >= {"hatchling", "editables"}
    assert PROJECT["build-system"]["requires"] == ["hatchling>=1.27"]


def test_nothing_is_installed_beside_the_lock() -> None:
    """Every line that installs asks for hashes, or for the project alone without what it depends on."""
    lines = re.findall(r"^\t.*\$\(PIP\).*$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 5
    for script in ("newer", "release"):
        text = (ROOT / ".ci" / script).read_text(encoding="utf-8")
        lines += re.findall(r'^ *"\$\{pip\[@\]\}" .*(?:requirements|\.$|wheel).*$', text, re.MULTILINE)
        assert len(re.findall(r"-m pip\b", text)) == 1
    assert len(lines) == 9
    alone = ("--require-hashes -r requirements", "--no-build-isolation -e .", '--no-index "$wheel"')
    assert all(any(part in line for part in alone) for line in lines)
    assert "--no-deps" in re.findall(r"^PIP := .*$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]


HELD = {
    "lists": "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 17 (apt-get)",
    "dpkg": "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), "
    "is another process using it?",
}


class TestApt:
    """`make` waits for apt's locks."""

    def _run(
        self, folder: Path, held: str, times: int, *arguments: str, limit: int = 30
    ) -> subprocess.CompletedProcess[str]:
        """.ci/apt with an apt-get that finds the lock taken that many times, then notes what it was asked."""
        program = folder / "apt-get"
        (folder / "left").write_text("x" * times)
        program.write_text(
            f"#!/bin/bash\nif [[ -s {folder}/left ]]; then truncate -s -1 {folder}/left; "
            f"echo '{held}' >&2; exit 100; fi\necho \"$@\" >>{folder}/asked\n"
        )
        program.chmod(0o755)
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "APT_STEP_S": "0.1",
            "APT_WAIT_S": str(limit),
        }
        return subprocess.run(
            [ROOT / ".ci/apt", *arguments], capture_output=True, text=True, env=environment, timeout=60
        )

    @pytest.mark.parametrize("lock", ["lists", "dpkg"])
    def test_it_waits_until_the_lock_is_free_and_says_so_once(self, tmp_path: Path, lock: str) -> None:
        run = self._run(tmp_path, HELD[lock], 3, "update")
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout == "apt is at work elsewhere: waiting for it, 30 seconds at most\n"
        assert (tmp_path / "asked").read_text().split()[-1] == "update"

    def test_it_does_not_wait_for_ever(self, tmp_path: Path) -> None:
        run = self._run(tmp_path, HELD["lists"], 1000, "update", limit=1)
        assert run.returncode == 1
        assert run.stderr.splitlines() == [
            HELD["lists"],
            "apt is still at work elsewhere after 1 seconds: let that end, then run make again.",
        ]

    def test_other_faults_are_said_at_once(self, tmp_path: Path) -> None:
        run = self._run(tmp_path, "E: Unable to locate package nosuch", 1, "install", "nosuch")
        assert (run.returncode, run.stdout) == (1, "")
        assert run.stderr == "E: Unable to locate package nosuch\n"

    def test_make_asks_apt_through_it_alone(self) -> None:
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert text.count(".ci/apt update") == text.count(".ci/apt $(INSTALL") == 1
        assert not re.search(r"^\tapt-get", text, re.MULTILINE)


Reported = dict[str, object]
CLEAN: Reported = {"name": "idna", "version": "3.20", "vulns": []}
HOLED: Reported = {
    "name": "jinja2",
    "version": "3.1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"]}],
}
UNKNOWN: Reported = {
    "name": "h11",
    "skip_reason": "Dependency not found and could not be audited: h11 (0.16.0)",
}


class TestAudit:
    """`make audit`: a silence of the data is no clean bill."""

    def _run(self, folder: Path, report: object, status: int = 0, error: str = "") -> tuple[int, str]:
        """Exit status and words of .ci/audit, after an auditor that reports that."""
        program = folder / "pip-audit"
        written = "" if report is None else f"cat >\"${{@: -1}}\" <<'END'\n{json.dumps(report)}\nEND\n"
        program.write_text(f"#!/bin/bash\n{written}echo '{error}' >&2\nexit {status}\n")
        program.chmod(0o755)
        run = subprocess.run(
            [ROOT / ".ci/audit", program, "a.lock"], capture_output=True, text=True, timeout=60
        )
        assert run.stderr == ""
        return run.returncode, run.stdout

    def test_nothing_is_known_against_it(self, tmp_path: Path) -> None:
        assert self._run(tmp_path, {"dependencies": [CLEAN]}) == (
            0,
            "a.lock: no known vulnerabilities\n",
        )

    def test_something_is(self, tmp_path: Path) -> None:
        told = self._run(tmp_path, {"dependencies": [CLEAN, HOLED]}, 1)
        assert told == (1, "a.lock: jinja2 3.1: PYSEC-1, mended in 3.1.6\n")

    def test_packages_that_were_not_looked_up_are_not_taken_for_sound(self, tmp_path: Path) -> None:
        status, words = self._run(tmp_path, {"dependencies": [CLEAN, HOLED, UNKNOWN]}, 1)
        assert status == 3
        assert words.splitlines() == [
            "a.lock: jinja2 3.1: PYSEC-1, mended in 3.1.6",
            "a.lock: NOT AUDITED: the data on vulnerabilities could not be reached for h11.",
        ]

    def test_an_auditor_that_reaches_nobody(self, tmp_path: Path) -> None:
        error = "ERROR:pip_audit._cli:Could not connect to the vulnerability feed"
        status, words = self._run(tmp_path, None, 1, error)
        assert status == 3
        assert "NOT AUDITED" in words
        assert words.endswith(f"all of it: {error}.\n")
