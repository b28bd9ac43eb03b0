"""What became of messages is written: once, whatever fails meanwhile."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import cast

import pytest

from relay.accept.notice import Notifier
from relay.domain.errors import IdTaken, StoreUnavailable
from relay.domain.ids import IpAddress, WorkerId
from relay.domain.lifecycle import Finish
from relay.domain.message import Message
from relay.egress.settler import Settler
from relay.ports.queue import Lane, QueueStore
from relay.store import Store
from relay.testing.waiting import eventually
from tests.store.conftest import NODE, OTHER_IP, WORKER, claim, finish, put, requeue, stored
from tests.support.mail import IP, build_message
from tests.support.outbound import Failing, Outbound, Script, turn


class Silent:
    """`Notifier` of accounts that want no DSN."""

    async def compose(self, message: Message, finish: Finish) -> None:
        return None


class Bench:
    def __init__(self, store: Store, lanes: dict[IpAddress, Lane]) -> None:
        self.store, self.lanes, self.queue = store, lanes, Failing(store.queue)
        self.noted: list[tuple[IpAddress, str]] = []
        self.settler = Settler(cast("QueueStore", self.queue), cast("Notifier", Silent()), self._noted)

    def _noted(self, ip: IpAddress, domain: str, due: datetime) -> None:
        self.noted.append((ip, domain))

    async def claimed(self, *ips: IpAddress) -> list[Message]:
        """A message in flight in each of these lanes."""
        mail = await put(self.store, *(build_message(f"r{n}@b.example", ip=ip) for n, ip in enumerate(ips)))
        for ip in set(ips):
            await claim(self.store, self.lanes[ip])
        return mail

    def finish(self, *mail: Message) -> None:
        for message in mail:
            self.settler.put(self.lanes[message.pin.ip], message, finish(message))

    async def run(self) -> None:
        """Until all that was put is written, or given up."""
        self.settler.close()
        await self.settler.run()

    async def left(self) -> list[str]:
        return [message.rcpt_to for message in await stored(self.store)]


@pytest.fixture
async def bench(store: Store) -> Bench:
    lanes = await store.queue.hold_lanes(WORKER, NODE, 3600, 10)
    return Bench(store, {lane.ip: lane for lane in lanes})


async def test_outcomes_of_several_lanes_are_written_side_by_side(bench: Bench) -> None:
    bench.finish(*await bench.claimed(IP, OTHER_IP, IP))
    await bench.run()
    assert await bench.left() == []
    assert bench.queue.calls == ["settle", "settle"]


async def test_who_waits_for_what_was_put_goes_on_when_it_is_written(bench: Bench) -> None:
    mail = await bench.claimed(IP)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.settler.run(), name="settler")
        await bench.settler.written()
        bench.finish(*mail)
        await bench.settler.written()
        assert await bench.left() == []
        bench.settler.close()


@pytest.mark.parametrize("error", [StoreUnavailable(), IdTaken()], ids=["unavailable", "id-taken"])
async def test_what_the_store_does_not_take_is_offered_again(bench: Bench, error: Exception) -> None:
    bench.queue.fail("settle", error)
    bench.finish(*await bench.claimed(IP))
    await bench.run()
    assert await bench.left() == []
    assert bench.queue.calls == ["settle", "settle"]


@pytest.mark.parametrize(
    ("failures", "left"),
    [
        pytest.param(1, [], id="the-batch"),
        pytest.param(2, ["r0@b.example"], id="the-batch-and-one-of-it"),
    ],
)
async def test_a_bug_that_one_outcome_meets_hurts_no_other(
    bench: Bench, failures: int, left: list[str]
) -> None:
    bench.queue.fail("settle", *(RuntimeError("ours") for _ in range(failures)))
    bench.finish(*await bench.claimed(IP, IP, IP))
    await bench.run()
    assert await bench.left() == left


async def test_mail_that_waits_again_is_told_to_its_lane(bench: Bench) -> None:
    (message,) = await bench.claimed(IP)
    bench.settler.put(bench.lanes[IP], message, requeue(message))
    await bench.run()
    assert bench.noted == [(IP, "b.example")]


async def test_an_outcome_that_came_late_changes_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    (message,) = await bench.claimed(IP)
    await bench.store.queue.release_lanes(WORKER)
    lanes = await bench.store.queue.hold_lanes(WorkerId("w2"), NODE, 3600, 10)
    await bench.store.queue.orphans(next(lane for lane in lanes if lane.ip == IP))
    bench.settler.put(bench.lanes[IP], message, requeue(message))
    await bench.run()
    assert "outcome came late" in caplog.text
    assert bench.noted == []


async def test_a_notice_of_failure_leaves_by_itself(outbound: Outbound) -> None:
    snapshot = outbound.directory.snapshot
    accounts = {key: replace(account, dsn=True) for key, account in snapshot.accounts.items()}
    outbound.directory.snapshot = replace(snapshot, accounts=accounts)
    refusing, taking = Script(turn("RCPT 550 5.1.1 unknown")), Script()
    outbound.hosts.play(refusing, taking)
    (message,) = await put(outbound.store, build_message())
    async with outbound.running():
        await outbound.ended(message)
        await outbound.calls(1)

        async def look() -> bool:
            return not await stored(outbound.store)

        await eventually(look)
    envelopes = [envelope for script in (refusing, taking) for envelope, _ in script.taken]
    assert [(e.mail_from, e.recipients[0].text) for e in envelopes][-1] == ("", "sender@acme.test")
