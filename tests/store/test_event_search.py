"""Searching the event log: filters, pages, and nothing of another account."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.events import Bounce, Delivery, Event, Injection, Operated, PolicyRejection, Subject
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId, TransmissionId
from relay.domain.message import Message, Options, Particulars
from relay.ports.eventlog import EventPlace, EventQuery, Told
from relay.store import Store
from tests.store.conftest import OTHER_IP, PEER, build_batch
from tests.support.mail import ACCOUNT, IP, NOW, build_message

SECOND = timedelta(seconds=1)
PART = SubaccountId(7)


def query(**filters: Any) -> EventQuery:
    return EventQuery(ACCOUNT, NOW - 10 * SECOND, NOW + 10 * SECOND, **filters)


async def store_mail(
    store: Store, message: Message, options: Options, friendly_from: str, *more: Event
) -> None:
    batch = build_batch(message)
    submission = replace(
        batch.submission,
        subject="Summer-Sale is here",
        friendly_from=friendly_from,
        sending_domain=friendly_from.rpartition("@")[2].rstrip(">"),
        options=options,
    )
    events = [Injection(message.accepted, Subject.of(message)), *more]
    await store.queue.enqueue(replace(batch, submission=submission, events=events))


@pytest.fixture
async def log(store: Store) -> Store:
    """Of `one` an injection and a delivery, of `two` one and a bounce; a refusal; and an event of others."""
    one = replace(build_message("Bob@b.example"), pin=replace(build_message().pin, pool=PoolId("my_pool_1")))
    two = replace(
        build_message("eve@c-d.example", ip=OTHER_IP),
        subaccount=PART,
        accepted=NOW + SECOND,
        particulars=Particulars("Dear Eve", {}, (), "b@eve.test", "joe@joe.test", "joe.test"),
    )
    delivery = Delivery(NOW + 2 * SECOND, Subject.of(one), 0, 2000, PEER, "250 Ok")
    bounce = Bounce(NOW + 3 * SECOND, Subject.of(two), 0, 2000, PEER, 10, 550, "550 5.1.1 no such-user")
    held = Operated(NOW + 2 * SECOND, Subject.of(one), "hold", "jane")
    await store_mail(store, one, Options(campaign_id="Black Friday"), "Acme <News@acme.test>", delivery, held)
    await store_mail(store, two, Options(campaign_id="welcome"), "max@max.test", bounce)
    foreign = replace(Subject.of(one), account=AccountId(2))
    await store.events.append(
        [
            PolicyRejection(
                NOW + 4 * SECOND, ACCOUNT, None, "192.0.2.1", "a@b.test", "x@y.test", 25, 550, "550 no"
            ),
            Injection(NOW, foreign),
        ]
    )
    return store


async def names(store: Store, asked: EventQuery) -> list[str]:
    page = await store.events.search(asked, 100)
    assert page.total == len(page.told)
    return [type(told.event).__name__ for told in page.told]


ALL = ["PolicyRejection", "Bounce", "Delivery", "Injection", "Injection"]


async def test_the_newest_comes_first_and_operators_and_others_are_not_there(log: Store) -> None:
    assert await names(log, query()) == ALL


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        pytest.param({"kinds": {"bounce", "delivery"}}, "Bounce Delivery", id="kinds"),
        pytest.param({"kinds": {"injection"}, "subaccounts": {PART}}, "Injection", id="two filters"),
        pytest.param({"subaccounts": {PART}}, "Bounce Injection", id="a subaccount"),
        pytest.param({"subaccounts": {0}}, "PolicyRejection Delivery Injection", id="the account itself"),
        pytest.param({"sending_ips": {OTHER_IP}}, "Bounce Injection", id="sending IP"),
        pytest.param({"sending_ips": {IP, OTHER_IP}}, "Bounce Delivery Injection Injection", id="IPs"),
        pytest.param({"sending_ips": {IpAddress("192.0.2.9")}}, "", id="another IP"),
        pytest.param({"bounce_classes": {10, 20}}, "Bounce", id="bounce class"),
        pytest.param({"recipients": {"BOB@b.example"}}, "Delivery Injection", id="recipient"),
        pytest.param({"recipients": {"x@y.test"}}, "PolicyRejection", id="recipient refused"),
        pytest.param({"recipient_domains": {"Y.test"}}, "PolicyRejection", id="domain refused"),
        pytest.param({"recipient_domains": {"C-D.example"}}, "Bounce Injection", id="recipient domain"),
        pytest.param({"from_addresses": {"news@ACME.test"}}, "Delivery Injection", id="From with a name"),
        pytest.param({"from_addresses": {"joe@joe.test"}}, "Bounce Injection", id="From alone, its own"),
        pytest.param({"from_addresses": {"max@max.test"}}, "", id="the From of other copies"),
        pytest.param({"from_addresses": {"oe@joe.test"}}, "", id="part of From"),
        pytest.param({"ip_pools": ("POOL",)}, "Delivery Injection", id="a word of the pool"),
        pytest.param({"ip_pools": ("my-pool",)}, "Delivery Injection", id="two words of the pool"),
        pytest.param({"ip_pools": ("pool_my",)}, "", id="words in another order"),
        pytest.param({"ip_pools": ("oo",)}, "", id="part of a word"),
        pytest.param({"ip_pools": ("x", "default")}, "Bounce Injection", id="one of two pools"),
        pytest.param({"ip_pools": (*map(str, range(30)), "1")}, "Delivery Injection", id="one of many"),
        pytest.param({"reasons": ("user",)}, "Bounce", id="a word of the reason"),
        pytest.param({"campaigns": ("friday",)}, "Delivery Injection", id="a word of the campaign"),
        pytest.param({"campaigns": ("fri",)}, "", id="part of it"),
        pytest.param({"campaigns": ("%",)}, "", id="no pattern"),
        pytest.param({"subjects": ("summer",)}, "Delivery Injection", id="a word of the subject"),
        pytest.param({"subjects": ("eve",)}, "Bounce Injection", id="a subject of its own"),
        pytest.param({"sending_domains": ("joe.test",)}, "Bounce Injection", id="sending domain, its own"),
        pytest.param({"sending_domains": ("max.test",)}, "", id="the sending domain of other copies"),
        pytest.param({"ids": {1}}, "Injection", id="id"),
        pytest.param({"ids": {99}}, "", id="another id"),
    ],
)
async def test_a_filter_lets_through_what_fits(log: Store, filters: dict[str, Any], found: str) -> None:
    given = {
        name: values if isinstance(values, tuple) else frozenset(values) for name, values in filters.items()
    }
    assert " ".join(await names(log, query(**given))) == found


async def test_events_are_found_by_message_and_transmission(log: Store) -> None:
    newest = (await log.events.search(query(kinds=frozenset({"bounce"})), 1)).told[0].event
    assert isinstance(newest, Bounce)
    message, transmission = newest.about.message_id, newest.about.transmission_id
    assert await names(log, query(messages=frozenset({message}))) == ["Bounce", "Injection"]
    assert await names(log, query(transmissions=frozenset({transmission}))) == ["Bounce", "Injection"]
    assert await names(log, query(transmissions=frozenset({TransmissionId("1")}))) == []
    others = replace(query(messages=frozenset({message})), account=AccountId(3))
    assert await names(log, others) == []


async def test_the_first_moment_is_in_and_the_last_is_not(log: Store) -> None:
    asked = replace(query(), since=NOW + SECOND, until=NOW + 3 * SECOND)
    assert await names(log, asked) == ["Delivery", "Injection"]


@pytest.mark.parametrize(
    "filters", [{}, {"ip_pools": ("default", "pool")}, {"sending_ips": frozenset({IP, OTHER_IP})}]
)
async def test_pages_join_to_the_whole_and_count_once(log: Store, filters: dict[str, Any]) -> None:
    whole = (await log.events.search(query(**filters), 100)).told
    seen: list[Told] = []
    place, totals = None, set()
    while True:
        page = await log.events.search(query(**filters), 1, place)
        seen += page.told
        totals.add(page.total)
        if (place := page.next) is None:
            break
    assert (tuple(seen), totals) == (whole, {len(whole)})


async def test_events_of_one_moment_are_told_apart_by_their_ids(store: Store) -> None:
    """A transmission's messages come to be at once."""
    messages = [build_message(f"r{number}@b.example") for number in range(5)]
    for message in messages:
        await store.queue.enqueue(build_batch(message))
    first = await store.events.search(query(), 2)
    rest = await store.events.search(query(), 10, first.next)
    ids = [told.id for told in (*first.told, *rest.told)]
    assert ids == sorted(ids, key=int, reverse=True)
    assert len(ids) == 5


async def test_a_place_behind_all_finds_nothing(log: Store) -> None:
    page = await log.events.search(query(), 10, EventPlace(0, 0, 5))
    assert (page.told, page.next, page.total) == ((), None, 5)
