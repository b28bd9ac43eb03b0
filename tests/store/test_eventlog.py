"""The event log: stories with their submissions, and forgetting."""

from dataclasses import replace

import pytest

from relay.domain.events import Bounce, Delay, Delivery, Event, Injection, Operated, PolicyRejection, Subject
from relay.domain.ids import SubaccountId
from relay.domain.outcome import Peer
from relay.ports.queue import Lane
from relay.store import Store
from tests.store.conftest import (
    HOUR,
    MINUTE,
    build_batch,
    build_submission,
    claim,
    copies,
    finish,
    put,
    requeue,
)
from tests.support.mail import ACCOUNT, IP, NOW, build_message

ABOUT = replace(Subject.of(build_message()), subaccount=SubaccountId(3), rcpt_type="bcc")
PEER = Peer("127.0.0.99", -1)
REJECTION = PolicyRejection(
    NOW, ACCOUNT, SubaccountId(3), "127.0.0.1", "a@b.test", "c@d.test", 25, 550, "550 5.7.1 no", "Marketing"
)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Injection(NOW, ABOUT), id="injection"),
        pytest.param(Delivery(NOW, ABOUT, 1, 2, PEER, "250 Ok"), id="delivery"),
        pytest.param(Delay(NOW, ABOUT, 1, 2, PEER, 21, 451, "451 sp\udce4ter", True), id="delay"),
        pytest.param(Bounce(NOW, ABOUT, 1, 2, PEER, 10, 550, "550 nö"), id="bounce"),
        pytest.param(Operated(NOW, ABOUT, "hold", "ann", "until then"), id="operated"),
        pytest.param(REJECTION, id="policy rejection"),
    ],
)
async def test_every_kind_of_event_comes_back_as_it_went_in(store: Store, event: Event) -> None:
    await store.events.append([event])
    (told,) = await store.events.recent(10)
    assert told.event == event
    assert told.submission is None


async def test_a_story_is_told_oldest_first_with_the_submission(store: Store, lane: Lane) -> None:
    message, _ = await put(store, build_message(), build_message())
    await store.queue.settle(lane, [requeue(one, NOW) for one in await claim(store, lane)])
    await store.queue.settle(lane, [finish(one) for one in await claim(store, lane)])
    story = await store.events.story(message.id)
    assert [type(told.event).__name__ for told in story] == ["Injection", "Delay", "Delivery"]
    assert [told.submission for told in story] == [build_submission(message)] * 3
    assert len({told.id for told in story}) == 3


async def test_a_transmission_tells_of_all_its_messages(store: Store) -> None:
    messages = copies(3)
    await store.queue.enqueue(build_batch(*messages))
    await put(store, build_message())
    told = await store.events.of_transmission(messages[0].transmission_id)
    assert [one.event for one in told] == [Injection(NOW, Subject.of(message)) for message in messages]


async def test_recent_is_newest_first_and_no_more_than_asked_for(store: Store) -> None:
    events = [replace(REJECTION, error_code=number) for number in range(5)]
    await store.events.append(events)
    assert [told.event for told in await store.events.recent(3)] == events[:1:-1]


async def test_trim_removes_older_events_and_tells_how_many(store: Store) -> None:
    events = [replace(REJECTION, at=NOW + n * MINUTE) for n in range(5)]
    await store.events.append(events)
    assert await store.events.trim(NOW + 2 * MINUTE) == 2
    assert [told.event for told in await store.events.recent(10)] == events[:1:-1]
    assert await store.events.trim(NOW + 2 * MINUTE) == 0


async def test_trim_gets_through_more_than_one_slice(store: Store) -> None:
    await store.events.append([REJECTION] * 4500)
    assert await store.events.trim(NOW + MINUTE) == 4500


async def test_an_id_is_never_used_again(store: Store) -> None:
    await store.events.append([REJECTION])
    (before,) = await store.events.recent(1)
    await store.events.trim(NOW + MINUTE)
    await store.events.append([REJECTION])
    (after,) = await store.events.recent(1)
    assert int(after.id) > int(before.id)


async def test_a_submission_goes_with_its_last_event(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(message := build_message(), claimed={IP: lane.epoch}))
    await store.queue.settle(lane, [finish(message, NOW + 5 * HOUR)])
    assert await store.events.trim(NOW + HOUR) == 1
    (told,) = await store.events.story(message.id)
    assert told.submission is not None
    assert await store.events.trim(NOW + 6 * HOUR) == 1
    # Only a later event about the message could show whether the submission is still there.
    await store.events.append([Operated(NOW, Subject.of(message), "test", "ann")])
    (told,) = await store.events.story(message.id)
    assert told.submission is None


async def test_a_submission_stays_as_long_as_it_has_messages(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(message := build_message(), claimed={IP: lane.epoch}))
    assert await store.events.trim(NOW + 5 * HOUR) == 1
    await store.queue.settle(lane, [finish(message, NOW + 6 * HOUR)])
    (told,) = await store.events.story(message.id)
    assert told.submission == build_submission(message)
