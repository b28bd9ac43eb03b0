"""Several processes on one port and one store: each lane has one holder; a dead one's lanes move."""

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest_asyncio

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

SETTINGS: dict[str, dict[str, object]] = {
    "": {"workers": 2},
    "limits": {"connections": 2},
    "smtp": {"max_connections_per_client": 100},
}
POOLS = ("marketing", "receipts", None)


@pytest_asyncio.fixture
async def running(tmp_path: Path, mta: FakeMta) -> AsyncIterator[RelayProcess]:
    async with RelayProcess(tmp_path, mta.address, settings=SETTINGS) as process:
        await eventually(lambda: _is_shared(process), timeout_s=25)
        yield process


def _holders(running: RelayProcess) -> Counter[str]:
    """How many lanes each worker holds."""
    store = running.config.parent / "relay.db"
    with closing(sqlite3.connect(store)) as connection:
        return Counter(
            worker for (worker,) in connection.execute("SELECT worker FROM lane WHERE worker <> ''")
        )


async def _is_shared(running: RelayProcess) -> bool:
    holders = _holders(running)
    return len(holders) == 2 and max(holders.values()) - min(holders.values()) <= 2


def _pids(running: RelayProcess) -> list[int]:
    """The workers' process ids, which their names tell."""
    return sorted(int(worker.split("-")[1]) for worker in _holders(running))


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _inject(running: RelayProcess, count: int, name: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            to = f"{name}{number}@domain{number % 5}.example"
            tasks.create_task(running.inject(to, ip_pool=POOLS[number % len(POOLS)]))


async def test_lanes_are_shared_and_mail_for_anothers_lane_leaves_without_delay(
    running: RelayProcess, mta: FakeMta
) -> None:
    """Whichever process took it in; were nobody told, it would wait for the next look, 30 s later."""
    await _inject(running, 60, "r")
    await mta.attempts_reached(60, timeout_s=10)
    assert len({attempt.recipient for attempt in mta.accepted}) == 60


async def test_limits_of_an_ip_hold_over_all_workers(running: RelayProcess, mta: FakeMta) -> None:
    mta.restrict(delay_s=0.02)
    seen: list[Counter[str]] = []

    async def watch() -> None:
        while len(mta.attempts) < 60:
            seen.append(mta.open_by_ip())
            await asyncio.sleep(0.005)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        tasks.create_task(_inject(running, 60, "r"))
    assert max(max(counts.values(), default=0) for counts in seen) == 2


async def test_a_killed_workers_lanes_are_taken_by_the_others_and_it_is_started_again(
    running: RelayProcess, mta: FakeMta
) -> None:
    first, _ = _pids(running)
    mta.restrict(delay_s=0.3)
    await _inject(running, 12, "r")
    os.kill(first, signal.SIGKILL)
    mta.restrict()

    async def all_arrived() -> bool:
        return len({attempt.recipient for attempt in mta.accepted}) == 12

    await eventually(all_arrived, timeout_s=20)

    async def is_replaced() -> bool:
        return first not in _pids(running) and await _is_shared(running)

    await eventually(is_replaced, timeout_s=25)
    await _inject(running, 12, "s")

    async def more_arrived() -> bool:
        return len({attempt.recipient for attempt in mta.accepted}) == 24

    await eventually(more_arrived, timeout_s=10)


async def test_all_workers_end_with_their_parent(running: RelayProcess) -> None:
    pids = _pids(running)
    running.kill()

    async def gone() -> bool:
        return not any(map(_runs, pids))

    await eventually(gone, timeout_s=5)
    await running.start()


async def test_a_stop_is_clean(running: RelayProcess, mta: FakeMta) -> None:
    await _inject(running, 12, "r")
    assert await running.stop() == 0
    await running.start()

    async def all_arrived() -> bool:
        return len({attempt.recipient for attempt in mta.accepted}) == 12

    await eventually(all_arrived, timeout_s=10)


async def test_a_port_that_is_taken_stops_the_start_with_a_word(tmp_path: Path, mta: FakeMta) -> None:
    one = RelayProcess(tmp_path, mta.address, settings=SETTINGS)
    taken = await asyncio.start_server(lambda *_: None, one.host, one.port)
    async with taken:
        printed = await one.run_cli("run", timeout_s=20)
    assert printed.status == 1
    assert f"{one.port}" in printed.err
    assert "Traceback" not in printed.err
