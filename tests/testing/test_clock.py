"""The hand-moved clock: it stands still, wakes who waited, and never goes back."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from relay.ports.ambient import Clock
from relay.testing.clock import HandMovedClock

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def moved() -> HandMovedClock:
    return HandMovedClock(START)


async def test_time_stands_still_until_it_is_moved(moved: HandMovedClock) -> None:
    clock: Clock = moved
    assert clock.now() == START
    await moved.settle()
    assert clock.now() == START
    assert moved.advance(days=1, hours=1, minutes=1, seconds=1, milliseconds=1) == START + timedelta(
        days=1, hours=1, minutes=1, seconds=1, milliseconds=1
    )
    assert clock.now() == moved.advance()


async def test_a_waiter_wakes_when_its_moment_comes_and_not_before(moved: HandMovedClock) -> None:
    woken: list[bool] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_wait(moved, asyncio.Event(), START + timedelta(minutes=20), woken))
        await moved.settle()
        assert moved.next_wake == START + timedelta(minutes=20)
        moved.advance(minutes=19)
        await moved.settle()
        assert woken == []
        moved.advance(minutes=1)
        await moved.settle()
        assert woken == [False]
    assert moved.next_wake is None


async def test_an_event_wakes_a_waiter_without_time_passing(moved: HandMovedClock) -> None:
    woken: list[bool] = []
    event = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_wait(moved, event, None, woken))
        tasks.create_task(_wait(moved, event, START + timedelta(days=1), woken))
        await moved.settle()
        event.set()
    assert woken == [True, True]
    assert moved.now() == START


async def test_a_set_event_wins_over_a_deadline_of_the_same_moment(moved: HandMovedClock) -> None:
    woken: list[bool] = []
    event = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_wait(moved, event, START + timedelta(minutes=1), woken))
        await moved.settle()
        moved.advance(minutes=1)
        event.set()
    assert woken == [True]


async def test_a_past_deadline_ends_the_wait_but_lets_others_run(moved: HandMovedClock) -> None:
    event = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_set(event))
        assert await moved.wait(event, START)
        assert not await moved.wait(asyncio.Event(), START)


async def test_a_cancelled_waiter_leaves_nothing_behind(moved: HandMovedClock) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await moved.wait(asyncio.Event(), START + timedelta(hours=1))
    assert moved.next_wake is None
    moved.advance(hours=2)


async def test_the_clock_does_not_go_back(moved: HandMovedClock) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        moved.advance_to(START - timedelta(microseconds=1))


async def _wait(clock: Clock, event: asyncio.Event, until: datetime | None, woken: list[bool]) -> None:
    woken.append(await clock.wait(event, until))


async def _set(event: asyncio.Event) -> None:
    event.set()
