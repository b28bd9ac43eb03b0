"""Mail that was stored before there was a gate passes it on its way out."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import cast

import pytest

from relay.domain.errors import StoreUnavailable
from relay.domain.message import Message
from relay.domain.outcome import Bounced, NotTried, Outcome
from relay.egress.inspection import Inspection
from relay.ports.queue import Claimed, QueueStore
from relay.store import Store
from tests.store.conftest import build_batch, put
from tests.support.mail import NOW, build_message
from tests.support.outbound import Failing

GOOD = b"From: a@acme.test\r\nSubject: Hi\r\n\r\nHello.\r\n"
BARE = b"From: a@acme.test\r\n\r\na\nb\r\n"


class Desk:
    """An inspection, and what it settled."""

    def __init__(self, store: Store) -> None:
        self.queue = Failing(store.queue)
        self.settled: list[tuple[Message, Outcome]] = []
        self._inspection = Inspection(
            cast("QueueStore", self.queue), lambda message, outcome: self.settled.append((message, outcome))
        )

    async def pass_on(self, *mail: Claimed) -> list[Message]:
        return [one.message for one in await self._inspection.passed(mail, NOW)]


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


async def old_mail(
    store: Store, store_url: str, *bodies: bytes, recv_method: str = "esmtp"
) -> Sequence[Claimed]:
    """Messages with these bodies, as if all that is stored were older than the gate."""
    mail = [Claimed(build_message(), body) for body in bodies]
    for one in mail:
        batch = build_batch(one.message, content=one.body)
        await store.queue.enqueue(
            replace(batch, submission=replace(batch.submission, recv_method=recv_method))
        )
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE ungated SET last_message = (SELECT max(id) FROM message)")
    return mail


async def test_what_this_version_stored_is_not_read_again(store: Store, desk: Desk) -> None:
    (message,) = await put(store, build_message())
    assert await desk.pass_on(Claimed(message, BARE)) == [message]
    assert await desk.pass_on(Claimed(message, BARE)) == [message]
    assert desk.queue.calls == ["last_ungated"]


async def test_old_mail_that_may_not_leave_bounces_and_the_other_goes_on(
    store: Store, store_url: str, desk: Desk
) -> None:
    bad, good = await old_mail(store, store_url, BARE, GOOD)
    new = Claimed(build_message(), BARE)
    assert await desk.pass_on(bad, good, new) == [good.message, new.message]
    ((message, outcome),) = desk.settled
    assert message is bad.message
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply) == "550 5.6.0 [internal] a bare CR or LF in the body"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"Subject: Hi\r\n\r\nx\r\n", "0 fields From where there must be one", id="no From"),
        pytest.param(
            b"From: Jane\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\nx\r\n",
            "From is not one mailbox",
            id="no mailbox",
        ),
    ],
)
async def test_old_mail_that_the_relay_composed_has_one_sender(
    store: Store, store_url: str, desk: Desk, body: bytes, said: str
) -> None:
    (bad,) = await old_mail(store, store_url, body, recv_method="rest")
    assert await desk.pass_on(bad) == []
    ((_, outcome),) = desk.settled
    assert isinstance(outcome, Bounced)
    assert outcome.reply.text.endswith(said)


@pytest.mark.parametrize("call", ["last_ungated", "composed"])
async def test_while_the_store_does_not_answer_nothing_leaves_and_nothing_is_lost(
    store: Store, store_url: str, desk: Desk, call: str
) -> None:
    mail = await old_mail(store, store_url, GOOD, GOOD)
    desk.queue.fail(call, StoreUnavailable())
    assert await desk.pass_on(*mail) == []
    assert [message for message, _ in desk.settled] == [one.message for one in mail]
    assert all(isinstance(outcome, NotTried) for _, outcome in desk.settled)
    assert len(await desk.pass_on(*mail)) == 2
