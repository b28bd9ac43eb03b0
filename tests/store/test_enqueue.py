"""Enqueue: all or nothing, on disk before it returns, in flight when its lane is ours."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.address import Mailbox
from relay.domain.errors import IdTaken, StaleDirectory, StoreUnavailable
from relay.domain.ids import BodyId, Epoch, IpAddress, Revision, SubaccountId
from relay.domain.message import Body, Copy, Options, RcptType, State
from relay.ports.queue import Claimed, EnqueueBatch, Lane
from relay.store import Store
from tests.store.conftest import (
    EVERYTHING,
    NODE,
    OTHER_IP,
    WORKER,
    OpenStore,
    build_batch,
    copies,
    kinds,
    only,
    states,
    stored,
    stray_bodies,
)
from tests.support.mail import IP, NOW, build_message


async def test_a_message_comes_back_as_it_went_in(store: Store) -> None:
    message = replace(
        build_message("[IPv6:::1]@[IPv6:::1]"),
        subaccount=SubaccountId(7),
        prefix=b"Bcc: bob\r\n",
        rcpt_to="bøb@b.example",
        rcpt_type=RcptType.BCC,
        smtputf8=True,
        eight_bit=True,
        due=NOW + timedelta(microseconds=3),
        last_reply="451 4.2.1 später",
        orphaned=2,
    )
    assert await store.queue.enqueue(build_batch(message))
    assert await only(store) == message


async def test_a_submission_comes_back_as_it_went_in(store: Store) -> None:
    batch = build_batch()
    options = Options(
        ip_pool="Marketing",
        campaign_id="autumn",
        metadata={"deep": {"list": [1, None, "ü"]}},
        tags=("a", "b"),
        cc=(Copy(Mailbox("c@C.example", "c.example"), "Cé"),),
        bcc=(Copy(Mailbox("d@d.example", "d.example")),),
        archive=(Copy(Mailbox("e@e.example", "e.example")),),
        open_tracking=False,
        click_tracking=True,
        transactional=True,
        skip_suppression=True,
        inline_css=True,
        sandbox=True,
        dkim_key="key",
    )
    submission = replace(
        batch.submission,
        options=options,
        subaccount=SubaccountId(7),
        subject="octets \udcff that are no text",
    )
    await store.queue.enqueue(replace(batch, submission=submission))
    (told,) = await store.events.story(batch.messages[0].id)
    assert told.submission == submission
    assert told.event == batch.events[0]


async def test_all_messages_of_a_batch_share_its_body(store: Store) -> None:
    messages = copies(40)
    await store.queue.enqueue(build_batch(*messages, content=b"shared"))
    assert await stored(store) == messages
    assert await store.queue.body(messages[0].id) == await store.queue.body(messages[-1].id) == b"shared"


async def test_a_batch_may_have_several_bodies(store: Store, store_url: str) -> None:
    one, two = build_message(body="one"), build_message(body="two")
    batch = build_batch(one, replace(two, transmission_id=one.transmission_id))
    bodies = [Body(BodyId("one"), b"1"), Body(BodyId("two"), b"2"), Body(BodyId("unused"), b"3")]
    await store.queue.enqueue(replace(batch, bodies=bodies))
    assert [await store.queue.body(message.id) for message in (one, two)] == [b"1", b"2"]
    assert stray_bodies(store_url) == 0


async def test_a_batch_with_one_bad_message_leaves_nothing(store: Store, store_url: str) -> None:
    good, bad = copies(2)
    with pytest.raises(IdTaken):
        await store.queue.enqueue(build_batch(good, replace(bad, id=good.id)))
    assert await store.queue.count(EVERYTHING) == 0
    assert await store.events.of_transmission(good.transmission_id) == []
    assert stray_bodies(store_url) == 0


async def test_a_bad_batch_does_not_hurt_those_that_wait_beside_it(store: Store) -> None:
    batches = [build_batch() for _ in range(20)]
    twice = batches[7].messages[0].id
    batches.append(build_batch(replace(build_message(), id=twice)))
    batches += [build_batch() for _ in range(20)]
    outcomes: list[bool] = []

    async def enqueue(batch: EnqueueBatch) -> None:
        try:
            outcomes.append(await store.queue.enqueue(batch))
        except IdTaken:
            outcomes.append(False)

    async with asyncio.TaskGroup() as tasks:
        for batch in batches:
            tasks.create_task(enqueue(batch))
    assert sorted(outcomes) == [False] + [True] * 40
    assert await store.queue.count(EVERYTHING) == 40


async def test_fresh_mail_without_a_claim_is_queued(store: Store) -> None:
    message = replace(build_message(), state=State.IN_FLIGHT, attempts=1)
    assert await store.queue.enqueue(build_batch(message))
    assert await only(store) == replace(message, state=State.QUEUED, attempts=0)


@pytest.mark.parametrize("counted", [True, False])
async def test_mail_of_a_claimed_lane_starts_in_flight_with_one_attempt_counted(
    store: Store, lane: Lane, counted: bool
) -> None:
    message = build_message()
    if counted:
        message = replace(message, state=State.IN_FLIGHT, attempts=1, epoch=lane.epoch)
    assert await store.queue.enqueue(build_batch(message, claimed={IP: lane.epoch}))
    assert await only(store) == replace(message, state=State.IN_FLIGHT, attempts=1, epoch=lane.epoch)
    assert await store.queue.orphans(lane) == []


async def test_mail_of_other_lanes_in_the_batch_is_queued(store: Store, lane: Lane) -> None:
    ours, other = copies(2)
    other = replace(other, pin=replace(other.pin, ip=OTHER_IP))
    assert await store.queue.enqueue(build_batch(ours, other, claimed={IP: lane.epoch}))
    assert await states(store) == [State.IN_FLIGHT, State.QUEUED]


async def test_an_epoch_that_moved_on_queues_the_whole_batch(store: Store, lane: Lane) -> None:
    ours, other = copies(2)
    other = replace(other, pin=replace(other.pin, ip=OTHER_IP))
    claimed = {IP: lane.epoch, OTHER_IP: Epoch(99)}
    answers: list[bool | None] = []
    assert not await store.queue.enqueue(build_batch(ours, other, claimed=claimed), answers.append)
    assert [(m.state, m.attempts, m.epoch) for m in await stored(store)] == [(State.QUEUED, 0, 0)] * 2
    assert answers == [False]


async def test_an_older_revision_of_the_directory_is_refused_and_nothing_stored(store: Store) -> None:
    answers: list[bool | None] = []
    with pytest.raises(StaleDirectory):
        await store.queue.enqueue(build_batch(revision=Revision(0)), answers.append)
    assert await store.queue.count(EVERYTHING) == 0
    assert answers == [None]


async def test_then_is_called_before_the_caller_goes_on(store: Store) -> None:
    answers: list[bool | None] = []
    assert await store.queue.enqueue(build_batch(), answers.append)
    assert answers == [True]


async def test_cancelling_the_caller_does_not_undo_the_mail(store: Store) -> None:
    batch = build_batch()
    told = asyncio.Event()
    answers: list[bool | None] = []

    def then(answer: bool | None) -> None:
        answers.append(answer)
        told.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(store.queue.enqueue(batch, then))
        # One step: the unit is with the writer, whose answer needs another turn of this loop.
        await asyncio.sleep(0)
        task.cancel()
        await told.wait()
    assert answers == [True]
    assert await kinds(store, batch.messages[0]) == ["Injection"]


async def test_an_error_in_then_hurts_nobody(store: Store) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(str(context["exception"]))
    )

    def then(_: bool | None) -> None:
        raise ValueError("in then")

    assert await store.queue.enqueue(build_batch(), then)
    assert complaints == ["in then"]


async def test_a_closed_store_is_unavailable_and_says_so_to_then(open_another: OpenStore) -> None:
    store = await open_another("closed")
    await store.close()
    answers: list[bool | None] = []
    with pytest.raises(StoreUnavailable):
        await store.queue.enqueue(build_batch(), answers.append)
    with pytest.raises(StoreUnavailable):
        await store.queue.count(EVERYTHING)
    assert answers == [None]


async def test_new_pins_make_their_lane(store: Store) -> None:
    ip = IpAddress("127.0.0.77")
    await store.queue.enqueue(build_batch(build_message(ip=ip)))
    assert ip in [lane.ip for lane in await store.queue.hold_lanes(WORKER, NODE, 3600, 10)]


async def test_claimed_mail_carries_its_body(store: Store, lane: Lane) -> None:
    messages = copies(2)
    await store.queue.enqueue(build_batch(*messages, content=b"octets \x00\xff"))
    claimed = await store.queue.claim(lane, ["b.example"], NOW, 10, 1000)
    expected = [replace(m, state=State.IN_FLIGHT, attempts=1, epoch=lane.epoch) for m in messages]
    assert claimed == [Claimed(message, b"octets \x00\xff") for message in expected]
    assert claimed[0].body is claimed[1].body
