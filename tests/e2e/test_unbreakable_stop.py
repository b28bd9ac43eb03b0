"""SIGTERM under load, and what the service manager is told about it."""

import asyncio
import configparser
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiosmtplib
import pytest

from relay.process import systemd
from relay.process.runtime import GRACE_S
from relay.sink.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from relay.testing.wire import connect_wire

CLIENTS = 8
_IN_HAND_S = 5.0
"""For what takes a next hop 0.2 s; the relay would allow 30."""


class Load:
    """Clients that inject as fast as they are answered, and what they were told."""

    def __init__(self, relay: RelayProcess) -> None:
        self._relay = relay
        self.acknowledged: list[str] = []
        self.refused: Counter[int] = Counter()

    async def client(self, name: str) -> None:
        """Until the relay takes no more."""
        number = 0
        while True:
            number += 1
            recipient = f"{name}-{number}@domain{number % 5}.example"
            try:
                await self._relay.inject(recipient, ip_pool="marketing")
            except InjectionRefusedError as refusal:
                self.refused[refusal.code] += 1
                return
            except (OSError, aiosmtplib.SMTPException):
                return
            self.acknowledged.append(recipient)

    async def has(self, count: int) -> bool:
        return len(self.acknowledged) >= count


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_under_load_finishes_what_is_in_hand_and_the_next_start_goes_on_at_once(
    tmp_path: Path, mta: FakeMta, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    # So many that there are more than leave before the end: the second life has work.
    mta.restrict(delay_s=0.2)
    settings: dict[str, dict[str, object]] = {"": {"workers": workers}, "limits": {"connections": 2}}
    relay = RelayProcess(tmp_path, mta.address, settings=settings)
    load = Load(relay)
    clock = asyncio.get_running_loop().time
    await relay.start()
    async with connect_wire((relay.host, relay.port)) as idle, asyncio.timeout(60):
        assert (await idle.reply()).startswith("220")
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(load.client(f"c{number}"), name=f"client {number}")
            await eventually(lambda: load.has(200), 30)
            began = clock()
            assert await relay.stop() == 0
            took_s = clock() - began
        assert await idle.reply() == "421 4.3.2 Service shutting down"
    assert set(load.refused) <= {421}
    assert took_s < _IN_HAND_S
    assert "Traceback" not in relay.log.read_text()
    before = Counter(attempt.recipient for attempt in mta.accepted)
    assert len(before) < len(load.acknowledged)

    mta.restrict()
    began = clock()
    await relay.start()
    greeted_s = clock() - began

    async def is_under_way() -> bool:
        return len(mta.accepted) > sum(before.values())

    await eventually(is_under_way)
    first_s = clock() - began

    async def all_arrived() -> bool:
        return {attempt.recipient for attempt in mta.accepted} >= set(load.acknowledged)

    await eventually(all_arrived, 30)
    assert await relay.stop() == 0
    arrived = Counter(attempt.recipient for attempt in mta.accepted)
    assert set(arrived.values()) == {1}, "a stop in good order sends nothing twice"
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what the test is run for
            f"\nSIGTERM, {workers} workers: {len(load.acknowledged)} acknowledged, {sum(before.values())} "
            f"had left, stopped in {took_s:.2f} s; greeted again after {greeted_s:.2f} s, "
            f"first delivery after {first_s:.2f} s, all arrived once"
        )


# ── the service manager ──────────────────────────────────────────────────────────────────


class Manager:
    """systemd's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._heard: list[str] = []

    def close(self) -> None:
        self._socket.close()

    @property
    def heard(self) -> list[str]:
        """All that was said so far."""
        try:
            while True:
                self._heard.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self._heard

    async def has_heard(self, state: str) -> bool:
        return state in self.heard


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path.name}/notify"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with closing(Manager(address)) as manager:
        yield manager


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_service_manager_hears_when_mail_is_taken_and_when_no_more(
    tmp_path: Path, mta: FakeMta, manager: Manager, workers: int
) -> None:
    relay = RelayProcess(tmp_path, mta.address, settings={"": {"workers": workers}})
    await relay.start()
    # Each worker says so for itself; systemd makes nothing of the second.
    await eventually(lambda: manager.has_heard("READY=1"))
    assert "STOPPING=1" not in manager.heard
    assert await relay.stop() == 0
    assert manager.heard.count("STOPPING=1") == 1
    assert manager.heard.count("READY=1") <= workers


async def test_a_relay_that_cannot_start_is_not_ready(tmp_path: Path, mta: FakeMta, manager: Manager) -> None:
    relay = RelayProcess(tmp_path, mta.address)
    async with await asyncio.start_server(lambda *_: None, relay.host, relay.port):
        assert (await relay.run_cli("run", timeout_s=20)).status == 1
    assert manager.heard == []


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody/listens", "x" * 200])
def test_a_service_manager_that_is_not_there_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify(systemd.READY)


def test_the_unit_waits_for_all_graces_and_for_the_word_of_the_workers() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    unit.read(Path(__file__).parents[2] / "docs/relay.service")
    service = unit["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "all")
    assert int(service["TimeoutStopSec"]) > 3 * GRACE_S
    assert int(service["WatchdogSec"]) > 0
    assert service["ExecStart"].split()[1:3] == ["run", "--config"]
