"""Lanes come, go to other workers, and are given up in good order."""

import asyncio

import pytest

from relay.domain.errors import StoreUnavailable
from relay.domain.ids import WorkerId
from relay.domain.message import State
from relay.ports.queue import Lane
from relay.testing.waiting import eventually
from tests.egress.test_lane import TAKEN, at_work, follow
from tests.store.conftest import OTHER_IP, OpenStore, claim, put, stored
from tests.support.mail import IP, NOW, build_message
from tests.support.outbound import NODE, WORKER, Outbound, Script

OTHER = WorkerId("w2")


async def test_lanes_are_free_after_a_stop(outbound: Outbound, open_another: OpenStore) -> None:
    async with outbound.running() as egress:
        await at_work(egress)
    other = await open_another(OTHER)
    assert {lane.ip for lane in await other.queue.hold_lanes(OTHER, NODE, 30, 10)} == {IP, OTHER_IP}


async def test_lanes_are_not_free_when_the_store_was_not_there_to_give_them_up(
    outbound: Outbound, caplog: pytest.LogCaptureFixture
) -> None:
    outbound.queue.fail("release_lanes", StoreUnavailable())
    async with outbound.running() as egress:
        await at_work(egress)
    assert "lanes not released" in caplog.text


@pytest.mark.parametrize("call", ["fair_share", "hold_lanes"])
@pytest.mark.parametrize("error", [StoreUnavailable(), RuntimeError("ours")], ids=["unavailable", "bug"])
async def test_lanes_are_taken_at_the_next_news_after_the_store_failed(
    outbound: Outbound, call: str, error: Exception
) -> None:
    outbound.queue.fail(call, error)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running() as egress:

        async def look() -> bool:
            return not outbound.queue.left

        await eventually(look)
        await outbound.clock.settle()
        assert egress.reserve(IP, "b.example", 1) is None
        egress.heard(None, "")
        assert await outbound.ended(mail) == [[TAKEN]]


@pytest.mark.parametrize(
    ("ip", "domain"),
    [
        pytest.param(IP, "b.example", id="a-domain"),
        pytest.param(IP, "", id="a-lane"),
        pytest.param(None, "", id="all-lanes"),
    ],
)
async def test_mail_that_another_process_tells_of_leaves_at_once(
    outbound: Outbound, ip: object, domain: str
) -> None:
    async with outbound.running() as egress:
        await at_work(egress)
        (mail,) = await put(outbound.store, build_message())
        egress.heard(IP if ip else None, domain)
        assert await outbound.ended(mail) == [[TAKEN]]


async def test_mail_for_a_lane_held_elsewhere_is_told_to_the_others(
    outbound: Outbound, open_another: OpenStore
) -> None:
    other = await open_another(OTHER)
    heard: list[tuple[object, str]] = []
    other.wakeups.hear(lambda ip, domain: heard.append((ip, domain)))
    outbound.made().queued(IP, "b.example", NOW)

    async def look() -> bool:
        return (IP, "b.example") in heard

    await eventually(look)


async def test_a_second_worker_gets_its_share_once_nothing_of_it_is_in_hand(
    outbound: Outbound, open_another: OpenStore
) -> None:
    goes_on = asyncio.Event()
    outbound.hosts.play(Script(until=goes_on), Script(until=goes_on))
    async with outbound.running() as egress:
        await at_work(egress)
        mail = await put(outbound.store, build_message(), build_message(ip=OTHER_IP))
        egress.heard(None, "b.example")
        await outbound.calls(2)
        other = await open_another(OTHER)

        async def held() -> list[Lane]:
            return await other.queue.hold_lanes(OTHER, NODE, 30, 1)

        assert await held() == []
        egress.heard(None, "")

        async def look() -> bool:
            places = [egress.reserve(ip, "b.example", 1) for ip in (IP, OTHER_IP)]
            for ip, place in zip((IP, OTHER_IP), places, strict=True):
                if place is not None:
                    egress.depart(ip, "b.example", ())
            return places.count(None) == 1

        await eventually(look)
        assert await held() == []
        goes_on.set()
        (lane,) = await eventually(held)
        assert await outbound.ended(*mail) == [[TAKEN], [TAKEN]]
        assert lane.ip in {IP, OTHER_IP}


async def test_what_a_lost_lane_was_sending_is_the_new_holders(
    outbound: Outbound, open_another: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    other = await open_another(OTHER)
    goes_on = asyncio.Event()
    outbound.hosts.play(Script(until=goes_on))
    async with outbound.running() as egress:
        await at_work(egress)
        mail = await follow(outbound, egress, build_message())
        await outbound.calls(1)
        await outbound.store.queue.release_lanes(WORKER)
        lanes = await other.queue.hold_lanes(OTHER, NODE, 30, 10)
        (lane,) = [lane for lane in lanes if lane.ip == IP]
        assert [orphan.id for orphan in await other.queue.orphans(lane)] == [mail.id]
        egress.heard(None, "")

        async def look() -> bool:
            return "is lost to another worker" in caplog.text

        await eventually(look)
        assert egress.reserve(IP, "b.example", 1) is None
        egress.depart(IP, "b.example", ())
        goes_on.set()
    assert "outcome came late" in caplog.text
    (left,) = await stored(outbound.store)
    assert left.state is State.IN_FLIGHT
    assert await claim(outbound.store, lane) == []


async def test_outcomes_that_the_store_does_not_take_in_time_stay_in_flight(
    outbound: Outbound, caplog: pytest.LogCaptureFixture
) -> None:
    outbound.grace_s = 0.05
    outbound.queue.fail("settle", StoreUnavailable())
    await put(outbound.store, build_message())
    async with outbound.running():

        async def look() -> bool:
            return not outbound.queue.left

        await eventually(look)
    (left,) = await stored(outbound.store)
    assert left.state is State.IN_FLIGHT
    assert "outcomes not written within" in caplog.text
