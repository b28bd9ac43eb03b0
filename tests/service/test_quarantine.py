"""A transmission at work on which processes died or hung is set aside; others go on beside it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.accept.scheduled import DueTransmissions
from relay.domain.errors import Busy
from relay.domain.events import GenerationFailure
from relay.domain.ids import TransmissionId
from relay.domain.retry import RetryPolicy
from relay.domain.transmission import CHUNK, SET_ASIDE_AFTER
from relay.ports.transmissions import TransmissionStanding
from relay.process.scheduler import Scheduler
from relay.testing.waiting import eventually
from tests.service.test_transmit import World, draft, world

__all__ = ["world"]


class Slow(DueTransmissions):
    """Steps last until they are let go on; what was under way at once is noted."""

    def __init__(self, world: World) -> None:
        store, queue = world.store.transmissions, world.store.queue
        super().__init__(store, queue, world.live, world.transmitter(), world.clock, RetryPolicy(), "a")
        self.may_go_on = asyncio.Event()
        self.begun: list[TransmissionId] = []
        self.under_way = self.most = self.suspects = self.suspected = self.most_beside_one = 0
        self.error: Exception | None = None

    async def step(self, standing: TransmissionStanding) -> None:
        self.begun.append(standing.transmission.id)
        self.under_way += 1
        self.suspects += standing.tries > 0
        self.suspected += standing.tries > 0
        self.most = max(self.most, self.under_way)
        if self.suspects:
            self.most_beside_one = max(self.most_beside_one, self.under_way - 1)
        try:
            if self.error is not None:
                raise self.error
            await self.may_go_on.wait()
            await super().step(standing)
        finally:
            self.under_way -= 1
            self.suspects -= standing.tries > 0


@asynccontextmanager
async def scheduler(world: World, due: DueTransmissions) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = Scheduler(due, world.store.transmissions, world.clock, "a", world.news)
        tasks.create_task(running.run(stopping))
        yield
        stopping.set()


async def died_at_work(world: World, times: int) -> None:
    """So many processes begin all that is due, and are not heard of again."""
    for life in range(times):
        for standing in await world.store.transmissions.hold_due(f"life {life}", world.clock.now(), 0, 10):
            await world.store.transmissions.mark(standing.transmission.id, f"life {life}", is_begun=True)


async def test_the_third_death_sets_it_aside_with_an_event_and_retry_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = await world.transmitter().accept(draft(2 * CHUNK))
    await world.due().step(await world.held())
    await world.store.transmissions.release("a")
    await died_at_work(world, SET_ASIDE_AFTER)
    with caplog.at_level(logging.ERROR):
        async with scheduler(world, world.due()):

            async def is_set_aside() -> bool:
                found = await world.store.transmissions.find(id_)
                return found is not None and found.set_aside is not None

            assert await eventually(is_set_aside)
            assert len(await world.messages()) == CHUNK
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    (failure,) = [event for event in told if isinstance(event, GenerationFailure)]
    assert (failure.about.rcpt_to, failure.error_code) == (f"r{CHUNK}@b.example", 554)
    assert f"relay transmission show {id_}" in caplog.text
    assert await world.store.transmissions.retry(id_, world.clock.now(), "test")
    async with scheduler(world, world.due()):

        async def is_done() -> bool:
            return len(await world.messages()) == 2 * CHUNK

        assert await eventually(is_done)


async def test_two_deaths_are_forgiven_once_a_recipient_is_stored(world: World) -> None:
    id_ = await world.transmitter().accept(draft(3 * CHUNK))
    for _ in range(2):
        await died_at_work(world, SET_ASIDE_AFTER - 1)
        standing = await world.held()
        assert standing.tries == SET_ASIDE_AFTER - 1
        await world.due().step(standing)
        await world.store.transmissions.release("a")
    found = await world.store.transmissions.find(id_)
    assert found is not None
    assert (found.tries, found.progress.position) == (0, 20)


async def test_where_a_process_ended_few_are_made_at_a_time_until_all_it_had_are_passed(world: World) -> None:
    """So that one recipient costs a handful of processes, whichever of them it is."""
    id_ = await world.transmitter().accept(draft(2 * CHUNK))
    await died_at_work(world, 1)
    due, positions = world.due(), [0]
    while positions[-1] < 2 * CHUNK:
        await due.step(await world.held())
        found = await world.store.transmissions.find(id_)
        positions.append(2 * CHUNK if found is None else found.progress.position)
    assert positions == [*range(0, CHUNK + 1, 10), 2 * CHUNK]


async def test_steps_of_different_transmissions_run_side_by_side(world: World) -> None:
    for _ in range(3):
        await world.transmitter().accept(draft(2 * CHUNK))
    due = Slow(world)
    async with scheduler(world, due):

        async def all_begun() -> bool:
            return due.under_way == 3

        assert await eventually(all_begun)
        due.may_go_on.set()

        async def all_made() -> bool:
            return len(await world.messages()) == 6 * CHUNK

        assert await eventually(all_made, timeout_s=20)
    assert due.most == 3, "one at a time for each"


async def test_what_is_under_suspicion_is_worked_on_alone(world: World) -> None:
    """So that the next death counts for it and for nobody else."""
    for _ in range(2):
        await world.transmitter().accept(draft(CHUNK))
    await died_at_work(world, 1)
    await world.transmitter().accept(draft(CHUNK))
    due = Slow(world)
    due.may_go_on.set()
    async with scheduler(world, due):

        async def others_are_made() -> bool:
            return len(await world.messages()) == CHUNK

        assert await eventually(others_are_made, timeout_s=20)
        assert due.suspected == 0, "a process that ends at once is not ended by these"
        world.clock.advance(seconds=2)

        async def all_made() -> bool:
            return len(await world.messages()) == 3 * CHUNK

        assert await eventually(all_made, timeout_s=20)
    assert due.suspected > 0
    assert due.most_beside_one == 0
    assert len(set(due.begun)) == 3


@pytest.mark.parametrize("error", [Busy(), KeyError("a bug")])
async def test_what_waits_for_its_next_try_is_not_at_work(world: World, error: Exception) -> None:
    id_ = await world.transmitter().accept(draft(CHUNK))
    due = Slow(world)
    due.error = error
    async with scheduler(world, due):

        async def is_left() -> bool:
            found = await world.store.transmissions.find(id_)
            return bool(due.begun) and found is not None and not found.is_begun

        assert await eventually(is_left)
        due.error = None
        due.may_go_on.set()
        world.clock.advance(seconds=60)

        async def is_made() -> bool:
            return len(await world.messages()) == CHUNK

        assert await eventually(is_made)


async def test_a_stop_does_not_wait_for_a_step_that_does_not_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.process.scheduler._GRACE_S", 0.05)
    id_ = await world.transmitter().accept(draft(CHUNK))
    due = Slow(world)
    async with scheduler(world, due):

        async def is_begun() -> bool:
            return due.under_way == 1

        assert await eventually(is_begun)
    assert due.under_way == 0
    (standing,) = await world.store.transmissions.hold_due("b", world.clock.now(), 60, 10)
    assert (standing.transmission.id, standing.tries) == (id_, 0)
