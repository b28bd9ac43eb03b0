"""Transmissions in the store: each recipient becomes one message once, whatever ends in between."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.address import Mailbox
from relay.domain.directory import SendingIp
from relay.domain.errors import IdTaken, StaleDirectory
from relay.domain.events import Injection, Subject
from relay.domain.ids import AccountId, IpAddress, MessageId, PoolId, Revision, SubaccountId, TransmissionId
from relay.domain.message import Body, Options, Particulars
from relay.domain.resolve import Decision, Step
from relay.domain.transmission import (
    CHUNK,
    CampaignCancellation,
    Content,
    File,
    InlineContent,
    Progress,
    Recipient,
    Rejection,
    Rfc822Content,
    Routing,
    Transmission,
    TransmissionState,
    Verdict,
)
from relay.ports.transmissions import Made, TransmissionStanding
from relay.store import Store, open_store
from tests.store.conftest import (
    DECISION,
    EVERYTHING,
    NODE,
    SEEDED,
    WORKER,
    OpenStore,
    build_batch,
    build_submission,
    stray_bodies,
)
from tests.support.mail import ACCOUNT, IP, NOW, build_message

HOUR = timedelta(hours=1)
CONTENT = InlineContent("a@acme.test", "hello", text="Hello.")
ROUTING = Routing(DECISION, (SendingIp(IP, IP, "mta.example", weight=3),), 7)
HOLDER = "holder"


def build(number: int, num_rcpts: int = 1, **changes: object) -> Transmission:
    """A scheduled one, due an hour from NOW, with the id of that number."""
    made = Transmission(
        TransmissionId(f"{number:019}"),
        ACCOUNT,
        None,
        NOW,
        NOW + HOUR,
        True,
        "127.0.0.1",
        Options(),
        num_rcpts,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the tests name real fields


def recipients(number: int) -> list[Recipient]:
    return [Recipient(Mailbox(f"r{index}@b.example", "b.example")) for index in range(number)]


async def submitted(
    store: Store, transmission: Transmission, verdict: Verdict | None = None, content: Content = CONTENT
) -> Transmission:
    listed = recipients(transmission.num_rcpts)
    for first in range(0, len(listed), CHUNK):
        await store.transmissions.add_recipients(
            transmission.id, ACCOUNT, first, listed[first : first + CHUNK]
        )
    await store.transmissions.submit(transmission, content, verdict, SEEDED)
    return transmission


async def held(store: Store, holder: str = HOLDER, ttl_s: float = 60) -> list[TransmissionStanding]:
    return await store.transmissions.hold_due(holder, NOW + HOUR, ttl_s, 10)


def made(transmission: Transmission, position: int, count: int) -> Made:
    """One message for each of these recipients, with a body that they share."""
    messages = [
        replace(
            build_message(f"r{index}@b.example", transmission=transmission.id),
            body_id=build_message().body_id,
        )
        for index in range(position, position + count)
    ]
    messages = [replace(message, body_id=messages[0].body_id) for message in messages]
    events = [Injection(NOW, Subject.of(message)) for message in messages]
    submission = build_submission(messages[0]) if position == 0 else None
    bodies = [Body(messages[0].body_id, b"\r\nx\r\n")]
    return Made(transmission.id, position, position + count, submission, bodies, messages, events, 0)


async def progress(store: Store, transmission: Transmission) -> Progress:
    found = await store.transmissions.find(transmission.id)
    assert found is not None
    return found.progress


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        ROUTING,
        Rejection(
            Decision(PoolId("default"), (Step("R33", "nothing"),)), "550 5.7.1 IP Pool 'default' is empty"
        ),
    ],
    ids=["undecided", "routing", "rejection"],
)
async def test_a_transmission_comes_back_as_it_went_in(store: Store, verdict: Verdict | None) -> None:
    transmission = build(
        1,
        subaccount=SubaccountId(7),
        options=Options(ip_pool="News", campaign_id="autumn", metadata={"a": [1]}, transactional=True),
        description="for all",
        return_path="bounce@acme.test",
        substitution_data={"name": "ü"},
        substitutes=False,
        asked_options={"initial_open": True},
    )
    await submitted(store, transmission, verdict)
    state = TransmissionState.SUBMITTED if verdict is None else TransmissionState.GENERATING
    assert await store.transmissions.find(transmission.id) == TransmissionStanding(
        transmission, Progress(state), verdict
    )


@pytest.mark.parametrize(
    "content",
    [
        InlineContent(
            "a@acme.test",
            "s",
            "Acme",
            "t",
            "<p>",
            "<amp>",
            "r@acme.test",
            {"X-A": "1"},
            (File("a", "a/b", b"\x00\xff"),),
            (File("c", "image/png", b""),),
        ),
        Rfc822Content(b"Subject: \xff\r\n\r\n"),
    ],
    ids=["inline", "rfc822"],
)
async def test_content_comes_back_as_it_went_in(store: Store, content: Content) -> None:
    transmission = await submitted(store, build(1), content=content)
    assert await store.transmissions.content(transmission.id) == content
    assert await store.transmissions.content(TransmissionId("1")) is None


async def test_recipients_come_back_as_they_went_in_from_any_position(store: Store) -> None:
    first = Recipient(
        Mailbox("a@ü.example", "xn--tda.example"),
        "A",
        "t@b.example",
        "r@acme.test",
        ("x",),
        {"m": 1},
        {"s": None},
    )
    listed = [first, Recipient(first.mailbox, tags=("only",)), *recipients(CHUNK)]
    await store.transmissions.add_recipients(TransmissionId("1"), ACCOUNT, 0, listed[:CHUNK])
    await store.transmissions.add_recipients(TransmissionId("1"), ACCOUNT, CHUNK, listed[CHUNK:])
    assert await store.transmissions.recipients(TransmissionId("1"), 0) == listed[:CHUNK]
    assert await store.transmissions.recipients(TransmissionId("1"), CHUNK - 1) == listed[CHUNK - 1 : CHUNK]
    assert await store.transmissions.recipients(TransmissionId("1"), CHUNK + 1) == listed[CHUNK + 1 :]
    assert await store.transmissions.recipients(TransmissionId("1"), CHUNK + 2) == []
    assert await store.transmissions.recipients(TransmissionId("2"), 0) == []


async def test_an_id_is_submitted_once(store: Store) -> None:
    await submitted(store, build(1))
    with pytest.raises(IdTaken):
        await store.transmissions.add_recipients(build(1).id, ACCOUNT, 0, recipients(1))
    with pytest.raises(IdTaken):
        await store.transmissions.submit(build(1), CONTENT, None, SEEDED)


async def test_a_verdict_of_an_older_directory_is_not_stored(store: Store) -> None:
    with pytest.raises(StaleDirectory):
        await store.transmissions.submit(build(1), CONTENT, ROUTING, Revision(0))
    assert await store.transmissions.find(build(1).id) is None
    await submitted(store, build(1))
    with pytest.raises(StaleDirectory):
        await store.transmissions.decide(build(1).id, ROUTING, Revision(0))
    assert await store.transmissions.decide(build(1).id, ROUTING, SEEDED)
    assert not await store.transmissions.decide(build(1).id, ROUTING, SEEDED)


async def test_what_has_begun_goes_on_when_the_clock_is_set_back_before_its_time(store: Store) -> None:
    begun, scheduled = build(1, start=NOW), build(2, start=NOW)
    await submitted(store, begun, ROUTING)
    await submitted(store, scheduled)
    (found,) = await store.transmissions.hold_due(HOLDER, NOW - HOUR, 60, 10)
    assert found.transmission == begun


async def test_only_what_is_due_is_held_the_earliest_first(store: Store) -> None:
    late, early = build(1), build(2, start=NOW)
    for transmission in (late, early):
        await submitted(store, transmission)
    assert [one.transmission for one in await store.transmissions.hold_due(HOLDER, NOW, 60, 10)] == [early]
    assert [one.transmission for one in await held(store)] == [early, late]
    assert await store.transmissions.hold_due(HOLDER, NOW + HOUR, 60, 0) == []
    assert await store.transmissions.next_start(NOW) == NOW + HOUR
    assert await store.transmissions.next_start(NOW + HOUR) is None


async def test_what_a_living_process_holds_is_its_own_and_what_a_dead_one_held_is_free(
    store: Store, open_another: OpenStore
) -> None:
    """By the lock that a process cannot keep when it dies, well before the lease ends."""
    other = await open_another("w2")
    await submitted(store, build(1, 2), ROUTING)
    (standing,) = await held(other, "w2", ttl_s=3600)
    assert await held(store) == []
    assert await other.transmissions.advance(made(standing.transmission, 0, 1), "w2", NOW)
    await other.close()
    (again,) = await held(store)
    assert again.progress.position == 1
    assert await store.transmissions.advance(made(again.transmission, 1, 1), HOLDER, NOW)


async def test_whoever_holds_transmissions_alone_has_no_share_in_lanes(store: Store, store_url: str) -> None:
    await store.queue.hold_lanes(WORKER, NODE, 3600, 10)
    before = await store.queue.fair_share(NODE)
    async with await open_store(store_url) as other:
        await held(other, "api alone")
        assert await store.queue.fair_share(NODE) == before == 2


async def test_one_holder_at_a_time(store: Store, open_another: OpenStore) -> None:
    other = await open_another("w2")
    await submitted(store, build(1))
    assert len(await held(store, "a")) == 1
    assert await held(other, "b") == []
    await store.transmissions.release("a")
    assert len(await held(other, "b", ttl_s=0)) == 1
    assert len(await held(store, "a")) == 1, "a lease that has run out is free"


async def test_messages_and_position_move_together(store: Store, store_url: str) -> None:
    transmission = await submitted(store, build(1, 3), ROUTING)
    await held(store)
    assert await store.transmissions.advance(made(transmission, 0, 2), HOLDER, NOW)
    assert await progress(store, transmission) == Progress(TransmissionState.GENERATING, 2, 2, 0, NOW)
    last = replace(made(transmission, 2, 1), num_failed=1, messages=[], bodies=[], events=[])
    assert await store.transmissions.advance(last, HOLDER, NOW + HOUR)
    assert await progress(store, transmission) == Progress(
        TransmissionState.SUCCESS, 3, 2, 1, NOW, NOW + HOUR
    )
    assert [one.rcpt_to for one in await store.queue.select(EVERYTHING, 10)] == [
        "r0@b.example",
        "r1@b.example",
    ]
    assert await store.transmissions.recipients(transmission.id, 0) == []
    assert await held(store) == []
    assert stray_bodies(store_url) == 0


@pytest.mark.parametrize("why", ["again", "not ours", "cancelled"])
async def test_what_was_made_for_nothing_leaves_no_trace(store: Store, store_url: str, why: str) -> None:
    campaign = Options(campaign_id="autumn")
    transmission = await submitted(store, build(1, 3, options=campaign), ROUTING)
    await held(store)
    first = made(transmission, 0, 2)
    assert await store.transmissions.advance(first, HOLDER, NOW)
    if why == "cancelled":
        await store.transmissions.cancel_campaign(CampaignCancellation(0, ACCOUNT, None, "autumn", NOW))
    again = made(transmission, 0 if why == "again" else 2, 1)
    assert not await store.transmissions.advance(again, "b" if why == "not ours" else HOLDER, NOW)
    assert await store.queue.count(EVERYTHING) == 2
    assert stray_bodies(store_url) == 0
    assert len(await store.events.of_transmission(transmission.id)) == 2


async def test_two_holders_that_both_think_it_theirs_make_each_message_once(store: Store) -> None:
    transmission = await submitted(store, build(1, 4), ROUTING)
    await held(store)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(store.transmissions.advance(made(transmission, 0, 2), HOLDER, NOW))
    assert await store.queue.count(EVERYTHING) == 2


async def test_used_recipients_go_with_their_messages(store: Store, store_url: str) -> None:
    transmission = await submitted(store, build(1, 2 * CHUNK + 1), ROUTING)
    await held(store)

    def rows() -> list[int]:
        with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
            return [
                row[0] for row in connection.execute("SELECT first FROM transmission_recipients ORDER BY 1")
            ]

    assert await store.transmissions.advance(made(transmission, 0, CHUNK - 1), HOLDER, NOW)
    assert rows() == [0, CHUNK, 2 * CHUNK]
    assert await store.transmissions.advance(made(transmission, CHUNK - 1, 2), HOLDER, NOW)
    assert rows() == [CHUNK, 2 * CHUNK]


async def test_an_immediate_one_is_forgotten_when_it_is_done(store: Store) -> None:
    transmission = await submitted(store, build(1, is_scheduled=False), ROUTING)
    await held(store)
    assert await store.transmissions.advance(made(transmission, 0, 1), HOLDER, NOW)
    assert await store.transmissions.find(transmission.id) is None
    assert await store.transmissions.content(transmission.id) is None
    assert await store.queue.count(EVERYTHING) == 1


async def test_a_list_has_scheduled_ones_that_did_not_end_long_ago(store: Store) -> None:
    coming, done, immediate = build(1), build(2), build(3, is_scheduled=False)
    for transmission in (coming, done, immediate):
        await submitted(store, transmission)
    assert await store.transmissions.cancel(done.id, NOW)
    assert not await store.transmissions.cancel(done.id, NOW)
    assert [one.transmission for one in await store.transmissions.listed(ACCOUNT, NOW)] == [coming, done]
    assert [one.transmission for one in await store.transmissions.listed(ACCOUNT, NOW + HOUR)] == [coming]
    assert (await progress(store, done)).state is TransmissionState.CANCELED
    assert await store.transmissions.recipients(done.id, 0) == []


async def test_a_campaign_is_cancelled_for_its_owner_alone(store: Store) -> None:
    campaign = Options(campaign_id="autumn")
    mine, other, part = (
        build(1, options=campaign),
        build(2, options=Options(campaign_id="spring")),
        build(3, options=campaign, subaccount=SubaccountId(7)),
    )
    for transmission in (mine, other, part):
        await submitted(store, transmission)
    message = build_message()
    batch = build_batch(message)
    await store.queue.enqueue(replace(batch, submission=replace(batch.submission, options=campaign)))
    await store.queue.enqueue(build_batch())
    await store.transmissions.cancel_campaign(CampaignCancellation(0, ACCOUNT, None, "autumn", NOW))
    (wish,) = await store.transmissions.cancellations()
    assert [(await progress(store, one)).state.value for one in (mine, other, part)] == [
        "Canceled",
        "submitted",
        "submitted",
    ]
    assert await store.transmissions.mail_of(wish, MessageId(""), 10) == [message]
    assert await store.transmissions.mail_of(wish, message.id, 10) == []
    assert await store.transmissions.mail_of(replace(wish, asked=NOW - HOUR), MessageId(""), 10) == []
    assert (
        await store.transmissions.mail_of(replace(wish, subaccount=SubaccountId(7)), MessageId(""), 10) == []
    )
    await store.transmissions.close(wish)
    assert await store.transmissions.cancellations() == []


async def test_old_ones_are_forgotten_and_so_is_what_was_never_submitted(store: Store) -> None:
    done, coming = await submitted(store, build(5)), await submitted(store, build(6))
    await store.transmissions.cancel(done.id, NOW)
    for number in (3, 99):
        await store.transmissions.add_recipients(TransmissionId(f"{number}"), ACCOUNT, 0, recipients(1))
    assert await store.transmissions.forget(NOW, TransmissionId("50")) == 1, "the lost one"
    assert await store.transmissions.forget(NOW + HOUR, TransmissionId("50")) == 1, "the old one"
    assert await store.transmissions.find(done.id) is None
    assert await store.transmissions.find(coming.id) is not None
    assert len(await store.transmissions.recipients(TransmissionId("99"), 0)) == 1
    assert await store.transmissions.recipients(TransmissionId("3"), 0) == []


@pytest.mark.parametrize(
    "own",
    [
        Particulars("Hi Bob", {"m": {"deep": None}}, ("a",)),
        Particulars("", {}, (), "b@own.test", "Bob <b@own.test>", "own.test"),
    ],
)
async def test_what_is_particular_to_a_message_comes_back(store: Store, own: Particulars) -> None:
    message = replace(build_message(), particulars=own)
    await store.queue.enqueue(build_batch(message))
    (stored,) = await store.queue.select(EVERYTHING, 1)
    assert stored == message
    (told,) = await store.events.story(message.id)
    assert told.event == Injection(NOW, Subject.of(message))
    assert told.submission == build_batch(message).submission.of_copy(own)


async def test_an_ip_that_a_transmission_will_send_from_counts_as_busy(store: Store, store_url: str) -> None:
    """Its recipients hold no message yet, but the decision is theirs already (R27)."""
    from relay.store.sqlite.statements import SQL

    await submitted(store, build(1), ROUTING)
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
        for ip, is_busy in ((IP, 1), (IpAddress("127.0.0.99"), 0)):
            assert connection.execute(SQL["ip_has_mail"], {"ip": ip}).fetchone() == (is_busy,)
        assert connection.execute(SQL["account_has_mail"], (ACCOUNT,)).fetchone() == (1,)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        pytest.param({"options": Options(ip_pool="News")}, True, id="names it, in another case"),
        pytest.param({"options": Options(ip_pool="other")}, False, id="names another"),
        pytest.param({}, False, id="names none"),
        pytest.param({"subaccount": SubaccountId(3)}, True, id="names none, and its subaccount has it"),
        pytest.param({"subaccount": SubaccountId(4)}, False, id="names none, and its subaccount has another"),
        pytest.param(
            {"subaccount": SubaccountId(3), "options": Options(ip_pool="other")},
            False,
            id="bound, names another",
        ),
        pytest.param(
            {"account": AccountId(2), "options": Options(ip_pool="news")}, False, id="another account"
        ),
        pytest.param({"is_scheduled": False, "options": Options(ip_pool="news")}, False, id="immediate"),
    ],
)
async def test_those_that_will_look_for_a_pool_are_counted(
    store: Store, changes: dict[str, Any], counts: bool
) -> None:
    """R30, R31: what the deletion of a pool would send to the default pool."""
    transmission = await submitted(store, build(1, **changes))
    bound = [SubaccountId(3)]
    assert await store.transmissions.undecided(ACCOUNT, PoolId("news"), bound) == int(counts)
    await store.transmissions.cancel(transmission.id, NOW)
    assert await store.transmissions.undecided(ACCOUNT, PoolId("news"), bound) == 0
