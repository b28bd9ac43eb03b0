"""Stores of each kind that there is, and mail to put into them.

The tests of this folder are the definition of the store's ports: a second database joins by a
second value of `store_url`, and passes them all.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from relay.domain.changes import Put
from relay.domain.directory import Account, Plan, SendingIp
from relay.domain.events import Delay, Delivery, Injection, Subject
from relay.domain.ids import Epoch, IpAddress, NodeName, PoolId, Revision, WorkerId
from relay.domain.lifecycle import Finish, Requeue
from relay.domain.message import Body, Message, Options, State, Submission
from relay.domain.outcome import Peer
from relay.domain.resolve import Decision, Step
from relay.ports.queue import Claimed, EnqueueBatch, Lane, MailFilter
from relay.store import Store, open_store
from tests.support.mail import ACCOUNT, IP, NOW, build_message

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OTHER_IP = IpAddress("127.0.0.12")
WORKER, NODE = WorkerId("w1"), NodeName("n1")
SEEDED = Revision(1)
"""The directory's revision in `store`."""
EVERYTHING = MailFilter(None)
DECISION = Decision(PoolId("default"), (Step("R20", "nothing named: the default pool"),))
PEER = Peer("127.0.0.99", 1)

OpenStore = Callable[[str], Awaitable[Store]]


@pytest.fixture(params=["sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path}/store/relay.db"


@pytest.fixture
async def open_another(store_url: str) -> AsyncIterator[OpenStore]:
    """A function: worker id → the same store as another worker sees it; closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_as(worker: str) -> Store:
            return await stack.enter_async_context(await open_store(store_url, worker=WorkerId(worker)))

        yield open_as


@pytest.fixture
async def store(open_another: OpenStore) -> Store:
    """Empty but for one account with two sending IPs; opened by WORKER."""
    opened = await open_another(WORKER)
    await seed(opened)
    return opened


@pytest.fixture
async def lane(store: Store) -> Lane:
    """The lane of IP, held by WORKER under epoch 1; the other IP's is held too."""
    lanes = await store.queue.hold_lanes(WORKER, NODE, 3600, 10)
    return next(lane for lane in lanes if lane.ip == IP)


async def seed(store: Store) -> None:
    """One account with two sending IPs in its default pool, as revision 1."""
    ips = [SendingIp(ip, ip, f"mta.{ip}", account=ACCOUNT, pool=PoolId("default")) for ip in (IP, OTHER_IP)]
    changes = [Put(Account(ACCOUNT, "Acme", Plan.SELF_SERVE)), *map(Put, ips)]
    assert await store.directory.apply(changes, Revision(0), "test", NOW) == SEEDED


def build_batch(
    *messages: Message,
    claimed: Mapping[IpAddress, Epoch] | None = None,
    revision: Revision = SEEDED,
    content: bytes = b"Subject: hello\r\n\r\nHello.\r\n",
) -> EnqueueBatch:
    """One submission of these messages (of one fresh message), which share a body."""
    messages = messages or (build_message(),)
    first = messages[0]
    return EnqueueBatch(
        build_submission(first),
        [Body(first.body_id, content)],
        messages,
        [Injection(message.accepted, Subject.of(message)) for message in messages],
        revision,
        claimed or {},
    )


def build_submission(message: Message) -> Submission:
    return Submission(
        message.transmission_id,
        message.account,
        None,
        message.accepted,
        "esmtp",
        "127.0.0.1",
        message.mail_from,
        "hello",
        "Acme <sender@acme.test>",
        "acme.test",
        Options(),
        DECISION,
    )


def copies(number: int) -> list[Message]:
    """Messages of one submission that share a body."""
    first = build_message("r0@b.example")
    shared = first.transmission_id
    return [first, *(build_message(f"r{index}@b.example", transmission=shared) for index in range(1, number))]


def finish(message: Message, now: datetime = NOW) -> Finish:
    event = Delivery(now, Subject.of(message), 0, 10, PEER, "250 2.0.0 Ok")
    return Finish(message.id, message.body_id, event)


def requeue(message: Message, due: datetime = NOW + 20 * MINUTE) -> Requeue:
    event = Delay(NOW, Subject.of(message), 0, 10, PEER, 21, 451, "451 4.2.1 later")
    return Requeue(message.id, due, event, "451 4.2.1 later")


async def put(store: Store, *messages: Message) -> list[Message]:
    """Each message enqueued as a submission of its own."""
    async with asyncio.TaskGroup() as tasks:
        for message in messages:
            tasks.create_task(store.queue.enqueue(build_batch(message)))
    return list(messages)


async def claim(store: Store, lane: Lane, *domains: str, now: datetime = NOW) -> list[Message]:
    """All that is due for the domains (b.example)."""
    found: Sequence[Claimed] = await store.queue.claim(lane, domains or ("b.example",), now, 1000, 1 << 30)
    return [claimed.message for claimed in found]


async def stored(store: Store) -> list[Message]:
    return await store.queue.select(EVERYTHING, 1000)


async def only(store: Store) -> Message:
    """The one unfinished message."""
    (found,) = await stored(store)
    return found


async def states(store: Store) -> list[State]:
    return [message.state for message in await stored(store)]


async def kinds(store: Store, message: Message) -> list[str]:
    """What happened to the message, as class names, oldest first."""
    return [type(told.event).__name__ for told in await store.events.story(message.id)]


def stray_bodies(store_url: str) -> int:
    """How many bodies there are that no message has."""
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
        text = "SELECT count(*) FROM body WHERE row_id NOT IN (SELECT body_row FROM message)"
        return int(connection.execute(text).fetchone()[0])
