"""How many objects an account may have. Operators and files are not bound; what is there already stays."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from relay.domain.changes import Change, Put
from relay.domain.directory import ApiKey, Pool, SendingDomain, Snapshot, Subaccount
from relay.domain.errors import OverCap
from relay.domain.ids import AccountId

Capped = ApiKey | Pool | Subaccount | SendingDomain


@dataclass(frozen=True, slots=True)
class Caps:
    """Of each account."""

    keys: int = 2000
    pools: int = 500
    subaccounts: int = 2000
    domains: int = 1000
    users: int = 500

    def check(self, snapshot: Snapshot, changes: Sequence[Change]) -> None:
        """Raises OverCap when the changes make more objects than their account may have."""
        new = Counter(
            (change.entry.account, type(change.entry))
            for change in changes
            if isinstance(change, Put)
            and isinstance(change.entry, ApiKey | Pool | Subaccount | SendingDomain)
            and not _is_there(snapshot, change.entry)
        )
        for (account, kind), number in new.items():
            limit, what = self._cap(kind)
            if _held(snapshot, account, kind) + number > limit:
                raise OverCap(limit, what)

    def check_users(self, held: int) -> None:
        """The same for one user more than held. Raises OverCap."""
        if held >= self.users:
            raise OverCap(self.users, "users")

    def _cap(self, kind: type[Capped]) -> tuple[int, str]:
        """With what people call many of them."""
        if kind is ApiKey:
            return self.keys, "API keys"
        if kind is Pool:
            return self.pools, "IP pools"
        if kind is Subaccount:
            return self.subaccounts, "subaccounts"
        return self.domains, "sending domains"


def _held(snapshot: Snapshot, account: AccountId, kind: type[Capped]) -> int:
    """The pool `default` counts, operators' keys do not: the account cannot remove them."""
    if kind is ApiKey:
        return sum(key.account == account and not key.is_operator for key in snapshot.keys.values())
    if kind is Pool:
        return sum(owner == account for owner, _ in snapshot.pools)
    if kind is Subaccount:
        return sum(owner == account for owner, _ in snapshot.subaccounts)
    return sum(owner == account for owner, _ in snapshot.domains)


def _is_there(snapshot: Snapshot, entry: Capped) -> bool:
    match entry:
        case ApiKey():
            return entry.sha256 in snapshot.keys
        case Pool():
            return (entry.account, entry.id) in snapshot.pools
        case Subaccount():
            return (entry.account, entry.id) in snapshot.subaccounts
        case SendingDomain():
            return (entry.account, entry.domain) in snapshot.domains
