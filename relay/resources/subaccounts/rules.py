"""Subaccounts, as changes computed on one snapshot (R23-R26)."""

from dataclasses import replace
from datetime import datetime

from relay.domain.changes import Changes, Put
from relay.domain.directory import MAX_POOL_NAME, Origin, Snapshot, Status, Subaccount, is_pool_id
from relay.domain.ids import AccountId, PoolId, SubaccountId
from relay.domain.lookup import account_of, subaccount_of
from relay.domain.refusals import BoundPoolMalformed, BoundPoolTooLong, SubaccountExists


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
        raise SubaccountExists(number, account)
    first_put = Subaccount(
        account, number, name, _bound_pool(pool), origin=Origin.LIVE, created=now, updated=now
    )
    return (Put(first_put),)


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


def _bound_pool(pool: str | None) -> PoolId | None:
    if pool and len(pool) > MAX_POOL_NAME:
        raise BoundPoolTooLong(MAX_POOL_NAME)
    if pool and not is_pool_id(pool):
        raise BoundPoolMalformed()
    return PoolId(pool) if pool else None
