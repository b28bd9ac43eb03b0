"""Transmissions from their acceptance to the last message, with whatever dies in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.accept.budget import BodyBudget
from relay.accept.chunk import MAX_CHUNK_BYTES
from relay.accept.draft import Draft, EstimateTooLarge
from relay.accept.ids import Ids
from relay.accept.scheduled import DueTransmissions
from relay.accept.transmit import AT_ONCE, Transmitter
from relay.accept.turns import Turns
from relay.accept.workshop import Workshop
from relay.domain.address import parse_mailbox
from relay.domain.changes import Put, Remove
from relay.domain.directory import Account, Plan, Principal, SendingIp
from relay.domain.errors import NoFreeId, StoreUnavailable, UnknownObject
from relay.domain.events import GenerationFailure, GenerationRejection, Injection
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, PoolId, SubaccountId, TransmissionId
from relay.domain.message import Message, Options
from relay.domain.retry import RetryPolicy
from relay.domain.transmission import (
    CHUNK,
    Content,
    InlineContent,
    NotCancellable,
    Recipient,
    Rfc822Content,
    Transmission,
    TransmissionState,
)
from relay.frames.live import LiveDirectory
from relay.mail.budget import OverBudget
from relay.mail.compose import BadPart
from relay.net.ambient import SystemEntropy
from relay.ports.queue import MailFilter
from relay.ports.sandbox import Sandbox
from relay.ports.transmissions import TransmissionStanding
from relay.process.scheduler import Scheduler
from relay.store import Store, open_store
from relay.testing.clock import HandMovedClock
from relay.testing.waiting import eventually
from tests.service.test_inject import NoLane, Repeating
from tests.support.sandbox import Here

ACME = AccountId(1)
IPS = tuple(IpAddress(f"127.0.0.1{number}") for number in range(1, 4))
CONTENT = InlineContent("a@acme.test", "Hello {{email}}", text="Hello.")
PERSONAL = InlineContent("a@acme.test", "Hello", text="Hello {{email}}.")


class World:
    """One store, and processes that come and go around it."""

    def __init__(self, store: Store, live: LiveDirectory) -> None:
        self.store, self.live = store, live
        self.clock = HandMovedClock()
        self.news = asyncio.Event()
        self.ids = Ids(self.clock, SystemEntropy())
        self.budget = BodyBudget(1 << 30)

    def transmitter(self, ids: Ids | None = None, sandbox: Sandbox | None = None) -> Transmitter:
        return Transmitter(
            self.store.transmissions,
            self.store.queue,
            self.live,
            NoLane(),
            self.clock,
            ids or self.ids,
            RetryPolicy(),
            "relay.test",
            Turns(),
            self.news,
            Workshop(sandbox or Here(), self.store.suppressions, self.clock, self.ids, self.budget),
        )

    def due(self, holder: str = "a", sandbox: Sandbox | None = None) -> DueTransmissions:
        return DueTransmissions(
            self.store.transmissions,
            self.store.queue,
            self.live,
            self.transmitter(sandbox=sandbox),
            self.clock,
            RetryPolicy(),
            holder,
        )

    async def held(self, holder: str = "a", ttl_s: float = 60) -> TransmissionStanding:
        (found,) = await self.store.transmissions.hold_due(holder, self.clock.now(), ttl_s, 10)
        return found

    async def messages(self) -> list[Message]:
        return await self.store.queue.select(MailFilter(None), 100_000)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An account with three IPs in its default pool, the first of double weight."""
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as store:
        clock = HandMovedClock()
        live = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
        ips = [
            SendingIp(ip, ip, f"mta.{ip}", weight=2 if ip == IPS[0] else 1, account=ACME, pool=DEFAULT_POOL)
            for ip in IPS
        ]
        await live.apply([Put(Account(ACME, "Acme", Plan.SELF_SERVE)), *map(Put, ips)], "t")
        yield World(store, live)


def draft(number: int, content: Content = CONTENT, **changes: object) -> Draft:
    recipients = [Recipient(parse_mailbox(f"r{index}@b.example")) for index in range(number)]
    made = Draft(Principal(ACME), "127.0.0.1", Options(), content, recipients)
    return replace(made, **changes)  # type: ignore[arg-type] # the tests name real fields


async def test_recipient_i_takes_the_ith_turn_by_weight(world: World) -> None:
    transmitter = world.transmitter()
    for _ in range(2):
        await transmitter.accept(draft(8))
    sources = Counter(message.pin.ip for message in await world.messages())
    assert sources == {IPS[0]: 8, IPS[1]: 4, IPS[2]: 4}
    turns = [
        message.pin.ip
        for message in sorted(
            await world.messages(), key=lambda one: (one.transmission_id, int(one.rcpt_to[1:-10]))
        )
    ]
    assert turns[:4] == turns[4:8] == turns[8:12] == turns[12:]


async def test_a_killed_process_neither_loses_nor_doubles_a_message(world: World) -> None:
    """Between any two transactions: the next holder goes on where the position stands."""
    number = 3 * CHUNK + 7
    id_ = await world.transmitter().accept(draft(number, PERSONAL))
    for life in range(10):
        due, holder = world.due(f"life {life}"), f"life {life}"
        standing = await world.held(holder, ttl_s=0)
        if life % 2:
            await due.step(standing)
        # Dead after it made messages and before they were stored.
        transmitter = world.transmitter()
        found = await world.store.transmissions.find(id_)
        if found is None:
            break
        assert found.verdict is not None
        content = await world.store.transmissions.content(id_)
        assert content is not None
        plant = transmitter.plant(
            found.transmission,
            content,
            await transmitter.workshop.compose(ACME, content, id_, True),
            found.verdict,
            world.live.snapshot,
        )
        listed = await world.store.transmissions.recipients(id_, found.progress.position)
        async with transmitter.workshop.made(plant, listed, found.progress.position) as made:
            assert made.next - made.position == len(listed)
    told = await world.store.events.of_transmission(id_)
    injected = Counter(one.event.about.rcpt_to for one in told if isinstance(one.event, Injection))
    assert injected == {f"r{index}@b.example": 1 for index in range(number)}
    assert Counter(message.rcpt_to for message in await world.messages()) == injected
    assert len({message.id for message in await world.messages()}) == number


async def test_a_cancelled_step_leaves_all_or_nothing(world: World) -> None:
    id_ = await world.transmitter().accept(draft(2 * CHUNK))
    standing = await world.held()
    for patience in range(6):
        task = asyncio.ensure_future(world.due().step(standing))
        for _ in range(patience):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await world.store.transmissions.recipients(id_, 0)
    found = await world.store.transmissions.find(id_)
    assert found is not None
    assert len(await world.messages()) == found.progress.position == found.progress.num_generated


async def test_what_was_made_under_a_lost_lease_is_thrown_away(world: World) -> None:
    await world.transmitter().accept(draft(CHUNK + 1))
    slow = await world.held("slow", ttl_s=0)
    quick = await world.held("quick")
    await world.due("quick").step(quick)
    await world.due("slow").step(slow)
    assert len(await world.messages()) == CHUNK


async def test_large_bodies_make_small_steps(world: World) -> None:
    text = "x" * (MAX_CHUNK_BYTES // 2) + "{{email}}"
    await world.transmitter().accept(draft(AT_ONCE + 1, InlineContent("a@acme.test", "s", text=text)))
    due = world.due()
    await due.step(await world.held())
    assert len(await world.messages()) == 2
    await due.step(await world.held())
    assert len(await world.messages()) == 4


async def test_an_immediate_transmission_that_becomes_too_much_is_made_step_by_step(world: World) -> None:
    text = "x" * (MAX_CHUNK_BYTES // 2) + "{{email}}"
    id_ = await world.transmitter().accept(draft(5, InlineContent("a@acme.test", "s", text=text)))
    assert await world.messages() == []
    standing = await world.held()
    assert standing.transmission.id == id_
    await world.due().step(standing)
    assert len(await world.messages()) == 2


async def test_a_rendering_that_takes_long_is_made_beside_the_loop_and_few_at_a_time(world: World) -> None:
    content = InlineContent("a@acme.test", "s", text="{{each numbers}}{{if none}}{{end}}{{end}}")
    data = {"numbers": [0] * 20_000}
    await world.transmitter().accept(draft(AT_ONCE, content, substitution_data=data))
    await world.due().step(await world.held())
    made = len(await world.messages())
    assert 1 < made < AT_ONCE, "each takes some tens of thousands of steps, a transaction two million"


async def test_a_rendering_that_takes_too_long_is_refused_or_told(world: World) -> None:
    content = InlineContent("a@acme.test", "s", text="{{each a}}{{each a}}{{end}}{{end}}")
    data = {"a": [0] * 2_000}
    with pytest.raises(OverBudget, match="1,000,000 steps"):
        await world.transmitter().accept(draft(1, content, substitution_data=data))
    await world.transmitter().accept(draft(2, content, substitution_data=data))
    assert await world.messages() == []


_REFUSED = GenerationRejection | GenerationFailure


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (InlineContent("a@acme.test, b@acme.test", "s", text="t"), "From is not one mailbox"),
        (InlineContent("a@acme.test", "{{if", text="t"), "the content cannot be composed"),
        (InlineContent("a@acme.test", "s", text="t", reply_to="a@b," * 50_000), "more than 1,000,000 steps"),
        (Rfc822Content(b"From: a@acme.test\r\nContent-Type: multipart/mixed\r\n\r\n"), "cannot be composed"),
    ],
)
async def test_a_content_that_another_version_took_is_refused_to_all_at_its_time(
    world: World, content: Content, reason: str
) -> None:
    id_, now = world.ids.transmission_id(), world.clock.now()
    asked = Transmission(id_, ACME, None, now, now, True, "", Options(), 2)
    await world.store.transmissions.add_recipients(id_, AccountId(1), 0, draft(2).recipients)
    await world.store.transmissions.submit(asked, content, None, world.live.snapshot.revision)
    await world.due().step(await world.held())
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    assert [reason in event.raw_reason for event in told if isinstance(event, _REFUSED)] == [True] * 2
    assert await world.messages() == []


async def test_smtputf8_is_for_local_parts_alone(world: World) -> None:
    """Everything else can be said in A-labels and encoded words (RFC 6531 §3.2)."""
    message = Rfc822Content("From: a@acme.test\r\nSubject: Grüße\r\n\r\nx".encode())
    for address in ("bob@nümlaut.example", "bøb@nümlaut.example"):
        await world.transmitter().accept(draft(1, message, recipients=[Recipient(parse_mailbox(address))]))
    found = {one.rcpt_to: one.smtputf8 for one in await world.messages()}
    assert found == {"bob@xn--nmlaut-3ya.example": False, "bøb@xn--nmlaut-3ya.example": True}


async def test_bodies_are_shared_where_they_can_be(world: World) -> None:
    await world.transmitter().accept(draft(5))
    assert len({message.body_id for message in await world.messages()}) == 1
    await world.transmitter().accept(draft(5, PERSONAL))
    assert len({message.body_id for message in await world.messages()}) == 6


async def test_the_scheduler_makes_everything_and_gives_up_its_holds(world: World) -> None:
    stopping = asyncio.Event()
    scheduler = Scheduler(world.due(), world.store.transmissions, world.clock, "a", world.news)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scheduler.run(stopping))
        transmitter = world.transmitter()
        await transmitter.accept(draft(2 * CHUNK))
        soon = world.clock.now() + timedelta(minutes=5)
        scheduled = await transmitter.accept(draft(3, start=soon))

        async def made(number: int) -> bool:
            return len(await world.messages()) == number

        assert await eventually(lambda: made(2 * CHUNK))
        world.clock.advance(minutes=5)
        assert await eventually(lambda: made(2 * CHUNK + 3))
        found = await world.store.transmissions.find(scheduled)
        assert found is not None
        assert found.progress.state is TransmissionState.SUCCESS
        stopping.set()
    world.clock.advance(days=2)


class Failing(DueTransmissions):
    """Fails on one transmission as only a bug can."""

    bad: TransmissionId | None = None

    async def step(self, standing: TransmissionStanding) -> None:
        if standing.transmission.id == self.bad:
            raise KeyError("a bug")
        await super().step(standing)


async def test_one_that_fails_holds_up_no_other(world: World) -> None:
    due = Failing(
        world.store.transmissions,
        world.store.queue,
        world.live,
        world.transmitter(),
        world.clock,
        RetryPolicy(),
        "a",
    )
    stopping = asyncio.Event()
    due.bad = await world.transmitter().accept(draft(CHUNK))
    scheduler = Scheduler(due, world.store.transmissions, world.clock, "a", world.news)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scheduler.run(stopping))
        other = await world.transmitter().accept(draft(CHUNK))

        async def done() -> bool:
            return await world.store.transmissions.find(other) is None

        assert await eventually(done)
        assert await world.store.transmissions.find(due.bad) is not None
        due.bad = None
        world.clock.advance(seconds=60)

        async def all_made() -> bool:
            return len(await world.messages()) == 2 * CHUNK

        assert await eventually(all_made)
        stopping.set()


class Down:
    """A store that does not answer for a while."""

    def __init__(self, store: Store) -> None:
        self._store = store.transmissions
        self.is_down = True

    def __getattr__(self, name: str) -> object:
        if self.is_down:
            raise StoreUnavailable
        return getattr(self._store, name)


async def test_a_store_that_is_down_is_asked_again(world: World) -> None:
    await world.transmitter().accept(draft(CHUNK))
    down, stopping = Down(world.store), asyncio.Event()
    scheduler = Scheduler(world.due(), down, world.clock, "a", world.news)  # type: ignore[arg-type] # a stand-in
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scheduler.run(stopping))
        await world.clock.settle()
        down.is_down = False
        world.clock.advance(seconds=30)

        async def made() -> bool:
            return len(await world.messages()) == CHUNK

        assert await eventually(made)
        down.is_down = True
        stopping.set()


# ── accepting ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [1, AT_ONCE + 1], ids=["at once", "in steps"])
async def test_a_decision_is_taken_again_when_the_directory_moved_on(world: World, number: int) -> None:
    """The pool as it is when the mail is accepted."""
    other = LiveDirectory(world.store.directory, await world.store.directory.snapshot(), world.clock)
    pool = SendingIp(IpAddress("127.0.0.9"), IpAddress("127.0.0.9"), "x", account=ACME, pool=DEFAULT_POOL)
    gone = [Remove(world.live.snapshot.ips[ip]) for ip in IPS]
    await other.apply([*gone, Put(pool)], "another process")
    await world.transmitter().accept(draft(number))
    if number > AT_ONCE:
        await world.due().step(await world.held())
    assert {message.pin.ip for message in await world.messages()} == {"127.0.0.9"}


async def test_a_refusal_of_an_older_directory_is_taken_back(world: World) -> None:
    other = LiveDirectory(world.store.directory, await world.store.directory.snapshot(), world.clock)
    await other.apply([Put(replace(world.live.snapshot.ips[IPS[0]], pool=PoolId("new")))], "another process")
    await world.transmitter().accept(draft(1, options=Options(ip_pool="new")))
    assert [message.pin.ip for message in await world.messages()] == [IPS[0]]


class Restless(LiveDirectory):
    """A directory that changes faster than anyone can decide."""

    async def refresh(self) -> object:  # type: ignore[override] # never the newest
        return self.snapshot


async def test_a_directory_that_never_stands_still_is_an_outage(world: World) -> None:
    other = LiveDirectory(world.store.directory, await world.store.directory.snapshot(), world.clock)
    world.live = Restless(world.store.directory, world.live.snapshot, world.clock)
    await other.apply([Put(Account(AccountId(2), "B", Plan.FREE))], "t")
    with pytest.raises(StoreUnavailable):
        await world.transmitter().accept(draft(1))
    assert await world.messages() == []


@pytest.mark.parametrize("number", [1, AT_ONCE + 1], ids=["at once", "in steps"])
async def test_an_id_that_is_taken_is_minted_again(world: World, number: int) -> None:
    transmitter = world.transmitter(Repeating(3))
    first, second = await transmitter.accept(draft(number)), await transmitter.accept(draft(number))
    assert first != second
    transmitter = world.transmitter(Repeating(100))
    with pytest.raises(NoFreeId):
        await transmitter.accept(draft(number))


async def test_an_account_that_went_away_sends_nothing(world: World) -> None:
    with pytest.raises(UnknownObject):
        await world.transmitter().accept(draft(1, principal=Principal(AccountId(9))))


async def test_content_that_cannot_be_sent_is_refused_before_anything_is_stored(world: World) -> None:
    transmitter = world.transmitter()
    with pytest.raises(BadPart):
        await transmitter.accept(draft(AT_ONCE + 1, replace(CONTENT, text="{{")))
    with pytest.raises(EstimateTooLarge):
        await transmitter.accept(draft(1, replace(CONTENT, html="x" * (21 << 20))))
    assert await world.store.transmissions.forget(world.clock.now(), TransmissionId("9" * 19)) == 0


# ── cancelling ───────────────────────────────────────────────────────────────────────────


def everybody(subaccount: SubaccountId | None) -> bool:
    return True


async def test_what_is_being_generated_cannot_be_cancelled_by_id(world: World) -> None:
    """409/2006."""
    soon = world.clock.now() + timedelta(hours=1)
    transmitter = world.transmitter()
    id_ = await transmitter.accept(draft(CHUNK + 1, start=soon))
    world.clock.advance(hours=1)
    due = world.due()
    await due.step(await world.held())
    with pytest.raises(NotCancellable) as caught:
        await transmitter.cancel(ACME, id_, everybody)
    assert (caught.value.state, caught.value.is_too_close) == (TransmissionState.GENERATING, False)


async def test_a_campaign_cancelled_in_the_middle_makes_no_further_message(world: World) -> None:
    transmitter = world.transmitter()
    await transmitter.accept(draft(2 * CHUNK, options=Options(campaign_id="autumn")))
    due = world.due()
    standing = await world.held()
    await due.step(standing)
    assert len(await world.messages()) == CHUNK
    await transmitter.cancel_campaign(Principal(ACME), "autumn")
    await due.step(standing)
    (wish,) = await world.store.transmissions.cancellations()
    assert await due.cancel(wish)
    assert await world.messages() == []
    assert await world.store.transmissions.cancellations() == []


async def test_one_that_was_cancelled_before_it_was_decided_is_left_alone(world: World) -> None:
    soon = world.clock.now() + timedelta(hours=1)
    id_ = await world.transmitter().accept(draft(3, start=soon))
    world.clock.advance(hours=1)
    standing = await world.held()
    await world.store.transmissions.cancel(id_, world.clock.now())
    await world.due().step(standing)
    assert await world.messages() == []
