"""What a directory file changes in the store, and what it leaves alone (`relay directory apply`)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from relay.domain.changes import Change, Put, Remove, SetRoutes, entries_of, identity, rank
from relay.domain.directory import (
    Account,
    ApiKey,
    Entry,
    Origin,
    Pool,
    SendingDomain,
    SendingIp,
    Snapshot,
    Subaccount,
    may_overflow,
)
from relay.domain.ids import DEFAULT_POOL
from relay.domain.route import Route
from relay.resources.sending_ips.rules import check_limits


@dataclass(frozen=True, slots=True)
class Difference:
    """What lies between a snapshot and a file."""

    changes: tuple[Change, ...]
    """In the order in which they can be made; none when the store is as the file says."""
    kept: tuple[Entry, ...]
    """What REST, console or command line made and the file does not list."""


def changes_to(
    snapshot: Snapshot, wanted: Iterable[Entry], routes: tuple[Route, ...], prune: bool = False
) -> Difference:
    """What makes the directory say what the file says: these entries, these routes.

    Listed objects are set to what the file says, but for what it has no key for: an account
    stays suspended, an IP draining. What an earlier file made and this one does not list is
    removed, with all that belongs to it. What was made otherwise is kept, unless prune.
    Raises Conflict when an account would hold more dedicated IPs than it may.
    """
    stored = {identity(entry): entry for entry in entries_of(snapshot)}
    listed = {identity(entry): entry for entry in wanted}
    listed = {key: _with_unsaid(entry, stored.get(key)) for key, entry in listed.items()}
    others = [entry for key, entry in stored.items() if key not in listed and not _is_left_alone(entry)]
    gone = {entry for entry in others if prune or entry.origin is Origin.FILE}
    for _ in range(2):  # An account takes its subaccounts along, and they their keys.
        lost = _Lost.of(gone)
        gone |= {entry for entry in others if lost.takes(entry)}
    lost = _Lost.of(gone)
    kept = _fitting([lost.without(entry) for entry in others if entry not in gone], listed.values())
    final = (*listed.values(), *kept)
    check_limits(final)
    differing = [entry for entry in final if stored.get(identity(entry)) != entry]
    changes: list[Change] = [Put(entry) for entry in sorted(differing, key=rank)]
    changes += [Remove(entry) for entry in sorted(gone, key=_removal_order)]
    if routes != snapshot.routes:
        changes.append(SetRoutes(routes))
    return Difference(tuple(changes), kept)


def _fitting(kept: Iterable[Entry], listed: Iterable[Entry]) -> tuple[Entry, ...]:
    """Without what a pool overflows into and may not any more, by what is listed."""
    kept = tuple(kept)
    final = (*kept, *listed)
    accounts = {entry.id: entry for entry in final if isinstance(entry, Account)}
    pools = {(entry.account, entry.id): entry for entry in final if isinstance(entry, Pool)}
    return tuple(
        replace(entry, overflow_pool="")
        if isinstance(entry, Pool) and not may_overflow(accounts[entry.account], entry, pools)
        else entry
        for entry in kept
    )


def _with_unsaid(entry: Entry, stored: Entry | None) -> Entry:
    """The entry with what a file cannot say, as the store has it."""
    match entry, stored:
        case Account(), Account():
            waits = stored.plan == entry.plan
            return replace(
                entry,
                status=stored.status,
                next_plan=stored.next_plan if waits else None,
                next_plan_at=stored.next_plan_at if waits else None,
                tracking=stored.tracking,
            )
        case Subaccount(), Subaccount():
            return replace(entry, status=stored.status, created=stored.created, updated=stored.updated)
        case SendingIp(), SendingIp():
            return _with_owner(entry, stored)
        case Pool(), Pool():
            # A file that is silent about them takes no signature away.
            return replace(
                entry,
                signing_domain=entry.signing_domain or stored.signing_domain,
                fbl_signing_domain=entry.fbl_signing_domain or stored.fbl_signing_domain,
            )
        case ApiKey(short=""), ApiKey():
            return replace(entry, short=stored.short)
        case SendingDomain(), SendingDomain():
            # Keys and what DNS said stay in the store: the file has no place for them.
            return replace(
                stored,
                subaccount=entry.subaccount,
                shared_with_subaccounts=entry.shared_with_subaccounts,
                origin=entry.origin,
            )
        case _:
            return entry


def _with_owner(entry: SendingIp, stored: SendingIp) -> SendingIp:
    """Inventory of the file that was bought since is not taken away again."""
    entry = replace(entry, is_draining=stored.is_draining)
    if entry.account is not None or entry.shared:
        return entry
    if stored.account is not None and stored.origin is Origin.LIVE and not stored.is_retired:
        return replace(entry, account=stored.account, pool=stored.pool, origin=Origin.LIVE)
    return replace(entry, released_from=stored.released_from)


def _is_left_alone(entry: Entry) -> bool:
    """A default pool comes and goes with its account; a retired IP goes when its mail has gone."""
    if isinstance(entry, Pool):
        return entry.id == DEFAULT_POOL
    return isinstance(entry, SendingIp) and entry.is_retired


@dataclass(frozen=True, slots=True)
class _Lost:
    """What goes, as others refer to it."""

    accounts: frozenset[object]
    subaccounts: frozenset[object]
    pools: frozenset[object]

    @classmethod
    def of(cls, gone: Iterable[Entry]) -> Self:
        gone = tuple(gone)
        return cls(
            frozenset(entry.id for entry in gone if isinstance(entry, Account)),
            frozenset((entry.account, entry.id) for entry in gone if isinstance(entry, Subaccount)),
            frozenset((entry.account, entry.id) for entry in gone if isinstance(entry, Pool)),
        )

    def takes(self, entry: Entry) -> bool:
        """Whether it goes along. Sending IPs belong to the installation: they are given back."""
        if isinstance(entry, Account | SendingIp):
            return False
        if (
            isinstance(entry, ApiKey | SendingDomain)
            and (entry.account, entry.subaccount) in self.subaccounts
        ):
            return True
        return entry.account in self.accounts

    def without(self, entry: Entry) -> Entry:
        """The entry when they are gone: an IP is free or in `default` (A31), a pool has no overflow.

        A subaccount keeps the pool's name (A9).
        """
        match entry:
            case SendingIp() if entry.account in self.accounts:
                return replace(entry, account=None, pool=None)
            case SendingIp() if (entry.account, entry.pool) in self.pools:
                return replace(entry, pool=DEFAULT_POOL)
            case Pool() if (entry.account, entry.overflow_pool) in self.pools:
                return replace(entry, overflow_pool="")
            case _:
                return entry


def _removal_order(entry: Entry) -> tuple[int, tuple[str, str]]:
    return -rank(entry), identity(entry)
