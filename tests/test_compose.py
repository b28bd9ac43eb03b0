"""docker-compose.yml, as far as it can be judged without an engine."""

import shutil
import subprocess
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "docker-compose.yml"


def _compose(*arguments: str) -> str:
    """What docker-compose prints; the test fails when it refuses the file, or is not there."""
    program = shutil.which("docker-compose", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        pytest.fail("docker-compose is missing: apt-get install --no-install-recommends docker-compose")
    run = subprocess.run([program, "-f", str(FILE), *arguments], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_file_is_valid() -> None:
    assert _compose("config", "-q") == ""


def test_it_starts_a_relay_and_a_sink_by_default() -> None:
    assert sorted(_compose("config", "--services").split()) == ["relay", "sink"]


def test_the_sink_is_in_the_network_of_the_relay() -> None:
    """A socket bound to 127.0.0.x reaches nobody in another network namespace."""
    text = FILE.read_text(encoding="utf-8")
    assert text.count('network_mode: "service:relay"') == 1
    assert "relay sink --listen 127.0.0.1:2526" in text


def test_no_port_is_open_to_the_world() -> None:
    ports = [line.strip() for line in FILE.read_text(encoding="utf-8").splitlines() if ":2525" in line]
    assert '- "127.0.0.1:2525:2525"' in ports
    assert not [line for line in ports if line.startswith("- ") and "127.0.0.1" not in line]
