"""docker-compose.yml, as far as it is judged without an engine; tests/test_image.py runs what it starts."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from relay.process.main import main

FILE = Path(__file__).parent.parent / "docker-compose.yml"
DEPLOY = FILE.parent / "deploy"


def _compose(*arguments: str) -> str:
    """What docker-compose prints; the test fails when it refuses the file, or is not there."""
    program = shutil.which("docker-compose", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        pytest.fail("docker-compose is missing: apt-get install --no-install-recommends docker-compose")
    run = subprocess.run([program, "-f", str(FILE), *arguments], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """As docker-compose understands them."""
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load(_compose("config"))["services"]
    return found


def test_the_file_is_valid() -> None:
    assert _compose("config", "-q") == ""


def test_it_starts_a_relay_and_a_sink_from_one_image_that_is_built_here(services: dict[str, Any]) -> None:
    assert sorted(services) == ["relay", "sink"]
    assert {service["image"] for service in services.values()} == {"relay-mta"}
    assert all("build" in service for service in services.values())


def test_each_has_a_network_stack_of_its_own(services: dict[str, Any]) -> None:
    """One may be started anew without the other."""
    assert not any("network_mode" in service for service in services.values())
    directory = tomllib.loads((DEPLOY / "directory.toml").read_text(encoding="utf-8"))
    addresses = [ip["address"] for ip in directory["sending_ip"]]
    assert addresses == [services["relay"]["networks"]["mail"]["ipv4_address"]]
    (route,) = directory["route"]
    assert route["smarthost"].partition(":")[0] == services["sink"]["networks"]["mail"]["ipv4_address"]
    assert services["sink"]["command"][-1].endswith(route["smarthost"].partition(":")[2])


def test_smtp_rest_and_console_are_reached_from_this_machine_alone(services: dict[str, Any]) -> None:
    assert "ports" not in services["sink"]
    published = [
        port if isinstance(port, str) else f"{port['host_ip']}:{port['published']}:{port['target']}"
        for port in services["relay"]["ports"]
    ]
    assert [port.removesuffix("/tcp") for port in published] == ["127.0.0.1:2525:2525", "127.0.0.1:8025:8025"]
    settings = tomllib.loads((DEPLOY / "relay.toml").read_text(encoding="utf-8"))
    assert settings["smtp"]["listen"] == ["0.0.0.0:2525"]
    assert settings["http"]["listen"] == "0.0.0.0:8025"


def test_its_directory_has_no_key_that_others_know() -> None:
    """Who listens on all addresses must not have the lab's."""
    files = [path.read_text(encoding="utf-8") for path in DEPLOY.iterdir()]
    assert len(files) == 2
    assert not any(re.search(r"api_key|key_sha256|[0-9a-f]{40}", text) for text in files)


def test_it_is_given_as_long_to_stop_as_the_unit_of_systemd(services: dict[str, Any]) -> None:
    unit = (FILE.parent / "docs/relay.service").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert services["relay"]["stop_grace_period"] in {f"{seconds}s", f"{int(seconds) // 60}m0s", "2m"}


def test_the_relay_says_of_itself_whether_it_takes_mail(services: dict[str, Any]) -> None:
    """The image's check asks /readyz."""
    assert "healthcheck" not in services["relay"]
    assert "2526" in json.dumps(services["sink"]["healthcheck"]["test"])


def test_it_may_write_nothing_but_its_store(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    mounts = json.dumps(services["relay"]["volumes"])
    assert "/var/lib/relay" in mounts
    assert re.search(r'/etc/relay:ro|"read_only": true', mounts)


def test_the_first_operator_gets_a_link_that_leads_to_the_published_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "docker compose exec relay relay user first-link" in FILE.read_text(encoding="utf-8")
    monkeypatch.setenv("RELAY_STORE", f"sqlite:///{tmp_path}/relay.db")
    assert main(["user", "first-link", "--config", str(DEPLOY / "relay.toml")]) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:8025/sign-in/link/")
