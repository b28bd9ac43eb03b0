"""A pool and its IPs in one set of changes."""

from dataclasses import replace

import pytest

from relay.domain.changes import Put
from relay.domain.directory import Account, Plan, Pool, SendingIp, Snapshot
from relay.domain.errors import MalformedOptions, UnknownObject
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, PoolId
from relay.resources.ip_pools.rules import PoolEdit, create_pool_with, update_pool
from relay.resources.sending_ips.rules import move_ips

ONE, TWO = AccountId(1), AccountId(2)
NEWS = PoolId("news")
OWN, THEIRS, SHARED, RETIRED = (IpAddress(f"192.0.2.{number}") for number in range(1, 5))


def directory() -> Snapshot:
    """Two accounts; the pool news of the first signs with a domain that it no longer has."""
    accounts = [Account(ONE, "Acme", Plan.SELF_SERVE), Account(TWO, "Birch", Plan.SELF_SERVE)]
    pools = [Pool(account.id, DEFAULT_POOL, "Default") for account in accounts]
    pools.append(Pool(ONE, NEWS, "News", signing_domain="gone.example"))
    ip = SendingIp(OWN, OWN, "mta.example", account=ONE, pool=DEFAULT_POOL)
    ips = [
        ip,
        replace(ip, address=THEIRS, account=TWO),
        replace(ip, address=SHARED, account=None, pool=None, shared=True),
        replace(ip, address=RETIRED, is_retired=True),
    ]
    return Snapshot(
        accounts={account.id: account for account in accounts},
        pools={(pool.account, pool.id): pool for pool in pools},
        ips={one.address: one for one in ips},
    )


def test_what_is_left_as_it_is_is_not_judged_again() -> None:
    """The pool can be renamed though its signing domain is gone; it cannot be given another such."""
    (change,) = update_pool(directory(), ONE, NEWS, PoolEdit("Letters", "", "gone.example"), {})
    assert isinstance(change, Put)
    assert isinstance(change.entry, Pool)
    assert (change.entry.id, change.entry.name) == (NEWS, "Letters")
    with pytest.raises(MalformedOptions, match="signing_domain"):
        update_pool(directory(), ONE, NEWS, PoolEdit("Letters", "", "other.example"), {})


def test_nothing_changed_is_no_change_and_no_error_but_for_default() -> None:
    assert update_pool(directory(), ONE, NEWS, PoolEdit("News", "", "gone.example"), {}) == ()
    with pytest.raises(MalformedOptions, match=r"You can not edit default pool\."):
        update_pool(directory(), ONE, DEFAULT_POOL, PoolEdit(), {})


def test_ips_move_into_a_pool_that_is_made_along() -> None:
    pool, moved = create_pool_with(directory(), ONE, PoolEdit("Spring Sale"), [OWN])
    assert isinstance(pool, Put)
    assert isinstance(moved, Put)
    assert isinstance(moved.entry, SendingIp)
    assert moved.entry.pool == "spring_sale"


@pytest.mark.parametrize("address", [THEIRS, SHARED, RETIRED, IpAddress("192.0.2.99")])
def test_only_ips_of_the_account_are_moved(address: IpAddress) -> None:
    """The same answer for another's IP and for none."""
    with pytest.raises(UnknownObject) as refused:
        move_ips(directory(), ONE, {OWN: NEWS, address: NEWS})
    assert (refused.value.kind, refused.value.name) == ("sending IP", address)


def test_a_pool_of_another_account_takes_none() -> None:
    with pytest.raises(MalformedOptions, match=r"IP Pool news does not exist\."):
        move_ips(directory(), TWO, {THEIRS: NEWS})
