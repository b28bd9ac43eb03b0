"""Summaries of events are kept up while the relay runs, and end with it."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from relay.domain.events import Injection, Subject
from relay.process.summaries import keep_summaries
from relay.store import open_store
from relay.store.sqlite.event_blocks import BLOCK
from relay.testing.clock import HandMovedClock
from relay.testing.waiting import eventually
from tests.support.mail import NOW, build_message


class ClockThatIsSet(HandMovedClock):
    """By so much each time that it is looked at."""

    by = timedelta()

    def now(self) -> datetime:
        self._now += self.by
        return self._now


@pytest.mark.parametrize("by", [timedelta(), timedelta(days=4), timedelta(days=-4)])
async def test_blocks_are_summarised_as_they_fill(tmp_path: Path, by: timedelta) -> None:
    path, clock, stopping = tmp_path / "relay.db", ClockThatIsSet(), asyncio.Event()
    clock.by = by
    about = Subject.of(build_message())

    def summarised() -> int:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("SELECT count(*) FROM event_block").fetchone()[0])

    async def are(number: int) -> bool:
        clock.by = timedelta()
        clock.advance(seconds=60)
        clock.by = by
        return summarised() == number

    async with await open_store(f"sqlite:///{path}") as store:
        await store.events.append([Injection(NOW, about) for _ in range(5 * BLOCK)])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_summaries(store.events, clock, stopping), name="summaries")
            await eventually(lambda: are(5), timeout_s=20)
            await store.events.append([Injection(NOW, about) for _ in range(BLOCK)])
            await eventually(lambda: are(6), timeout_s=20)
            stopping.set()
