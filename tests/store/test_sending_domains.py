"""Sending domains in the store: what is kept of them, and what is told."""

import sqlite3
from contextlib import closing

from relay.domain.changes import Put, Remove
from relay.domain.directory import Check, DkimKey, Origin, Pool, SendingDomain
from relay.domain.ids import PoolId
from relay.store import Store
from tests.support.mail import ACCOUNT, NOW

KEY = DkimKey("scph0126", "PUBLIC", "PRIVATE-HALF")
DOMAIN = SendingDomain(
    ACCOUNT,
    "acme.test",
    origin=Origin.LIVE,
    tracking_domain="track.test",
    dkim=KEY,
    dkim_status=Check.VALID,
    cname_status=Check.INVALID,
    mx_status=Check.UNVERIFIED,
    created=NOW,
)


async def test_all_of_a_domain_comes_back(store: Store) -> None:
    pool = Pool(ACCOUNT, PoolId("news"), "News", "", Origin.LIVE, "acme.test", "loop.test")
    await store.directory.apply([Put(DOMAIN), Put(pool)], await store.directory.revision(), "ann", NOW)
    snapshot = await store.directory.snapshot()
    assert snapshot.domains[ACCOUNT, "acme.test"] == DOMAIN
    assert snapshot.pools[ACCOUNT, PoolId("news")] == pool


async def test_domains_and_pools_of_an_older_relay_still_load(store: Store, store_url: str) -> None:
    value = (
        '{"account": 1, "domain": "old.test", "subaccount": null,'
        ' "shared_with_subaccounts": true, "origin": "file"}'
    )
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection, connection:
        row = ("sending_domain", "1/old.test", value)
        connection.execute("INSERT INTO directory_entry (kind, key, value) VALUES (?, ?, ?)", row)
        connection.execute(
            "UPDATE directory_entry"
            " SET value = json_remove(value, '$.signing_domain', '$.fbl_signing_domain') WHERE kind = 'pool'"
        )
    snapshot = await store.directory.snapshot()
    old = snapshot.domains[ACCOUNT, "old.test"]
    assert old == SendingDomain(ACCOUNT, "old.test", None, True)
    assert (old.is_verified, old.signs) == (True, False)
    assert snapshot.pools[ACCOUNT, PoolId("default")].signing_domain == ""


async def test_audit_lines_do_not_tell_the_private_half(store: Store, store_url: str) -> None:
    for change in (Put(DOMAIN), Remove(DOMAIN)):
        await store.directory.apply([change], await store.directory.revision(), "ann", NOW)
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
        lines = str(connection.execute("SELECT * FROM audit").fetchall())
    assert "scph0126" in lines
    assert "PRIVATE-HALF" not in lines
    assert "PRIVATE-HALF" not in repr(DOMAIN)
