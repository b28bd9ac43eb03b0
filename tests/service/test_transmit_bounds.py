"""What a transmission may cost at its time: work in the sandbox, octets in memory."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from relay.accept.budget import BodyBudget
from relay.domain.errors import OverCapacity, TooMuchWork
from relay.domain.events import GenerationFailure
from relay.domain.ids import AccountId, TransmissionId
from relay.domain.message import Options
from relay.domain.transmission import CHUNK, InlineContent, Transmission
from relay.ports.sandbox import Output
from relay.ports.transmissions import Made
from tests.service.test_transmit import ACME, PERSONAL, World, draft, world
from tests.support.sandbox import Here

__all__ = ["world"]


class TooHard(Here):
    """In which these jobs take too long; `good` is filled in all the same."""

    def __init__(self, *jobs: str, good: str = "") -> None:
        self._jobs, self._good = jobs, good
        self.ended = 0

    async def run(self, account: AccountId, job: str, argument: Any, octets: Sequence[bytes] = ()) -> Output:
        if job not in self._jobs:
            return await super().run(account, job, argument, octets)
        if job == "fill" and argument[1][0][0]["email"] == self._good:
            composing, recipients, most = argument
            return await super().run(account, job, (composing, recipients[:1], most))
        self.ended += 1
        return Output([], TooMuchWork("CPU time", 5.0))


STYLED = InlineContent("a@acme.test", "s", html="<style>p { color: red }</style><p>{{email}}</p>")


async def _submitted(world: World, count: int) -> TransmissionId:
    """For its time, with CSS to be inlined."""
    id_, now = world.ids.transmission_id(), world.clock.now()
    asked = Transmission(id_, ACME, None, now, now, True, "", Options(inline_css=True), count)
    await world.store.transmissions.add_recipients(id_, AccountId(1), 0, draft(count).recipients)
    await world.store.transmissions.submit(asked, STYLED, None, world.live.snapshot.revision)
    return id_


async def test_what_takes_too_much_to_compose_at_its_time_is_a_failure(world: World) -> None:
    """Of the generation, not a rejection by a rule; for each recipient."""
    id_ = await _submitted(world, 2)
    await world.due(sandbox=TooHard("compose")).step(await world.held())
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    reasons = [event.raw_reason for event in told if isinstance(event, GenerationFailure)]
    assert reasons == ["550 5.6.0 [internal] takes more than 5 s of CPU time"] * 2


@pytest.mark.parametrize(("good", "ended"), [("", 100), ("r99@b.example", 99 + 100)])
async def test_after_a_hundred_recipients_in_a_row_that_took_too_much_none_is_tried(
    world: World, good: str, ended: int
) -> None:
    id_ = await _submitted(world, 300)
    sandbox = TooHard("fill", good=good)
    due = world.due(sandbox=sandbox)
    while (found := await world.store.transmissions.find(id_)) and found.progress.position < 300:
        await due.step(await world.held())
    assert sandbox.ended == ended
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    failed = [event for event in told if isinstance(event, GenerationFailure)]
    assert {event.raw_reason for event in failed} == {"550 5.6.0 [internal] takes more than 5 s of CPU time"}
    assert len(await world.messages()) == (good != "")
    assert len(failed) + len(await world.messages()) == 300


async def test_what_is_made_takes_of_the_budget_until_it_is_stored(world: World) -> None:
    seen: list[tuple[int, int]] = []
    id_ = await world.transmitter().accept(draft(CHUNK + 1, PERSONAL))
    due = world.due()

    async def watched(made: Made, holder: str, now: datetime) -> bool:
        seen.append((world.budget.taken_bytes, sum(len(body.content) for body in made.bodies)))
        return await advance(made, holder, now)

    advance = world.store.transmissions.advance
    world.store.transmissions.advance = watched  # type: ignore[method-assign] # to look at that moment
    for _ in range(2):
        await due.step(await world.held())
        assert world.budget.taken_bytes == 0, "nothing is held between steps, however small the budget"
    assert all(taken > rendered > 0 for taken, rendered in seen)
    assert await world.store.transmissions.find(id_) is None
    world.budget.count(world.budget.total_bytes)
    with pytest.raises(OverCapacity):
        await world.transmitter().accept(draft(1))
    await world.transmitter().accept(draft(CHUNK + 1))
    with pytest.raises(OverCapacity):
        await due.step(await world.held())


async def test_what_is_larger_than_the_budget_is_made_all_the_same(world: World) -> None:
    """The budget of one of many workers may be no more than one message."""
    world.budget = BodyBudget(1 << 20)
    large = InlineContent("a@acme.test", "s", text="x" * (3 << 20) + "{{email}}")
    id_ = await world.transmitter().accept(draft(CHUNK, large))
    due = world.due()
    while await world.store.transmissions.find(id_) is not None and len(await world.messages()) < 20:
        await due.step(await world.held())
    assert len(await world.messages()) >= 20
    await world.transmitter().accept(draft(1))


async def test_few_compositions_are_kept(world: World) -> None:
    large = InlineContent("a@acme.test", "s", text="x" * (12 << 20) + "{{email}}")
    sandbox = Counting()
    due = world.due(sandbox=sandbox)
    for _ in range(7):
        await world.transmitter().accept(draft(CHUNK + 1, large))
    for _ in range(2):
        for standing in await world.store.transmissions.hold_due("a", world.clock.now(), 60, 10):
            await due.step(standing)
    assert sandbox.composed == 2 * 7, "seven times 12 MB are not kept: each is made again in its turn"


class Counting(Here):
    def __init__(self) -> None:
        self.composed = 0

    async def run(self, account: AccountId, job: str, argument: Any, octets: Sequence[bytes] = ()) -> Output:
        self.composed += job == "compose"
        return await super().run(account, job, argument, octets)
