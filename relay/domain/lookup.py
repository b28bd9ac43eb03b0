"""Entries of the directory by what people call them; UnknownObject for what is not there."""

from relay.domain.directory import Account, Pool, SendingIp, Snapshot, Subaccount
from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId

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
