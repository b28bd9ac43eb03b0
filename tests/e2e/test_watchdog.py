"""A worker that hangs, in whatever it may be, is killed and replaced; the others go on."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from relay.testing.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.e2e.test_unbreakable_stop import Manager

SETTINGS: dict[str, dict[str, object]] = {"": {"workers": 2}}


class Impatient(RelayProcess):
    module = "tests.support.impatient"


@pytest_asyncio.fixture
async def running(tmp_path: Path, mta: FakeMta) -> AsyncIterator[Impatient]:
    async with Impatient(tmp_path, mta.address, settings=SETTINGS) as process:
        yield process


def _workers(process: RelayProcess) -> set[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return set(map(int, path.read_text().split()))


def _is_locked(store: Path) -> bool:
    """Whether somebody is in a write transaction, for as long as a few looks."""
    with closing(sqlite3.connect(store, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


async def _stop_in_a_transaction(process: RelayProcess) -> int:
    """A worker with the store's write lock in its hands, stopped there; its process id."""
    store = process.config.parent / "relay.db"
    async with asyncio.timeout(60):
        while True:
            for pid in _workers(process):
                os.kill(pid, signal.SIGSTOP)
                if await asyncio.to_thread(_is_locked, store):
                    return pid
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.02)


async def test_a_worker_stopped_in_a_transaction_is_replaced(running: Impatient, mta: FakeMta) -> None:
    taken: set[str] = set()
    refused: list[str] = []
    over = asyncio.Event()

    async def send(sender: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            to = f"r{sender}x{number}@b.example"
            try:
                async with asyncio.timeout(20):
                    await running.inject(to)
                taken.add(to)
            except InjectionRefusedError as error:
                refused.append(str(error))
            except (OSError, TimeoutError, EOFError):
                await asyncio.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - what the client library makes of a killed server
                refused.append(f"lost: {error!r}")

    async with asyncio.TaskGroup() as tasks:
        for sender in range(4):
            tasks.create_task(send(sender))
        hung = await _stop_in_a_transaction(running)

        async def is_replaced() -> bool:
            workers = _workers(running)
            return hung not in workers and len(workers) == 2

        await eventually(is_replaced, timeout_s=30)
        before = len(taken)

        async def goes_on() -> bool:
            return len(taken) > before + 20

        await eventually(goes_on, timeout_s=30)
        over.set()

    async def all_arrived() -> bool:
        return taken <= {attempt.recipient for attempt in mta.accepted}

    await eventually(all_arrived, timeout_s=30)
    assert f"pid={hung} gave no sign of life" in running.log.read_text()
    assert all("451" in one or "lost" in one for one in refused), refused


async def test_workers_that_live_are_left_alone_and_a_stalled_parent_blames_nobody(
    running: Impatient,
) -> None:
    workers = _workers(running)
    # All of them stand still for longer than one may be silent, as when the machine was held.
    for pid in (running.pid, *workers):
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(6)
    for pid in (running.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(4)
    assert _workers(running) == workers, running.log_tail()
    await running.inject("a@b.example")


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_service_manager_hears_that_the_relay_lives(
    tmp_path: Path, mta: FakeMta, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with closing(Manager(str(tmp_path / "notify"))) as manager:
        async with RelayProcess(tmp_path, mta.address, settings={"": {"workers": workers}}) as relay:

            async def hears() -> bool:
                return manager.heard.count("WATCHDOG=1") >= 3

            await eventually(hears, timeout_s=10)
            os.kill(relay.pid, signal.SIGSTOP)
            await asyncio.sleep(0.5)
            before = manager.heard.count("WATCHDOG=1")
            await asyncio.sleep(1)
            assert manager.heard.count("WATCHDOG=1") == before
            os.kill(relay.pid, signal.SIGCONT)
