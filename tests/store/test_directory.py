"""The directory's rows: changes in one transaction, what removing means, and the audit."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from relay.domain.changes import Change, Put, Remove, SetRoutes
from relay.domain.directory import (
    Account,
    ApiKey,
    Entry,
    Origin,
    Plan,
    Pool,
    SendingDomain,
    SendingIp,
    Snapshot,
    Status,
    Subaccount,
)
from relay.domain.errors import Conflict, StaleDirectory
from relay.domain.ids import AccountId, IpAddress, NodeName, PoolId, Revision, SubaccountId
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.ports.queue import Lane
from relay.store import Store
from tests.store.conftest import OTHER_IP, SEEDED, OpenStore, claim, finish, put
from tests.support.mail import ACCOUNT, IP, NOW, build_message

NEWS = Pool(ACCOUNT, PoolId("news"), "News")
SECOND = Account(AccountId(2), "Globex", Plan.ENTERPRISE)


async def apply(store: Store, *changes: Change) -> Snapshot:
    """The directory after these changes to the newest one."""
    await store.directory.apply(changes, await store.directory.revision(), "ann", NOW)
    return await store.directory.snapshot()


async def test_a_new_store_has_an_empty_directory(open_another: OpenStore) -> None:
    assert await (await open_another("w")).directory.snapshot() == Snapshot()


async def test_every_kind_of_entry_comes_back_as_it_went_in(store: Store) -> None:
    account = Account(
        AccountId(3),
        "Ünï",
        Plan.MANUAL,
        None,
        1500,
        17,
        True,
        "b.example",
        True,
        Status.SUSPENDED,
        Origin.LIVE,
    )
    pool = Pool(account.id, PoolId("news"), "News", "shared pool", Origin.LIVE)
    subaccount = Subaccount(account.id, SubaccountId(5), "Sub", pool.id, Status.TERMINATED, Origin.LIVE)
    ip = SendingIp(
        IpAddress("2001:db8::1"),
        IpAddress("10.0.0.1"),
        "mta",
        NodeName("n1"),
        7,
        False,
        account.id,
        pool.id,
        True,
        True,
        Origin.LIVE,
    )
    grants, networks = frozenset({"b", "a"}), ("10.0.0.0/8",)
    key = ApiKey("ab" * 32, "abab", account.id, "label", grants, subaccount.id, networks, True, Origin.LIVE)
    domain = SendingDomain(account.id, "acme.test", subaccount.id, True, Origin.LIVE)
    found = await apply(store, Put(account), Put(pool), Put(subaccount), Put(ip), Put(key), Put(domain))
    assert found.accounts[account.id] == account
    assert found.pools[account.id, pool.id] == pool
    assert found.subaccounts[account.id, subaccount.id] == subaccount
    assert found.ips[ip.address] == ip
    assert found.keys[key.sha256] == key
    assert found.domains[account.id, "acme.test"] == domain


async def test_routes_are_replaced_and_keep_their_order_and_passwords(store: Store) -> None:
    smarthost = SmarthostRoute("mx.example", 587, TlsPolicy.REQUIRED, "user", "secret", ("SIZE", "AUTH"))
    routes = (
        Route(("b.example", "*.b.example"), smarthost),
        Route(("*",), MxRoute(TlsPolicy.OFF, 2525, allow_private=True)),
    )
    assert (await apply(store, SetRoutes(routes))).routes == routes
    assert (await apply(store, SetRoutes(routes[1:]))).routes == routes[1:]


async def test_each_set_of_changes_is_one_revision(store: Store) -> None:
    revision = await store.directory.apply([Put(SECOND), Put(NEWS)], SEEDED, "ann", NOW)
    assert revision == await store.directory.revision() == SEEDED + 1
    assert (await store.directory.snapshot()).revision == revision


async def test_changes_to_an_older_directory_are_refused(store: Store) -> None:
    with pytest.raises(StaleDirectory):
        await store.directory.apply([Put(SECOND)], Revision(0), "ann", NOW)
    assert SECOND.id not in (await store.directory.snapshot()).accounts


async def test_one_impossible_change_undoes_the_others(store: Store) -> None:
    await put(store, build_message())
    account = (await store.directory.snapshot()).accounts[ACCOUNT]
    with pytest.raises(Conflict, match="Acme"):
        await store.directory.apply([Put(SECOND), Remove(account)], SEEDED, "ann", NOW)
    assert (await store.directory.snapshot()).revision == SEEDED
    assert list((await store.directory.snapshot()).accounts) == [ACCOUNT]


async def test_every_account_has_a_default_pool(store: Store) -> None:
    default = (AccountId(2), PoolId("default"))
    assert (await apply(store, Put(SECOND))).pools[default].name == "Default"
    named = replace((await store.directory.snapshot()).pools[default], overflow_pool="shared pool")
    await apply(store, Put(named))
    assert (await apply(store, Put(replace(SECOND, name="New")))).pools[default] == named


async def test_removing_a_pool_moves_its_ips_to_the_default_pool(store: Store) -> None:
    before = await apply(store, Put(NEWS))
    await apply(store, Put(replace(before.ips[IP], pool=NEWS.id)))
    found = await apply(store, Remove(NEWS))
    assert (ACCOUNT, NEWS.id) not in found.pools
    assert found.ips[IP].pool == "default"


async def test_the_default_pool_cannot_be_removed(store: Store) -> None:
    with pytest.raises(Conflict, match="default"):
        await apply(store, Remove(Pool(ACCOUNT, PoolId("default"), "Default")))


async def test_an_account_takes_its_own_along_and_frees_its_ips(store: Store) -> None:
    theirs: tuple[Entry, ...] = (
        SECOND,
        Pool(SECOND.id, PoolId("news"), "News"),
        Subaccount(SECOND.id, SubaccountId(1), "Sub"),
        ApiKey("cd" * 32, "cdcd", SECOND.id, "label", frozenset()),
        SendingDomain(SECOND.id, "globex.test"),
    )
    before = await store.directory.snapshot()
    ip = SendingIp(
        IpAddress("127.0.0.50"), IpAddress("127.0.0.50"), "mta", account=SECOND.id, pool=PoolId("news")
    )
    await apply(store, *(Put(entry) for entry in theirs), Put(ip))
    found = await apply(store, Remove(SECOND))
    freed = replace(ip, account=None, pool=None)
    assert found == replace(before, revision=found.revision, ips={**before.ips, ip.address: freed})


async def test_an_account_can_go_when_its_mail_has_gone(store: Store, lane: Lane) -> None:
    await put(store, build_message())
    await store.queue.settle(lane, [finish(message) for message in await claim(store, lane)])
    account = (await store.directory.snapshot()).accounts[ACCOUNT]
    assert (await apply(store, Remove(account))).accounts == {}


async def test_an_ip_without_mail_is_removed(store: Store) -> None:
    ip = (await store.directory.snapshot()).ips[IP]
    assert IP not in (await apply(store, Remove(ip))).ips


async def test_an_ip_with_mail_is_retired_until_the_mail_has_gone(store: Store, lane: Lane) -> None:
    await put(store, build_message())
    ip = (await store.directory.snapshot()).ips[IP]
    assert (await apply(store, Remove(ip))).ips[IP] == replace(ip, is_retired=True)
    assert await store.directory.reap_ips(NOW) == 0
    mail = await claim(store, lane)
    assert await store.directory.reap_ips(NOW) == 0
    await store.queue.settle(lane, [finish(message) for message in mail])
    revision = await store.directory.revision()
    assert await store.directory.reap_ips(NOW) == 1
    assert await store.directory.revision() == revision + 1
    assert list((await store.directory.snapshot()).ips) == [OTHER_IP]
    assert await store.directory.reap_ips(NOW) == 0
    assert await store.directory.revision() == revision + 1


async def test_removing_what_is_not_there_changes_nothing(store: Store) -> None:
    before = await store.directory.snapshot()
    found = await apply(store, Remove(NEWS), Remove(SECOND), Remove(SendingDomain(ACCOUNT, "x.test")))
    assert found == replace(before, revision=found.revision)


async def test_the_audit_tells_who_did_what_and_no_password(store: Store, store_url: str) -> None:
    await apply(store, Put(NEWS))
    await apply(store, Put(replace(NEWS, name="Old news")))
    await apply(store, Remove(NEWS))
    for password in ("secret", "hidden"):
        target = SmarthostRoute("mx.example", 587, username="user", password=password)
        await apply(store, SetRoutes((Route(("*",), target),)))
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
        lines = connection.execute(
            "SELECT actor, what, before, after FROM audit WHERE revision > ? ORDER BY id", (SEEDED,)
        ).fetchall()
    assert [(actor, what) for actor, what, _, _ in lines] == [
        ("ann", "put pool 1/news"),
        ("ann", "put pool 1/news"),
        ("ann", "remove pool 1/news"),
        ("ann", "set routes"),
        ("ann", "set routes"),
    ]
    assert [(before is None, after is None) for _, _, before, after in lines] == [
        (True, False),
        (False, False),
        (False, True),
        (True, False),
        (False, False),
    ]
    assert "secret" not in str(lines)
    assert "hidden" not in str(lines)
    assert "has_password" in str(lines)
