"""What leaves from one sending IP: when each message gets its turn, and what it waits for."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from relay.domain.errors import SourceUnplumbed, StoreUnavailable
from relay.domain.ids import WorkerId
from relay.domain.lifecycle import LONELY_AFTER, settle_orphan
from relay.domain.message import Message, State
from relay.domain.route import Route, SmarthostRoute, TlsPolicy
from relay.egress.path import IN_HAND_PER_CONNECTION, PathLimits
from relay.egress.worker import Egress
from relay.ports.queue import Claimed, MailFilter
from relay.testing.waiting import eventually
from tests.store.conftest import build_batch, claim, copies, put, stored
from tests.support.mail import IP, NOW, build_message
from tests.support.outbound import BY_MX, HOST, NODE, Outbound, Script, refused, said

TAKEN = "delivery 250 2.0.0 Ok"
CANCELLED = "bounce 554 5.7.1 [internal] cancelled by the operator"
OTHER_HOST = "192.0.2.99"
EARLIER = WorkerId("w0")
MINUTE = timedelta(minutes=1)
BODY = b"Subject: hello\r\n\r\nHello.\r\n"


async def at_work(egress: Egress) -> None:
    """Return when the lane is held, and has done what it begins with."""

    async def look() -> bool:
        epoch = egress.reserve(IP, "known.test", 0)
        if epoch is not None:
            egress.depart(IP, "known.test", ())
        return epoch is not None

    await eventually(look)


async def follow(outbound: Outbound, egress: Egress, message: Message) -> Message:
    await put(outbound.store, message)
    egress.queued(message.pin.ip, message.domain, message.due)
    return message


async def waited(outbound: Outbound, name: str) -> None:
    """Return when the store was asked for that, and the lane waits for time to pass."""

    async def look() -> bool:
        return name in outbound.queue.calls and not outbound.queue.left

    await eventually(look)
    await outbound.clock.settle()


# ── when ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(timedelta(seconds=1), id="in-a-moment"),
        pytest.param(timedelta(seconds=59), id="soon"),
        pytest.param(timedelta(minutes=15), id="behind-the-horizon"),
    ],
)
@pytest.mark.parametrize("is_told", [True, False])
async def test_mail_leaves_when_it_is_due_and_not_before(
    outbound: Outbound, wait: timedelta, is_told: bool
) -> None:
    mail = build_message(due=NOW + wait)
    if not is_told:
        await put(outbound.store, mail)
    async with outbound.running() as egress:
        await at_work(egress)
        if is_told:
            await follow(outbound, egress, mail)
        outbound.clock.advance_to(mail.due - timedelta(milliseconds=1))
        await outbound.clock.settle()
        assert outbound.hosts.calls == []
        outbound.clock.advance_to(mail.due)
        egress.heard(IP, "")
        assert await outbound.ended(mail) == [[TAKEN]]


async def test_mail_past_its_deadline_bounces_untried(outbound: Outbound) -> None:
    mail = build_message(accepted=NOW - timedelta(hours=73), expires=NOW - MINUTE)
    await put(outbound.store, mail)
    async with outbound.running():
        ((fate,),) = await outbound.ended(mail)
    assert fate.startswith("bounce 554 5.4.7 [internal] message timeout")
    assert outbound.hosts.calls == []


async def test_more_mail_past_its_deadline_than_one_claim_takes_all_bounces(outbound: Outbound) -> None:
    mail = [replace(one, expires=NOW - MINUTE) for one in copies(501)]
    await outbound.store.queue.enqueue(build_batch(*mail))
    async with outbound.running():
        await outbound.ended(mail[0], mail[-1])

        async def look() -> bool:
            return not await stored(outbound.store)

        await eventually(look)


async def test_nothing_ends_for_its_age_after_the_clock_was_set(outbound: Outbound) -> None:
    outbound.clock.steady = False
    mail = build_message(accepted=NOW - timedelta(hours=73), expires=NOW - MINUTE)
    await put(outbound.store, mail)
    async with outbound.running() as egress:
        await at_work(egress)
        assert await outbound.waiting(mail)
        outbound.clock.steady = True
        outbound.clock.advance(seconds=30)
        await outbound.ended(mail)


async def test_mail_that_a_clock_set_back_left_for_later_leaves_now(outbound: Outbound) -> None:
    mail = build_message(due=NOW + timedelta(hours=10))
    await put(outbound.store, mail)
    async with outbound.running():
        assert await outbound.ended(mail) == [[TAKEN]]


# ── by whose wish ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "expires",
    [pytest.param(NOW + MINUTE, id="due"), pytest.param(NOW - MINUTE, id="past-its-deadline")],
)
async def test_cancelled_mail_is_not_sent(outbound: Outbound, expires: datetime) -> None:
    mail = build_message(expires=expires)
    await put(outbound.store, mail)
    assert await outbound.store.queue.cancel(MailFilter(None), NOW, "test") == 1
    async with outbound.running():
        assert await outbound.ended(mail) == [[CANCELLED]]
    assert outbound.hosts.calls == []


async def test_cancelled_mail_ends_as_such_though_its_domain_does_not_exist(outbound: Outbound) -> None:
    outbound.route(*BY_MX)
    cancelled, other = await put(outbound.store, build_message("a@gone.test"), build_message("b@gone.test"))
    await outbound.store.queue.cancel(MailFilter(None, ids=(cancelled.id,)), NOW, "test")
    outbound.dns.mx_hosts["gone.test"] = said("INTERNAL 556 5.1.10 Null MX")
    async with outbound.running():
        assert await outbound.ended(cancelled, other) == [[CANCELLED], ["bounce 556 5.1.10 Null MX"]]


@pytest.mark.parametrize("call", ["claim", "heads"])
async def test_mail_that_comes_while_its_domain_is_answered_for_has_that_answer_too(
    outbound: Outbound, call: str
) -> None:
    outbound.route(*BY_MX)
    outbound.dns.mx_hosts["gone.test"] = said("INTERNAL 556 5.1.10 Null MX")
    early, late = build_message("a@gone.test"), build_message("b@gone.test")
    async with outbound.running() as egress:
        await waited(outbound, "heads")
        outbound.queue.then[call] = partial(follow, outbound, egress, late)
        await follow(outbound, egress, early)
        assert await outbound.ended(early, late) == [["bounce 556 5.1.10 Null MX"]] * 2


# ── what an earlier holder left ──────────────────────────────────────────────────────────


async def leave_in_flight(outbound: Outbound, times: int) -> None:
    """As that many holders did who ended in the midst of it."""
    queue = outbound.store.queue
    for _ in range(times):
        lane = next(one for one in await queue.hold_lanes(EARLIER, NODE, 3600, 10) if one.ip == IP)
        for message in await queue.orphans(lane):
            assert await queue.settle(lane, [replace(settle_orphan(message, NOW), due=NOW)]) == []
        assert len(await claim(outbound.store, lane)) == 1
        await queue.release_lanes(EARLIER)


@pytest.mark.parametrize(
    ("times", "is_told"),
    [pytest.param(1, False, id="once"), pytest.param(LONELY_AFTER, True, id="suspect")],
)
async def test_mail_left_in_flight_is_sent_by_the_next_holder(
    outbound: Outbound, caplog: pytest.LogCaptureFixture, times: int, is_told: bool
) -> None:
    (mail,) = await put(outbound.store, build_message())
    await leave_in_flight(outbound, times)
    async with outbound.running():

        async def look() -> bool:
            outbound.clock.advance(seconds=30)
            return not await stored(outbound.store)

        await eventually(look)
    assert await outbound.fate(mail) == [TAKEN]
    assert ("was in flight when its holder ended" in caplog.text) is is_told


# ── the short way ────────────────────────────────────────────────────────────────────────


async def test_fresh_mail_leaves_on_the_place_that_was_reserved_for_it(outbound: Outbound) -> None:
    mail = build_message()
    async with outbound.running() as egress:
        await at_work(egress)
        epoch = egress.reserve(IP, mail.domain, 100)
        assert epoch is not None
        assert await outbound.store.queue.enqueue(build_batch(mail, claimed={IP: epoch}))
        egress.depart(IP, mail.domain, [Claimed(mail, BODY)])
        assert await outbound.ended(mail) == [[TAKEN]]


async def test_there_are_as_many_places_as_a_path_can_carry(outbound: Outbound) -> None:
    outbound.limits = PathLimits(connections=1)
    async with outbound.running() as egress:
        await at_work(egress)
        places = [egress.reserve(IP, "b.example", 1) for _ in range(IN_HAND_PER_CONNECTION + 1)]
        assert [place is not None for place in places] == [True] * IN_HAND_PER_CONNECTION + [False]
        egress.depart(IP, "b.example", ())
        assert egress.reserve(IP, "b.example", 1) is not None


def by_mx(outbound: Outbound) -> None:
    outbound.route(*BY_MX)


def full(outbound: Outbound) -> None:
    outbound.budget.count(outbound.budget.room_bytes)


@pytest.mark.parametrize(
    "change", [pytest.param(by_mx, id="not-looked-up"), pytest.param(full, id="no-memory")]
)
async def test_fresh_mail_waits_in_the_store_when_it_cannot_leave_at_once(
    outbound: Outbound, change: Callable[[Outbound], None]
) -> None:
    async with outbound.running() as egress:
        await at_work(egress)
        change(outbound)
        assert egress.reserve(IP, "b.example", 1) is None


async def test_a_place_of_a_lane_that_was_lost_is_no_place(outbound: Outbound) -> None:
    async with outbound.running() as egress:
        await at_work(egress)
        egress.depart(IP, "never.reserved.test", [Claimed(build_message(), BODY)])
    assert outbound.hosts.calls == []


async def test_a_lane_whose_ip_is_not_here_stands_still_for_a_minute(outbound: Outbound) -> None:
    outbound.hosts.play(SourceUnplumbed(IP))
    async with outbound.running() as egress:
        await at_work(egress)
        first = await follow(outbound, egress, build_message())
        await outbound.deferred(first)
        assert egress.reserve(IP, "c.example", 1) is None
        second = await follow(outbound, egress, build_message("eve@c.example"))
        outbound.clock.advance(seconds=59)
        await outbound.clock.settle()
        assert len(outbound.hosts.calls) == 1
        outbound.clock.advance(seconds=1)
        assert await outbound.ended(first, second) == [[TAKEN], [TAKEN]]


# ── where to ─────────────────────────────────────────────────────────────────────────────


async def test_mail_that_waits_for_a_host_follows_a_changed_route(outbound: Outbound) -> None:
    outbound.hosts.play(refused("CONNECT 451 4.4.1 down"))
    async with outbound.running() as egress:
        await at_work(egress)
        await outbound.deferred(await follow(outbound, egress, build_message()))
        second = await follow(outbound, egress, build_message("eve@c.example"))
        assert egress.reserve(IP, "c.example", 1) is None
        outbound.route(Route(("*",), SmarthostRoute(OTHER_HOST, 25, TlsPolicy.OFF)))
        outbound.clock.advance(minutes=20)
        assert await outbound.ended(second) == [[TAKEN]]
    assert {address for address, _, _ in outbound.hosts.calls[1:]} == {OTHER_HOST}


async def test_mail_waits_for_memory(outbound: Outbound) -> None:
    taken = outbound.budget.room_bytes
    async with outbound.running() as egress:
        await at_work(egress)
        outbound.budget.count(taken)
        mail = await follow(outbound, egress, build_message())
        await outbound.clock.settle()
        assert outbound.hosts.calls == []
        outbound.budget.give_back(taken)
        outbound.clock.advance(seconds=1)
        assert await outbound.ended(mail) == [[TAKEN]]


class Broken:
    """`MxResolver` with a bug of ours."""

    async def mx(self, domain: str) -> object:
        raise RuntimeError(domain)


async def test_a_domain_that_a_bug_of_ours_meets_waits_for_the_next_look(outbound: Outbound) -> None:
    outbound.route(*BY_MX)
    mx = outbound.dns.mx
    outbound.dns.mx = Broken().mx  # type: ignore[assignment,method-assign]
    outbound.dns.host_addresses["b.example"] = [HOST]
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        await waited(outbound, "heads")
        outbound.dns.mx = mx  # type: ignore[method-assign]
        outbound.clock.advance(seconds=30)
        assert await outbound.ended(mail) == [[TAKEN]]


# ── when the store is unavailable ────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [StoreUnavailable(), RuntimeError("ours")], ids=["unavailable", "bug"])
@pytest.mark.parametrize("call", ["pull_forward", "claim_overdue", "heads"])
async def test_a_lane_goes_on_a_second_after_the_store_failed(
    outbound: Outbound, call: str, error: Exception
) -> None:
    outbound.queue.fail(call, error)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        await waited(outbound, call)
        assert outbound.hosts.calls == []
        outbound.clock.advance(seconds=1)
        assert await outbound.ended(mail) == [[TAKEN]]


@pytest.mark.parametrize("call", ["orphans", "claim"])
async def test_mail_is_claimed_when_the_store_is_back(outbound: Outbound, call: str) -> None:
    outbound.queue.fail(call, StoreUnavailable())
    mail = await put(outbound.store, build_message(), build_message("eve@c.example"))
    async with outbound.running():
        await waited(outbound, call)
        outbound.clock.advance(seconds=1)
        assert await outbound.ended(*mail) == [[TAKEN], [TAKEN]]


async def test_mail_without_a_host_is_told_so_when_the_store_is_back(outbound: Outbound) -> None:
    outbound.route(*BY_MX)
    outbound.dns.mx_hosts["b.example"] = said("INTERNAL 556 5.1.10 Null MX")
    outbound.queue.fail("claim", StoreUnavailable())
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        await waited(outbound, "claim")
        outbound.clock.advance(seconds=30)
        assert await outbound.ended(mail) == [["bounce 556 5.1.10 Null MX"]]


# ── the end ──────────────────────────────────────────────────────────────────────────────


async def test_at_a_stop_what_is_being_sent_ends_and_the_rest_waits_uncounted(outbound: Outbound) -> None:
    outbound.limits = PathLimits(connections=1)
    goes_on = asyncio.Event()
    outbound.hosts.play(Script(until=goes_on))
    mail = await put(outbound.store, *(build_message() for _ in range(3)))
    async with outbound.running():
        await outbound.calls(1)
        outbound.stopping.set()
        await outbound.clock.settle()
        goes_on.set()
    left = await stored(outbound.store)
    assert [(message.state, message.attempts) for message in left] == [(State.QUEUED, 0)] * 2
    assert sum([await outbound.fate(message) == [TAKEN] for message in mail]) == 1


async def test_what_does_not_end_in_time_is_cut_off_and_stays_in_flight(
    outbound: Outbound, caplog: pytest.LogCaptureFixture
) -> None:
    outbound.grace_s = 0.05
    outbound.hosts.play(Script(until=asyncio.Event()))
    await put(outbound.store, build_message())
    async with outbound.running():
        await outbound.calls(1)
    (left,) = await stored(outbound.store)
    assert left.state is State.IN_FLIGHT
    assert "cut off what did not end" in caplog.text
