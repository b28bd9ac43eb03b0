"""Buying dedicated IPs, changing plans and what is charged for it (R1-R14; docs/rules.md#plans)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.domain.changes import Change, Put
from relay.domain.directory import Account, Origin, Plan, Pool, SendingIp, Snapshot
from relay.domain.errors import (
    Conflict,
    IpsByRequest,
    NoFreeIps,
    NoIpsOnPlan,
    OverIpLimit,
    RelayError,
    StaleRequest,
    UnknownObject,
)
from relay.domain.ids import AccountId, IpAddress, NodeName, PoolId, WorkerId
from relay.domain.refusals import NoSuchPool, PoolExists, PoolNameTooLong
from relay.frames.actor import Actor
from relay.frames.live import LiveDirectory
from relay.ports.idempotency import Answer, Answered, Begun, Standing, Ticket
from relay.process.directory.changes import changes_to
from relay.process.directory.file import load_directory
from relay.process.upkeep import keep_up, tend
from relay.resources.accounts.rules import set_terms
from relay.resources.billing.rules import Billing, NewPool, Purchase, held_by, inventory
from relay.resources.sending_ips.rules import assign_ip, release_ip
from relay.store import Store, open_store
from relay.testing.clock import HandMovedClock
from relay.testing.waiting import eventually
from tests.store.conftest import build_batch, finish
from tests.support.mail import NOW, build_message

ACME, CEDAR, ELM, FIR = AccountId(1), AccountId(2), AccountId(3), AccountId(4)
PLANS = {ACME: Plan.SELF_SERVE, CEDAR: Plan.ENTERPRISE, ELM: Plan.FREE, FIR: Plan.MANUAL}
NEWS, DEFAULT = PoolId("news"), PoolId("default")
START = datetime(2026, 4, 21, 9, tzinfo=UTC)
"""10 of 30 days of the cycle are left, this one counted."""


def free_ip(number: int, **facts: bool) -> SendingIp:
    address = IpAddress(f"127.0.0.{number}")
    return SendingIp(address, address, f"mta{number}.example", **facts)  # type: ignore[arg-type] # flags alone


@dataclass
class Shop:
    """A store, its live directory, and billing on them."""

    store: Store
    live: LiveDirectory
    clock: HandMovedClock
    billing: Billing

    @classmethod
    async def open(cls, store: Store, clock: HandMovedClock) -> "Shop":
        live = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
        return cls(store, live, clock, Billing(live, store.billing, clock))

    async def buy(
        self,
        quantity: int,
        pool: PoolId | NewPool = DEFAULT,
        account: AccountId = ACME,
        by_operator: bool = False,
    ) -> Purchase:
        return await self.billing.purchase(account, quantity, pool, Actor("ann", is_operator=by_operator))

    async def change(self, compute: Callable[[Snapshot], Sequence[Change]]) -> Snapshot:
        return await self.live.apply(compute(await self.live.refresh()), "ann")

    async def tend(self) -> None:
        await tend(self.live, self.store.directory, self.clock)

    async def charged(self, account: AccountId = ACME) -> list[list[int]]:
        """Cents of each line of each invoice, newest first."""
        found = await self.billing.invoices(account)
        return [[line.amount_cents for line in invoice.lines] for invoice in found]

    def held(self, account: AccountId = ACME) -> int:
        return held_by(self.live.snapshot, account)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/relay.db"


@pytest.fixture
async def shop(url: str) -> AsyncIterator[Shop]:
    """An account of each plan (Acme has a pool `news`), and ten IPs of which 11 to 16 are for sale."""
    clock = HandMovedClock(START)
    async with await open_store(url) as store:
        shop = await Shop.open(store, clock)
        entries: list[Account | Pool | SendingIp] = [
            Account(number, plan, plan, None if plan is Plan.ENTERPRISE else 4)
            for number, plan in PLANS.items()
        ]
        entries.append(Pool(ACME, NEWS, "News"))
        entries += [free_ip(number) for number in (16, 15, 14, 13, 12, 11)]
        entries += [free_ip(7, shared=True), free_ip(8, is_draining=True), free_ip(9, is_retired=True)]
        entries.append(SendingIp(IpAddress("2001:db8::1"), IpAddress("2001:db8::1"), "mta6"))
        await shop.change(lambda _: [Put(entry) for entry in entries])
        yield shop


# ── what can be bought ───────────────────────────────────────────────────────────────────


async def test_r3_free_ips_are_given_in_order_of_address_and_belong_to_the_account_at_once(
    shop: Shop,
) -> None:
    bought = await shop.buy(2, NEWS)
    assert [ip.address for ip in bought.ips] == ["127.0.0.11", "127.0.0.12"]
    assert shop.live.snapshot.members[ACME, NEWS] == bought.ips
    assert {ip.origin for ip in bought.ips} == {Origin.LIVE}
    assert {ip.weight for ip in bought.ips} == {1}, "R2: it arrives in neutral state"


async def test_only_free_ipv4_that_takes_mail_is_for_sale(shop: Shop) -> None:
    assert [ip.address for ip in inventory(shop.live.snapshot)] == [f"127.0.0.{n}" for n in range(11, 17)]


async def test_r7_r9_a_new_pool_is_made_along_with_the_purchase(shop: Shop) -> None:
    bought = await shop.buy(1, NewPool("Marketing IP Pool"))
    assert bought.pool == "marketing_ip_pool"
    assert shop.live.snapshot.pools[ACME, bought.pool].name == "Marketing IP Pool"
    assert [ip.pool for ip in bought.ips] == [bought.pool]
    assert shop.live.snapshot.revision == 2, "one transaction"


REFUSALS = [
    pytest.param(ELM, 1, DEFAULT, NoIpsOnPlan(), id="R1: free"),
    pytest.param(CEDAR, 1, DEFAULT, IpsByRequest("your TAM"), id="R4: Enterprise"),
    pytest.param(FIR, 1, DEFAULT, IpsByRequest("support"), id="R4: billed by hand"),
    pytest.param(ACME, 5, DEFAULT, OverIpLimit(4), id="R13: more than 4 at once"),
    pytest.param(ACME, 1, PoolId("Nowhere"), NoSuchPool("Nowhere"), id="no such pool"),
    pytest.param(
        ACME,
        1,
        NewPool("x" * 21),
        PoolNameTooLong(20),
        id="R8: a name of 21",
    ),
    pytest.param(ACME, 1, NewPool("NEWS"), PoolExists("news"), id="a pool twice"),
    pytest.param(ACME, 5, NewPool("Stray"), OverIpLimit(4), id="no stray pool"),
    pytest.param(AccountId(9), 1, DEFAULT, UnknownObject("account", "9"), id="no such account"),
]


@pytest.mark.parametrize(("account", "quantity", "pool", "error"), REFUSALS)
async def test_a_refused_purchase_changes_nothing(
    shop: Shop, account: AccountId, quantity: int, pool: PoolId | NewPool, error: RelayError
) -> None:
    before = shop.live.snapshot
    with pytest.raises(type(error)) as caught:
        await shop.buy(quantity, pool, account)
    assert vars(caught.value) == vars(error)
    assert await shop.store.directory.snapshot() == before
    if account in PLANS:
        assert await shop.charged(account) == []


async def test_what_is_not_there_cannot_be_bought(shop: Shop) -> None:
    await shop.buy(6, DEFAULT, CEDAR, by_operator=True)
    with pytest.raises(NoFreeIps):
        await shop.buy(1, NewPool("Stray"))
    assert (ACME, PoolId("stray")) not in shop.live.snapshot.pools


async def test_r13_two_purchases_of_two_succeed_and_a_fifth_ip_is_refused(shop: Shop) -> None:
    await shop.buy(2)
    await shop.buy(2, NEWS)
    with pytest.raises(OverIpLimit):
        await shop.buy(1)
    assert shop.held() == 4


async def test_a11_the_limit_is_the_accounts_own(shop: Shop) -> None:
    await shop.billing.amend(ACME, Actor("ann"), limit=5)
    await shop.buy(5)
    with pytest.raises(OverIpLimit) as caught:
        await shop.buy(1)
    assert caught.value.limit == 5


async def test_on_a_plan_without_the_shared_pool_nothing_overflows_into_it(shop: Shop) -> None:
    quiet = Pool(ACME, PoolId("quiet"), "Quiet", "news")
    await shop.change(lambda _: [Put(Pool(ACME, NEWS, "News", "shared pool")), Put(quiet)])
    await shop.billing.amend(ACME, Actor("ann"), plan=Plan.MANUAL, price_cents=1500)
    assert shop.live.snapshot.pools[ACME, NEWS].overflow_pool == "shared pool"
    await shop.billing.amend(ACME, Actor("ann"), plan=Plan.ENTERPRISE, limit=9)
    assert shop.live.snapshot.pools[ACME, NEWS].overflow_pool == ""
    assert shop.live.snapshot.pools[ACME, quiet.id] == quiet
    account = shop.live.snapshot.accounts[ACME]
    assert (account.plan, account.dedicated_ip_limit, account.ip_price_cents) == (Plan.ENTERPRISE, 9, 1500)


async def test_r4_r14_the_operator_gives_enterprise_more_than_four(shop: Shop) -> None:
    await shop.buy(6, DEFAULT, CEDAR, by_operator=True)
    assert shop.held(CEDAR) == 6
    with pytest.raises(NoIpsOnPlan):
        await shop.buy(1, DEFAULT, ELM, by_operator=True)


async def test_r13_fifty_purchases_at_once_never_pass_the_limit(shop: Shop, url: str) -> None:
    """In two processes, as far as the store can tell."""
    async with await open_store(url) as store:
        other = await Shop.open(store, shop.clock)
        done: list[str] = []

        async def buy(at: Shop) -> None:
            try:
                await at.buy(1, NewPool(f"Pool {len(done)}") if at is other else NEWS)
            except (OverIpLimit, Conflict) as error:
                done.append(type(error).__name__)
            else:
                done.append("bought")

        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(buy(other if number % 2 else shop))
        snapshot = await shop.live.refresh()
        assert held_by(snapshot, ACME) == 4 == done.count("bought")
        made = [pool for owner, pool in snapshot.pools if owner == ACME and pool.startswith("pool")]
        assert all((ACME, pool) in snapshot.members for pool in made), "no stray pool"
    assert sum(len(lines) for lines in await shop.charged()) == 4


async def test_the_last_free_ip_is_sold_once(shop: Shop) -> None:
    await shop.buy(5, DEFAULT, CEDAR, by_operator=True)
    await shop.billing.amend(FIR, Actor("ann"), plan=Plan.SELF_SERVE)
    outcomes: list[object] = []

    async def buy(account: AccountId) -> None:
        try:
            outcomes.append(await shop.buy(1, DEFAULT, account))
        except NoFreeIps as error:
            outcomes.append(error)

    async with asyncio.TaskGroup() as tasks:
        for account in (ACME, FIR):
            tasks.create_task(buy(account))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoFreeIps", "Purchase"]


# ── what it costs ────────────────────────────────────────────────────────────────────────


async def test_r6_r12_a_purchase_adds_its_share_of_the_month_and_then_the_whole(shop: Shop) -> None:
    """With 10 of 30 days left 6.67 USD, next month 20.00."""
    assert (await shop.billing.quote(ACME, 1)).amount_cents == 667
    bought = await shop.buy(1)
    assert bought.line.amount_cents == 667
    assert await shop.charged() == [[667]]
    shop.clock.advance_to(datetime(2026, 5, 1, tzinfo=UTC))
    assert await shop.charged() == [[2000], [667]]


async def test_r11_each_purchase_of_a_cycle_is_a_line(shop: Shop) -> None:
    await shop.buy(2)
    shop.clock.advance(days=5)
    await shop.buy(1)
    assert await shop.charged() == [[1333, 333]]
    assert await shop.charged(CEDAR) == []


async def test_what_the_operator_gives_is_charged_at_the_accounts_price(shop: Shop) -> None:
    await shop.billing.amend(CEDAR, Actor("ann"), price_cents=1500)
    await shop.change(lambda found: assign_ip(found, IpAddress("127.0.0.11"), CEDAR))
    assert await shop.charged(CEDAR) == [[500]]


async def test_a_release_gives_no_credit_and_ends_the_charge(shop: Shop) -> None:
    bought = await shop.buy(2)
    await shop.change(lambda found: release_ip(found, bought.ips[0].address))
    assert await shop.charged() == [[1333]]
    shop.clock.advance_to(datetime(2026, 5, 31, 12, tzinfo=UTC))
    assert await shop.charged() == [[2000], [1333]]


async def test_the_subscription_tells_count_limit_and_cycle(shop: Shop) -> None:
    await shop.buy(3)
    found = await shop.billing.subscription(ACME)
    assert (found.held, found.limit, found.account.plan) == (3, 4, Plan.SELF_SERVE)
    assert (found.cycle.start.day, found.cycle.end.month) == (1, 5)
    assert (await shop.billing.subscription(CEDAR)).limit is None
    assert (await shop.billing.subscription(ELM)).limit == 0
    with pytest.raises(UnknownObject):
        await shop.billing.subscription(AccountId(9))


# ── plans ────────────────────────────────────────────────────────────────────────────────


async def test_an_upgrade_counts_at_once(shop: Shop) -> None:
    account = await shop.billing.amend(ELM, Actor("ann"), plan=Plan.SELF_SERVE)
    assert (account.plan, account.next_plan) == (Plan.SELF_SERVE, None)
    await shop.buy(1, DEFAULT, ELM)


async def test_a_downgrade_waits_for_the_end_of_the_cycle_and_then_releases_the_ips(shop: Shop) -> None:
    await shop.buy(2)
    account = await shop.billing.amend(ACME, Actor("ann"), plan=Plan.FREE)
    assert (account.plan, account.next_plan) == (Plan.SELF_SERVE, Plan.FREE)
    assert account.next_plan_at == datetime(2026, 5, 1, tzinfo=UTC)
    shop.clock.advance_to(datetime(2026, 4, 30, 23, 59, tzinfo=UTC))
    await shop.tend()
    assert (shop.held(), shop.live.snapshot.accounts[ACME].plan) == (2, Plan.SELF_SERVE)
    await shop.buy(1)
    shop.clock.advance(minutes=1)
    shop.clock.steady = False
    assert (await shop.billing.subscription(ACME)).limit != 0, "nothing ends soon after the time was set"
    shop.clock.steady = True
    with pytest.raises(NoIpsOnPlan):
        await shop.buy(1)
    assert (await shop.billing.subscription(ACME)).limit == 0, "in force before it is carried out"
    await shop.tend()
    found = shop.live.snapshot.accounts[ACME]
    assert (shop.held(), found.plan, found.next_plan, found.next_plan_at) == (0, Plan.FREE, None, None)
    assert len(inventory(shop.live.snapshot)) == 6
    shop.clock.advance(days=70)
    assert await shop.charged() == [[1333, 67]], "nothing after the downgrade"


async def test_a_downgrade_that_is_carried_out_late_charges_nothing_more(shop: Shop) -> None:
    await shop.buy(1)
    await shop.billing.amend(ACME, Actor("ann"), plan=Plan.FREE)
    shop.clock.advance(days=45)
    assert await shop.charged() == [[667]]
    await shop.tend()
    assert await shop.charged() == [[667]]
    assert shop.held() == 0


async def test_a_downgrade_can_be_taken_back(shop: Shop) -> None:
    await shop.buy(1)
    await shop.billing.amend(ACME, Actor("ann"), plan=Plan.FREE)
    account = await shop.billing.amend(ACME, Actor("ann"), plan=Plan.SELF_SERVE)
    assert (account.next_plan, account.next_plan_at) == (None, None)
    shop.clock.advance(days=20)
    await shop.tend()
    assert shop.held() == 1
    assert await shop.charged() == [[2000], [667]]


async def test_plan_and_terms_change_in_one_transaction(shop: Shop) -> None:
    account = await shop.billing.amend(
        ELM, Actor("ann"), plan=Plan.MANUAL, limit=9, price_cents=1, bill_cycle_day=15
    )
    assert (account.plan, account.dedicated_ip_limit) == (Plan.MANUAL, 9)
    assert (account.ip_price_cents, account.bill_cycle_day) == (1, 15)
    assert shop.live.snapshot.revision == 2
    await shop.buy(2)
    with pytest.raises(Conflict, match="would have 2 dedicated IPs; its limit is 1"):
        await shop.billing.amend(ACME, Actor("ann"), limit=1)


async def test_time_is_looked_after_once_a_minute(shop: Shop) -> None:
    await shop.buy(1)
    await shop.billing.amend(ACME, Actor("ann"), plan=Plan.FREE)
    stopping = asyncio.Event()

    async def waits() -> bool:
        return shop.clock.next_wake is not None

    async def has_released() -> bool:
        return shop.held() == 0

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_up(shop.live, shop.store.directory, shop.clock, stopping))
        await eventually(waits)
        shop.clock.advance(days=11)
        await eventually(has_released)
        stopping.set()
    assert shop.live.snapshot.accounts[ACME].plan is Plan.FREE


async def test_upkeep_goes_on_when_the_store_is_away(
    shop: Shop, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    away = await open_store(url)
    live = LiveDirectory(away.directory, await away.directory.snapshot(), shop.clock)
    await away.close()
    stopping = asyncio.Event()

    async def complains() -> bool:
        return caplog.text.count("upkeep failed: the store is unavailable") >= 2

    async def waits() -> bool:
        return shop.clock.next_wake is not None

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_up(live, away.directory, shop.clock, stopping))
        await eventually(waits)
        shop.clock.advance(minutes=1)
        await eventually(complains)
        stopping.set()


# ── released IPs ─────────────────────────────────────────────────────────────────────────


async def test_a_released_ip_is_not_sold_before_its_lane_is_empty(shop: Shop) -> None:
    """R27: whoever buys it must not get an address that carries the old owner's mail."""
    (ip,) = (await shop.buy(1)).ips
    message = build_message(ip=ip.address)
    await shop.store.queue.enqueue(build_batch(message, revision=shop.live.snapshot.revision))
    await shop.change(lambda found: release_ip(found, ip.address))
    assert shop.held() == 0
    await shop.tend()
    assert ip.address not in {free.address for free in inventory(shop.live.snapshot)}
    with pytest.raises(Conflict, match="still carries queued mail of account 1"):
        assign_ip(shop.live.snapshot, ip.address, CEDAR)
    back = await shop.change(lambda found: assign_ip(found, ip.address, ACME))
    assert back.ips[ip.address].released_from is None, "its old owner may have it back"
    await shop.change(lambda found: release_ip(found, ip.address))
    await _carry(shop, ip.address)
    await shop.tend()
    assert inventory(shop.live.snapshot)[0].address == ip.address


async def test_a_formerly_shared_ip_is_not_given_away_with_its_mail(shop: Shop) -> None:
    shared = IpAddress("127.0.0.7")
    message = build_message(ip=shared)
    await shop.store.queue.enqueue(build_batch(message, revision=shop.live.snapshot.revision))
    found = await shop.change(lambda found: release_ip(found, shared))
    with pytest.raises(Conflict, match="still carries queued mail of the shared pool"):
        assign_ip(found, shared, ACME)


async def _carry(shop: Shop, address: IpAddress) -> None:
    """Drop what is queued for the address, as if it had been delivered."""
    queue, worker = shop.store.queue, WorkerId("w1")
    lanes = await queue.hold_lanes(worker, NodeName("n1"), 3600, 20)
    (lane,) = [lane for lane in lanes if lane.ip == address]
    claimed = await queue.claim(lane, ("b.example",), NOW, 100, 1 << 20)
    await queue.settle(lane, [finish(one.message) for one in claimed])


async def test_what_the_file_lists_as_inventory_stays_with_whoever_bought_it(
    shop: Shop, tmp_path: Path
) -> None:
    """`relay directory apply` of the same file again does not take it away."""
    path = tmp_path / "directory.toml"
    path.write_text(
        '[[sending_ip]]\naddress = "127.0.0.11"\nhostname = "mta11.example"\n'
        '[[account]]\nid = 1\nname = "self_serve"\nplan = "self_serve"\n[[account.pool]]\nname = "News"\n'
    )

    def apply(found: Snapshot) -> tuple[Change, ...]:
        wanted = load_directory(path)
        return changes_to(found, wanted.entries, wanted.routes).changes

    await shop.change(apply)
    (ip,) = (await shop.buy(1, NEWS)).ips
    await shop.billing.amend(ACME, Actor("ann"), plan=Plan.FREE)
    found = await shop.change(apply)
    assert found.ips[ip.address] == ip
    assert found.accounts[ACME].next_plan is Plan.FREE
    await shop.change(lambda found: release_ip(found, ip.address))
    assert (await shop.change(apply)).ips[ip.address].account is None
    path.write_text(path.read_text().replace('plan = "self_serve"', 'plan = "manual"'))
    account = (await shop.change(apply)).accounts[ACME]
    assert (account.plan, account.next_plan, account.next_plan_at) == (Plan.MANUAL, None, None)


# ── repeated requests ────────────────────────────────────────────────────────────────────


async def test_the_answer_to_a_purchase_is_stored_with_it(shop: Shop) -> None:
    store = shop.store.idempotency
    ticket, now = Ticket("1/0", "k", shop.clock.now()), shop.clock.now()
    assert await store.begin(ticket, "f", expired=now, given_up=now) == Begun(ticket)
    told: list[Purchase] = []

    def keep(purchase: Purchase) -> Answered:
        told.append(purchase)
        return Answered(ticket, Answer(200, str(len(purchase.ips)).encode()))

    bought = await shop.billing.purchase(ACME, 2, NEWS, Actor("ann", is_operator=False), keep=keep)
    assert told == [bought]
    assert await store.begin(ticket, "f", expired=now, given_up=now) == Standing("f", Answer(200, b"2"))


async def test_a_request_that_was_overtaken_by_its_repetition_buys_nothing(shop: Shop) -> None:
    ticket = Ticket("1/0", "k", shop.clock.now())
    with pytest.raises(StaleRequest):
        await shop.billing.purchase(
            ACME,
            2,
            NEWS,
            Actor("ann", is_operator=False),
            keep=lambda _: Answered(ticket, Answer(200, b"{}")),
        )
    assert held_by(await shop.live.refresh(), ACME) == 0


def test_set_terms_leaves_what_is_not_named() -> None:
    account = Account(ACME, "Acme", Plan.SELF_SERVE, 7, 900, 3)
    found = Snapshot(accounts={ACME: account})
    assert set_terms(found, ACME) == (Put(account),)
    assert set_terms(found, ACME, 0, 0, 9) == (
        Put(replace(account, dedicated_ip_limit=0, ip_price_cents=0, bill_cycle_day=9)),
    )
