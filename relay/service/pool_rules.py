"""What a pool may be called, overflow into and sign with. The sentences are SparkPost's."""

from collections.abc import Iterable
from dataclasses import replace

from relay.domain.changes import Put
from relay.domain.directory import MAX_POOL_NAME, SHARED_OVERFLOW, Account, Pool, Snapshot, is_pool_name
from relay.domain.errors import MalformedOptions


def check_name(name: str) -> None:
    """Raises MalformedOptions (A1)."""
    if len(name) > MAX_POOL_NAME:
        raise MalformedOptions(f"name must be {MAX_POOL_NAME} characters or less")
    if not is_pool_name(name):
        raise MalformedOptions("name must contain only letters, numbers and spaces")


def check_overflow(snapshot: Snapshot, pool: Pool) -> None:
    """One step of overflow, to another pool that exists."""
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
            raise MalformedOptions(f"{field} must be a DKIM verified sending domain")


def _others(pools: Iterable[Pool], pool: Pool) -> list[Pool]:
    return [other for other in pools if other.account == pool.account and other.id != pool.id]
