"""Buying dedicated IPs, and what they cost (R1-R14; docs/rules.md#plans)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from relay.domain.billing import (
    Cycle,
    Holding,
    Invoice,
    Line,
    current_cycle,
    invoices,
    next_invoice,
    purchase_line,
)
from relay.domain.changes import Change, Changes, Put, first_put
from relay.domain.directory import Account, Origin, Plan, Pool, SendingIp, Snapshot, in_order, ip_limit
from relay.domain.errors import IpsByRequest, NoFreeIps, NoIpsOnPlan, OverIpLimit, StaleDirectory
from relay.domain.ids import AccountId, IpAddress, PoolId
from relay.domain.lookup import account_of
from relay.domain.refusals import NoSuchPool
from relay.frames.actor import Actor
from relay.frames.change import TRIES, change_directory
from relay.ports.ambient import Clock
from relay.ports.billing import BillingStore
from relay.ports.directory import Directory
from relay.ports.idempotency import Answered
from relay.resources.accounts.rules import plan_at, set_plan, set_terms
from relay.resources.ip_pools.rules import PoolEdit, create_pool


@dataclass(frozen=True, slots=True)
class NewPool:
    """A pool to be made along with the purchase (R7)."""

    name: str


@dataclass(frozen=True, slots=True)
class Purchase:
    """What an account has bought."""

    account: AccountId
    pool: PoolId
    ips: tuple[SendingIp, ...]
    line: Line
    """What it adds to the invoice of the running cycle (R11, R12)."""


@dataclass(frozen=True, slots=True)
class PlanInForce:
    """What an account is entitled to and pays now."""

    account: Account
    """On the plan that is in force."""
    held: int
    limit: int | None
    cycle: Cycle


@dataclass(frozen=True, slots=True)
class Statement:
    """All that an account sees of its money at one moment (R11)."""

    subscription: PlanInForce
    invoices: tuple[Invoice, ...]
    """Newest first; the first may be that of the running cycle."""
    upcoming: Invoice
    """Of the next cycle, when nothing is bought or released; without lines when it charges nothing."""
    held: tuple[Holding, ...]
    """The dedicated IPs that the account has, the latest to come first."""


class Billing:
    """Purchases, plan changes and invoices of one process."""

    def __init__(self, directory: Directory, ledgers: BillingStore, clock: Clock) -> None:
        self._directory, self._ledgers, self._clock = directory, ledgers, clock
        self._turn = asyncio.Lock()

    async def purchase(
        self,
        account: AccountId,
        quantity: int,
        pool: PoolId | NewPool,
        actor: Actor,
        *,
        keep: Callable[[Purchase], Answered] | None = None,
    ) -> Purchase:
        """Give the account free IPs and its pool, if that is new, in one transaction.

        Operators may also on a plan whose accounts do not provision themselves (R4). keep: the answer
        that is stored along for whoever repeats the request.

        Raises NoIpsOnPlan, IpsByRequest, OverIpLimit, OverCap, NoFreeIps, MalformedOptions,
        Conflict, UnknownObject, StaleDirectory, StaleRequest.
        """
        async with self._turn:
            for _ in range(TRIES):
                line = await self.quote(account, quantity)
                snapshot = await self._directory.refresh()
                actor.check(snapshot)
                holder = _in_force(snapshot, account, self._clock)
                check_plan(holder, actor.is_operator)
                changes, target = _pool(snapshot, account, pool)
                if actor.caps is not None:
                    actor.caps.check(snapshot, changes)
                given = tuple(
                    replace(ip, account=account, pool=target, origin=Origin.LIVE)
                    for ip in _choose(snapshot, holder, quantity)
                )
                purchase = Purchase(account, target, given, line)
                answered = None if keep is None else keep(purchase)
                try:
                    await self._directory.apply((*changes, *map(Put, given)), actor.name, answered)
                except StaleDirectory:
                    continue
                return purchase
        raise StaleDirectory

    async def quote(self, account: AccountId, quantity: int) -> Line:
        """What this many IPs, bought now, would add to the invoice of the running cycle."""
        ledger = await self._ledgers.ledger(account)
        return purchase_line(ledger, quantity, self._clock.now())

    async def amend(
        self,
        account: AccountId,
        actor: Actor,
        *,
        plan: Plan | None = None,
        limit: int | None = None,
        price_cents: int | None = None,
        bill_cycle_day: int | None = None,
    ) -> Account:
        """Set what is not None: a plan up at once, down to free at the end of the cycle (A13).

        The account as it is then. Raises Conflict, UnknownObject, StaleDirectory.
        """
        cycle = current_cycle(await self._ledgers.ledger(account), self._clock.now())

        def compute(snapshot: Snapshot) -> Changes:
            pools: Changes = ()
            if plan is not None:
                changes = set_plan(snapshot, account, plan, limit, cycle.turns)
                planned, pools = first_put(changes, Account), changes[1:]
                snapshot = replace(snapshot, accounts={**snapshot.accounts, account: planned})
            return (*set_terms(snapshot, account, limit, price_cents, bill_cycle_day), *pools)

        return first_put(await change_directory(self._directory, compute, actor), Account)

    async def subscription(self, account: AccountId) -> PlanInForce:
        """Raises UnknownObject."""
        return (await self.statement(account)).subscription

    async def statement(self, account: AccountId) -> Statement:
        """Raises UnknownObject."""
        ledger, now = await self._ledgers.ledger(account), self._clock.now()
        snapshot = await self._directory.refresh()
        holder = _in_force(snapshot, account, self._clock)
        held = [holding for holding in ledger.holdings if holding.until is None]
        return Statement(
            PlanInForce(holder, held_by(snapshot, account), ip_limit(holder), current_cycle(ledger, now)),
            invoices(ledger, now)[::-1],
            next_invoice(ledger, now),
            tuple(sorted(held, key=lambda holding: -holding.order)),
        )

    async def come_since(self, account: AccountId, moment: datetime) -> frozenset[IpAddress]:
        """The dedicated IPs that the account has, and has had for no longer than since then (R2).

        Raises UnknownObject.
        """
        ledger = await self._ledgers.ledger(account)
        holdings = [held for held in ledger.holdings if held.until is None and held.since >= moment]
        return frozenset(held.address for held in holdings)

    async def invoices(self, account: AccountId) -> tuple[Invoice, ...]:
        """Newest first. Raises UnknownObject."""
        return invoices(await self._ledgers.ledger(account), self._clock.now())[::-1]


def held_by(snapshot: Snapshot, account: AccountId) -> int:
    """How many dedicated IPs the account has."""
    return sum(ip.account == account and not ip.is_retired for ip in snapshot.ips.values())


def inventory(snapshot: Snapshot) -> tuple[SendingIp, ...]:
    """What can be bought, in the order in which it is sold.

    IPv4 alone: the API knows no other sending IP.
    """
    free = [ip for ip in snapshot.ips.values() if ip.is_free and not ip.is_draining and ":" not in ip.address]
    return in_order(free)


def _in_force(snapshot: Snapshot, number: AccountId, clock: Clock) -> Account:
    """The account on the plan that it has at this moment; on the one it had, soon after the time was set."""
    account = account_of(snapshot, number)
    now = clock.now()
    return replace(account, plan=plan_at(account, now)) if clock.is_steady() else account


def check_plan(account: Account, by_operator: bool) -> None:
    """Whether IPs are bought on the account's plan. Raises NoIpsOnPlan (R1), IpsByRequest (R4)."""
    if account.plan is Plan.FREE:
        raise NoIpsOnPlan
    if account.plan is not Plan.SELF_SERVE and not by_operator:
        raise IpsByRequest("your TAM" if account.plan is Plan.ENTERPRISE else "support")


def _pool(
    snapshot: Snapshot, account: AccountId, pool: PoolId | NewPool
) -> tuple[tuple[Change, ...], PoolId]:
    """What makes the pool, if it is new, and its id (R7-R9)."""
    if isinstance(pool, NewPool):
        changes = create_pool(snapshot, account, PoolEdit(pool.name))
        return changes, first_put(changes, Pool).id
    target = PoolId(pool.lower())
    if (account, target) not in snapshot.pools:
        raise NoSuchPool(pool)
    return (), target


def _choose(snapshot: Snapshot, account: Account, quantity: int) -> tuple[SendingIp, ...]:
    limit = ip_limit(account)
    if limit is not None and held_by(snapshot, account.id) + quantity > limit:
        raise OverIpLimit(limit)
    free = inventory(snapshot)
    if len(free) < quantity:
        raise NoFreeIps
    return free[:quantity]
