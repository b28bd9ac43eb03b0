"""A path: how many connections it has, who carries what, and how it leaves a host alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from relay.accept.budget import BodyBudget
from relay.domain.dsn import DsnRequest
from relay.domain.lifecycle import LONELY_AFTER
from relay.domain.message import Message
from relay.domain.route import TlsPolicy
from relay.domain.site import Site
from relay.egress.path import IN_HAND_PER_CONNECTION, Path, PathLimits
from relay.ports.queue import Claimed
from relay.testing.clock import HandMovedClock
from tests.support.mail import build_message

SITE = Site(((0, "127.0.0.1"),), 2526, TlsPolicy.OFF)
RETRY = timedelta(minutes=20)
BODY = b"Subject: hello\r\n\r\nHello.\r\n"


class Bench:
    """A path, and what it asked of its surroundings."""

    def __init__(self, limits: PathLimits) -> None:
        self.clock, self.budget = HandMovedClock(), BodyBudget(1 << 20)
        self.started = 0
        self.turned_back: list[tuple[str, datetime]] = []
        self.changed = 0
        self.path = Path(
            SITE, limits, self.budget, self.clock.now, self._converse, self._turn_back, self._path_changed
        )

    def _converse(self, path: Path) -> None:
        self.started += 1

    def _turn_back(self, messages: Sequence[Message], until: datetime) -> None:
        self.turned_back += [(message.rcpt_to, until) for message in messages]

    def _path_changed(self, path: Path) -> None:
        self.changed += 1


@pytest.fixture
def bench() -> Bench:
    return Bench(PathLimits(connections=2, recipients_per_transaction=3))


def mail(count: int = 1, *, body: bytes = BODY, transmission: str = "") -> list[Claimed]:
    """Messages of one submission each, or of the one that is named."""
    return [
        Claimed(build_message(f"r{number}@b.example", transmission=transmission), body)
        for number in range(count)
    ]


async def test_mail_starts_connections_up_to_the_limit_and_no_more(bench: Bench) -> None:
    bench.path.add(mail(5))
    assert bench.started == 2
    assert bench.turned_back == []


async def test_one_message_starts_one_connection_however_often_the_path_is_looked_at(bench: Bench) -> None:
    bench.path.add(mail(1))
    bench.path.add([])
    assert bench.started == 1


async def test_an_idle_conversation_is_woken_before_another_connection_is_made(bench: Bench) -> None:
    bench.path.add(mail(1))
    load = bench.path.first_load()
    assert load is not None
    bench.path.put_down(load)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bench.path.next_load(5))
        await asyncio.sleep(0)
        bench.path.add(mail(1))
    found = waiting.result()
    assert found is not None
    assert len(found.mail) == 1
    assert bench.started == 1


async def test_patience_ends_without_mail(bench: Bench) -> None:
    assert await bench.path.next_load(0.01) is None


async def test_one_body_to_several_recipients_is_one_load_up_to_the_limit(bench: Bench) -> None:
    bench.path.add(mail(4, transmission="1"))
    first, second = bench.path.first_load(), bench.path.first_load()
    assert first is not None
    assert second is not None
    assert [len(first.mail), len(second.mail)] == [3, 1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"prefix": b"Bcc: x@y.example\r\n"}, id="a header of its own"),
        pytest.param({"mail_from": "other@acme.test"}, id="another reverse-path"),
        pytest.param({"smtputf8": True}, id="SMTPUTF8"),
        pytest.param({"dsn_request": DsnRequest("HDRS")}, id="RET"),
        pytest.param({"dsn_request": DsnRequest(envid="x")}, id="ENVID"),
        pytest.param({"orphaned": LONELY_AFTER}, id="one that outlived many holders"),
    ],
)
async def test_what_differs_goes_in_a_load_of_its_own(bench: Bench, other: dict[str, object]) -> None:
    one, two = mail(2, transmission="1")
    bench.path.add([one, replace(two, message=replace(two.message, **other))])  # type: ignore[arg-type]  # the table's
    load = bench.path.first_load()
    assert load is not None
    assert load.mail == [one]


async def test_recipients_of_whom_different_things_are_to_be_told_share_a_load(bench: Bench) -> None:
    requests = (None, DsnRequest(notify="NEVER"), DsnRequest(notify="SUCCESS", orcpt="rfc822;a@b.test"))
    asked = [
        replace(one, message=replace(one.message, dsn_request=request))
        for one, request in zip(mail(3, transmission="1"), requests, strict=True)
    ]
    bench.path.add(asked)
    load = bench.path.first_load()
    assert load is not None
    assert load.mail == asked


async def test_room_counts_what_is_in_hand_carried_and_promised(bench: Bench) -> None:
    now = bench.clock.now()
    places = 2 * IN_HAND_PER_CONNECTION
    assert bench.path.room(now) == places
    bench.path.add(mail(3))
    assert bench.path.room(now) == places - 3
    load = bench.path.first_load()
    assert load is not None
    bench.path.promise()
    assert bench.path.room(now) == places - 4
    bench.path.keep(())
    bench.path.put_down(load)
    assert bench.path.room(now) == places - 2


async def test_a_body_counts_once_while_it_is_in_hand(bench: Bench) -> None:
    bench.path.add(mail(3, transmission="1"))
    assert bench.budget.taken_bytes == len(BODY)
    load = bench.path.first_load()
    assert load is not None
    assert bench.budget.taken_bytes == len(BODY)
    bench.path.put_down(load)
    assert bench.budget.taken_bytes == 0


async def test_while_it_rests_mail_in_hand_goes_back_until_the_rest_is_over(bench: Bench) -> None:
    bench.path.add(mail(3))
    load = bench.path.first_load()
    assert load is not None
    bench.path.back_off(RETRY)
    bench.path.put_down(load)
    bench.path.ended(False)
    assert bench.turned_back == [], "another conversation is still trying"
    second = bench.path.first_load()
    assert second is not None
    bench.path.put_down(second)
    bench.path.ended(False)
    until = bench.clock.now() + timedelta(seconds=60)
    assert bench.turned_back == [("r2@b.example", until)]
    assert bench.path.room(bench.clock.now()) == 0
    assert bench.budget.taken_bytes == 0


async def test_after_a_rest_one_message_is_tried_on_one_connection(bench: Bench) -> None:
    bench.path.back_off(RETRY)
    bench.clock.advance(seconds=60)
    assert bench.path.room(bench.clock.now()) == 1
    bench.path.add(mail(2))
    assert bench.started == 1
    bench.path.welcomed()
    assert bench.started == 2, "the host is back: as many as there is mail for"
    assert bench.path.rest.failures == 0


async def test_while_it_rests_a_live_conversation_carries_on(bench: Bench) -> None:
    bench.path.add(mail(2))
    first, second = bench.path.first_load(), bench.path.first_load()
    assert first is not None
    assert second is not None
    bench.path.welcomed()
    bench.path.back_off(RETRY)
    bench.path.put_down(second, second.mail)
    bench.path.ended(False)
    assert bench.turned_back == []
    assert bench.path.room(bench.clock.now()) > 0
    bench.path.put_down(first)
    assert await bench.path.next_load(5) == replace(second, cost_bytes=len(BODY))
    assert bench.started == 2, "no further connection during the rest"


async def test_waiting_domains_are_told_of_room_when_what_is_in_hand_runs_low(bench: Bench) -> None:
    bench.path.add(mail(6))
    bench.path.waiting["c.example"] = None
    loads = [bench.path.first_load() for _ in range(2)]
    for load in loads:
        assert load is not None
        bench.path.put_down(load)
    assert bench.changed == 0
    assert bench.path.appetite(bench.clock.now()) == 0
    for _ in range(2):
        load = await bench.path.next_load(5)
        assert load is not None
        bench.path.put_down(load)
    assert bench.changed == 1
    assert bench.path.appetite(bench.clock.now()) == 2 * IN_HAND_PER_CONNECTION - 2


async def test_closing_turns_back_what_nobody_carries_and_ends_who_waits(bench: Bench) -> None:
    bench.path.add(mail(4))
    load = bench.path.first_load()
    assert load is not None
    async with asyncio.TaskGroup() as tasks:
        bench.path.close()
        ended = tasks.create_task(bench.path.next_load(5))
    assert ended.result() is None
    assert [to for to, _ in bench.turned_back] == ["r1@b.example", "r2@b.example", "r3@b.example"]
    bench.path.put_down(load)
    assert bench.budget.taken_bytes == 0
    bench.path.add(mail(1))
    assert len(bench.turned_back) == 4
    assert bench.path.room(bench.clock.now()) == 0


async def test_a_path_is_unused_when_nothing_and_nobody_is_there(bench: Bench) -> None:
    assert bench.path.is_unused
    bench.path.add(mail(1))
    assert not bench.path.is_unused
    load = bench.path.first_load()
    assert load is not None
    bench.path.put_down(load)
    bench.path.ended(False)
    assert bench.path.is_unused
    bench.path.back_off(RETRY)
    assert not bench.path.is_unused, "it must remember its rest"
