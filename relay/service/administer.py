"""What an operator does to the directory, as changes computed on one snapshot.

Every function returns the changes, what it makes first among them, and raises UnknownObject,
Conflict, or MalformedOptions with SparkPost's own sentence.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import (
    GRANTS,
    MAX_POOL_NAME,
    RESERVED_POOLS,
    SUBACCOUNT_GRANTS,
    USUAL_IP_LIMIT,
    Account,
    ApiKey,
    Entry,
    Origin,
    Plan,
    Pool,
    SendingIp,
    Snapshot,
    Status,
    Subaccount,
    is_pool_id,
    pool_id_of,
)
from relay.domain.errors import Conflict, MalformedOptions, UnknownObject
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId, SubaccountId
from relay.service.directory import check_limits
from relay.service.pool_rules import bereft_of_shared_pool, check_name, check_overflow, check_signing

Changes = tuple[Change, ...]

# ── accounts and subaccounts ─────────────────────────────────────────────────────────────


def create_account(snapshot: Snapshot, name: str, plan: Plan, number: AccountId | None = None) -> Changes:
    """number: the next free one when None."""
    if number is None:
        number = AccountId(max(snapshot.accounts, default=0) + 1)
    if number in snapshot.accounts:
        raise Conflict(f"account {number} exists already: {snapshot.accounts[number].name}")
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


def create_subaccount(
    snapshot: Snapshot,
    account: AccountId,
    name: str,
    number: SubaccountId | None = None,
    pool: str | None = None,
    now: datetime | None = None,
) -> Changes:
    """number: the account's next free one when None. Whether the pool exists is not asked (A9)."""
    account_of(snapshot, account)
    taken = [subaccount for owner, subaccount in snapshot.subaccounts if owner == account]
    if number is None:
        number = SubaccountId(max(taken, default=0) + 1)
    if number in taken:
        raise Conflict(f"subaccount {number} of account {account} exists already")
    made = Subaccount(account, number, name, _bound_pool(pool), origin=Origin.LIVE, created=now, updated=now)
    return (Put(made),)


def change_subaccount(
    snapshot: Snapshot,
    account: AccountId,
    number: SubaccountId,
    name: str | None = None,
    pool: str | None = None,
    status: Status | None = None,
    now: datetime | None = None,
) -> Changes:
    """None leaves as it is; an empty pool binds it to none."""
    stored = subaccount_of(snapshot, account, number)
    changed = replace(
        stored,
        name=stored.name if name is None else name,
        ip_pool=stored.ip_pool if pool is None else _bound_pool(pool),
        status=stored.status if status is None else status,
    )
    return (Put(changed if changed == stored else replace(changed, updated=now)),)


def set_subaccount_pool(
    snapshot: Snapshot, account: AccountId, number: SubaccountId, pool: str | None
) -> Changes:
    """Bind a subaccount to a pool (R23), or to none."""
    return (Put(replace(subaccount_of(snapshot, account, number), ip_pool=_bound_pool(pool))),)


# ── pools ────────────────────────────────────────────────────────────────────────────────


def create_pool(
    snapshot: Snapshot,
    account: AccountId,
    name: str,
    overflow: str = "",
    signing_domain: str = "",
    fbl_signing_domain: str = "",
) -> Changes:
    account_of(snapshot, account)
    check_name(name)
    pool = Pool(account, pool_id_of(name), name, overflow, Origin.LIVE, signing_domain, fbl_signing_domain)
    if pool.id in RESERVED_POOLS:
        raise MalformedOptions(f"IP Pool {pool.id} is reserved.")
    if (account, pool.id) in snapshot.pools:
        raise Conflict(f"IP Pool {pool.id} already exists.")
    check_overflow(snapshot, pool)
    check_signing(snapshot, pool)
    return (Put(pool),)


def change_pool(
    snapshot: Snapshot,
    account: AccountId,
    pool: PoolId,
    name: str | None = None,
    overflow: str | None = None,
    signing_domain: str | None = None,
    fbl_signing_domain: str | None = None,
) -> Changes:
    """None leaves as it is, an empty text removes. A new name keeps the id."""
    if pool == DEFAULT_POOL:
        raise MalformedOptions(f"IP Pool {DEFAULT_POOL} is reserved and cannot be updated.")
    changed = pool_of(snapshot, account, pool)
    if name is not None:
        check_name(name)
        changed = replace(changed, name=name)
    if overflow is not None:
        changed = replace(changed, overflow_pool=overflow)
        check_overflow(snapshot, changed)
    if signing_domain is not None:
        changed = replace(changed, signing_domain=signing_domain)
    if fbl_signing_domain is not None:
        changed = replace(changed, fbl_signing_domain=fbl_signing_domain)
    if signing_domain or fbl_signing_domain:
        check_signing(snapshot, changed)
    return (Put(changed),)


def delete_pool(snapshot: Snapshot, account: AccountId, pool: PoolId) -> Changes:
    """Its IPs move to `default` (A31); pools that overflowed into it no longer do."""
    if pool == DEFAULT_POOL:
        raise MalformedOptions(f"IP Pool {DEFAULT_POOL} is reserved.")
    entry = pool_of(snapshot, account, pool)
    bereft = [
        Put(replace(other, overflow_pool=""))
        for other in snapshot.pools.values()
        if other.account == account and other.overflow_pool == pool
    ]
    return (Remove(entry), *bereft)


# ── sending IPs ──────────────────────────────────────────────────────────────────────────


def add_ip(snapshot: Snapshot, ip: SendingIp) -> Changes:
    """New to the installation: shared, or free inventory."""
    stored = snapshot.ips.get(ip.address)
    if stored is not None and not stored.is_retired:
        raise Conflict(f"sending IP {ip.address} exists already")
    return (Put(replace(ip, origin=Origin.LIVE)),)


def assign_ip(
    snapshot: Snapshot, address: IpAddress, account: AccountId, pool: PoolId = DEFAULT_POOL
) -> Changes:
    """Give a free IP to an account (R4). One that still carries old mail goes back to its old owner only."""
    ip, owner = ip_of(snapshot, address), account_of(snapshot, account)
    pool_of(snapshot, account, pool)
    if ip.shared or ip.account is not None:
        whose = "is in the shared pool" if ip.shared else f"belongs to account {ip.account}"
        raise Conflict(f"sending IP {address} {whose}: release it first")
    if ip.released_from not in (None, account):
        old = f"account {ip.released_from}" if ip.released_from else "the shared pool"
        raise Conflict(f"sending IP {address} still carries queued mail of {old}: wait until it has left")
    given = replace(ip, account=account, pool=pool, origin=Origin.LIVE)
    check_limits((owner, given, *(other for other in snapshot.ips.values() if other.address != address)))
    return (Put(given),)


def move_ip(
    snapshot: Snapshot, address: IpAddress, pool: PoolId | None = None, node: NodeName | None = None
) -> Changes:
    """To another pool of its account (R17), or to another machine; None leaves as it is."""
    moved = ip_of(snapshot, address)
    if pool is not None:
        if moved.account is None:
            raise Conflict(f"sending IP {address} belongs to no account: assign it to one")
        moved = replace(moved, pool=pool_of(snapshot, moved.account, pool).id)
    if node is not None:
        moved = replace(moved, node=node)
    return (Put(moved),)


def release_ip(snapshot: Snapshot, address: IpAddress) -> Changes:
    """Take it from its account or from the shared pool: it takes no new mail, queued mail keeps it (R27).

    It is free inventory once that mail has left.
    """
    return (Put(replace(ip_of(snapshot, address), account=None, pool=None, shared=False)),)


def drain_ip(snapshot: Snapshot, address: IpAddress, is_draining: bool = True) -> Changes:
    """Whether it takes no new pins while it finishes the old."""
    return (Put(replace(ip_of(snapshot, address), is_draining=is_draining)),)


def remove_ip(snapshot: Snapshot, address: IpAddress) -> Changes:
    """Out of the installation, as soon as no queued mail is pinned to it."""
    return (Remove(ip_of(snapshot, address)),)


# ── keys ─────────────────────────────────────────────────────────────────────────────────


def create_key(snapshot: Snapshot, key: ApiKey) -> Changes:
    account_of(snapshot, key.account)
    allowed = GRANTS
    if key.subaccount is not None:
        subaccount_of(snapshot, key.account, key.subaccount)
        allowed = SUBACCOUNT_GRANTS
        if key.is_operator:
            raise Conflict("an operator's key belongs to no subaccount")
    if unknown := sorted(key.grants - allowed):
        raise MalformedOptions(f"unknown grants {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
    return (Put(replace(key, origin=Origin.LIVE)),)


def hash_key(text: str) -> str:
    """What the directory knows of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def revoke_key(snapshot: Snapshot, account: AccountId, which: str) -> Changes:
    """which: the label, the first four characters, or the beginning of the hash."""
    owned = [key for key in snapshot.keys.values() if key.account == account]
    found = [key for key in owned if which in (key.label, key.short)]
    found = found or [key for key in owned if len(which) >= 8 and key.sha256.startswith(which.lower())]
    if not found:
        raise UnknownObject("key", f"{which} in account {account}")
    if len(found) > 1:
        hashes = ", ".join(key.sha256[:12] for key in found)
        raise Conflict(f"{which} names {len(found)} keys: use the beginning of a hash: {hashes}")
    return (Remove(found[0]),)


Made = TypeVar("Made", bound=Entry)


def made(changes: Iterable[Change], kind: type[Made]) -> Made:
    """The first object of that kind that the changes put. Raises StopIteration when there is none."""
    puts = (change.entry for change in changes if isinstance(change, Put))
    return next(entry for entry in puts if isinstance(entry, kind))


# ── looking up ───────────────────────────────────────────────────────────────────────────


def account_of(snapshot: Snapshot, number: AccountId) -> Account:
    account = snapshot.accounts.get(number)
    if account is None:
        raise UnknownObject("account", str(number))
    return account


def subaccount_of(snapshot: Snapshot, account: AccountId, number: SubaccountId) -> Subaccount:
    account_of(snapshot, account)
    subaccount = snapshot.subaccounts.get((account, number))
    if subaccount is None:
        raise UnknownObject("subaccount", f"{number} in account {account}")
    return subaccount


def pool_of(snapshot: Snapshot, account: AccountId, pool: PoolId) -> Pool:
    account_of(snapshot, account)
    found = snapshot.pools.get((account, PoolId(pool.lower())))
    if found is None:
        known = ", ".join(sorted(name for owner, name in snapshot.pools if owner == account))
        raise UnknownObject("pool", f"{pool} in account {account}, which has {known}")
    return found


def ip_of(snapshot: Snapshot, address: IpAddress) -> SendingIp:
    """Not a retired one."""
    ip = snapshot.ips.get(address)
    if ip is None or ip.is_retired:
        raise UnknownObject("sending IP", address)
    return ip


def _bound_pool(pool: str | None) -> PoolId | None:
    if pool and len(pool) > MAX_POOL_NAME:
        raise MalformedOptions(f"ip_pool must be {MAX_POOL_NAME} characters or less")
    if pool and not is_pool_id(pool):
        raise MalformedOptions("ip_pool must be alphanumeric and underscore")
    return PoolId(pool) if pool else None
