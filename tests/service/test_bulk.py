"""Verbs on much mail: in slices, watched, and stopped where somebody says so."""

import asyncio
from dataclasses import replace

import pytest

from relay.domain.errors import OverCapacity
from relay.domain.ids import AccountId, IpAddress
from relay.domain.message import State
from relay.domain.retry import RetryPolicy
from relay.ports.queue import MailFilter
from relay.resources.queue.bulk import BulkOrder, BulkRun, BulkRuns, Stage
from relay.resources.queue.commands import app
from relay.resources.queue.rules import DEEDS, Operator, Verb
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually


async def test_a_run_works_in_slices_and_stops_where_it_is_told_to(relay: RelayHarness, mta: FakeMta) -> None:
    mta.limit(first=0)
    await relay.inject([f"r{number}@gmail.example" for number in range(30)])
    await mta.attempts_reached(30)
    await relay.quiet(10)
    inside, touched = relay.inside, list[int]()

    class Counting(Operator):
        async def do(self, verb: Verb, selection: MailFilter, to: IpAddress | None = None) -> int:
            touched.append(await super().do(verb, selection, to))
            if len(touched) == 2:
                one.stop()
            return touched[-1]

    def operator(actor: str) -> Operator:
        return Counting(
            inside.store.queue, inside.store.wakeups, inside.directory, relay.clock, RetryPolicy(), actor
        )

    runs = BulkRuns(inside.store.reports, operator, relay.clock, _Entropy(), size=10)
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runs.run(stopping), name="runs")
        (one,) = await eventually(lambda: _started(runs))
        await eventually(lambda: _has_ended(one))
        assert (touched, one.done, one.stage) == ([10, 10], 20, Stage.STOPPED)
        for state, number in ((State.HELD, 20), (State.QUEUED, 10)):
            assert await inside.store.queue.count(MailFilter(None, state=state)) == number
        stopping.set()
    assert runs.get(AccountId(1), one.id) is one
    assert runs.get(AccountId(2), one.id) is None


async def test_no_account_keeps_another_from_work_on_its_queue(relay: RelayHarness, mta: FakeMta) -> None:
    mta.limit(first=0)
    await relay.inject("a@gmail.example")
    await relay.inject("b@gmail.example", account=2, ip_pool="news")
    await mta.attempts_reached(2)
    await relay.quiet()
    inside, gate = relay.inside, asyncio.Event()

    class Waiting(Operator):
        async def do(self, verb: Verb, selection: MailFilter, to: IpAddress | None = None) -> int:
            await gate.wait()
            return await super().do(verb, selection, to)

    def operator(actor: str) -> Operator:
        return Waiting(
            inside.store.queue, inside.store.wakeups, inside.directory, relay.clock, RetryPolicy(), actor
        )

    runs = BulkRuns(inside.store.reports, operator, relay.clock, _Entropy())
    stopping, hold = asyncio.Event(), BulkOrder(Verb.HOLD, AccountId(1), MailFilter(None), "test")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runs.run(stopping), name="runs")
        await eventually(lambda: _started(runs))
        await runs.start(hold)
        with pytest.raises(OverCapacity):
            await runs.start(hold)
        other = await runs.start(replace(hold, account=AccountId(2)))
        gate.set()
        await eventually(lambda: _has_ended(other))
        stopping.set()
    assert (other.done, other.stage) == (1, Stage.DONE)


class _Entropy:
    def __init__(self) -> None:
        self._number = 0

    def octets(self, count: int) -> bytes:
        self._number += 1
        return self._number.to_bytes(count, "big")


async def _started(runs: BulkRuns) -> list[BulkRun]:
    """Nothing while the runs themselves do not run yet."""
    try:
        return [await runs.start(BulkOrder(Verb.HOLD, AccountId(1), MailFilter(None), "test"))]
    except OverCapacity:
        return []


async def _has_ended(one: BulkRun) -> bool:
    return one.ended is not None


def test_each_verb_is_told_to_people_and_known_to_programs() -> None:
    assert set(DEEDS) == set(Verb)
    commands = {command.name for command in app.registered_commands}
    assert {verb.value for verb in Verb} <= commands
    assert all(hasattr(Operator, verb.value) for verb in Verb)
    assert all({*deed.touches} <= {*deed.rounds} for deed in DEEDS.values())
