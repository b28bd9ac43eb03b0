"""The read models: counts that equal what there is after any verb, pages that join to the whole."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.errors import StaleDirectory
from relay.domain.events import Bounce, PolicyRejection, Subject
from relay.domain.ids import AccountId, IpAddress, PoolId, Revision, SubaccountId, TransmissionId
from relay.domain.lifecycle import Finish
from relay.domain.message import Message, State
from relay.ports.queue import Lane, MailFilter
from relay.ports.report import BadPlace, Facet, StateCounts, Tally
from relay.store import Store
from relay.store.sqlite.reports import SqliteReports
from tests.store.conftest import (
    HOUR,
    MINUTE,
    NODE,
    OTHER_IP,
    PEER,
    WORKER,
    build_batch,
    claim,
    finish,
    put,
    requeue,
    stored,
)
from tests.support.mail import ACCOUNT, IP, NOW, build_message

OTHER = AccountId(2)
PART = SubaccountId(7)
DOMAINS = ("a.example", "b.example", "c.example")
ALL = MailFilter(None)


def mail(
    to: str = "bob@b.example", *, account: AccountId = ACCOUNT, pool: str = "default", **given: Any
) -> Message:
    message = replace(build_message(to, ip=given.pop("ip", IP)), account=account, **given)
    return replace(message, pin=replace(message.pin, pool=PoolId(pool)))


def group_by(found: list[Message], *facets: Facet) -> dict[tuple[object, ...], StateCounts]:
    """What `waiting` should say, from the messages themselves."""
    of = {
        Facet.ACCOUNT: lambda one: one.account,
        Facet.IP: lambda one: one.pin.ip,
        Facet.POOL: lambda one: one.pin.pool,
        Facet.DOMAIN: lambda one: one.domain,
    }
    counts: Counter[tuple[tuple[object, ...], State]] = Counter(
        (tuple(of[facet](one) for facet in facets), one.state) for one in found
    )
    keys = {key for key, _ in counts}
    return {
        key: StateCounts(counts[key, State.QUEUED], counts[key, State.IN_FLIGHT], counts[key, State.HELD])
        for key in keys
    }


async def counted(store: Store, what: MailFilter, *facets: Facet) -> dict[tuple[object, ...], StateCounts]:
    page = await store.reports.waiting(what, facets, 1000)
    assert page.number == len(page.groups)
    assert page.counts.total == sum(group.counts.total for group in page.groups)
    return {tuple(getattr(group, facet) for facet in facets): group.counts for group in page.groups}


class Life:
    """Does any verb of the queue to any mail."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store, self._random, self._now = store, random.Random(seed), NOW
        self._lanes: dict[IpAddress, Lane] = {}

    async def step(self) -> str:
        verbs = [self.enqueue] * 4 + [self.attempt] * 4 + [self.settle] * 3 + [self.operate] * 4 + [self.lose]
        verb = self._random.choice([*verbs, self.overdue])
        self._now += timedelta(seconds=self._random.randrange(600))
        await verb()
        return verb.__name__

    async def enqueue(self) -> None:
        chance = self._random
        many = [
            mail(
                f"r@{chance.choice(DOMAINS)}",
                account=chance.choice([ACCOUNT, OTHER]),
                pool=chance.choice(["default", "news"]),
                ip=chance.choice([IP, OTHER_IP]),
                accepted=self._now,
                due=self._now,
                expires=self._now + chance.choice([MINUTE, HOUR]),
            )
            for _ in range(chance.randrange(1, 6))
        ]
        is_first = chance.random() < 0.5
        claimed = {ip: lane.epoch for ip, lane in self._lanes.items()} if is_first else None
        for one in many:
            await self._store.queue.enqueue(build_batch(one, claimed=claimed))

    async def lanes(self) -> list[Lane]:
        held = await self._store.queue.hold_lanes(WORKER, NODE, 3600, 10)
        self._lanes = {lane.ip: lane for lane in held}
        return held

    async def attempt(self) -> None:
        lane = self._random.choice(await self.lanes())
        await self._store.queue.claim(lane, DOMAINS, self._now, self._random.randrange(1, 9), 1 << 30)

    async def overdue(self) -> None:
        lane = self._random.choice(await self.lanes())
        await self._store.queue.claim_overdue(lane, self._now, 5)

    async def settle(self) -> None:
        """Also with outcomes that come too late for the lane."""
        found = await stored(self._store)
        for lane in list(self._lanes.values()):
            if mine := [one for one in found if one.pin.ip == lane.ip and self._random.random() < 0.3]:
                made = [
                    finish(one, self._now)
                    if self._random.random() < 0.5
                    else requeue(one, self._now + 5 * MINUTE)
                    for one in mine
                ]
                await self._store.queue.settle(lane, made)

    async def operate(self) -> None:
        queue, chance = self._store.queue, self._random
        what = MailFilter(
            None, domain=chance.choice([None, *DOMAINS]), ip=chance.choice([None, IP, OTHER_IP])
        )
        match chance.randrange(5):
            case 0:
                await queue.hold(what, self._now, self._now + HOUR, "jane")
            case 1:
                await queue.release(what, self._now, "jane")
            case 2:
                await queue.retry(what, self._now, "jane")
            case 3:
                await queue.cancel(replace(what, domain=chance.choice(DOMAINS)), self._now, "jane")
            case _:
                own = replace(what, account=ACCOUNT)
                await queue.repin(own, chance.choice([IP, OTHER_IP]), self._now, "jane")

    async def lose(self) -> None:
        """The lanes to nobody, and back under a higher epoch."""
        await self._store.queue.release_lanes(WORKER)
        for lane in await self.lanes():
            await self._store.queue.orphans(lane)


@pytest.mark.parametrize("seed", range(4))
async def test_counts_equal_the_messages_whatever_was_done_to_them(store: Store, seed: int) -> None:
    life, seen = Life(store, seed), set[str]()
    await life.lanes()
    for _ in range(50):
        done = await life.step()
        seen.add(done)
        found = await stored(store)
        assert await counted(store, ALL, *Facet) == group_by(found, *Facet), done
        own = [one for one in found if one.account == OTHER and one.domain == DOMAINS[0]]
        what = MailFilter(OTHER, domain=DOMAINS[0])
        assert await counted(store, what, Facet.IP) == group_by(own, Facet.IP), done
    assert len(seen) >= 5


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("by", [(), (Facet.IP,), (Facet.POOL,), (Facet.IP, Facet.DOMAIN), tuple(Facet)])
async def test_each_state_is_counted_by_itself(store: Store, state: State, by: tuple[Facet, ...]) -> None:
    life = Life(store, 3)
    await life.lanes()
    for _ in range(12):
        await life.enqueue()
    await life.attempt()
    await store.queue.hold(MailFilter(None, domain=DOMAINS[1]), NOW, NOW + HOUR, "jane")
    found = [one for one in await stored(store) if one.state is state]
    assert found
    assert await counted(store, MailFilter(None, state=state), *by) == group_by(found, *by)


async def test_the_largest_group_comes_first_and_pages_join(store: Store) -> None:
    await put(store, *[mail(f"r@{name}.example") for name in "abbccc"])
    first = await store.reports.waiting(ALL, [Facet.DOMAIN], 2)
    rest = await store.reports.waiting(ALL, [Facet.DOMAIN], 2, 2)
    beyond = await store.reports.waiting(ALL, [Facet.DOMAIN], 2, 4)
    names = [group.domain for group in (*first.groups, *rest.groups)]
    assert names == ["c.example", "b.example", "a.example"]
    assert [(page.number, page.counts.total) for page in (first, rest, beyond)] == [(3, 6)] * 3
    assert beyond.groups == ()


async def test_an_empty_queue_has_no_groups(store: Store) -> None:
    page = await store.reports.waiting(ALL, [], 10)
    assert (page.groups, page.number, page.counts) == ((), 0, StateCounts(0, 0, 0))
    assert (await store.reports.messages(ALL, 10)).messages == ()


async def test_a_group_tells_of_its_own_first_message_alone(store: Store, lane: Lane) -> None:
    """On a shared IP, what others' mail waits for is not to be seen."""
    theirs = mail(account=OTHER, due=NOW - MINUTE, last_reply="451 theirs")
    ours = mail(due=NOW + MINUTE, last_reply="451 ours")
    later = mail(due=NOW + HOUR, last_reply="451 later")
    await put(store, theirs, later, ours)
    what = MailFilter(ACCOUNT, ip=IP)
    for by in ([], [Facet.IP], [Facet.DOMAIN], [Facet.IP, Facet.DOMAIN], list(Facet)):
        (group,) = (await store.reports.waiting(what, by, 10)).groups
        assert (group.counts.total, group.first_due, group.last_reply) == (2, NOW + MINUTE, "451 ours")
    await store.queue.hold(MailFilter(None), NOW, NOW + HOUR, "jane")
    (group,) = (await store.reports.waiting(what, [Facet.IP], 10)).groups
    assert (group.counts, group.first_due, group.last_reply) == (StateCounts(0, 0, 2), None, "451 ours")


async def test_counts_do_not_know_subaccounts(store: Store) -> None:
    for what in (MailFilter(None, subaccount=PART), MailFilter(None, transmission=TransmissionId("1"))):
        with pytest.raises(ValueError, match="list its messages"):
            await store.reports.waiting(what, [], 1)


# ── pages of messages ────────────────────────────────────────────────────────────────────


async def listed(store: Store, what: MailFilter, limit: int) -> list[str]:
    """All pages, joined."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.reports.messages(what, limit, after)
        assert not page.is_cut
        ids += [one.id for one in page.messages]
        if (after := page.next) is None:
            return ids


FILTERS: dict[str, MailFilter] = {
    "all": ALL,
    "account": MailFilter(ACCOUNT),
    "subaccount": MailFilter(ACCOUNT, subaccount=PART),
    "the account itself": MailFilter(ACCOUNT, subaccount=SubaccountId(0)),
    "ip": MailFilter(None, ip=IP),
    "account and ip": MailFilter(OTHER, ip=IP),
    "domain": MailFilter(None, domain="b.example"),
    "ip and domain": MailFilter(ACCOUNT, ip=IP, domain="b.example"),
    "pool": MailFilter(ACCOUNT, pool=PoolId("news")),
    "pool and domain": MailFilter(ACCOUNT, pool=PoolId("news"), domain="b.example"),
    "held": MailFilter(None, state=State.HELD),
    "held of a domain": MailFilter(ACCOUNT, domain="c.example", state=State.HELD),
    "queued": MailFilter(ACCOUNT, state=State.QUEUED),
    "in flight": MailFilter(None, state=State.IN_FLIGHT),
    "in flight of a domain": MailFilter(ACCOUNT, domain="b.example", state=State.IN_FLIGHT),
    "nothing": MailFilter(ACCOUNT, domain="nowhere.example"),
}


@pytest.mark.parametrize("what", FILTERS.values(), ids=FILTERS.keys())
async def test_pages_join_to_the_whole_in_order(store: Store, lane: Lane, what: MailFilter) -> None:
    chance = random.Random(5)
    many = [
        mail(
            f"r@{chance.choice(DOMAINS)}",
            account=chance.choice([ACCOUNT, OTHER]),
            pool=chance.choice(["default", "news"]),
            ip=chance.choice([IP, OTHER_IP]),
            subaccount=chance.choice([None, PART]),
            due=NOW + chance.randrange(4) * MINUTE,
            expires=NOW + HOUR + chance.randrange(4) * MINUTE,
        )
        for _ in range(80)
    ]
    await put(store, *many)
    await store.queue.hold(MailFilter(None, domain="c.example"), NOW, NOW + HOUR, "jane")
    await store.queue.claim(lane, ["b.example"], NOW, 5, 1 << 30)
    found = [
        one
        for one in await stored(store)
        if what.account in (None, one.account)
        and (what.subaccount is None or what.subaccount == (one.subaccount or 0))
        and what.ip in (None, one.pin.ip)
        and what.pool in (None, one.pin.pool)
        and what.domain in (None, one.domain)
        and what.state in (None, one.state)
    ]
    found.sort(key=lambda one: (one.due if what.domain else one.expires, one.id))
    expected = [one.id for one in found]
    assert bool(expected) == (what.domain != "nowhere.example")
    for limit in (1, 7, 200):
        assert await listed(store, what, limit) == expected
    assert await listed(store, what, max(1, len(expected))) == expected


async def test_a_transmission_is_listed_in_the_order_in_which_it_was_made(store: Store, lane: Lane) -> None:
    shared = build_message().transmission_id
    many = [build_message(f"r{number}@b.example", transmission=shared) for number in range(7)]
    await store.queue.enqueue(build_batch(*many))
    await put(store, build_message())
    (gone,) = await store.queue.claim(lane, ["b.example"], NOW, 1, 1 << 30)
    await store.queue.settle(lane, [finish(gone.message)])
    what = MailFilter(ACCOUNT, transmission=shared)
    left = [one.id for one in many if one.id != gone.message.id]
    assert await listed(store, what, 2) == await listed(store, what, 100) == left
    assert await listed(store, replace(what, account=OTHER), 2) == []
    assert await listed(store, replace(what, state=State.HELD), 2) == []


async def test_a_page_behind_much_mail_of_others_is_cut_and_goes_on(store: Store) -> None:
    reports = store.reports
    assert isinstance(reports, SqliteReports)
    theirs = [mail(account=OTHER, expires=NOW + HOUR + index * MINUTE) for index in range(9)]
    ours = [mail(subaccount=PART, expires=NOW + 3 * HOUR), mail(expires=NOW + 4 * HOUR)]
    await put(store, *theirs, *ours)
    what, ids, after, cuts = MailFilter(ACCOUNT), list[str](), None, 0
    while True:
        page = await reports.messages(what, 5, after, looked_at=4)
        ids += [one.id for one in page.messages]
        cuts += page.is_cut
        if (after := page.next) is None:
            break
    assert ids == [one.id for one in ours]
    assert cuts == 2


@pytest.mark.parametrize(
    "place", ["", "x", "due.1.00", "expires.1", "expires.-1.00", "event.1.", "expires.1.'"]
)
async def test_a_place_that_no_page_ended_with_is_refused(store: Store, place: str) -> None:
    with pytest.raises(BadPlace):
        await store.reports.messages(ALL, 5, place)


# ── tallies ──────────────────────────────────────────────────────────────────────────────


async def test_events_are_counted_as_they_are_stored(store: Store, lane: Lane) -> None:
    first, second = mail(), mail(accepted=NOW + 25 * MINUTE, pool="news", ip=OTHER_IP)
    await put(store, first, second)
    await claim(store, lane)
    bounce = Bounce(NOW + 5 * MINUTE, Subject.of(first), 0, 1, PEER, 10, 550, "550 no")
    await store.queue.settle(lane, [Finish(first.id, first.body_id, bounce)])
    refusal = PolicyRejection(
        NOW, ACCOUNT, None, "192.0.2.1", "a@b.test", "x@y.test", 25, 550, "550 no", "whatever they said"
    )
    await store.events.append([refusal, replace(refusal, account=OTHER)])
    await store.queue.hold(MailFilter(None), NOW, NOW + HOUR, "jane")
    default, none = PoolId("default"), PoolId("")

    def tally(at: Any, ip: str, pool: str, kind: str, number: int = 1) -> Tally:
        return Tally(at, ACCOUNT, IpAddress(ip), PoolId(pool), kind, number)

    early = [
        tally(NOW, "", none, "policy_rejection"),
        tally(NOW, IP, default, "bounce"),
        tally(NOW, IP, default, "injection"),
    ]
    late = tally(NOW + 20 * MINUTE, OTHER_IP, "news", "injection")
    end = NOW + HOUR
    reports = store.reports
    assert await reports.tallies(ACCOUNT, NOW, end, 10 * MINUTE) == [*early, late]
    assert await reports.tallies(ACCOUNT, NOW + MINUTE, NOW + 2 * MINUTE, 10 * MINUTE) == early
    assert await reports.tallies(ACCOUNT, NOW + 10 * MINUTE, end, 10 * MINUTE) == [late]
    by_hour = await reports.tallies(ACCOUNT, NOW + 59 * MINUTE, end, HOUR, by_ip=False)
    assert by_hour == [
        tally(NOW, "", "", "bounce"),
        tally(NOW, "", "", "injection", 2),
        tally(NOW, "", "", "policy_rejection"),
    ]
    everybody = await reports.tallies(None, NOW, end, timedelta(days=1))
    assert {(one.account, one.kind) for one in everybody} == {
        *((ACCOUNT, kind) for kind in ("injection", "bounce", "policy_rejection")),
        (OTHER, "policy_rejection"),
    }


@pytest.mark.parametrize("step", [timedelta(0), -HOUR, 15 * MINUTE, timedelta(seconds=1)])
async def test_a_step_that_is_no_multiple_of_ten_minutes_is_refused(store: Store, step: timedelta) -> None:
    with pytest.raises(ValueError, match="multiple"):
        await store.reports.tallies(None, NOW, NOW, step)


async def test_counts_go_with_the_events(store: Store) -> None:
    await put(store, mail(), mail(accepted=NOW + HOUR), mail(account=OTHER))
    await store.events.trim(NOW + HOUR + MINUTE)
    left = await store.reports.tallies(None, NOW, NOW + 2 * HOUR, HOUR)
    assert [one.at for one in left] == [NOW + HOUR]


async def test_a_refused_batch_counts_nothing(store: Store) -> None:
    with pytest.raises(StaleDirectory):
        await store.queue.enqueue(replace(build_batch(mail()), revision=Revision(0)))
    assert await store.reports.tallies(None, NOW - HOUR, NOW + HOUR, HOUR) == []
    assert (await store.reports.waiting(ALL, [], 1)).counts.total == 0
