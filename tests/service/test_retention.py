"""What is forgotten in time, and that nothing is while the time is in doubt."""

import asyncio
from pathlib import Path

from relay.frames.retention import keep_trim
from relay.store import open_store
from relay.testing.clock import HandMovedClock


async def test_nothing_is_trimmed_soon_after_the_clock_was_set(tmp_path: Path) -> None:
    clock, stopping, trimmed = HandMovedClock(), asyncio.Event(), asyncio.Event()
    clock.steady = False

    async def forget_more() -> None:
        trimmed.set()

    opened = await open_store(f"sqlite:///{tmp_path / 'relay.db'}")
    async with opened as store, asyncio.TaskGroup() as tasks:
        tasks.create_task(
            keep_trim(store.events, store.idempotency, store.directory, clock, stopping, forget_more)
        )
        await clock.settle()
        for _ in range(9):
            clock.advance(minutes=1)
            await clock.settle()
        assert not trimmed.is_set()
        clock.steady = True
        clock.advance(minutes=1)
        async with asyncio.timeout(10):
            await trimmed.wait()
        stopping.set()
