"""Finding events without counting them: the same as the search, however much was summarised."""

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.domain.events import Bounce, Delivery, Event, Injection, Operated, PolicyRejection, Subject
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId, TransmissionId
from relay.domain.message import Options, Particulars
from relay.ports.eventlog import EventQuery
from relay.store import Store
from relay.store.sqlite.event_blocks import BLOCK
from relay.store.sqlite.eventlog import SqliteEventLog
from tests.store.conftest import HOUR, MINUTE, OTHER_IP, PEER, OpenStore, build_batch
from tests.support.mail import ACCOUNT, IP, NOW, build_message

OTHER = AccountId(2)
PART = SubaccountId(7)


def query(account: AccountId | None = ACCOUNT, **filters: Any) -> EventQuery:
    given: dict[str, Any] = {
        name: value if isinstance(value, tuple) else frozenset(value) for name, value in filters.items()
    }
    return EventQuery(account, NOW - HOUR, NOW + 9 * HOUR, **given)


def own_of(index: int) -> Particulars | None:
    if index % 7 == 0:
        return Particulars(subject=f"For user-{index} only")
    if index % 11 == 0:
        return Particulars(friendly_from=f"Own <own{index}@Own.test>", sending_domain=f"own-{index}.test")
    return None


async def fill(store: Store, number: int = 3 * BLOCK + 100) -> None:
    """So many events about sixty messages; one rare thing of each kind is told of in the oldest block."""
    chance = random.Random(8)
    subjects = []
    for index in range(60):
        message = build_message(f"User{index}@D{index % 9}.example", ip=(IP, OTHER_IP)[index % 2])
        message = replace(
            message,
            domain=message.domain.lower(),
            account=(ACCOUNT, OTHER)[index % 5 == 0],
            subaccount=PART if index % 3 == 0 else None,
            pin=replace(message.pin, pool=PoolId(f"pool_{index % 4}")),
            particulars=own_of(index),
        )
        batch = build_batch(message)
        told = replace(
            batch.submission,
            subject=f"Offer {index % 6}: caf\u00e9 \udcff",
            friendly_from=f"Shop <Shop{index % 3}@acme.test>",
            sending_domain=f"s{index % 3}.acme.test",
            options=Options(campaign_id=f"Spring-{index % 5}"),
        )
        await store.queue.enqueue(replace(batch, submission=told))
        subjects.append(Subject.of(message))
    rare = replace(subjects[1], rcpt_to="Rare@one.example", sending_ip=IpAddress("127.0.0.99"))
    refusal = PolicyRejection(NOW, ACCOUNT, None, "192.0.2.1", "a@b.test", "x@y.test", 25, 550, "550 not-so")
    events: list[Event] = [Injection(NOW, rare), refusal]
    while len(events) < number - 60:
        about, at = chance.choice(subjects), NOW + len(events) * timedelta(seconds=5)
        match chance.randrange(8):
            case 0:
                events.append(Bounce(at, about, 0, 1, PEER, 10, 550, f"550 5.1.1 unknown user {len(events)}"))
            case 1:
                events.append(Operated(at, about, "hold", "jane"))
            case _:
                events.append(Delivery(at, about, 0, 1, PEER, "250 Ok"))
    await store.events.append(events)


async def found(store: Store, asked: EventQuery, limit: int = 100) -> list[int]:
    """The ids of all pages, joined."""
    ids: list[int] = []
    after = None
    while True:
        page = await store.events.find(asked, limit, after)
        ids += [int(told.id) for told in page.told]
        assert page.is_cut or page.next is None or len(page.told) == limit
        if (after := page.next) is None:
            return ids


async def searched(store: Store, asked: EventQuery) -> list[int]:
    page = await store.events.search(asked, 100_000)
    return sorted((int(told.id) for told in page.told), reverse=True)


QUERIES: dict[str, EventQuery] = {
    "nothing asked": query(),
    "all accounts": query(None),
    "recipient": query(recipients={"USER7@d7.example"}),
    "recipient of another account": query(recipients={"user5@d5.example"}),
    "rare recipient": query(recipients={"rare@ONE.example"}),
    "no recipient": query(recipients={"user7@d8.example"}),
    "domain": query(recipient_domains={"D3.example"}),
    "ip": query(sending_ips={OTHER_IP}),
    "rare ip": query(None, sending_ips={"127.0.0.99"}),
    "pool": query(ip_pools=("pool_3",)),
    "word of the pool": query(None, ip_pools=("2",)),
    "campaign": query(campaigns=("spring", "summer")),
    "subject": query(subjects=("offer 4:",)),
    "subject of its own": query(subjects=("user 7 only",)),
    "subject beside what is no text": query(subjects=("café",)),
    "kind": query(kinds={"bounce"}),
    "rare kind": query(kinds={"policy_rejection"}),
    "no kind": query(kinds={"delay"}),
    "operated": query(kinds={"operated"}),
    "from": query(from_addresses={"shop2@ACME.test"}),
    "whole from": query(from_addresses={"shop <shop1@acme.test>"}),
    "no from": query(from_addresses={"hop1@acme.test"}),
    "reason": query(reasons=("unknown user",)),
    "rare reason": query(reasons=("so",)),
    "words of a reason in another order": query(reasons=("user unknown",)),
    "from of its own": query(from_addresses={"OWN22@own.test"}),
    "sending domain of its own": query(sending_domains=("22.test",)),
    "sending domain": query(sending_domains=("s1.acme.test",)),
    "subaccount": query(subaccounts={PART}, recipient_domains={"d3.example"}),
    "the account itself": query(subaccounts={0}, kinds={"bounce"}),
    "class": query(bounce_classes={25, 99}),
    "empty word": query(reasons=("",)),
    "two": query(kinds={"bounce"}, campaigns=("spring-2",)),
    "none together": query(recipients={"user7@d7.example"}, campaigns=("spring-3",)),
}


@pytest.fixture
async def log(store: Store) -> Store:
    await fill(store)
    return store


async def test_found_is_what_the_search_finds_before_and_after_summaries(log: Store) -> None:
    before = {name: await found(log, asked) for name, asked in QUERIES.items()}
    assert await log.events.summarise() == 3
    assert await log.events.summarise() == 0
    after = {name: await found(log, asked) for name, asked in QUERIES.items()}
    assert after == before
    expected = {name: await searched(log, asked) for name, asked in QUERIES.items()}
    assert after == expected
    nothing = {name for name, ids in after.items() if not ids}
    assert nothing == {
        *("recipient of another account", "no recipient", "no kind", "no from"),
        *("words of a reason in another order", "empty word", "none together"),
    }


async def test_a_lease_from_before_the_clock_was_set_back_stops_no_summaries(
    log: Store, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "store" / "relay.db")) as other, other:
        (now_us,) = other.execute("SELECT unixepoch() * 1000000").fetchone()
        for ahead_s, done in ((30, 0), (30 * 86400, 3)):
            other.execute("UPDATE event_block_lease SET until_us = ?", (now_us + ahead_s * 1_000_000,))
            other.execute("UPDATE event_block_lease SET holder = 'one that died'")
            other.commit()
            assert await log.events.summarise() == done


async def test_the_search_counts_the_same_with_summaries(log: Store) -> None:
    before = {name: await searched(log, asked) for name, asked in QUERIES.items()}
    while await log.events.summarise():
        pass
    assert {name: await searched(log, asked) for name, asked in QUERIES.items()} == before
    rare = await log.events.search(QUERIES["rare recipient"], 10)
    assert (rare.total, len(rare.told), rare.next) == (1, 1, None)


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_pages_of_what_was_found_join(log: Store, limit: int) -> None:
    await log.events.summarise()
    asked = query(kinds={"bounce"}, recipient_domains={"d3.example"})
    assert await found(log, asked, limit) == await searched(log, asked)


async def test_a_page_ends_when_its_time_is_up_and_the_next_goes_on(log: Store) -> None:
    events = log.events
    assert isinstance(events, SqliteEventLog)
    await events.summarise()
    ids: list[int] = []
    after, cuts = None, 0
    asked = query(kinds={"bounce"}, recipient_domains={"d3.example"})
    while True:
        page = await events.find(asked, 100_000, after, budget_s=0)
        ids += [int(told.id) for told in page.told]
        cuts += page.is_cut
        if (after := page.next) is None:
            break
    assert cuts == 3
    assert ids == await searched(log, asked)


async def test_a_message_and_a_transmission_are_found_by_their_indexes(store: Store) -> None:
    one, two = build_message(), build_message()
    for message in (one, two):
        await store.queue.enqueue(build_batch(message))
    deliveries = [Delivery(NOW + MINUTE, Subject.of(one), 0, 1, PEER, "250 Ok") for _ in range(5000)]
    await store.events.append(deliveries)
    for asked in (query(messages={one.id}), query(transmissions={one.transmission_id, "1"})):
        ids = await found(store, asked, 777)
        assert ids == await searched(store, asked)
        assert len(ids) == 5001
    assert await found(store, query(transmissions={one.transmission_id}, kinds={"injection"})) == [1]
    assert await found(store, query(OTHER, messages={one.id})) == []
    assert await found(store, query(ids={2, 3})) == [3, 2]
    assert await found(store, query(transmissions={TransmissionId("77")})) == []


async def test_time_bounds_hold_across_blocks(log: Store) -> None:
    await log.events.summarise()
    for since, until in ((0, 1), (60, 90), (200, 201), (300, 400)):
        asked = replace(query(), since=NOW + since * MINUTE, until=NOW + until * MINUTE)
        assert await found(log, asked) == await searched(log, asked)


async def test_events_that_were_trimmed_are_not_looked_for(log: Store) -> None:
    await log.events.summarise()
    await log.events.trim(NOW + 100 * MINUTE)
    for asked in QUERIES.values():
        assert await found(log, asked) == await searched(log, asked)
    assert await log.events.summarise() == 0


async def test_one_process_summarises_at_a_time(log: Store, open_another: OpenStore) -> None:
    other = await open_another("w2")
    assert await log.events.summarise() == 3
    await log.events.append([Injection(NOW, Subject.of(build_message())) for _ in range(BLOCK)])
    assert await other.events.summarise() == 0
    assert await log.events.summarise() == 1


async def test_words_beyond_number_hide_nothing(store: Store) -> None:
    """A block says that it may have any, where noting them all would take too much room."""
    about = Subject.of(build_message())
    await store.events.append(
        [
            Bounce(NOW, about, 0, 1, PEER, 10, 550, " ".join(f"w{at * 20 + word}" for word in range(20)))
            for at in range(BLOCK)
        ]
    )
    assert await store.events.summarise() == 1
    assert await found(store, query(reasons=("w777",))) == [777 // 20 + 1]
    odd = "<<<<<a@b.test>>>>>"
    message = build_message()
    batch = build_batch(message)
    submission = replace(batch.submission, friendly_from=odd)
    await store.queue.enqueue(replace(batch, submission=submission))
    await store.events.append([Injection(NOW, about) for _ in range(BLOCK)])
    assert await store.events.summarise() == 1
    assert await found(store, query(from_addresses={"<a@b.test>"})) == [BLOCK + 1]
