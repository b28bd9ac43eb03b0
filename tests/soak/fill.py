"""Fills a store with waiting mail through the queue's own door, as fast as it takes it.

    python -m tests.soak.fill STORE_URL COUNT DOMAINS DUE_IN_S [DOMAIN]

Messages wait for the twelve IPs of the benchmark's account, 1 kB each, deferred once. DOMAIN: all
for that one instead of d0.example, d1.example, …
"""

import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import uvloop

from relay.domain.events import Injection, Subject
from relay.domain.ids import AccountId, BodyId, IpAddress, MessageId, PoolId, Revision, TransmissionId
from relay.domain.message import Body, Message, Options, Pin, RcptType, Submission
from relay.domain.resolve import Decision, Step
from relay.net.ambient import SystemClock
from relay.ports.queue import EnqueueBatch
from relay.store import open_store
from tests.bench.peers import POOLS

_AT_ONCE = 200
_CONTENT = b"Subject: waiting\r\nFrom: a@src.test\r\n\r\n" + (b"x" * 98 + b"\r\n") * 10
_PINS = [
    Pin(
        PoolId(pool),
        IpAddress(f"127.0.1.{number}"),
        f"mta{number}.relay.test",
        IpAddress(f"127.0.1.{number}"),
    )
    for pool, numbers in POOLS.items()
    for number in numbers
]


def batches(
    count: int, domains: int, due_in: timedelta, only: str, revision: Revision, now: datetime
) -> Iterator[EnqueueBatch]:
    """Submissions of one message each."""
    decision = Decision(PoolId("one"), (Step("R18", "ip_pool asked for: one"),))
    for number in range(count):
        transmission, pin = TransmissionId(str(10**15 + number)), _PINS[number % len(_PINS)]
        domain = only or f"d{number % domains}.example"
        message = Message(
            id=MessageId(f"{number:020x}"),
            transmission_id=transmission,
            account=AccountId(1),
            subaccount=None,
            body_id=BodyId(transmission),
            prefix=b"",
            mail_from="a@src.test",
            rcpt_to=f"r{number}@{domain}",
            domain=domain,
            rcpt_type=RcptType.TO,
            size_bytes=len(_CONTENT),
            smtputf8=False,
            eight_bit=False,
            pin=pin,
            accepted=now,
            expires=now + timedelta(hours=72),
            due=now + due_in + timedelta(seconds=number % 1200 if due_in else 0),
            attempts=1,
            last_reply="451 4.4.1 [internal] No valid hosts (unable to make any connections)",
        )
        submission = Submission(
            transmission,
            message.account,
            None,
            now,
            "esmtp",
            "127.0.0.1",
            message.mail_from,
            "waiting",
            "a@src.test",
            "src.test",
            Options(ip_pool="one"),
            decision,
        )
        event = Injection(now, Subject.of(message))
        yield EnqueueBatch(submission, [Body(message.body_id, _CONTENT)], [message], [event], revision)


async def fill(url: str, count: int, domains: int, due_in: timedelta, only: str = "") -> float:
    """Returns how many a second were stored."""
    async with await open_store(url) as store:
        revision = await store.directory.revision()
        waiting = batches(count, domains, due_in, only, revision, SystemClock().now())
        started = asyncio.get_running_loop().time()

        async def enqueue() -> None:
            for batch in waiting:
                await store.queue.enqueue(batch)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(enqueue())
        return count / (asyncio.get_running_loop().time() - started)


if __name__ == "__main__":
    store, total, spread, due = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    rate = uvloop.run(fill(store, total, spread, timedelta(seconds=due), [*sys.argv, ""][5]))
    print(f"{rate:.0f}/s")  # noqa: T201 - its output
