"""What a client asked to be told of a message is kept with it until it leaves the queue."""

from dataclasses import replace

import pytest

from relay.domain.dsn import DsnRequest
from relay.domain.ids import WorkerId
from relay.domain.message import Particulars
from relay.ports.queue import Lane, MailFilter
from relay.store import Store, open_store
from tests.store.conftest import (
    EVERYTHING,
    HOUR,
    OTHER_IP,
    WORKER,
    claim,
    finish,
    only,
    put,
    requeue,
    seed,
    stored,
)
from tests.support.mail import NOW, build_message

ASKED = DsnRequest("FULL", "QQ+2B314", "SUCCESS,FAILURE", "utf-8;jürgen@b.example")


@pytest.mark.parametrize(
    "asked",
    [ASKED, DsnRequest(notify="NEVER"), DsnRequest("HDRS"), DsnRequest()],
    ids=["all", "NOTIFY", "RET", "empty"],
)
@pytest.mark.parametrize("own", [None, Particulars("a subject of its own", {"a": 1}, ("tag",))])
async def test_it_is_read_as_it_was_written(store: Store, asked: DsnRequest, own: Particulars | None) -> None:
    message = replace(build_message(), dsn_request=asked, particulars=own)
    await put(store, message)
    assert await stored(store) == [message]


async def test_it_outlives_a_retry_a_hold_and_another_pin(store: Store, lane: Lane) -> None:
    await put(store, replace(build_message(), dsn_request=ASKED))
    (claimed,) = await claim(store, lane)
    assert claimed.dsn_request == ASKED
    await store.queue.settle(lane, [requeue(claimed)])
    await store.queue.hold(EVERYTHING, NOW, NOW + 300 * HOUR, "ann")
    await store.queue.release(EVERYTHING, NOW + HOUR, "ann")
    await store.queue.repin(MailFilter(None, ids=(claimed.id,)), OTHER_IP, NOW + HOUR, "ann")
    assert (await only(store)).dsn_request == ASKED


async def test_it_outlives_the_process(store_url: str) -> None:
    async with await open_store(store_url, worker=WorkerId(WORKER)) as opened:
        await seed(opened)
        await put(opened, replace(build_message(), dsn_request=ASKED))
    async with await open_store(store_url, worker=WorkerId(WORKER)) as opened:
        assert (await only(opened)).dsn_request == ASKED


async def test_events_say_nothing_of_it(store: Store, lane: Lane) -> None:
    (message,) = await put(store, replace(build_message(), dsn_request=ASKED))
    await claim(store, lane)
    await store.queue.settle(lane, [finish(message)])
    told = await store.events.story(message.id)
    assert len(told) == 2
    assert all(one.event.about.particulars is None for one in told if hasattr(one.event, "about"))
