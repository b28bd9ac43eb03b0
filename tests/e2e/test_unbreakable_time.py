"""Nothing waits for ever: every state has its deadline, also when the clock is set back or far ahead."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from relay.domain.events import Bounce, Delivery
from relay.domain.ids import MessageId
from relay.domain.message import State
from relay.domain.reply import Phase
from relay.egress.lane import SCAN_EVERY
from relay.net.timeouts import Timeouts
from relay.ports.queue import MailFilter
from relay.sink.fake_mta import FakeMta
from relay.testing.clock import HandMovedClock
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually

POOL = "receipts"
SHORT = Timeouts(**{field.name: 0.3 for field in fields(Timeouts)})


class SettableClock(HandMovedClock):
    """Like the machine's it can be set; waits last as long as they were to last when they began."""

    def set_back(self, by: timedelta) -> None:
        self._now -= by
        self._waiters = {deadline: until - by for deadline, until in self._waiters.items()}
        self.steady = False


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest_asyncio.fixture
async def relay(tmp_path: Path, mta: FakeMta, clock: SettableClock) -> AsyncIterator[RelayHarness]:
    async with RelayHarness(tmp_path, mta, clock=clock, timeouts=SHORT) as relay:
        yield relay


async def _ends(relay: RelayHarness, message: MessageId) -> Bounce | Delivery:
    """The event with which it left the queue. Raises TimeoutError when it stays."""

    async def look() -> list[Bounce | Delivery]:
        events = [told.event for told in await relay.story(message)]
        return [event for event in events if isinstance(event, Bounce | Delivery)]

    (event,) = await eventually(look, 10)
    assert message not in [waiting.id for waiting in await relay.queue()]
    return event


# ── every state has a deadline ───────────────────────────────────────────────────────────


async def _queued(relay: RelayHarness, mta: FakeMta, store: Path) -> MessageId:
    mta.say(Phase.RCPT, "451 4.2.1 later")
    message = (await relay.inject("queued@gmail.example", ip_pool=POOL)).message_id
    await relay.quiet()
    return message


async def _held(relay: RelayHarness, mta: FakeMta, store: Path) -> MessageId:
    message = await _queued(relay, mta, store)
    now = relay.clock.now()
    assert await relay.inside.store.queue.hold(MailFilter(None), now, now + timedelta(days=14), "test") == 1
    return message


async def _in_flight(relay: RelayHarness, mta: FakeMta, store: Path) -> MessageId:
    """With a next hop that never says what became of it."""
    mta.hang(Phase.BODY)
    return (await relay.inject("flying@gmail.example", ip_pool=POOL)).message_id


async def _in_flight_of_the_dead(relay: RelayHarness, mta: FakeMta, store: Path) -> MessageId:
    """As kill -9 leaves it: in flight under an epoch that nobody holds any more."""
    message = await _queued(relay, mta, store)
    await relay.stop()
    with closing(sqlite3.connect(store)) as connection, connection:
        assert connection.execute("UPDATE message SET state = 'in_flight', epoch = 1").rowcount == 1
    await relay.restart()
    return message


_WAYS = {
    "queued": (State.QUEUED, _queued, timedelta(hours=72)),
    "held": (State.HELD, _held, timedelta(days=14)),
    "in flight": (State.IN_FLIGHT, _in_flight, timedelta(hours=72)),
    "in flight, its holder dead": (State.IN_FLIGHT, _in_flight_of_the_dead, timedelta(hours=72)),
}


def test_the_table_of_deadlines_has_every_state() -> None:
    assert {state for state, _, _ in _WAYS.values()} == set(State)


@pytest.mark.parametrize("way", _WAYS)
async def test_every_state_has_a_deadline_after_which_the_message_has_ended(
    relay: RelayHarness, mta: FakeMta, tmp_path: Path, way: str
) -> None:
    """Nobody does anything but wait: neither the next hop nor an operator."""
    state, bring_about, deadline = _WAYS[way]
    began = relay.clock.now()
    message = await bring_about(relay, mta, tmp_path / "relay.db")
    if way != "in flight, its holder dead":
        await eventually(lambda: _stands(relay, state))
    # What is in flight ends by the time-outs of its conversation, in real time.
    await relay.quiet()
    relay.clock.advance_to(began + deadline - timedelta(seconds=1))
    await relay.clock.settle()
    assert [left.id for left in await relay.quiet()] == [message], "not before"
    relay.clock.advance_to(began + deadline + SCAN_EVERY)
    event = await _ends(relay, message)
    assert isinstance(event, Bounce)
    assert event.raw_reason.startswith("554 5.4.7 [internal] message timeout (last transfail: ")


async def _stands(relay: RelayHarness, state: State) -> bool:
    return [waiting.state for waiting in await relay.queue()] == [state]


# ── the clock is set ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(days=30)])
async def test_set_back_what_waits_is_tried_within_twenty_seconds(
    relay: RelayHarness, mta: FakeMta, clock: SettableClock, by: timedelta
) -> None:
    mta.answer("waits@gmail.example", "451 4.2.1 later", then="250 2.0.0 Ok")
    waiting = (await relay.inject("waits@gmail.example", ip_pool=POOL)).message_id
    await relay.quiet()
    clock.set_back(by)
    clock.advance(seconds=20)
    assert isinstance(await _ends(relay, waiting), Delivery)


async def test_set_forward_past_its_deadline_and_back_mail_is_not_given_up(
    relay: RelayHarness, mta: FakeMta, clock: SettableClock
) -> None:
    mta.answer("waits@gmail.example", "451 4.2.1 later", then="250 2.0.0 Ok")
    waiting = (await relay.inject("waits@gmail.example", ip_pool=POOL)).message_id
    await relay.quiet()
    clock.steady = False
    clock.advance(days=4)
    fresh = (await relay.inject("fresh@gmail.example", ip_pool=POOL)).message_id
    assert isinstance(await _ends(relay, fresh), Delivery)
    clock.advance_to(clock.now() + SCAN_EVERY)
    # Sent after the look at what is past its deadline.
    second = (await relay.inject("second@gmail.example", ip_pool=POOL)).message_id
    assert isinstance(await _ends(relay, second), Delivery)
    assert [left.id for left in await relay.queue()] == [waiting]
    clock.set_back(timedelta(days=4))
    clock.advance(minutes=20)
    assert isinstance(await _ends(relay, waiting), Delivery)


async def test_set_back_an_hour_fresh_mail_flows_and_what_waits_is_not_lost(
    relay: RelayHarness, mta: FakeMta, clock: SettableClock
) -> None:
    mta.answer("waits@gmail.example", "451 4.2.1 later", then="250 2.0.0 Ok")
    waiting = (await relay.inject("waits@gmail.example", ip_pool=POOL)).message_id
    await relay.quiet()
    clock.set_back(timedelta(hours=1))
    fresh = (await relay.inject("fresh@gmail.example", ip_pool=POOL)).message_id
    assert isinstance(await _ends(relay, fresh), Delivery)
    clock.advance(hours=1, minutes=20)
    assert isinstance(await _ends(relay, waiting), Delivery)


async def test_set_back_an_hour_a_rest_lasts_no_longer_than_a_rest_may(
    relay: RelayHarness, mta: FakeMta, clock: SettableClock
) -> None:
    mta.say(Phase.GREETING, "554 5.3.2 no service", times=1)
    await relay.inject("first@gmail.example", ip_pool=POOL)
    await relay.quiet()
    clock.set_back(timedelta(hours=1))
    second = (await relay.inject("second@gmail.example", ip_pool=POOL)).message_id
    assert isinstance(await _ends(relay, second), Delivery)


async def test_set_forward_a_day_what_waits_is_tried_and_nothing_is_given_up(
    relay: RelayHarness, mta: FakeMta, clock: SettableClock
) -> None:
    mta.answer("waits@gmail.example", "451 4.2.1 later", then="250 2.0.0 Ok")
    waiting = (await relay.inject("waits@gmail.example", ip_pool=POOL)).message_id
    await relay.quiet()
    clock.advance(days=1)
    assert isinstance(await _ends(relay, waiting), Delivery)
    fresh = (await relay.inject("fresh@gmail.example", ip_pool=POOL)).message_id
    assert isinstance(await _ends(relay, fresh), Delivery)
    clock.set_back(timedelta(days=1))
    later = (await relay.inject("later@gmail.example", ip_pool=POOL)).message_id
    assert isinstance(await _ends(relay, later), Delivery)
