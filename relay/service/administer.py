"""What an operator does to the directory, as changes computed on one snapshot.

Every function returns the changes, what it makes first among them, and raises UnknownObject,
Conflict, or MalformedOptions with the contract's own sentence (C §3.2, §3.4).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import (
    GRANTS,
    MAX_POOL_NAME,
    RESERVED_POOLS,
    SHARED_OVERFLOW,
    SUBACCOUNT_GRANTS,
    Account,
    ApiKey,
    Origin,
    Plan,
    Pool,
    SendingIp,
    Snapshot,
    Subaccount,
    is_pool_id,
    is_pool_name,
    pool_id_of,
)
from relay.domain.errors import Conflict, MalformedOptions, UnknownObject
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId, SubaccountId
from relay.service.directory import check_limits

Changes = tuple[Change, ...]

_USUAL_LIMIT = 4
"""R13."""

# ── accounts and subaccounts ─────────────────────────────────────────────────────────────


def create_account(snapshot: Snapshot, name: str, plan: Plan, number: AccountId | None = None) -> Changes:
    """number: the next free one when None."""
    if number is None:
        number = AccountId(max(snapshot.accounts, default=0) + 1)
    if number in snapshot.accounts:
        raise Conflict(f"account {number} exists already: {snapshot.accounts[number].name}")
    limit = None if plan is Plan.ENTERPRISE else _USUAL_LIMIT
    return (Put(Account(number, name, plan, limit, origin=Origin.LIVE)),)


def set_plan(snapshot: Snapshot, number: AccountId, plan: Plan, limit: int | None = None) -> Changes:
    """limit: of dedicated IPs; None keeps the account's own, or takes the usual one when it had none."""
    account = account_of(snapshot, number)
    if limit is None and plan is not Plan.ENTERPRISE:
        limit = _USUAL_LIMIT if account.dedicated_ip_limit is None else account.dedicated_ip_limit
    changed = replace(account, plan=plan, dedicated_ip_limit=limit)
    check_limits((changed, *snapshot.ips.values()))
    return (Put(changed),)


def create_subaccount(
    snapshot: Snapshot,
    account: AccountId,
    name: str,
    number: SubaccountId | None = None,
    pool: str | None = None,
) -> Changes:
    """number: the account's next free one when None. Whether the pool exists is not asked (A9)."""
    account_of(snapshot, account)
    taken = [subaccount for owner, subaccount in snapshot.subaccounts if owner == account]
    if number is None:
        number = SubaccountId(max(taken, default=0) + 1)
    if number in taken:
        raise Conflict(f"subaccount {number} of account {account} exists already")
    return (Put(Subaccount(account, number, name, _bound_pool(pool), origin=Origin.LIVE)),)


def set_subaccount_pool(
    snapshot: Snapshot, account: AccountId, number: SubaccountId, pool: str | None
) -> Changes:
    """Bind a subaccount to a pool (R23), or to none."""
    return (Put(replace(subaccount_of(snapshot, account, number), ip_pool=_bound_pool(pool))),)


# ── pools ────────────────────────────────────────────────────────────────────────────────


def create_pool(snapshot: Snapshot, account: AccountId, name: str, overflow: str = "") -> Changes:
    account_of(snapshot, account)
    _check_name(name)
    pool = Pool(account, pool_id_of(name), name, overflow, Origin.LIVE)
    if pool.id in RESERVED_POOLS:
        raise MalformedOptions(f"IP Pool {pool.id} is reserved.")
    if (account, pool.id) in snapshot.pools:
        raise Conflict(f"IP Pool {pool.id} already exists.")
    _check_overflow(snapshot, pool)
    return (Put(pool),)


def change_pool(
    snapshot: Snapshot, account: AccountId, pool: PoolId, name: str | None = None, overflow: str | None = None
) -> Changes:
    """None leaves as it is. A new name keeps the id (C §3.2)."""
    if pool == DEFAULT_POOL:
        raise MalformedOptions(f"IP Pool {DEFAULT_POOL} is reserved and cannot be updated.")
    changed = pool_of(snapshot, account, pool)
    if name is not None:
        _check_name(name)
        changed = replace(changed, name=name)
    if overflow is not None:
        changed = replace(changed, overflow_pool=overflow)
        _check_overflow(snapshot, changed)
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
    """Give a free IP to an account (R4)."""
    ip, owner = ip_of(snapshot, address), account_of(snapshot, account)
    pool_of(snapshot, account, pool)
    if ip.shared or ip.account is not None:
        whose = "is in the shared pool" if ip.shared else f"belongs to account {ip.account}"
        raise Conflict(f"sending IP {address} {whose}: release it first")
    given = replace(ip, account=account, pool=pool)
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
    """Take it from its account or from the shared pool: free inventory. Queued mail keeps it (R27)."""
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


def _check_name(name: str) -> None:
    """A1."""
    if len(name) > MAX_POOL_NAME:
        raise MalformedOptions(f"name must be {MAX_POOL_NAME} characters or less")
    if not is_pool_name(name):
        raise MalformedOptions("name must contain only letters, numbers and spaces")


def _check_overflow(snapshot: Snapshot, pool: Pool) -> None:
    """C §3.2: one step of overflow, to another pool that exists."""
    overflow = pool.overflow_pool
    if not overflow:
        return
    siblings = _others(snapshot.pools.values(), pool)
    if overflow == pool.id:
        raise MalformedOptions(f"{pool.id} cannot be its own overflow pool")
    if any(other.overflow_pool == pool.id for other in siblings):
        raise MalformedOptions(f"{pool.id} is an overflow pool and cannot have an overflow pool")
    if overflow == SHARED_OVERFLOW and snapshot.accounts[pool.account].has_shared_pool:
        return
    target = next((other for other in siblings if other.id == overflow), None)
    if target is None:
        raise MalformedOptions(f"Auto Warmup Overflow Pool {overflow} does not exist.")
    if target.overflow_pool:
        raise MalformedOptions(f"{overflow} has an overflow pool and cannot be an overflow pool")


def _others(pools: Iterable[Pool], pool: Pool) -> list[Pool]:
    return [other for other in pools if other.account == pool.account and other.id != pool.id]
