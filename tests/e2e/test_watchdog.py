"""A worker that hangs, in whatever it may be, is killed and replaced; the others go on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiosmtplib
import pytest
import pytest_asyncio

from relay.sink.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.e2e.test_unbreakable_stop import Manager
from tests.support.workers import Impatient, stop_in_a_transaction, workers

SETTINGS: dict[str, dict[str, object]] = {"": {"workers": 2}}


@pytest_asyncio.fixture
async def running(tmp_path: Path, mta: FakeMta) -> AsyncIterator[Impatient]:
    async with Impatient(tmp_path, mta.address, settings=SETTINGS) as process:
        yield process


async def test_a_worker_stopped_in_a_transaction_is_replaced(tmp_path: Path, mta: FakeMta) -> None:
    """Until then clients of the other worker are answered: nothing can be stored, so they hear 451."""
    taken: set[str] = set()
    answers: list[str] = []
    over = asyncio.Event()
    running = Impatient(tmp_path, mta.address, settings=SETTINGS, environment={"HUNG_AFTER_S": "20"})

    async def send(sender: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            to = f"r{sender}x{number}@b.example"
            try:
                async with asyncio.timeout(30):
                    await running.inject(to)
                taken.add(to)
                answers.append("250")
            except InjectionRefusedError as error:
                answers.append(str(error))
            except (OSError, EOFError, aiosmtplib.SMTPException):
                await asyncio.sleep(0.05)

    async with running:
        async with asyncio.TaskGroup() as tasks:
            for sender in range(8):
                tasks.create_task(send(sender))
            hung = await stop_in_a_transaction(running)
            earlier = len(answers)

            async def is_replaced() -> bool:
                there = workers(running)
                return hung not in there and len(there) == 2

            async def is_killed() -> bool:
                return hung not in workers(running)

            await eventually(is_killed, timeout_s=30)
            meanwhile = answers[earlier:]
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
    assert meanwhile, "clients of the other worker were answered"
    assert {one[:3] for one in answers} <= {"250", "451"}


async def test_workers_that_live_are_left_alone_and_a_stalled_parent_blames_nobody(
    running: Impatient,
) -> None:
    before = workers(running)
    # All of them stand still for longer than one may be silent, as when the machine was held.
    for pid in (running.pid, *before):
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(8)
    for pid in (running.pid, *before):
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(6)
    assert workers(running) == before, running.log_tail()
    await running.inject("a@b.example")


async def test_a_worker_stopped_while_it_starts_is_replaced(running: Impatient) -> None:
    before = workers(running)
    os.kill(min(before), signal.SIGKILL)

    async def comes() -> int:
        return next(iter(workers(running) - before), 0)

    young = await eventually(comes, timeout_s=30)
    os.kill(young, signal.SIGSTOP)

    async def is_replaced() -> bool:
        there = workers(running)
        return young not in there and len(there) == 2

    await eventually(is_replaced, timeout_s=60)


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
