"""Changes to the directory as values: computed against one snapshot, applied in one transaction."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar, assert_never

from relay.domain.directory import (
    Account,
    ApiKey,
    Entry,
    Pool,
    SendingDomain,
    SendingIp,
    Snapshot,
    Subaccount,
)
from relay.domain.route import Route


@dataclass(frozen=True, slots=True)
class Put:
    """Create the object or set it to this."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the object.

    Removing a pool moves its IPs to `default` (A31); an account takes all that is its own along.
    """

    entry: Entry


@dataclass(frozen=True, slots=True)
class SetRoutes:
    """Replace all routes."""

    routes: tuple[Route, ...]


Change = Put | Remove | SetRoutes


_KINDS: tuple[type[Entry], ...] = (Account, Pool, Subaccount, SendingIp, ApiKey, SendingDomain)
"""In the order of writing; removing goes the other way."""


def identity(entry: Entry) -> tuple[str, str]:
    """Kind and name of what an entry describes, whatever it says of it."""
    match entry:
        case Account():
            return "account", str(entry.id)
        case Pool():
            return "pool", f"{entry.account}/{entry.id}"
        case Subaccount():
            return "subaccount", f"{entry.account}/{entry.id}"
        case SendingIp():
            return "sending_ip", entry.address
        case ApiKey():
            return "api_key", entry.sha256
        case SendingDomain():
            return "sending_domain", f"{entry.account}/{entry.domain}"
        case _:
            assert_never(entry)


def entries_of(snapshot: Snapshot) -> Iterator[Entry]:
    """All that the snapshot holds but its routes."""
    yield from snapshot.accounts.values()
    yield from snapshot.pools.values()
    yield from snapshot.subaccounts.values()
    yield from snapshot.ips.values()
    yield from snapshot.keys.values()
    yield from snapshot.domains.values()


def rank(entry: Entry) -> int:
    return _KINDS.index(type(entry))


Changes = tuple[Change, ...]


Made = TypeVar("Made", bound=Entry)


def first_put(changes: Iterable[Change], kind: type[Made]) -> Made:
    """The first object of that kind that the changes put. Raises StopIteration when there is none."""
    puts = (change.entry for change in changes if isinstance(change, Put))
    return next(entry for entry in puts if isinstance(entry, kind))
