"""Accounts: what an operator does to them, as changes computed on one snapshot."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from relay.domain.changes import Change, Changes, Put
from relay.domain.directory import USUAL_IP_LIMIT, Account, Origin, Plan, Snapshot, Status
from relay.domain.ids import AccountId
from relay.domain.lookup import account_of
from relay.domain.refusals import AccountExists
from relay.resources.ip_pools.rules import bereft_of_shared_pool
from relay.resources.sending_ips.rules import check_limits, release_ip

# ── accounts and subaccounts ─────────────────────────────────────────────────────────────


def create_account(snapshot: Snapshot, name: str, plan: Plan, number: AccountId | None = None) -> Changes:
    """number: the next free one when None."""
    if number is None:
        number = AccountId(max(snapshot.accounts, default=0) + 1)
    if number in snapshot.accounts:
        raise AccountExists(number, snapshot.accounts[number].name)
    limit = None if plan is Plan.ENTERPRISE else USUAL_IP_LIMIT
    return (Put(Account(number, name, plan, limit, origin=Origin.LIVE)),)


def rename_account(
    snapshot: Snapshot, number: AccountId, name: str | None, tracking: Mapping[str, bool] | None = None
) -> Changes:
    """None leaves as it is. tracking: options that are to be on or off; others stay."""
    stored = account_of(snapshot, number)
    on = set(stored.tracking)
    for option, is_on in (tracking or {}).items():
        (on.add if is_on else on.discard)(option)
    return (Put(replace(stored, name=stored.name if name is None else name, tracking=tuple(sorted(on)))),)


def change_account(
    snapshot: Snapshot, number: AccountId, name: str | None = None, status: Status | None = None
) -> Changes:
    """None leaves as it is. An account that is not active sends no more; its queued mail still leaves."""
    stored = account_of(snapshot, number)
    changed = replace(
        stored,
        name=stored.name if name is None else name,
        status=stored.status if status is None else status,
    )
    return (Put(changed),)


def set_plan(
    snapshot: Snapshot,
    number: AccountId,
    plan: Plan,
    limit: int | None = None,
    cycle_end: datetime | None = None,
) -> Changes:
    """At once, and a downgrade that was waiting is off; but down to free at cycle_end (A13).

    On a plan without a shared pool nothing overflows into it any more.

    limit: of dedicated IPs; None keeps the account's own, or takes the usual one when it had none.
    cycle_end: None is at once for every plan, which an account with dedicated IPs is refused.
    """
    account = account_of(snapshot, number)
    if cycle_end is not None and plan is Plan.FREE and account.plan is not Plan.FREE:
        return (Put(replace(account, next_plan=plan, next_plan_at=cycle_end)),)
    if limit is None and plan is not Plan.ENTERPRISE:
        limit = USUAL_IP_LIMIT if account.dedicated_ip_limit is None else account.dedicated_ip_limit
    changed = replace(account, plan=plan, dedicated_ip_limit=limit, next_plan=None, next_plan_at=None)
    check_limits((changed, *snapshot.ips.values()))
    return (Put(changed), *bereft_of_shared_pool(snapshot, changed))


def set_terms(
    snapshot: Snapshot,
    number: AccountId,
    limit: int | None = None,
    price_cents: int | None = None,
    bill_cycle_day: int | None = None,
) -> Changes:
    """What an account may have and pays (A11). None leaves as it is.

    What is bought, and cycles that begin, from now on have the new price; a new day counts from the
    end of the running cycle.
    """
    changed = account_of(snapshot, number)
    if limit is not None:
        changed = replace(changed, dedicated_ip_limit=limit)
    if price_cents is not None:
        changed = replace(changed, ip_price_cents=price_cents)
    if bill_cycle_day is not None:
        changed = replace(changed, bill_cycle_day=bill_cycle_day)
    check_limits((changed, *snapshot.ips.values()))
    return (Put(changed),)


def downgrade(snapshot: Snapshot, now: datetime) -> Changes:
    """The downgrades whose time has come: the free plan, and no dedicated IP any more (A13)."""
    due = {
        account.id: account for account in snapshot.accounts.values() if plan_at(account, now) != account.plan
    }
    changes: list[Change] = []
    for ip in snapshot.ips.values():
        if ip.account in due and not ip.is_retired:
            changes += release_ip(snapshot, ip.address)
    for account in due.values():
        plan = plan_at(account, now)
        changes.append(Put(replace(account, plan=plan, next_plan=None, next_plan_at=None)))
    return tuple(changes)


def plan_at(account: Account, now: datetime) -> Plan:
    """The plan in force, also when a downgrade that is due has not been carried out yet."""
    if account.next_plan is None or account.next_plan_at is None or now < account.next_plan_at:
        return account.plan
    return account.next_plan
