"""Directories for decisions: one account a plan, pools with and without IPs."""

from collections.abc import Callable

import pytest

from relay.domain.directory import Account, Plan, Pool, SendingIp, Snapshot, Subaccount
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId

BuildSnapshot = Callable[..., Snapshot]


@pytest.fixture
def build_snapshot() -> BuildSnapshot:
    """A function: (plan, pools={id: [addresses]}, subaccounts={number: pool}, shared=[…]) → Snapshot."""

    def build(
        plan: Plan = Plan.SELF_SERVE,
        pools: dict[str, list[str]] | None = None,
        subaccounts: dict[int, str | None] | None = None,
        shared: tuple[str, ...] = ("127.0.0.2", "127.0.0.3"),
    ) -> Snapshot:
        account = AccountId(1)
        listed = {"default": [], **(pools or {})}
        ips = [
            SendingIp(
                IpAddress(address), IpAddress(address), f"mta.{address}", account=account, pool=PoolId(pool)
            )
            for pool, addresses in listed.items()
            for address in addresses
        ]
        ips += [SendingIp(IpAddress(a), IpAddress(a), f"mta.{a}", shared=True) for a in shared]
        return Snapshot(
            accounts={account: Account(account, "Acme", plan)},
            pools={(account, PoolId(pool)): Pool(account, PoolId(pool), pool) for pool in listed},
            subaccounts={
                (account, SubaccountId(number)): Subaccount(
                    account, SubaccountId(number), f"s{number}", PoolId(pool) if pool else None
                )
                for number, pool in (subaccounts or {}).items()
            },
            ips={ip.address: ip for ip in ips},
        )

    return build
