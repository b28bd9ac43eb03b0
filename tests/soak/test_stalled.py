"""A worker that stands still loses its lanes to the other when its lease ends, and does no harm on waking."""

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

LEASE_S = 30


def _holders(running: RelayProcess) -> Counter[int]:
    """How many lanes each worker's process holds."""
    with closing(sqlite3.connect(running.config.parent / "relay.db")) as connection:
        rows = connection.execute("SELECT worker FROM lane WHERE worker <> ''").fetchall()
    return Counter(int(worker.split("-")[1]) for (worker,) in rows)


async def _inject(running: RelayProcess, to: str, pool: str) -> None:
    """Again until a worker answers that does not stand still."""
    while True:
        try:
            async with asyncio.timeout(1):
                await running.inject(to, ip_pool=pool)
        except TimeoutError:
            continue
        return


@pytest.mark.timeout(180)
async def test_a_stalled_workers_lanes_are_taken_within_the_lease(
    tmp_path: Path, mta: FakeMta, capsys: pytest.CaptureFixture[str]
) -> None:
    async with RelayProcess(tmp_path, mta.address, settings={"": {"workers": 2}}) as running:

        async def is_shared() -> bool:
            return len(_holders(running)) == 2

        await eventually(is_shared, timeout_s=25)
        stalled = min(_holders(running))
        os.kill(stalled, signal.SIGSTOP)
        began = asyncio.get_running_loop().time()
        recipients = [f"r{number}@domain{number}.example" for number in range(12)]
        for number, to in enumerate(recipients):
            await _inject(running, to, ("marketing", "receipts")[number % 2])

        async def all_arrived() -> bool:
            return {attempt.recipient for attempt in mta.accepted} >= set(recipients)

        await eventually(all_arrived, timeout_s=LEASE_S + 15)
        took_s = asyncio.get_running_loop().time() - began

        async def has_lost_them() -> bool:
            return stalled not in _holders(running)

        await eventually(has_lost_them, timeout_s=LEASE_S + 15)
        os.kill(stalled, signal.SIGCONT)
        await eventually(is_shared, timeout_s=40)
        await _inject(running, "late@domain.example", "marketing")

        async def late_arrived() -> bool:
            return any(attempt.recipient == "late@domain.example" for attempt in mta.accepted)

        await eventually(late_arrived, timeout_s=15)
        assert await running.stop(60) == 0
    with capsys.disabled():
        print(f"\n  a stalled worker's lanes were taken after at most {took_s:.0f} s", end="")  # noqa: T201 - its figure
