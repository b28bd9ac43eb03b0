"""docker-compose.yml, as far as it can be judged without an engine."""

import shutil
import subprocess
from pathlib import Path

import pytest

from relay.cli.main import main

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
    listed = FILE.read_text(encoding="utf-8").partition("    ports:\n")[2].partition("    volumes:\n")[0]
    ports = [line.strip() for line in listed.splitlines()]
    assert ports == ['- "127.0.0.1:2525:2525"', '- "127.0.0.1:8025:8025"']


def test_the_first_operator_gets_a_link_that_leads_to_the_published_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert "docker compose exec relay relay user first-link" in text
    environment = text.partition("    environment:\n")[2].partition("    ports:\n")[0]
    for line in environment.splitlines():
        name, _, value = line.strip().partition(": ")
        monkeypatch.setenv(name, value.strip("'").strip('"'))
    monkeypatch.setenv("RELAY_STORE", f"sqlite:///{tmp_path}/relay.db")
    assert main(["user", "first-link", "--config", str(FILE.parent / "config/relay.toml")]) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:8025/sign-in/link/")
