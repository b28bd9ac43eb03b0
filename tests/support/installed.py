"""Virtual environments of their own, with what the lock names, as a fresh machine gets them."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def clean_environment() -> dict[str, str]:
    """Ours, without what would make another program's modules or settings of it."""
    ours = ("PYTEST", "PYTHON", "RELAY_", "COV_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def run(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command in folder, without our own environment's modules and plugins."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**clean_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )


def checked(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What it printed; the test fails with its words when it ends badly."""
    done = run(command, folder, environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment_with_testing(folder: Path) -> Path:
    """The python of a new environment that has the wheel of the relay with its extra `testing`, and no more.

    Packages come from the machine's index, in the versions of the lock.
    """
    python, pins = folder / "venv/bin/python", folder / "pins.txt"
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8").splitlines()
    pins.write_text("\n".join(line.rstrip("\\ ") for line in lock if "==" in line), encoding="utf-8")
    checked([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    checked(
        [*pip(python), "install", "--quiet", "--no-compile", f"{ROOT}[testing]"],
        folder,
        {"PIP_CONSTRAINT": str(pins)},
    )
    return python


def pip(python: Path) -> list[str | Path]:
    """Ours, at work on that environment."""
    return [sys.executable, "-m", "pip", "--python", python, "--no-input", "--disable-pip-version-check"]
