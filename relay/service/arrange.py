"""A pool changed together with the IPs in it, as changes computed on one snapshot: all of them, or none."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from relay.domain.changes import Change
from relay.domain.directory import Pool, SendingIp, Snapshot
from relay.domain.errors import MalformedOptions, UnknownObject
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, PoolId
from relay.service.administer import Changes, change_pool, create_pool, made, move_ip, pool_of


def create_pool_with(
    snapshot: Snapshot,
    account: AccountId,
    name: str,
    addresses: Iterable[IpAddress],
    overflow: str = "",
    signing_domain: str = "",
) -> Changes:
    """A new pool, and these IPs of the account moved into it.

    Raises what create_pool raises, and UnknownObject for an IP that is not the account's.
    """
    changes = create_pool(snapshot, account, name, overflow, signing_domain)
    pool = made(changes, Pool)
    grown = replace(snapshot, pools={**snapshot.pools, (account, pool.id): pool})
    return (*changes, *move_ips(grown, account, dict.fromkeys(addresses, pool.id)))


def update_pool(
    snapshot: Snapshot,
    account: AccountId,
    pool: PoolId,
    moves: Mapping[IpAddress, PoolId],
    name: str | None = None,
    overflow: str | None = None,
    signing_domain: str | None = None,
) -> Changes:
    """What a pool is called, overflows into and signs with, and IPs moved.

    None, and what is so already, is left alone: what has become wrong since is not judged again.
    Raises what change_pool and move_ips raise; UnknownObject when there is no such pool; MalformedOptions
    for the default pool when no IP moves.
    """
    stored = pool_of(snapshot, account, pool)
    given = {"name": name, "overflow": overflow, "signing_domain": signing_domain}
    known = {"name": stored.name, "overflow": stored.overflow_pool, "signing_domain": stored.signing_domain}
    new = {field: value for field, value in given.items() if value is not None and value != known[field]}
    changed = change_pool(snapshot, account, pool, **new) if new else ()
    moved = move_ips(snapshot, account, moves)
    if pool == DEFAULT_POOL and not moved:
        raise MalformedOptions("You can not edit default pool.")
    return (*changed, *moved)


def move_ips(snapshot: Snapshot, account: AccountId, moves: Mapping[IpAddress, PoolId]) -> Changes:
    """IPs of the account into other pools of it (R17).

    Raises UnknownObject for an IP that is not the account's, MalformedOptions for a pool that is not.
    """
    changes: list[Change] = []
    for address, pool in moves.items():
        own_ip(snapshot, account, address)
        if (account, PoolId(pool.lower())) not in snapshot.pools:
            raise MalformedOptions(f"IP Pool {pool} does not exist.")
        changes += move_ip(snapshot, address, pool)
    return tuple(changes)


def own_ip(snapshot: Snapshot, account: AccountId, address: IpAddress) -> SendingIp:
    """An IP that the account has. Raises UnknownObject: the same for another's and for nobody's."""
    ip = snapshot.ips.get(address)
    if ip is None or ip.account != account or ip.is_retired:
        raise UnknownObject("sending IP", address)
    return ip
