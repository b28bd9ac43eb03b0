"""What a transmission comes to at its time, on the directory as it is then."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.accept.scheduled import CANCELLED, SET_ASIDE
from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import (
    Check,
    Origin,
    Plan,
    Pool,
    Principal,
    SendingDomain,
    SendingIp,
    Status,
    Subaccount,
)
from relay.domain.errors import NoSharedPool
from relay.domain.events import Bounce, GenerationFailure, GenerationRejection
from relay.domain.ids import DEFAULT_POOL, IpAddress, NodeName, PoolId, SubaccountId, TransmissionId, WorkerId
from relay.domain.lifecycle import Requeue
from relay.domain.message import Options
from relay.domain.transmission import CHUNK, InlineContent, TransmissionState
from relay.ports.transmissions import TransmissionStanding
from tests.service.test_transmit import ACME, CONTENT, IPS, World, draft

LATER = timedelta(hours=1)
NEWS, TEAM = PoolId("news"), SubaccountId(7)


@pytest.fixture(autouse=True)
async def _set_up(world: World) -> None:
    """With a pool of one IP, a subaccount, and an IP that is shared."""
    shared = IpAddress("127.0.0.99")
    await world.live.apply(
        [
            Put(Pool(ACME, NEWS, "News")),
            Put(Pool(ACME, PoolId("other"), "Other")),
            Put(replace(world.live.snapshot.ips[IPS[0]], pool=NEWS)),
            Put(Subaccount(ACME, TEAM, "Team")),
            Put(SendingIp(shared, shared, "shared", shared=True)),
        ],
        "t",
    )


async def _schedule(
    world: World, number: int = 3, pool: str = "news", subaccount: SubaccountId | None = None
) -> TransmissionId:
    """For an hour from now; it is that time when this returns."""
    mail = draft(number, start=world.clock.now() + LATER, options=Options(ip_pool=pool, campaign_id="autumn"))
    return await world.transmitter().accept(replace(mail, principal=Principal(ACME, subaccount)))


async def _make(world: World) -> TransmissionStanding:
    standing = await world.held()
    await world.due().step(standing)
    return standing


async def _reasons(world: World, id_: TransmissionId) -> list[str]:
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    return [one.raw_reason for one in told if isinstance(one, GenerationRejection)]


def _filled(world: World) -> list[Change]:
    return [Put(replace(world.live.snapshot.ips[IPS[0]], pool=DEFAULT_POOL))]


def _no_ips(world: World) -> list[Change]:
    return [Remove(world.live.snapshot.ips[ip]) for ip in IPS]


def _account(**changes: object) -> Callable[[World], list[Change]]:
    def made(world: World) -> list[Change]:
        account = world.live.snapshot.accounts[ACME]
        return [Put(replace(account, **changes))]  # type: ignore[arg-type] # the tests name real fields

    return made


def _team(**changes: object) -> Callable[[World], list[Change]]:
    def made(world: World) -> list[Change]:
        found = world.live.snapshot.subaccounts[ACME, TEAM]
        return [Put(replace(found, **changes))]  # type: ignore[arg-type] # the tests name real fields

    return made


def _none(world: World) -> list[Change]:
    return []


def _verified(world: World) -> list[Change]:
    domain = SendingDomain(ACME, "acme.test", origin=Origin.LIVE, mx_status=Check.VALID)
    return [Put(domain), *_account(require_sending_domain=True)(world)]


def _enterprise_without_ips(world: World) -> list[Change]:
    return [*_no_ips(world), *_account(plan=Plan.ENTERPRISE)(world)]


@pytest.mark.parametrize(
    ("meanwhile", "pool", "subaccount", "sends"),
    [
        pytest.param(_none, "news", None, "news", id="nothing changed"),
        pytest.param(_none, "", None, "default", id="no pool was named"),
        pytest.param(_filled, "news", None, "default", id="the pool was emptied"),
        pytest.param(_no_ips, "news", None, "sp_shared", id="all pools were emptied"),
        pytest.param(_verified, "news", None, "news", id="the domain of From must be verified, and is"),
        pytest.param(_team(ip_pool=NEWS), "", TEAM, "news", id="the subaccount was bound to a pool"),
        pytest.param(_team(ip_pool=PoolId("other")), "", TEAM, "default", id="to an empty one"),
    ],
)
async def test_it_leaves_from_the_pool_as_it_is_then(
    world: World,
    meanwhile: Callable[[World], list[Change]],
    pool: str,
    subaccount: SubaccountId | None,
    sends: str,
) -> None:
    id_ = await _schedule(world, pool=pool, subaccount=subaccount)
    await world.live.apply(meanwhile(world), "t")
    world.clock.advance(hours=1)
    await _make(world)
    assert [message.pin.pool for message in await world.messages()] == [sends] * 3
    assert await _reasons(world, id_) == []


@pytest.mark.parametrize(
    ("meanwhile", "pool", "subaccount", "reason"),
    [
        pytest.param(_enterprise_without_ips, "news", None, "IP Pool 'default' is empty", id="no IP is left"),
        pytest.param(
            _account(status=Status.SUSPENDED), "news", None, "relaying denied", id="it was suspended"
        ),
        pytest.param(_team(status=Status.TERMINATED), "", TEAM, "relaying denied", id="a part was ended"),
        pytest.param(
            _account(plan=Plan.ENTERPRISE),
            "sp_shared",
            None,
            "sp_shared is not a valid customer ip pool",
            id="no shared pool now",
        ),
        pytest.param(
            _team(ip_pool=PoolId("other")),
            "news",
            TEAM,
            "Subaccount 7 is restricted to IP Pool 'other'",
            id="it was bound to another pool",
        ),
        pytest.param(
            _account(require_sending_domain=True),
            "news",
            None,
            "Unconfigured Sending Domain <acme.test>",
            id="From must be verified now",
        ),
    ],
)
async def test_each_recipient_is_told_why_it_cannot_leave_any_more(
    world: World,
    meanwhile: Callable[[World], list[Change]],
    pool: str,
    subaccount: SubaccountId | None,
    reason: str,
) -> None:
    id_ = await _schedule(world, pool=pool, subaccount=subaccount)
    await world.live.apply(meanwhile(world), "t")
    world.clock.advance(hours=1)
    await _make(world)
    assert await world.messages() == []
    assert await _reasons(world, id_) == [f"550 5.7.1 {reason}"] * 3
    found = await world.store.transmissions.find(id_)
    assert found is not None
    assert (found.progress.state, found.progress.num_failed) == (TransmissionState.SUCCESS, 3)


async def test_an_empty_shared_pool_is_waited_for_as_long_as_mail_would_wait(world: World) -> None:
    """A slip of the operator's; and a clock that somebody set says nothing of how long it has been."""
    id_ = await _schedule(world)
    await world.live.apply([Remove(ip) for ip in world.live.snapshot.ips.values()], "t")
    world.clock.advance(hours=1)
    standing = await world.held()
    for hours, is_steady in ((0, True), (71, True), (1, False)):
        world.clock.advance(hours=hours)
        world.clock.steady = is_steady
        with pytest.raises(NoSharedPool):
            await world.due().step(standing)
    assert await _reasons(world, id_) == []
    world.clock.steady = True
    await world.due().step(standing)
    assert len(await _reasons(world, id_)) == 3


@pytest.mark.parametrize("is_decided", [False, True])
async def test_what_was_cancelled_while_we_looked_makes_nothing(world: World, is_decided: bool) -> None:
    id_ = await _schedule(world, CHUNK + 1)
    world.clock.advance(hours=1)
    standing = await world.held()
    if is_decided:
        await world.due().step(standing)
        standing = await world.held()
    made = len(await world.messages())
    assert await world.store.transmissions.end(id_, world.clock.now(), "operator")
    await world.due().step(standing)
    assert len(await world.messages()) == made == CHUNK * is_decided


# ── at work when processes end ───────────────────────────────────────────────────────────


async def _fails(world: World, id_: TransmissionId, holder: str) -> TransmissionStanding:
    """As the next holder finds it after that one ended at work on it."""
    await world.held(holder, ttl_s=0)
    await world.store.transmissions.mark(id_, holder, is_begun=True)
    return await world.held("next")


async def test_where_a_process_ended_few_are_made_at_a_time_until_that_part_is_done(world: World) -> None:
    await world.transmitter().accept(draft(2 * CHUNK))
    (one,) = await world.store.transmissions.all(None, 10, with_ended=False)
    standing = await _fails(world, one.transmission.id, "first")
    assert standing.tries == 1
    due = world.due("next")
    counts = []
    while len(await world.messages()) < 2 * CHUNK:
        before = len(await world.messages())
        await due.step(await world.held("next"))
        counts.append(len(await world.messages()) - before)
    assert counts == [10] * (CHUNK // 10) + [CHUNK]


@pytest.mark.parametrize(
    ("is_scheduled", "pool", "told"), [(False, "news", "news"), (True, "News", "news"), (True, "", "default")]
)
async def test_what_is_set_aside_is_told_by_an_event_and_made_by_nobody(
    world: World, is_scheduled: bool, pool: str, told: str
) -> None:
    """Decided or not; by the address of the recipient where it stands."""
    if is_scheduled:
        id_ = await _schedule(world, CHUNK + 1, pool)
        world.clock.advance(hours=1)
        position = 0
    else:
        id_ = await world.transmitter().accept(draft(CHUNK + 1, options=Options(ip_pool=pool)))
        await _make(world)
        position = CHUNK
    standing = await world.held()
    assert await world.due().set_aside(standing)
    events = [one.event for one in await world.store.events.of_transmission(id_)]
    (event,) = [one for one in events if isinstance(one, GenerationFailure)]
    assert (event.raw_reason, event.error_code) == (SET_ASIDE, 554)
    assert (event.about.rcpt_to, event.about.ip_pool) == (f"r{position}@b.example", told)
    assert await world.store.transmissions.hold_due("b", world.clock.now(), 60, 10) == []
    assert not await world.due("b").set_aside(standing), "it is not theirs"


# ── cancelling ───────────────────────────────────────────────────────────────────────────


async def test_of_a_cancelled_campaign_what_is_in_flight_is_looked_at_again(world: World) -> None:
    id_ = await _schedule(world)
    world.clock.advance(hours=1)
    await _make(world)
    queue, now = world.store.queue, world.clock.now()
    lanes = await queue.hold_lanes(WorkerId("w"), NodeName("n"), 60, 10)
    (lane,) = [lane for lane in lanes if lane.ip == IPS[0]]
    (claimed,) = await queue.claim(lane, ["b.example"], now, 1, 1 << 20)
    await world.transmitter().cancel_campaign(Principal(ACME), "autumn")
    (wish,) = await world.store.transmissions.cancellations()
    assert not await world.due().cancel(wish)
    (left,) = await world.messages()
    assert left.id == claimed.message.id
    assert await world.store.transmissions.cancellations() == [wish]
    assert await queue.settle(lane, [Requeue(left.id, now)]) == []
    assert await world.due().cancel(wish)
    assert await world.messages() == []
    assert await world.store.transmissions.cancellations() == []
    told = [one.event for one in await world.store.events.of_transmission(id_)]
    bounces = [one.raw_reason for one in told if isinstance(one, Bounce)]
    assert bounces == [f"554 {CANCELLED}"] * 3


async def test_other_campaigns_are_left_alone(world: World) -> None:
    await world.transmitter().accept(draft(2, CONTENT, options=Options(campaign_id="spring")))
    await world.transmitter().accept(draft(1, InlineContent("a@acme.test", "s", text="t")))
    await world.transmitter().cancel_campaign(Principal(ACME), "autumn")
    (wish,) = await world.store.transmissions.cancellations()
    assert await world.due().cancel(wish)
    assert len(await world.messages()) == 3
