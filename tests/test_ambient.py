"""The machine's own clock and randomness answer as their ports promise."""

import asyncio
from datetime import UTC, datetime, timedelta

from relay.net.ambient import SystemClock, SystemEntropy


async def test_the_time_is_aware_utc_and_goes_on() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.tzinfo is UTC
    assert first <= second


async def test_a_wait_ends_with_the_event_or_with_the_moment() -> None:
    clock, event = SystemClock(), asyncio.Event()
    assert not await clock.wait(event, clock.now() + timedelta(milliseconds=5))
    assert not await clock.wait(event, clock.now() - timedelta(days=1)), "a moment that has passed"
    asyncio.get_running_loop().call_later(0.005, event.set)
    assert await clock.wait(event, clock.now() + timedelta(hours=1))
    assert await clock.wait(event, clock.now() - timedelta(days=1)), "already set"
    assert await clock.wait(event, None)


async def test_a_clock_that_is_set_back_does_not_prolong_a_wait() -> None:
    class SetBack(SystemClock):
        by = timedelta()

        def now(self) -> datetime:
            return super().now() - self.by

    clock = SetBack()
    until = clock.now() + timedelta(milliseconds=50)
    asyncio.get_running_loop().call_later(0.01, setattr, clock, "by", timedelta(hours=1))
    async with asyncio.timeout(5):
        assert not await clock.wait(asyncio.Event(), until)
    assert clock.now() < until - timedelta(minutes=59)


async def test_for_ten_minutes_after_it_was_set_the_clock_is_not_steady() -> None:
    class Set(SystemClock):
        by = timedelta()

        def now(self) -> datetime:
            return super().now() + self.by

    for by in (timedelta(days=4), timedelta(hours=-2)):
        clock = Set()
        assert clock.is_steady()
        clock.by = by
        assert not clock.is_steady()
        assert not clock.is_steady(), "one look does not make it so"
        clock.by = timedelta()
        assert not clock.is_steady()


async def test_a_wait_without_end_can_be_cancelled() -> None:
    clock, event = SystemClock(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(clock.wait(event, None))
        await asyncio.sleep(0)
        waiting.cancel()
    assert waiting.cancelled()


def test_octets_are_as_many_as_asked_for_and_differ() -> None:
    entropy = SystemEntropy()
    assert len(entropy.octets(10)) == 10
    assert entropy.octets(16) != entropy.octets(16)
