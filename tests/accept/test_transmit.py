"""What a request for a transmission comes to: refused and nothing stored, or stored; seen and cancelled."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.accept.draft import CannotGenerate, EstimateTooLarge
from relay.domain.address import parse_mailbox
from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import Account, Plan, Pool, Principal, SendingIp, Status, Subaccount
from relay.domain.errors import (
    MailLoop,
    NoSender,
    NoSharedPool,
    NotGranted,
    PoolEmpty,
    PoolNotAllowed,
    RelayError,
    SharedNotAllowed,
    StaleRequest,
    UnknownObject,
    UnknownPool,
)
from relay.domain.events import GenerationFailure
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId, TransmissionId
from relay.domain.message import Options
from relay.domain.transmission import (
    CHUNK,
    Content,
    InlineContent,
    NotCancellable,
    Recipient,
    Rfc822Content,
    TransmissionState,
)
from relay.frames.live import LiveDirectory
from relay.ports.idempotency import Answer, Answered, Begun, Standing, Ticket
from tests.service.test_inject import Repeating
from tests.service.test_transmit import ACME, CONTENT, IPS, World, draft

TEAM = SubaccountId(7)
LATER = timedelta(hours=1)


async def _stored(world: World) -> tuple[int, int]:
    """How many messages, and how many transmissions."""
    return len(await world.messages()), len(await world.store.transmissions.all(None, 100, with_ended=True))


def _without_ips(world: World) -> list[Change]:
    return [Remove(world.live.snapshot.ips[ip]) for ip in IPS]


def _to(*data: Mapping[str, object]) -> list[Recipient]:
    """A recipient for each, who has these values."""
    return [
        Recipient(parse_mailbox(f"r{index}@b.example"), substitution_data=one)
        for index, one in enumerate(data)
    ]


# ── refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("start", [None, LATER], ids=["now", "later"])
@pytest.mark.parametrize(
    ("what", "now", "later"),
    [
        pytest.param("nothing", None, None, id="nothing is wrong"),
        pytest.param("no such pool", UnknownPool, UnknownPool, id="no such pool"),
        pytest.param("an empty pool", PoolEmpty, None, id="a pool that may be filled until then"),
        pytest.param("no shared pool", NoSharedPool, None, id="a shared pool that may be filled until then"),
        pytest.param("not his pool", PoolNotAllowed, PoolNotAllowed, id="another pool than the subaccount's"),
        pytest.param("shared by name", SharedNotAllowed, SharedNotAllowed, id="the shared pool, on no plan"),
        pytest.param("suspended", NotGranted, NotGranted, id="a suspended account"),
        pytest.param("resting", NotGranted, NotGranted, id="a suspended subaccount"),
        pytest.param("nobody", UnknownObject, UnknownObject, id="no such subaccount"),
        pytest.param("a loop", MailLoop, MailLoop, id="mail that goes round"),
    ],
)
async def test_a_transmission_is_refused_before_anything_is_stored(
    world: World,
    start: timedelta | None,
    what: str,
    now: type[RelayError] | None,
    later: type[RelayError] | None,
) -> None:
    account = world.live.snapshot.accounts[ACME]
    options, subaccount, content, changes = Options(), None, CONTENT, list[Change]()
    changes += [Put(Subaccount(ACME, TEAM, "Team", PoolId("team"))), Put(Pool(ACME, PoolId("new"), "New"))]
    match what:
        case "no such pool":
            options = Options(ip_pool="none")
        case "an empty pool":
            options = Options(ip_pool="new")
        case "no shared pool":
            changes += _without_ips(world)
        case "not his pool":
            options, subaccount = Options(ip_pool="new"), TEAM
        case "shared by name":
            options = Options(ip_pool="sp_shared")
            changes += [Put(replace(account, plan=Plan.ENTERPRISE))]
        case "suspended":
            changes += [Put(replace(account, status=Status.SUSPENDED))]
        case "resting":
            subaccount = SubaccountId(8)
            changes += [Put(Subaccount(ACME, subaccount, "Old", status=Status.SUSPENDED))]
        case "nobody":
            subaccount = SubaccountId(9)
    message: Content = content
    if what == "a loop":
        message = Rfc822Content(b"Received: x\r\n" * 101 + b"From: a@acme.test\r\n\r\nx\r\n")
    await world.live.apply(changes, "t")
    begin = None if start is None else world.clock.now() + start
    mail = draft(3, message, options=options, principal=Principal(ACME, subaccount), start=begin)
    refusal = now if start is None else later
    if refusal is None:
        await world.transmitter().accept(mail)
        assert await _stored(world) == ((3, 0) if start is None else (0, 1))
    else:
        with pytest.raises(refusal):
            await world.transmitter().accept(mail)
        assert await _stored(world) == (0, 0)


ADDING = InlineContent("a@acme.test", "s", text="{{ number + 1 }}")
FROM = InlineContent("{{sender}}", "s", text="t")
LONG = InlineContent("a@acme.test", "s", text="{{each lines}}=========={{end}}")
"""Which has three times as many octets once it is encoded."""


@pytest.mark.parametrize(
    ("content", "bad", "good", "alone", "refused_to_several"),
    [
        pytest.param(
            ADDING, {"number": "x"}, {"number": 1}, CannotGenerate, False, id="what cannot be filled in"
        ),
        pytest.param(LONG, {"lines": [0] * 150}, {"lines": [0]}, EstimateTooLarge, False, id="too large"),
        pytest.param(FROM, {"sender": "x"}, {"sender": "a@acme.test"}, NoSender, True, id="no sender"),
    ],
)
async def test_what_only_filling_in_shows_is_refused_to_one_and_told_of_several(
    world: World,
    content: InlineContent,
    bad: dict[str, object],
    good: dict[str, object],
    alone: type[RelayError],
    refused_to_several: bool,
) -> None:
    """The client hears what all recipients have in common; else each has its event."""
    transmitter = world.transmitter()
    transmitter.workshop.max_message_bytes = 4_000
    with pytest.raises(alone):
        await transmitter.accept(draft(0, content, recipients=_to(bad)))
    if refused_to_several:
        with pytest.raises(alone):
            await transmitter.accept(draft(0, content, recipients=_to(bad, bad)))
        assert await world.store.events.recent(10) == []
    else:
        await transmitter.accept(draft(0, content, recipients=_to(bad, bad)))
        failures = [one.event for one in await world.store.events.recent(10)]
        assert [type(one) for one in failures] == [GenerationFailure] * 2
    assert await _stored(world) == (0, 0)
    await transmitter.accept(draft(0, content, recipients=_to(bad, good)))
    assert [message.rcpt_to for message in await world.messages()] == ["r1@b.example"]


async def test_why_nothing_could_be_made_is_said_to_the_client(world: World) -> None:
    with pytest.raises(CannotGenerate, match="needs two numbers"):
        await world.transmitter().accept(draft(0, ADDING, recipients=_to({"number": "x"})))


async def test_what_all_recipients_would_get_is_refused_when_it_is_too_large(world: World) -> None:
    transmitter = world.transmitter()
    transmitter.workshop.max_message_bytes = 2_000
    with pytest.raises(EstimateTooLarge) as caught:
        await transmitter.accept(draft(2, InlineContent("a@acme.test", "s", text="=" * 1_500)))
    assert caught.value.limit_bytes == 2_000
    assert await _stored(world) == (0, 0)


async def test_recipients_of_what_is_refused_in_the_end_are_dropped(world: World) -> None:
    """They are stored part by part, before it is known whether the directory moved on."""
    other = LiveDirectory(world.store.directory, await world.store.directory.snapshot(), world.clock)
    pool = Pool(ACME, PoolId("news"), "News")
    await other.apply([Put(pool), Put(replace(other.snapshot.ips[IPS[0]], pool=pool.id))], "t")
    await world.live.refresh()
    await other.apply([Put(replace(other.snapshot.ips[IPS[0]], pool=None)), Remove(pool)], "another process")
    taken = TransmissionId("100000000000000001")
    with pytest.raises(UnknownPool):
        await world.transmitter(Repeating(1)).accept(draft(CHUNK, options=Options(ip_pool="news")))
    assert await world.store.transmissions.recipients(taken, 0) == []
    assert await _stored(world) == (0, 0)


# ── repeated ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [1, CHUNK], ids=["at once", "in steps"])
async def test_the_answer_is_kept_with_the_mail_or_neither_is(world: World, number: int) -> None:
    now = world.clock.now()
    ticket = Ticket("1", "a key", now)
    limits = {"expired": now - timedelta(days=1), "given_up": now - timedelta(hours=1)}

    def keep(id_: TransmissionId) -> Answered:
        return Answered(ticket, Answer(200, id_.encode()))

    begun = await world.store.idempotency.begin(ticket, "f", **limits)
    assert isinstance(begun, Begun)
    id_ = await world.transmitter().accept(draft(number), keep)
    known = await world.store.idempotency.begin(ticket, "f", **limits)
    assert isinstance(known, Standing)
    assert known.answer == Answer(200, id_.encode())

    await world.store.idempotency.forget(now + timedelta(days=1))
    before = await _stored(world)
    with pytest.raises(StaleRequest):
        await world.transmitter().accept(draft(number), keep)
    assert await _stored(world) == before


# ── seen and cancelled ───────────────────────────────────────────────────────────────────


def _sees_all(subaccount: SubaccountId | None) -> bool:
    return True


def _sees_account(subaccount: SubaccountId | None) -> bool:
    return subaccount is None


async def test_scheduled_ones_of_several_recipients_are_listed_for_a_day_after_their_end(
    world: World,
) -> None:
    transmitter, start = world.transmitter(), world.clock.now() + LATER
    first = await transmitter.accept(draft(2, start=start))
    await transmitter.accept(draft(1, start=start))
    await transmitter.accept(draft(CHUNK))
    assert [one.transmission.id for one in await transmitter.listed(ACME)] == [first]
    assert await transmitter.listed(AccountId(2)) == []
    await transmitter.cancel(ACME, first, _sees_all)
    world.clock.advance(hours=24)
    (ended,) = await transmitter.listed(ACME)
    assert ended.progress.state is TransmissionState.CANCELED
    world.clock.advance(seconds=1)
    assert await transmitter.listed(ACME) == []


@pytest.mark.parametrize("verb", ["find", "cancel"])
@pytest.mark.parametrize("whose", ["nobody's", "immediate", "another account's", "not seen"])
async def test_only_ones_own_scheduled_transmissions_are_found(world: World, verb: str, whose: str) -> None:
    await world.live.apply([Put(Subaccount(ACME, TEAM, "Team"))], "t")
    transmitter, start = world.transmitter(), world.clock.now() + LATER
    scheduled = await transmitter.accept(draft(2, start=start, principal=Principal(ACME, TEAM)))
    immediate = await transmitter.accept(draft(CHUNK))
    account, id_, sees = {
        "nobody's": (ACME, TransmissionId("9" * 18), _sees_all),
        "immediate": (ACME, immediate, _sees_all),
        "another account's": (AccountId(2), scheduled, _sees_all),
        "not seen": (ACME, scheduled, _sees_account),
    }[whose]
    with pytest.raises(UnknownObject):
        await getattr(transmitter, verb)(account, id_, sees)
    found = await transmitter.find(ACME, scheduled, _sees_all)
    assert found.progress.state is TransmissionState.SUBMITTED
    assert await transmitter.content(scheduled) == CONTENT


@pytest.mark.parametrize(("before", "may"), [(timedelta(seconds=660), True), (timedelta(seconds=659), False)])
async def test_one_is_cancelled_until_eleven_minutes_before_its_time(
    world: World, before: timedelta, may: bool
) -> None:
    transmitter, start = world.transmitter(), world.clock.now() + LATER
    id_ = await transmitter.accept(draft(2, start=start))
    world.clock.advance_to(start - before)
    if may:
        await transmitter.cancel(ACME, id_, _sees_all)
    else:
        with pytest.raises(NotCancellable) as caught:
            await transmitter.cancel(ACME, id_, _sees_all)
        assert caught.value.is_too_close
    found = await transmitter.find(ACME, id_, _sees_all)
    assert (found.progress.state is TransmissionState.CANCELED) == may


async def test_one_cannot_be_cancelled_twice(world: World) -> None:
    transmitter = world.transmitter()
    id_ = await transmitter.accept(draft(2, start=world.clock.now() + LATER))
    await transmitter.cancel(ACME, id_, _sees_all)
    with pytest.raises(NotCancellable) as caught:
        await transmitter.cancel(ACME, id_, _sees_all)
    assert (caught.value.state, caught.value.is_too_close) == (TransmissionState.CANCELED, False)


async def test_nothing_is_planted_for_an_account_that_is_gone(world: World) -> None:
    """Two accounts; the one whose transmission waits is removed by the operator."""
    other = AccountId(2)
    ip = IpAddress("127.0.0.9")
    gone = Account(other, "Gone", Plan.SELF_SERVE)
    theirs = SendingIp(ip, ip, "mta", account=other, pool=PoolId("default"))
    await world.live.apply([Put(gone), Put(theirs)], "t")
    transmitter = world.transmitter()
    id_ = await transmitter.accept(draft(CHUNK, principal=Principal(other)))
    found = await world.store.transmissions.find(id_)
    assert found is not None
    assert found.verdict is not None
    blueprint = await transmitter.workshop.compose(other, CONTENT, id_, True)
    snapshot = replace(world.live.snapshot, accounts={})
    with pytest.raises(UnknownObject):
        transmitter.plant(found.transmission, CONTENT, blueprint, found.verdict, snapshot)
