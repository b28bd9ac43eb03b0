"""The operator's verbs: what they touch, what they leave, and that each message remembers who did it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from relay.domain.changes import Put
from relay.domain.directory import Account, Plan, SendingIp
from relay.domain.errors import Conflict, UnknownObject
from relay.domain.events import Operated
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress
from relay.domain.message import Message, Pin, State, Wish
from relay.ports.queue import Lane, MailFilter
from relay.store import Store
from tests.store.conftest import (
    EVERYTHING,
    HOUR,
    MINUTE,
    NODE,
    OTHER_IP,
    SEEDED,
    WORKER,
    build_batch,
    claim,
    copies,
    finish,
    kinds,
    only,
    put,
    stored,
)
from tests.support.mail import ACCOUNT, IP, NOW, build_message

UNTIL = NOW + 300 * HOUR
LATER = NOW + HOUR


async def operated(store: Store, message: Message) -> list[Operated]:
    return [told.event for told in await store.events.story(message.id) if isinstance(told.event, Operated)]


async def test_held_mail_waits_for_its_deadline_and_is_not_attempted(store: Store, lane: Lane) -> None:
    (message,) = await put(store, build_message())
    assert await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann") == 1
    assert await only(store) == replace(message, state=State.HELD, expires=UNTIL)
    assert await store.queue.heads(lane, LATER) == []
    assert await claim(store, lane) == []


async def test_held_mail_is_not_held_again(store: Store) -> None:
    await put(store, build_message())
    await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann")
    assert await store.queue.hold(EVERYTHING, LATER, UNTIL + HOUR, "ann") == 0
    assert (await only(store)).expires == UNTIL


async def test_a_release_makes_mail_due_and_adds_the_time_held_to_its_expiry(store: Store) -> None:
    (message,) = await put(store, build_message(due=NOW + 2 * HOUR))
    await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann")
    assert await store.queue.release(EVERYTHING, NOW + 5 * HOUR, "bob") == 1
    assert await only(store) == replace(message, due=NOW + 5 * HOUR, expires=message.expires + 5 * HOUR)


async def test_a_release_leaves_what_is_not_held(store: Store, lane: Lane) -> None:
    await put(store, build_message(), build_message("a@c.example"))
    await claim(store, lane, "c.example")
    assert await store.queue.release(EVERYTHING, NOW, "ann") == 0


async def test_a_release_takes_back_a_wish_to_hold(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(claimed={IP: lane.epoch}))
    await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann")
    assert await store.queue.release(EVERYTHING, NOW, "ann") == 1
    assert (await only(store)).wish is Wish.NONE


async def test_a_retry_makes_queued_mail_due_now_and_leaves_the_rest(store: Store, lane: Lane) -> None:
    flying, held = await put(store, build_message("a@c.example"), build_message("a@d.example"))
    (waiting,) = await put(store, build_message(due=NOW + 5 * HOUR))
    await claim(store, lane, "c.example")
    await store.queue.hold(MailFilter(None, ids=(held.id,)), NOW, UNTIL, "ann")
    assert await store.queue.retry(EVERYTHING, LATER, "ann") == 1
    assert [message.due for message in await stored(store)] == [flying.due, held.due, LATER]
    assert await kinds(store, waiting) == ["Injection", "Operated"]


async def test_a_retry_does_not_put_off_what_is_due(store: Store) -> None:
    (message,) = await put(store, build_message())
    await store.queue.retry(EVERYTHING, LATER, "ann")
    assert (await only(store)).due == message.due


@pytest.mark.parametrize("is_held", [False, True])
async def test_cancelled_mail_is_due_now_with_the_wish(store: Store, lane: Lane, is_held: bool) -> None:
    await put(store, build_message(due=NOW + 5 * HOUR))
    if is_held:
        await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann")
    assert await store.queue.cancel(EVERYTHING, LATER, "ann") == 1
    found = await only(store)
    assert (found.state, found.due, found.wish) == (State.QUEUED, LATER, Wish.CANCEL)
    assert len(await claim(store, lane, now=LATER)) == 1


async def test_cancelled_mail_is_neither_cancelled_again_nor_held(store: Store) -> None:
    await put(store, build_message())
    await store.queue.cancel(EVERYTHING, NOW, "ann")
    assert await store.queue.cancel(EVERYTHING, NOW, "ann") == 0
    assert await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann") == 0


async def test_cancel_overrules_a_wish_to_hold(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(claimed={IP: lane.epoch}))
    await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann")
    assert await store.queue.cancel(EVERYTHING, NOW, "ann") == 1
    assert await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann") == 0
    found = await only(store)
    assert (found.state, found.wish) == (State.IN_FLIGHT, Wish.CANCEL)


async def test_a_repin_gives_waiting_mail_the_other_ip_and_keeps_its_pool(store: Store, lane: Lane) -> None:
    queued, held = await put(store, build_message(), build_message("a@c.example"))
    revision = await store.directory.apply(
        [Put(SendingIp(OTHER_IP, IpAddress("10.0.0.2"), "new.mta", account=ACCOUNT, pool=DEFAULT_POOL))],
        SEEDED,
        "test",
        NOW,
    )
    await store.queue.hold(MailFilter(None, ids=(held.id,)), NOW, UNTIL, "ann")
    await store.queue.enqueue(
        build_batch(build_message("a@d.example"), claimed={IP: lane.epoch}, revision=revision)
    )
    assert await store.queue.repin(EVERYTHING, OTHER_IP, NOW, "ann") == 2
    pin = Pin(queued.pin.pool, OTHER_IP, "new.mta", IpAddress("10.0.0.2"))
    assert [message.pin for message in await stored(store)] == [pin, pin, replace(queued.pin, ip=IP)]
    assert await store.queue.repin(EVERYTHING, OTHER_IP, NOW, "ann") == 0


async def test_repinned_mail_is_claimed_in_its_new_lane(store: Store, lane: Lane) -> None:
    (message,) = await put(store, build_message())
    await store.queue.repin(EVERYTHING, OTHER_IP, NOW, "ann")
    _, other = await store.queue.hold_lanes(WORKER, NODE, 3600, 10)
    assert await claim(store, lane) == []
    assert [claimed.id for claimed in await claim(store, other)] == [message.id]
    assert await store.queue.settle(other, [finish(message)]) == []


async def test_a_repin_to_an_ip_that_is_not_there_changes_nothing(store: Store) -> None:
    (message,) = await put(store, build_message())
    with pytest.raises(UnknownObject):
        await store.queue.repin(EVERYTHING, IpAddress("127.0.0.99"), NOW, "ann")
    assert await only(store) == message


@pytest.mark.parametrize(
    ("change", "whose"),
    [
        pytest.param({}, "nobody", id="free"),
        pytest.param({"account": AccountId(2), "pool": DEFAULT_POOL}, "account 2", id="another account's"),
    ],
)
async def test_a_repin_to_what_is_not_the_accounts_changes_nothing(
    store: Store, change: dict[str, Any], whose: str
) -> None:
    """Else its mail would leave from an IP that somebody else buys while it waits."""
    (message,) = await put(store, build_message())
    changes = [Put(Account(AccountId(2), "Other", Plan.SELF_SERVE))]
    await store.directory.apply(
        [*changes, Put(SendingIp(OTHER_IP, OTHER_IP, "mta", **change))], SEEDED, "test", NOW
    )
    with pytest.raises(Conflict, match=f"{OTHER_IP} belongs to {whose}: mail of account {ACCOUNT} may not"):
        await store.queue.repin(EVERYTHING, OTHER_IP, NOW, "ann")
    assert await only(store) == message


async def test_mail_may_go_to_a_shared_ip_and_back_to_one_that_still_carries_its_accounts(
    store: Store,
) -> None:
    first, _ = await put(store, build_message(), build_message())
    revision = await store.directory.apply(
        [Put(SendingIp(OTHER_IP, OTHER_IP, "mta", shared=True))], SEEDED, "test", NOW
    )
    assert await store.queue.repin(MailFilter(None, ids=(first.id,)), OTHER_IP, NOW, "ann") == 1
    await store.directory.apply([Put(SendingIp(IP, IP, "mta"))], revision, "test", NOW)
    assert (await store.directory.snapshot()).ips[IP].released_from == ACCOUNT
    assert await store.queue.repin(EVERYTHING, IP, NOW, "ann") == 1
    assert {message.pin.ip for message in await stored(store)} == {IP}


async def test_only_the_selection_is_touched(store: Store) -> None:
    chosen, other = await put(store, build_message(), build_message())
    assert await store.queue.hold(MailFilter(None, ids=(chosen.id,)), NOW, UNTIL, "ann") == 1
    assert await store.queue.count(MailFilter(None, state=State.HELD)) == 1
    assert await operated(store, other) == []


Verb = Callable[[Store], Awaitable[int]]


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        pytest.param("hold", lambda store: store.queue.hold(EVERYTHING, LATER, UNTIL, "ann"), id="hold"),
        pytest.param("retry", lambda store: store.queue.retry(EVERYTHING, LATER, "ann"), id="retry"),
        pytest.param("cancel", lambda store: store.queue.cancel(EVERYTHING, LATER, "ann"), id="cancel"),
        pytest.param(
            "repin", lambda store: store.queue.repin(EVERYTHING, OTHER_IP, LATER, "ann"), id="repin"
        ),
    ],
)
async def test_every_message_touched_remembers_verb_actor_and_time(
    store: Store, name: str, verb: Verb
) -> None:
    messages = copies(3)
    await store.queue.enqueue(build_batch(*messages))
    assert await verb(store) == 3
    for message in messages:
        (event,) = await operated(store, message)
        assert (event.verb, event.actor, event.at) == (name, "ann", LATER)
        assert event.about.message_id == message.id


async def test_a_verb_on_a_long_queue_reaches_every_message_once(store: Store) -> None:
    messages = copies(2500)
    await store.queue.enqueue(build_batch(*messages))
    assert await store.queue.hold(EVERYTHING, NOW, UNTIL, "ann") == 2500
    assert await store.queue.count(MailFilter(None, state=State.HELD)) == 2500
    assert len(await operated(store, messages[-1])) == 1
    assert await store.queue.release(EVERYTHING, NOW + MINUTE, "ann") == 2500
