"""Settlements: only by who holds the message, with their events, and the body goes with the last."""

from dataclasses import replace

import pytest

from relay.domain.events import Bounce, Injection, Subject
from relay.domain.ids import BodyId, Epoch
from relay.domain.lifecycle import Finish, Notice, Requeue
from relay.domain.message import Body, Message, State, Wish
from relay.ports.queue import Lane, MailFilter
from relay.store import Store
from tests.store.conftest import (
    EVERYTHING,
    HOUR,
    MINUTE,
    NODE,
    OTHER_IP,
    PEER,
    WORKER,
    build_batch,
    build_submission,
    claim,
    copies,
    finish,
    kinds,
    only,
    put,
    requeue,
    states,
    stored,
    stray_bodies,
)
from tests.support.mail import ACCOUNT, IP, NOW, build_message


async def in_flight(store: Store, lane: Lane, *messages: Message) -> list[Message]:
    """These messages of one submission, in flight under the lane's epoch."""
    messages = messages or (build_message(),)
    await store.queue.enqueue(build_batch(*messages, claimed={IP: lane.epoch}))
    return list(messages)


async def next_holder(store: Store, lane: Lane) -> Lane:
    """The lane under its next epoch; the old one is stale."""
    await store.queue.release_lanes(WORKER)
    held = await store.queue.hold_lanes(WORKER, NODE, 3600, 10)
    return next(one for one in held if one.ip == lane.ip)


async def test_finished_mail_leaves_the_queue_and_its_story_stays(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    assert await store.queue.settle(lane, [finish(message)]) == []
    assert await stored(store) == []
    assert await store.queue.body(message.id) is None
    story = await store.events.story(message.id)
    assert story[-1].event == finish(message).event
    assert story[0].submission == story[-1].submission == build_submission(message)


async def test_a_requeue_waits_with_its_reply_and_keeps_the_attempt(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    assert await store.queue.settle(lane, [requeue(message)]) == []
    assert await only(store) == replace(
        message, attempts=1, epoch=lane.epoch, due=NOW + 20 * MINUTE, last_reply="451 4.2.1 later"
    )
    assert await kinds(store, message) == ["Injection", "Delay"]


async def test_a_requeue_without_event_or_reply_changes_neither(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane, replace(build_message(), last_reply="450 before"))
    await store.queue.settle(lane, [Requeue(message.id, NOW, uncount=True)])
    found = await only(store)
    assert (found.last_reply, found.attempts) == ("450 before", 0)
    assert await kinds(store, message) == ["Injection"]


async def test_replies_that_are_no_text_are_kept_as_far_as_they_can_be(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    settlement = replace(requeue(message), last_reply="451 sp\udce4ter")
    assert await store.queue.settle(lane, [settlement]) == []
    assert (await only(store)).last_reply == "451 sp?ter"


async def test_a_body_goes_with_its_last_message(store: Store, lane: Lane, store_url: str) -> None:
    first, second, third = await in_flight(store, lane, *copies(3))
    await store.queue.settle(lane, [finish(first), requeue(second)])
    await store.queue.settle(lane, [finish(third)])
    assert await store.queue.body(second.id) is not None
    await claim(store, lane, now=NOW + HOUR)
    assert await store.queue.settle(lane, [finish(second)]) == []
    assert stray_bodies(store_url) == 0


async def test_a_body_goes_when_its_messages_finish_together(
    store: Store, lane: Lane, store_url: str
) -> None:
    messages = await in_flight(store, lane, *copies(3))
    await store.queue.settle(lane, [finish(message) for message in messages])
    assert stray_bodies(store_url) == 0
    assert await store.queue.count(EVERYTHING) == 0


@pytest.mark.parametrize("settle", [finish, requeue])
async def test_what_is_queued_is_nobodys_to_settle(
    store: Store, lane: Lane, settle: "type[Finish] | type[Requeue]"
) -> None:
    (message,) = await put(store, build_message())
    assert await store.queue.settle(lane, [settle(message)]) == [message.id]  # type: ignore[call-arg, arg-type]  # the builders of that name
    assert await only(store) == message
    assert await kinds(store, message) == ["Injection"]


async def test_unknown_and_already_finished_mail_is_refused(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    stranger = build_message()
    assert await store.queue.settle(lane, [finish(message), finish(message), finish(stranger)]) == [
        message.id,
        stranger.id,
    ]
    assert await store.queue.settle(lane, [finish(message), requeue(message)]) == [message.id] * 2
    assert await kinds(store, message) == ["Injection", "Delivery"]


async def test_only_what_is_stale_of_a_batch_is_refused(store: Store, lane: Lane) -> None:
    (ours,) = await in_flight(store, lane)
    (queued,) = await put(store, build_message())
    assert await store.queue.settle(lane, [finish(queued), finish(ours)]) == [queued.id]
    assert await stored(store) == [queued]


async def test_an_older_epoch_settles_nothing_that_a_newer_one_has_in_flight(
    store: Store, lane: Lane
) -> None:
    (message,) = await in_flight(store, lane)
    newer = await next_holder(store, lane)
    await store.queue.orphans(newer)
    assert await store.queue.settle(lane, [finish(message)]) == [message.id]
    assert await store.queue.settle(lane, [requeue(message)]) == [message.id]
    assert await kinds(store, message) == ["Injection"]
    assert await store.queue.settle(newer, [finish(message)]) == []


async def test_the_old_holder_may_settle_until_the_new_one_looked_for_orphans(
    store: Store, lane: Lane
) -> None:
    (message,) = await in_flight(store, lane)
    await next_holder(store, lane)
    assert await store.queue.settle(lane, [finish(message)]) == []


async def test_a_late_finish_removes_what_a_newer_epoch_queued_again(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    newer = await next_holder(store, lane)
    await store.queue.settle(newer, [requeue(orphan) for orphan in await store.queue.orphans(newer)])
    assert await store.queue.settle(lane, [requeue(message)]) == [message.id]
    assert await store.queue.settle(lane, [finish(message)]) == []
    assert await stored(store) == []
    assert await kinds(store, message) == ["Injection", "Delay", "Delivery"]


async def test_a_late_finish_does_not_touch_what_a_newer_epoch_claimed_again(
    store: Store, lane: Lane
) -> None:
    (message,) = await in_flight(store, lane)
    newer = await next_holder(store, lane)
    await store.queue.settle(newer, [requeue(orphan, NOW) for orphan in await store.queue.orphans(newer)])
    await claim(store, newer)
    assert await store.queue.settle(lane, [finish(message)]) == [message.id]
    assert await states(store) == [State.IN_FLIGHT]


async def test_the_same_epoch_of_another_lane_settles_nothing(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    other = Lane(OTHER_IP, lane.epoch)
    assert await store.queue.settle(other, [finish(message)]) == [message.id]
    assert await store.queue.settle(other, [requeue(message)]) == [message.id]


async def test_a_finish_may_bring_a_message_of_our_own(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    dsn = replace(build_message("sender@acme.test"), mail_from="")
    event = Bounce(NOW, Subject.of(message), 0, 10, PEER, 10, 550, "550 5.1.1 no such user")
    notice = Notice(build_submission(dsn), Body(dsn.body_id, b"DSN"), dsn, Injection(NOW, Subject.of(dsn)))
    await store.queue.settle(lane, [Finish(message.id, message.body_id, event, notice)])
    assert await stored(store) == [dsn]
    assert await store.queue.body(dsn.id) == b"DSN"
    (told,) = await store.events.story(dsn.id)
    assert told.submission == build_submission(dsn)


async def test_a_refused_finish_brings_nothing(store: Store, lane: Lane) -> None:
    dsn = build_message()
    notice = Notice(build_submission(dsn), Body(dsn.body_id, b""), dsn, Injection(NOW, Subject.of(dsn)))
    stranger = replace(finish(build_message()), notice=notice)
    await store.queue.settle(lane, [stranger])
    assert await store.queue.count(EVERYTHING) == 0


async def test_settlements_of_many_lanes_meet_in_one_commit(store: Store, lane: Lane) -> None:
    ours = await in_flight(store, lane, *copies(50))
    stale = Lane(IP, Epoch(99))
    assert await store.queue.settle(stale, [finish(ours[0])]) == [ours[0].id]
    assert await store.queue.settle(lane, [finish(message) for message in ours]) == []


async def test_nothing_to_settle_is_settled(store: Store, lane: Lane) -> None:
    assert await store.queue.settle(lane, []) == []


# ── wishes ───────────────────────────────────────────────────────────────────────────────


async def test_a_wish_to_hold_turns_a_requeue_into_held(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    assert await store.queue.hold(EVERYTHING, NOW, NOW + 100 * HOUR, "ann") == 1
    assert (await only(store)).wish is Wish.HOLD
    await store.queue.settle(lane, [requeue(message)])
    found = await only(store)
    assert (found.state, found.wish, found.expires) == (State.HELD, Wish.NONE, NOW + 100 * HOUR)
    await store.queue.release(EVERYTHING, NOW + 2 * HOUR, "ann")
    assert (await only(store)).expires == message.expires + 2 * HOUR


async def test_a_wish_to_cancel_leaves_a_requeue_due_at_once_with_the_wish(store: Store, lane: Lane) -> None:
    (message,) = await in_flight(store, lane)
    assert await store.queue.cancel(EVERYTHING, NOW, "ann") == 1
    await store.queue.settle(lane, [requeue(message)])
    (claimed,) = await claim(store, lane)
    assert claimed.wish is Wish.CANCEL


@pytest.mark.parametrize("wish", list(Wish))
async def test_a_wish_is_ignored_when_the_message_is_finished(store: Store, lane: Lane, wish: Wish) -> None:
    (message,) = await in_flight(store, lane)
    if wish is Wish.HOLD:
        await store.queue.hold(EVERYTHING, NOW, NOW + HOUR, "ann")
    if wish is Wish.CANCEL:
        await store.queue.cancel(EVERYTHING, NOW, "ann")
    assert await store.queue.settle(lane, [finish(message)]) == []
    assert await stored(store) == []


# ── select, count ────────────────────────────────────────────────────────────────


async def test_select_gives_unfinished_mail_oldest_acceptance_first_in_pages(store: Store) -> None:
    messages = await put(store, *(build_message(accepted=NOW - n * MINUTE) for n in range(5)))
    messages.reverse()
    assert await store.queue.select(EVERYTHING, 10) == messages
    assert await store.queue.select(EVERYTHING, 2, 1) == messages[1:3]


async def test_every_field_of_a_selection_must_match(store: Store, lane: Lane) -> None:
    here, there = await put(store, build_message("a@c.example"), build_message("b@b.example", ip=OTHER_IP))
    await claim(store, lane, "c.example")
    chosen = {
        here.id: [
            MailFilter(None, ids=(here.id,)),
            MailFilter(None, ip=IP),
            MailFilter(None, domain="c.example"),
            MailFilter(None, state=State.IN_FLIGHT),
            MailFilter(
                ACCOUNT,
                ids=(here.id, there.id),
                ip=IP,
                pool=here.pin.pool,
                domain="c.example",
                state=State.IN_FLIGHT,
            ),
        ],
        there.id: [MailFilter(None, state=State.QUEUED), MailFilter(None, ip=OTHER_IP, state=State.QUEUED)],
    }
    for id_, selections in chosen.items():
        for selection in selections:
            assert [message.id for message in await store.queue.select(selection, 10)] == [id_]
            assert await store.queue.count(selection) == 1
    assert await store.queue.count(MailFilter(None, ip=IP, domain="b.example")) == 0
    assert await store.queue.count(MailFilter(None, pool=here.pin.pool)) == 2


async def test_an_unknown_message_has_no_body(store: Store) -> None:
    assert await store.queue.body(build_message().id) is None


async def test_a_message_of_a_batch_may_be_without_a_sibling_body(
    store: Store, lane: Lane, store_url: str
) -> None:
    batch = build_batch(build_message(body="x"))
    await store.queue.enqueue(replace(batch, bodies=[*batch.bodies, Body(BodyId("nobody's"), b"")]))
    assert stray_bodies(store_url) == 0
