"""IP pools, as changes computed on one snapshot: all of them, or none (R15-R17)."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from relay.domain.changes import Changes, Put, Remove, first_put
from relay.domain.directory import (
    MAX_POOL_NAME,
    RESERVED_POOLS,
    SHARED_OVERFLOW,
    Account,
    Origin,
    Pool,
    Snapshot,
    is_pool_name,
    pool_id_of,
)
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, PoolId
from relay.domain.lookup import account_of, pool_of
from relay.domain.refusals import (
    FixedPool,
    NoSigningDomain,
    NothingToEdit,
    OverflowBeyondOne,
    OverflowIntoItself,
    OverflowOfOverflow,
    PoolExists,
    PoolNameMalformed,
    PoolNameTooLong,
    ReservedPool,
    UnknownOverflowPool,
)
from relay.resources.sending_ips.rules import move_ips


@dataclass(frozen=True, slots=True)
class PoolEdit:
    """What can be set of a pool. None leaves it as it is, an empty text removes; a new name keeps the id."""

    name: str | None = None
    overflow_pool: str | None = None
    signing_domain: str | None = None
    fbl_signing_domain: str | None = None

    @property
    def given(self) -> Mapping[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    def unlike(self, pool: Pool) -> "PoolEdit":
        """Without what is so already."""
        return PoolEdit(**{name: value for name, value in self.given.items() if value != getattr(pool, name)})


def create_pool(snapshot: Snapshot, account: AccountId, edit: PoolEdit) -> Changes:
    account_of(snapshot, account)
    name = edit.name or ""
    check_name(name)
    pool = replace(Pool(account, pool_id_of(name), name, origin=Origin.LIVE), **edit.given)
    if pool.id in RESERVED_POOLS:
        raise ReservedPool(pool.id)
    if (account, pool.id) in snapshot.pools:
        raise PoolExists(pool.id)
    check_overflow(snapshot, pool)
    check_signing(snapshot, pool)
    return (Put(pool),)


def change_pool(snapshot: Snapshot, account: AccountId, pool: PoolId, edit: PoolEdit) -> Changes:
    """What is not given is not judged again."""
    if pool == DEFAULT_POOL:
        raise FixedPool(DEFAULT_POOL)
    changed = replace(pool_of(snapshot, account, pool), **edit.given)
    if edit.name is not None:
        check_name(edit.name)
    if edit.overflow_pool is not None:
        check_overflow(snapshot, changed)
    if edit.signing_domain or edit.fbl_signing_domain:
        check_signing(snapshot, changed)
    return (Put(changed),)


def delete_pool(snapshot: Snapshot, account: AccountId, pool: PoolId) -> Changes:
    """Its IPs move to `default` (A31); pools that overflowed into it no longer do."""
    if pool == DEFAULT_POOL:
        raise ReservedPool(DEFAULT_POOL)
    entry = pool_of(snapshot, account, pool)
    bereft = [
        Put(replace(other, overflow_pool=""))
        for other in snapshot.pools.values()
        if other.account == account and other.overflow_pool == pool
    ]
    return (Remove(entry), *bereft)


def create_pool_with(
    snapshot: Snapshot, account: AccountId, edit: PoolEdit, addresses: Iterable[IpAddress]
) -> Changes:
    """A new pool, and these IPs of the account moved into it.

    Raises what create_pool raises, and UnknownObject for an IP that is not the account's.
    """
    changes = create_pool(snapshot, account, edit)
    pool = first_put(changes, Pool)
    grown = replace(snapshot, pools={**snapshot.pools, (account, pool.id): pool})
    return (*changes, *move_ips(grown, account, dict.fromkeys(addresses, pool.id)))


def update_pool(
    snapshot: Snapshot, account: AccountId, pool: PoolId, edit: PoolEdit, moves: Mapping[IpAddress, PoolId]
) -> Changes:
    """What a pool is called, overflows into and signs with, and IPs moved.

    None, and what is so already, is left alone: what has become wrong since is not judged again.
    Raises what change_pool and move_ips raise; UnknownObject when there is no such pool; MalformedOptions
    for the default pool when no IP moves.
    """
    new = edit.unlike(pool_of(snapshot, account, pool))
    changed = change_pool(snapshot, account, pool, new) if new.given else ()
    moved = move_ips(snapshot, account, moves)
    if pool == DEFAULT_POOL and not moved:
        raise NothingToEdit()
    return (*changed, *moved)


def check_name(name: str) -> None:
    """Raises MalformedOptions (A1)."""
    if len(name) > MAX_POOL_NAME:
        raise PoolNameTooLong(MAX_POOL_NAME)
    if not is_pool_name(name):
        raise PoolNameMalformed()


def check_overflow(snapshot: Snapshot, pool: Pool) -> None:
    """One step of overflow, to another pool that exists."""
    overflow = pool.overflow_pool
    if not overflow:
        return
    siblings = _others(snapshot.pools.values(), pool)
    if overflow == pool.id:
        raise OverflowIntoItself(pool.id)
    if any(other.overflow_pool == pool.id for other in siblings):
        raise OverflowBeyondOne(pool.id)
    if overflow == SHARED_OVERFLOW and snapshot.accounts[pool.account].has_shared_pool:
        return
    target = next((other for other in siblings if other.id == overflow), None)
    if target is None:
        raise UnknownOverflowPool(overflow)
    if target.overflow_pool:
        raise OverflowOfOverflow(overflow)


def bereft_of_shared_pool(snapshot: Snapshot, account: Account) -> tuple[Put, ...]:
    """The account's pools that overflow into the shared pool, and no longer do on a plan without one."""
    if account.has_shared_pool:
        return ()
    return tuple(
        Put(replace(pool, overflow_pool=""))
        for pool in snapshot.pools.values()
        if pool.account == account.id and pool.overflow_pool == SHARED_OVERFLOW
    )


def check_signing(snapshot: Snapshot, pool: Pool) -> None:
    """A pool signs with a domain whose key receivers find in DNS."""
    for field in ("signing_domain", "fbl_signing_domain"):
        name = getattr(pool, field)
        domain = snapshot.domains.get((pool.account, name))
        if name and (domain is None or not domain.signs):
            raise NoSigningDomain(field)


def _others(pools: Iterable[Pool], pool: Pool) -> list[Pool]:
    return [other for other in pools if other.account == pool.account and other.id != pool.id]
