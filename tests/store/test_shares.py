"""What an account holds of the queue is known exactly, and is bounded by its share."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.domain.dsn import DsnRequest
from relay.domain.errors import QueueShareFull
from relay.domain.events import Injection, Subject
from relay.domain.ids import AccountId, TransmissionId, WorkerId
from relay.domain.lifecycle import Finish, Notice
from relay.domain.message import Body, Message, Particulars
from relay.ports.queue import Lane
from relay.ports.transmissions import Made
from relay.store import Store, open_store
from relay.store.migrate import migrations, statements_of
from tests.store.conftest import (
    HOUR,
    NODE,
    SEEDED,
    WORKER,
    build_batch,
    build_submission,
    claim,
    finish,
    requeue,
    seed,
    stored,
)
from tests.store.test_transmissions import HOLDER, ROUTING, build, made, recipients, submitted
from tests.support.mail import ACCOUNT, IP, NOW, build_message

BODY = b"Subject: hello\r\n\r\n" + b"x" * 1000
PREFIX = b"Received: here\r\n"
SHARE = 10_000
_HELD = """
    SELECT coalesce((SELECT sum(length(prefix) + length(particulars)) FROM message
                     WHERE account = :account), 0)
         + coalesce((SELECT sum(length(content)) FROM body
                     WHERE row_id IN (SELECT body_row FROM message WHERE account = :account)), 0)
         + coalesce((SELECT sum(length(fields)) FROM transmission WHERE account = :account), 0)
         + coalesce((SELECT sum(length(content)) FROM transmission_content JOIN transmission USING (id)
                     WHERE account = :account), 0)
         + coalesce((SELECT sum(length(recipients)) FROM transmission_recipients WHERE account = :account), 0)
"""


def sized(count: int = 1, body: bytes = BODY) -> list[Message]:
    """Messages that share a body, as long as they say."""
    first = build_message()
    others = (build_message(f"r{n}@b.example", transmission=first.transmission_id) for n in range(1, count))
    return [replace(one, prefix=PREFIX, size_bytes=len(PREFIX) + len(body)) for one in (first, *others)]


async def put_in(store: Store, messages: list[Message], body: bytes = BODY) -> list[Message]:
    await store.queue.enqueue(build_batch(*messages, content=body))
    return messages


async def held_bytes(store: Store, url: str, account: AccountId = ACCOUNT) -> int:
    """As the store counts it, which is what lies there."""
    counted = (await store.reports.holdings()).get(account, 0)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute(_HELD, {"account": account}).fetchone() == (counted,)
    return counted


async def refusals(orders: Sequence[Coroutine[object, object, object]]) -> list[QueueShareFull]:
    """Of all these at once."""
    found = []

    async def one(order: Coroutine[object, object, object]) -> None:
        try:
            await order
        except QueueShareFull as error:
            found.append(error)

    async with asyncio.TaskGroup() as tasks:
        for order in orders:
            tasks.create_task(one(order))
    return found


@pytest.fixture
async def small(store_url: str) -> AsyncIterator[Store]:
    """A store where an account may hold SHARE octets."""
    async with await open_store(store_url, worker=WorkerId(WORKER), account_queue_bytes=SHARE) as opened:
        await seed(opened)
        yield opened


async def test_a_body_counts_once_and_until_its_last_message_has_left(
    store: Store, lane: Lane, store_url: str
) -> None:
    shared, alone = await put_in(store, sized(3)), await put_in(store, sized())
    own = Particulars("a subject of its own", {"a": "b" * 50}, ("tag",))
    asked = DsnRequest(notify="NEVER")
    told = await put_in(store, [replace(one, particulars=own, dsn_request=asked) for one in sized()])
    told += await put_in(store, [replace(one, dsn_request=asked) for one in sized()])
    full = 3 * len(PREFIX) + len(BODY) + len(PREFIX) + len(BODY)
    assert await held_bytes(store, store_url) > full + len(BODY) + 50
    await claim(store, lane)
    await store.queue.settle(lane, [requeue(shared[0]), *map(finish, told)])
    assert await held_bytes(store, store_url) == full
    await claim(store, lane, now=NOW + HOUR)
    await store.queue.settle(lane, [finish(shared[1]), finish(alone[0])])
    assert await held_bytes(store, store_url) == 2 * len(PREFIX) + len(BODY)
    await store.queue.settle(lane, [finish(shared[0]), finish(shared[2])])
    assert await held_bytes(store, store_url) == 0


async def test_a_notice_counts_in_place_of_the_mail_that_it_tells_of(small: Store, store_url: str) -> None:
    """And is stored however full the share is."""
    (lane, *_) = [one for one in await small.queue.hold_lanes(WORKER, NODE, 3600, 10) if one.ip == IP]
    (message,) = await put_in(small, sized(body=b"y" * SHARE), b"y" * SHARE)
    await claim(small, lane)
    content = b"z" * (2 * SHARE)
    (dsn,) = sized(body=content)
    notice = Notice(build_submission(dsn), Body(dsn.body_id, content), dsn, Injection(NOW, Subject.of(dsn)))
    settled = replace(finish(message), notice=notice)
    assert isinstance(settled, Finish)
    assert await small.queue.settle(lane, [settled]) == []
    assert await held_bytes(small, store_url) == len(PREFIX) + 2 * SHARE


async def test_a_full_share_refuses_mail_until_some_has_left(small: Store, store_url: str) -> None:
    (lane, *_) = [one for one in await small.queue.hold_lanes(WORKER, NODE, 3600, 10) if one.ip == IP]
    size = len(PREFIX) + len(BODY)
    batches = [build_batch(*sized(), content=BODY) for _ in range(15)]
    refused = await refusals([small.queue.enqueue(batch) for batch in batches])
    assert [error.limit_bytes for error in refused] == [SHARE] * (15 - SHARE // size)
    assert await held_bytes(small, store_url) == SHARE // size * size
    other = replace(build_message(), account=AccountId(2))
    await small.queue.enqueue(build_batch(other))
    mail = await claim(small, lane)
    await small.queue.settle(lane, [finish(one) for one in mail[:1]])
    await put_in(small, sized())
    with pytest.raises(QueueShareFull):
        await put_in(small, sized())


async def test_who_holds_nothing_may_bring_one_thing_of_any_size(small: Store, store_url: str) -> None:
    await put_in(small, sized(body=b"x" * 3 * SHARE), b"x" * 3 * SHARE)
    with pytest.raises(QueueShareFull):
        await put_in(small, sized(body=b"x"), b"x")


async def test_several_processes_share_one_count(small: Store, store_url: str) -> None:
    async with await open_store(store_url, account_queue_bytes=SHARE) as other:
        batches = [build_batch(*sized(), content=BODY) for _ in range(30)]
        stores = [small, other] * 15
        orders = [store.queue.enqueue(batch) for store, batch in zip(stores, batches, strict=True)]
        refused = await refusals(orders)
    assert 30 - len(refused) == SHARE // (len(PREFIX) + len(BODY)) == len(await stored(small))
    assert await held_bytes(small, store_url) <= SHARE


@pytest.mark.parametrize("how", ["made", "cancelled", "campaign", "dropped", "lost"])
async def test_what_is_scheduled_counts_until_it_is_gone(store: Store, store_url: str, how: str) -> None:
    if how in {"dropped", "lost"}:
        await store.transmissions.add_recipients(TransmissionId("1"), ACCOUNT, 0, recipients(3))
        assert await held_bytes(store, store_url) > 0
        if how == "dropped":
            await store.transmissions.drop_recipients(TransmissionId("1"))
        else:
            await store.transmissions.forget(NOW, TransmissionId("2"))
        assert await held_bytes(store, store_url) == 0
        return
    transmission = await submitted(store, build(3), ROUTING if how == "made" else None)
    before = await held_bytes(store, store_url)
    if how == "made":
        await store.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 10)
        done: Made = made(transmission, 0, 3)
        fitting = [replace(one, size_bytes=len(done.bodies[0].content)) for one in done.messages]
        assert await store.transmissions.advance(replace(done, messages=fitting), HOLDER, NOW)
    else:
        assert await store.transmissions.cancel(transmission.id, NOW)
    assert 0 < await held_bytes(store, store_url) < before
    await store.transmissions.forget(NOW + timedelta(days=2), TransmissionId("0"))
    left = len(done.bodies[0].content) if how == "made" else 0
    assert await held_bytes(store, store_url) == left


async def test_scheduling_fills_no_more_than_the_share(small: Store, store_url: str) -> None:
    orders = [submitted(small, build(3, id=TransmissionId(f"{number}"))) for number in range(30)]
    assert await refusals(orders)
    assert SHARE // 2 < await held_bytes(small, store_url) <= SHARE
    with pytest.raises(QueueShareFull):
        await put_in(small, sized(body=b"x" * SHARE), b"x" * SHARE)


async def test_a_transmission_waits_while_the_mail_of_its_account_leaves_no_room(
    small: Store, store_url: str
) -> None:
    (lane, *_) = [one for one in await small.queue.hold_lanes(WORKER, NODE, 3600, 10) if one.ip == IP]
    transmission = await submitted(small, build(2), ROUTING)
    (due,) = await small.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 10)
    room = SHARE - await held_bytes(small, store_url) - len(PREFIX)
    (last,) = await put_in(small, sized(body=b"x" * room), b"x" * room)
    with pytest.raises(QueueShareFull):
        await small.transmissions.advance(made(transmission, 0, 2), HOLDER, NOW)
    with pytest.raises(QueueShareFull):
        await small.transmissions.check_room(ACCOUNT)
    assert await small.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 10) == [due]
    await small.transmissions.release(HOLDER)
    assert await small.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 10) == []
    assert [one.id for one in await claim(small, lane)] == [last.id]
    await small.queue.settle(lane, [finish(last)])
    assert await small.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 10) == [due]
    await small.transmissions.check_room(ACCOUNT)
    assert await small.transmissions.advance(made(transmission, 0, 2), HOLDER, NOW)


async def test_what_waits_to_be_made_does_not_keep_itself_waiting(store_url: str) -> None:
    """A share that became smaller than what is stored already."""
    async with await open_store(store_url) as store:
        await seed(store)
        transmission = await submitted(store, build(2), ROUTING)
    async with await open_store(store_url, account_queue_bytes=1) as store:
        assert len(await store.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 10)) == 1
        assert await store.transmissions.advance(made(transmission, 0, 2), HOLDER, NOW)


async def test_an_older_store_is_counted_when_it_is_upgraded(
    store: Store, lane: Lane, store_url: str
) -> None:
    own = Particulars("a subject of its own", {"a": "b" * 50}, ("tag",))
    await put_in(store, sized())
    asked = DsnRequest(orcpt=f"rfc822;{'a' * 100}")
    await put_in(store, [replace(one, particulars=own, dsn_request=asked) for one in sized(3)])
    await submitted(store, build(3))
    await claim(store, lane)
    counted = await held_bytes(store, store_url)
    text = migrations("relay.store.sqlite")[10]
    counting = [statement for statement in statements_of(text) if "\nINSERT INTO queue_share" in statement]
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM queue_share")
        for statement in counting:
            connection.execute(statement)
        connection.commit()
    assert len(counting) == 2
    assert await held_bytes(store, store_url) == counted


async def test_the_usual_share_is_a_tenth_of_the_volume(store: Store, tmp_path: Path) -> None:
    volume = os.statvfs(tmp_path)
    assert store.reports.share_bytes == min(10_000_000_000, volume.f_blocks * volume.f_frsize // 10)
    assert await store.directory.revision() == SEEDED
