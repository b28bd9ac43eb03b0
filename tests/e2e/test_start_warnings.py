"""What a start says: who else can reach what it can, how it stands, that it is ready; and a stop."""

import asyncio
import json
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from relay import __version__
from relay.sink.fake_mta import FakeMta
from relay.testing.lab import lab_directory
from relay.testing.process import RelayProcess, free_port
from relay.testing.waiting import eventually


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_wide_folder_is_named_once_with_what_to_do(
    tmp_path: Path, mta: FakeMta, workers: int
) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    folder.chmod(0o755)
    settings: dict[str, dict[str, object]] = {
        "": {"store": f"sqlite:///{folder}/relay.db", "workers": workers, "roles": ["smtp"]}
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        said = relay.log.read_text()
        assert said.count(f"others on this machine can look into {folder} (mode 0755)") == 1
        assert f"chmod 700 {folder}\n" in said
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        folder.chmod(0o700)
        await relay.restart()
        assert relay.log.read_text().count("can look into") == 1


async def test_a_folder_that_the_relay_makes_is_for_its_user_alone(tmp_path: Path, mta: FakeMta) -> None:
    folder = tmp_path / "one" / "two"
    settings: dict[str, dict[str, object]] = {"": {"store": f"sqlite:///{folder}/relay.db"}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        await relay.inject("bob@gmail.example", ip_pool="receipts")
        await mta.attempts_reached(1)
        made = [path for path in (tmp_path / "one").rglob("*") if path.is_dir()]
        assert folder in made
        assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, *made)} == {0o700}
        assert "can look into" not in relay.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_start_as_root_says_so_once_and_serves(tmp_path: Path, mta: FakeMta, workers: int) -> None:
    settings: dict[str, dict[str, object]] = {"": {"workers": workers}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        await relay.inject("bob@gmail.example", ip_pool="receipts")
        await mta.attempts_reached(1)
        assert relay.log.read_text().count("running as root") == (os.geteuid() == 0)


READY = re.compile(r" INFO relay ready (version=.*)\n")
ELSEWHERE = '[[sending_ip]]\naddress = "192.0.2.1"\nhostname = "a.example"\n'


async def _ready(relay: RelayProcess, count: int = 1) -> list[str]:
    """What the ready lines say, as soon as there are so many."""

    async def found() -> list[str]:
        lines = READY.findall(relay.log.read_text())
        return lines if len(lines) >= count else []

    return await eventually(found, 10)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_start_and_a_stop_are_a_line_each(tmp_path: Path, mta: FakeMta, workers: int) -> None:
    directory = ELSEWHERE + lab_directory()
    settings: dict[str, dict[str, object]] = {"": {"workers": workers}}
    async with RelayProcess(tmp_path, mta.address, settings=settings, directory=directory) as relay:
        facts = f"version={__version__} node=n1 workers={workers} smtp={relay.address} "
        facts += f"store=sqlite:///{tmp_path}/relay.db ips=12 missing=192.0.2.1 differences=0"
        assert await _ready(relay) == [facts]
        missing = "WARNING relay not on this machine (n1): 192.0.2.1; their mail waits\n"
        assert relay.log.read_text().count(missing) == 1
        file = tmp_path / "directory.toml"
        file.write_text(file.read_text().replace('"Acme"', '"Acme Ltd"'))
        await relay.restart()
        assert (await _ready(relay, 2))[1].endswith(" differences=1")
        told = relay.log.read_text()
        line = f"the store differs from {file} by 1 change; see `relay directory diff {file}`\n"
        assert told.count(f"WARNING relay {line}") == 1
        assert told.count(" INFO relay stopped\n") == 1
    assert relay.log.read_text().endswith(" INFO relay stopped\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[rout]]\n", "rout: a list of tables: expected "),
        (None, "No such file or directory: expected a readable file"),
    ],
)
async def test_a_file_that_cannot_be_compared_is_named_and_never_called_the_same(
    tmp_path: Path, mta: FakeMta, text: str | None, told: str
) -> None:
    async with RelayProcess(tmp_path, mta.address) as relay:
        file = tmp_path / "directory.toml"
        file.unlink()
        if text is not None:
            file.write_text(text)
        await relay.restart()
        assert (await _ready(relay, 2))[1].endswith(" differences=unknown")
        (line,) = re.findall(r" WARNING relay (.* is in force, .*)\n", relay.log.read_text())
        assert line.startswith(f"{file}: {told}")
        remedy = f"whether it differs is unknown: put {file} right, and see `relay check`"
        assert line.endswith(f"; the store is in force, and {remedy}")


async def test_for_machines_they_are_records_with_a_field_for_each_fact(tmp_path: Path, mta: FakeMta) -> None:
    settings: dict[str, dict[str, object]] = {"": {"roles": ["smtp", "api"]}, "log": {"format": "json"}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        host, port = relay.http_address
        await eventually(lambda: asyncio.sleep(0, '"ready"' in relay.log.read_text()), 10)
    records = [json.loads(line) for line in relay.log.read_text().splitlines()]
    (ready,) = [record for record in records if record.get("event") == "ready"]
    assert ready["level"] == "info"
    assert ready["http"] == f"http://{host}:{port}"
    assert ready["smtp"] == relay.address
    assert (ready["ips"], ready["missing"], ready["differences"]) == (11, "", 0)
    assert records[-1]["event"] == records[-1]["message"] == "stopped"


@pytest.mark.parametrize("taken", ["smtp", "sink"])
async def test_a_port_that_is_taken_is_one_line_with_the_remedy(tmp_path: Path, taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        relay = RelayProcess(tmp_path, f"127.0.0.1:{port if taken == 'sink' else free_port()}")
        if taken == "smtp":
            relay.config.write_text(relay.config.read_text().replace(relay.address, f"127.0.0.1:{port}"))
        run = await relay.run_cli("run", "--with-sink")
    said = [line for line in run.err.splitlines() if " WARNING " not in line]
    remedy = {
        "smtp": "choose another (smtp.listen), such as RELAY_SMTP__LISTEN='[\"127.0.0.1:",
        "sink": f"give the route of {tmp_path}/directory.toml another smarthost",
    }
    assert run.status == 1
    (line,) = [line for line in said if "INFO" not in line]
    start = f"relay: cannot listen on 127.0.0.1:{port}: another program has that port, perhaps a relay:"
    start += " stop it, or "
    assert line.startswith(start + remedy[taken])
