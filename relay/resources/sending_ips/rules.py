"""Sending IPs, as changes computed on one snapshot."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from relay.domain.changes import Change, Changes, Put, Remove
from relay.domain.directory import Account, Entry, Origin, SendingIp, Snapshot, ip_limit
from relay.domain.errors import UnknownObject
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId
from relay.domain.lookup import account_of, ip_of, pool_of
from relay.domain.refusals import (
    IpCarriesMail,
    IpElsewhere,
    IpExists,
    IpIsShared,
    IpOfNobody,
    IpsOverLimit,
    NoSuchPool,
)

# ── sending IPs ──────────────────────────────────────────────────────────────────────────


def add_ip(snapshot: Snapshot, ip: SendingIp) -> Changes:
    """New to the installation: shared, or free inventory."""
    stored = snapshot.ips.get(ip.address)
    if stored is not None and not stored.is_retired:
        raise IpExists(ip.address)
    return (Put(replace(ip, origin=Origin.LIVE)),)


def assign_ip(
    snapshot: Snapshot, address: IpAddress, account: AccountId, pool: PoolId = DEFAULT_POOL
) -> Changes:
    """Give a free IP to an account (R4). One that still carries old mail goes back to its old owner only."""
    ip, owner = ip_of(snapshot, address), account_of(snapshot, account)
    pool_of(snapshot, account, pool)
    if ip.shared:
        raise IpIsShared(address)
    if ip.account is not None:
        raise IpElsewhere(address, ip.account)
    if ip.released_from not in (None, account):
        raise IpCarriesMail(address, ip.released_from or 0)
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
            raise IpOfNobody(address)
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


def move_ips(snapshot: Snapshot, account: AccountId, moves: Mapping[IpAddress, PoolId]) -> Changes:
    """IPs of the account into other pools of it (R17).

    Raises UnknownObject for an IP that is not the account's, MalformedOptions for a pool that is not.
    """
    changes: list[Change] = []
    for address, pool in moves.items():
        own_ip(snapshot, account, address)
        if (account, PoolId(pool.lower())) not in snapshot.pools:
            raise NoSuchPool(pool)
        changes += move_ip(snapshot, address, pool)
    return tuple(changes)


def own_ip(snapshot: Snapshot, account: AccountId, address: IpAddress) -> SendingIp:
    """An IP that the account has. Raises UnknownObject: the same for another's and for nobody's."""
    ip = snapshot.ips.get(address)
    if ip is None or ip.account != account or ip.is_retired:
        raise UnknownObject("sending IP", address)
    return ip


def check_limits(entries: Iterable[Entry]) -> None:
    """Raises Conflict when an account among them holds more dedicated IPs than it may (R1, R13, R14)."""
    entries = tuple(entries)
    held = Counter(ip.account for ip in entries if isinstance(ip, SendingIp) and not ip.is_retired)
    beyond = []
    for account in entries:
        if isinstance(account, Account):
            limit, number = ip_limit(account), held[account.id]
            if limit is not None and number > limit:
                beyond.append((account.id, account.name, number, limit))
    if beyond:
        raise IpsOverLimit(tuple(beyond))
