"""What a change of the directory does to mail, in sentences for whoever is about to make it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from relay.domain.changes import Change, Put, Remove, entries_of, identity
from relay.domain.directory import SHARED_OVERFLOW, Account, ApiKey, Entry, Plan, Pool, SendingIp, Snapshot
from relay.domain.errors import RelayError
from relay.domain.ids import DEFAULT_POOL, AccountId, PoolId
from relay.domain.resolve import Moment, find_stranded, resolve_pool

USED_LATELY = timedelta(days=30)
"""A key that nobody used for longer is revoked without a question."""
_ORDER = (Plan.FREE, Plan.SELF_SERVE, Plan.MANUAL, Plan.ENTERPRISE)
_MOST_NAMED = 10
_MOST_TOLD = 20


def consequences(snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
    """Pools that are emptied or go, and a lower plan. Empty: nobody's mail is the worse for it."""
    after = _after(snapshot, changes)
    told = [
        _of_pool_that_goes(snapshot, change.entry)
        for change in changes
        if isinstance(change, Remove) and isinstance(change.entry, Pool) and _matters(snapshot, change.entry)
    ]
    told += _of_emptied(snapshot, after)
    told += [
        _of_plan(snapshot, change.entry)
        for change in changes
        if isinstance(change, Put) and isinstance(change.entry, Account) and _is_lower(snapshot, change.entry)
    ]
    return told


def foretell(snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
    """Whose new mail is refused or leaves from elsewhere after the changes; nobody needs to be asked."""
    after = _after(snapshot, changes)
    told = [*_of_emptied(snapshot, after), *_of_stranded(snapshot, after), *_of_overflow(snapshot, changes)]
    more = len(told) - _MOST_TOLD
    return told[:_MOST_TOLD] + ([f"and {more} more like this"] if more > 0 else [])


def of_key(key: ApiKey, last_used: date | None, today: date) -> list[str]:
    """last_used: None when it was not, as far as is known."""
    if last_used is None or last_used <= today - USED_LATELY:
        return []
    when = "today" if last_used >= today else f"on {last_used}"
    return [f"key {key.label} ({key.short}…) was used {when}: whoever has it is refused at once"]


def of_removals(changes: Sequence[Change], uses: Mapping[str, date], name: str) -> list[str]:
    """All that goes, a line each. name: of the file that does not list it."""
    gone = [change.entry for change in changes if isinstance(change, Remove)]
    return [f"{_named(entry, uses)} would be removed: {name} does not list it" for entry in gone]


def _named(entry: Entry, uses: Mapping[str, date]) -> str:
    kind, id_ = identity(entry)
    if isinstance(entry, ApiKey):
        used = f", last used on {uses[entry.sha256]}" if entry.sha256 in uses else ""
        return f"api_key {entry.label} of account {entry.account} ({entry.short}…{used})"
    label = getattr(entry, "name", "")
    return f"{kind} {id_}" + (f" ({label})" if label else "")


def _after(snapshot: Snapshot, changes: Iterable[Change]) -> Snapshot:
    """The directory with the changes, as far as pools and their sending IPs go; as the store makes them."""
    entries = {identity(entry): entry for entry in entries_of(snapshot)}
    for change in changes:
        match change:
            case Put(entry):
                entries[identity(entry)] = entry
            case Remove(entry):
                entries.pop(identity(entry), None)
                for ip in [one for one in entries.values() if isinstance(one, SendingIp)]:
                    entries[identity(ip)] = _bereft(ip, entry)
    ips = {ip.address: ip for ip in entries.values() if isinstance(ip, SendingIp)}
    pools = {(pool.account, pool.id): pool for pool in entries.values() if isinstance(pool, Pool)}
    accounts = {one.id: one for one in entries.values() if isinstance(one, Account)}
    return replace(snapshot, ips=ips, pools=pools, accounts=accounts)


def _bereft(ip: SendingIp, gone: Entry) -> SendingIp:
    if isinstance(gone, Account) and ip.account == gone.id:
        return replace(ip, account=None, pool=None)
    if isinstance(gone, Pool) and (ip.account, ip.pool) == (gone.account, gone.id):
        return replace(ip, pool=DEFAULT_POOL)
    return ip


def _matters(snapshot: Snapshot, pool: Pool) -> bool:
    return bool(_ips_in(snapshot, pool)) or bool(_bound_to(snapshot, pool.account, pool.id))


def _of_pool_that_goes(snapshot: Snapshot, pool: Pool) -> str:
    ips, bound = _ips_in(snapshot, pool), _bound_to(snapshot, pool.account, pool.id)
    told = f"pool {pool.id} of account {pool.account} goes"
    if ips:
        told += f", and its sending IPs go to pool {DEFAULT_POOL} ({_list(ips)})"
    return f"{told}: mail that names it is refused{_and_subaccounts(bound)}"


def _of_emptied(snapshot: Snapshot, after: Snapshot) -> Iterator[str]:
    for account, pool in sorted(set(snapshot.members) - set(after.members)):
        if (account, pool) in after.pools:
            told = f"pool {pool} of account {account} has no sending IP left: {_fate(after, account, pool)}"
            yield f"{told}{_and_subaccounts(_bound_to(snapshot, account, pool))}"
    if snapshot.shared and not after.shared:
        yield "the shared pool has no sending IP left: all mail that would leave from it gets 451"


def _of_stranded(snapshot: Snapshot, after: Snapshot) -> Iterator[str]:
    """Accounts that had somewhere to send from; those whose default pool was emptied are told by it."""
    before = {account.id for account in find_stranded(snapshot.accounts.values(), snapshot.ips.values())}
    for account in find_stranded(after.accounts.values(), after.ips.values()):
        had = account.id in snapshot.accounts and (account.id, DEFAULT_POOL) not in snapshot.members
        if had and account.id not in before:
            told = f"account {account.id} ({account.name}) has no sending IP in pool {DEFAULT_POOL}"
            remedy = f"`relay ip assign ADDRESS --account {account.id}` gives it one"
            yield f"{told}: mail that names no pool is refused from now on; {remedy}"


def _of_overflow(snapshot: Snapshot, changes: Iterable[Change]) -> Iterator[str]:
    """Pools that overflowed into the shared pool, as long as their account's plan had one."""
    put = [change.entry for change in changes if isinstance(change, Put)]
    without = {
        entry.id: entry.plan for entry in put if isinstance(entry, Account) and not entry.has_shared_pool
    }
    for pool in put:
        if isinstance(pool, Pool) and pool.account in without and not pool.overflow_pool:
            stored = snapshot.pools.get((pool.account, pool.id))
            if stored is not None and stored.overflow_pool == SHARED_OVERFLOW:
                told = (
                    f"pool {pool.id} of account {pool.account} overflows into the {SHARED_OVERFLOW} no more"
                )
                yield f"{told}: there is none on plan {without[pool.account]}"


def _fate(after: Snapshot, account: AccountId, pool: PoolId) -> str:
    """Of new mail for a pool without sending IPs."""
    if pool != DEFAULT_POOL:
        return "mail that names it is refused"
    try:
        used = resolve_pool(after, account, None, None, Moment.IMMEDIATE).decision.pool
    except RelayError:
        return "mail that names no pool is refused"
    return f"mail that names no pool leaves from {used}"


def _and_subaccounts(bound: Sequence[int]) -> str:
    if not bound:
        return ""
    many = "s" if len(bound) > 1 else ""
    return f", and all mail of subaccount{many} {_list(bound)}, bound to it"


def _is_lower(snapshot: Snapshot, account: Account) -> bool:
    stored = snapshot.accounts.get(account.id)
    if stored is None:
        return False
    wanted = account.next_plan or account.plan
    return wanted is not stored.next_plan and _ORDER.index(wanted) < _ORDER.index(stored.plan)


def _of_plan(snapshot: Snapshot, account: Account) -> str:
    stored = snapshot.accounts[account.id]
    ips = [ip.address for ip in snapshot.ips.values() if ip.account == account.id and not ip.is_retired]
    if account.next_plan is None or account.next_plan_at is None:
        return f"account {account.id} ({account.name}) goes from {stored.plan} to {account.plan} at once"
    told = f"account {account.id} ({account.name}) goes from {stored.plan} to {account.next_plan}"
    told += f" on {account.next_plan_at:%Y-%m-%d}"
    if ips:
        told += f": its dedicated IPs are released then ({_list(ips)}), and mail that names a pool is refused"
    return told


def _ips_in(snapshot: Snapshot, pool: Pool) -> list[str]:
    return [
        ip.address
        for ip in snapshot.ips.values()
        if (ip.account, ip.pool or DEFAULT_POOL) == (pool.account, pool.id) and not ip.is_retired
    ]


def _bound_to(snapshot: Snapshot, account: AccountId, pool: PoolId) -> list[int]:
    return sorted(
        part.id
        for part in snapshot.subaccounts.values()
        if part.account == account and (part.ip_pool or "").lower() == pool
    )


def _list(names: Sequence[object]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(map(str, names[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")
