"""SIGTERM while the store is away: the relay waits for it as long as it may, then ends and says so."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.process.runtime import GRACE_S
from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_relay_whose_store_stays_away_stops_in_its_time_and_sends_again_what_it_could_not_write(
    tmp_path: Path, mta: FakeMta, workers: int
) -> None:
    to = "during@gmail.example"
    clock = asyncio.get_running_loop().time

    async def arrived(times: int) -> bool:
        return len(mta.accepted) == times

    async def is_under_way() -> bool:
        return mta.open_connections > 0

    async with RelayProcess(tmp_path, mta.address, settings={"": {"workers": workers}}) as relay:
        mta.restrict(delay_s=0.3)
        await relay.inject(to, ip_pool="marketing")
        await eventually(is_under_way)
        with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await eventually(lambda: arrived(1))
            began = clock()
            assert await relay.stop(timeout_s=3 * GRACE_S) == 0
            assert clock() - began < 2 * GRACE_S
        assert "outcomes not written" in relay.log.read_text()
        mta.restrict()
        await relay.start()
        await eventually(lambda: arrived(2), 10)
