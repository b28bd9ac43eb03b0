"""What a directory file changes in the store: idempotent, and only files remove what files made."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.domain.changes import Change, Put, Remove, SetRoutes, entries_of, identity
from relay.domain.directory import (
    Account,
    ApiKey,
    Entry,
    Origin,
    Plan,
    Pool,
    SendingIp,
    Snapshot,
    Status,
    Subaccount,
)
from relay.domain.errors import Conflict
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId
from relay.domain.message import State
from relay.frames.actor import SHELL
from relay.ports.queue import MailFilter
from relay.process.directory.changes import Difference, changes_to
from relay.process.directory.export import export
from relay.process.directory.file import load_directory
from relay.resources.api_keys.rules import create_key, hash_key
from relay.store import Store, open_store
from tests.store.conftest import build_batch
from tests.support.mail import build_message

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
BASE = """
[[sending_ip]]
address = "127.0.0.1"
hostname = "mta1.example"
account = 1
pool = "news"
[[sending_ip]]
address = "127.0.0.2"
hostname = "mta2.example"
account = 1
[[sending_ip]]
address = "127.0.0.3"
hostname = "mta3.example"
[[account]]
id = 1
name = "Acme"
plan = "self_serve"
require_sending_domain = true
[[account.pool]]
name = "News"
[[account.pool]]
name = "More"
auto_warmup_overflow_pool = "news"
[[account.subaccount]]
id = 7
name = "Sub"
ip_pool = "news"
[[account.api_key]]
label = "main"
key = "a100000000000000000000000000000000000001"
grants = ["smtp/inject"]
[[account.api_key]]
label = "of the subaccount"
key = "a100000000000000000000000000000000000007"
grants = ["smtp/inject"]
subaccount = 7
[[account.sending_domain]]
domain = "acme.test"
[[account]]
id = 2
name = "Birch"
plan = "enterprise"
[[route]]
domains = ["*"]
mx = true
"""
ACME, ONE, TWO, THREE = (
    AccountId(1),
    IpAddress("127.0.0.1"),
    IpAddress("127.0.0.2"),
    IpAddress("127.0.0.3"),
)
NEWS, DEFAULT = PoolId("news"), PoolId("default")


class Applied:
    """A store, and files applied to it one after another."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self._file = store, folder / "directory.toml"

    async def difference(self, text: str, *, prune: bool = False) -> Difference:
        self._file.write_text(text, encoding="utf-8")
        wanted = load_directory(self._file)
        return changes_to(await self.store.directory.snapshot(), wanted.entries, wanted.routes, prune)

    async def apply(self, text: str, *, prune: bool = False) -> Snapshot:
        return await self.write(*(await self.difference(text, prune=prune)).changes)

    async def write(self, *changes: Change) -> Snapshot:
        await self.store.directory.apply(changes, await self.store.directory.revision(), "test", NOW)
        return await self.store.directory.snapshot()


@pytest.fixture
async def applied(tmp_path: Path) -> AsyncIterator[Applied]:
    """BASE, applied to a new store."""
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as store:
        applied = Applied(store, tmp_path)
        await applied.apply(BASE)
        yield applied


def without(*pieces: str) -> str:
    """BASE without these tables, each named by how it goes on after its header."""
    tables = BASE.strip().split("\n[[")
    kept = [table for table in tables if not any(piece in table for piece in pieces)]
    return "\n[[".join(kept)


async def test_a_first_apply_makes_what_the_file_lists(applied: Applied) -> None:
    snapshot = await applied.store.directory.snapshot()
    assert list(snapshot.accounts) == [1, 2]
    assert set(snapshot.pools) == {(1, DEFAULT), (1, NEWS), (1, "more"), (2, DEFAULT)}
    assert [ip.address for ip in snapshot.members[ACME, NEWS]] == [ONE]
    assert snapshot.routes


async def test_a_second_apply_changes_nothing(applied: Applied) -> None:
    difference = await applied.difference(BASE)
    assert difference == Difference((), ())


async def test_an_export_applied_again_changes_only_the_origin_of_what_was_live(applied: Applied) -> None:
    made = Pool(ACME, PoolId("live"), "Live", origin=Origin.LIVE)
    exported = export(await applied.write(Put(made)))
    assert (await applied.difference(exported)).changes == (Put(replace(made, origin=Origin.FILE)),)
    await applied.apply(exported)
    assert (await applied.difference(exported)).changes == ()


async def test_listed_objects_are_set_to_what_the_file_says(applied: Applied) -> None:
    before = await applied.store.directory.snapshot()
    await applied.write(
        Put(replace(before.ips[ONE], pool=DEFAULT, weight=9)),
        Put(replace(before.accounts[ACME], plan=Plan.ENTERPRISE)),
        SetRoutes(()),
    )
    after = await applied.apply(BASE)
    assert replace(after, revision=before.revision) == before


async def test_what_the_file_has_no_key_for_stays(applied: Applied) -> None:
    before = await applied.store.directory.snapshot()
    key = before.keys[hash_key("a100000000000000000000000000000000000001")]
    await applied.write(
        Put(replace(before.accounts[ACME], status=Status.SUSPENDED)),
        Put(replace(before.subaccounts[ACME, SubaccountId(7)], status=Status.TERMINATED)),
        Put(replace(before.ips[ONE], is_draining=True)),
    )
    hashed = BASE.replace('key = "a100000000000000000000000000000000000001"', f'key_sha256 = "{key.sha256}"')
    assert (await applied.difference(hashed)).changes == ()


async def test_what_a_pool_signs_with_is_as_the_file_says_and_stays_where_it_says_nothing(
    applied: Applied,
) -> None:
    signing = BASE.replace('name = "News"', 'name = "News"\nsigning_domain = "acme.test"')
    pool = (await applied.apply(signing)).pools[ACME, NEWS]
    assert (pool.signing_domain, pool.fbl_signing_domain) == ("acme.test", "")
    assert (await applied.difference(BASE)).changes == ()
    other = (await applied.apply(signing.replace("acme.test", "other.test"))).pools[ACME, NEWS]
    assert other.signing_domain == "other.test"


@pytest.mark.parametrize(
    ("dropped", "kind"),
    [
        pytest.param('label = "main"', "api_key", id="a key is revoked"),
        pytest.param("acme.test", "sending_domain", id="a sending domain"),
        pytest.param('"127.0.0.3"', "sending_ip", id="an IP"),
        pytest.param('name = "Birch"', "account", id="an account, with its default pool"),
        pytest.param('name = "More"', "pool", id="a pool"),
    ],
)
async def test_what_a_file_made_goes_when_the_next_one_does_not_list_it(
    applied: Applied, dropped: str, kind: str
) -> None:
    before = {identity(entry) for entry in entries_of(await applied.store.directory.snapshot())}
    (change,) = (await applied.difference(without(dropped))).changes
    assert isinstance(change, Remove)
    assert identity(change.entry)[0] == kind
    after = {identity(entry) for entry in entries_of(await applied.apply(without(dropped)))}
    assert before - after - {("pool", "2/default")} == {identity(change.entry)}
    assert (await applied.difference(without(dropped))).changes == ()


async def test_a31_the_ips_of_a_removed_pool_go_where_the_file_puts_them_else_to_default(
    applied: Applied,
) -> None:
    live = SendingIp(
        IpAddress("127.0.0.9"), IpAddress("127.0.0.9"), "mta9", account=ACME, pool=NEWS, origin=Origin.LIVE
    )
    await applied.write(Put(live))
    text = without('name = "News"').replace('pool = "news"\n', 'pool = "more"\n', 1)
    text = text.replace('auto_warmup_overflow_pool = "news"', "")
    difference = await applied.difference(text)
    assert difference.kept == (replace(live, pool=DEFAULT),)
    snapshot = await applied.apply(text)
    assert (snapshot.ips[ONE].pool, snapshot.ips[live.address].pool) == ("more", "default")
    assert (ACME, NEWS) not in snapshot.pools
    assert snapshot.subaccounts[ACME, SubaccountId(7)].ip_pool == NEWS, "A9"


@pytest.mark.parametrize(
    ("overflow", "written", "instead"),
    [
        pytest.param("shared pool", 'plan = "self_serve"', 'plan = "enterprise"', id="no shared pool"),
        pytest.param(
            "news",
            'name = "News"\n[[account.pool]]\nname = "More"\nauto_warmup_overflow_pool = "news"',
            'name = "News"\nauto_warmup_overflow_pool = "more"\n[[account.pool]]\nname = "More"',
            id="a pool that overflows by the file",
        ),
    ],
)
async def test_a_live_pool_overflows_no_more_where_the_file_leaves_no_room(
    applied: Applied, overflow: str, written: str, instead: str
) -> None:
    live = Pool(ACME, PoolId("live"), "Live", overflow, Origin.LIVE)
    await applied.write(Put(live))
    assert written in BASE
    text = BASE.replace(written, instead)
    assert (await applied.difference(BASE)).kept == (live,)
    snapshot = await applied.apply(text)
    assert snapshot.pools[ACME, live.id].overflow_pool == ""
    assert (await applied.difference(text)).changes == ()


async def test_a_live_pool_no_longer_overflows_into_one_that_has_gone(applied: Applied) -> None:
    await applied.write(Put(Pool(ACME, PoolId("live"), "Live", "news", Origin.LIVE)))
    text = without('name = "News"').replace('pool = "news"\n', "", 1)
    snapshot = await applied.apply(text.replace('auto_warmup_overflow_pool = "news"', ""))
    assert snapshot.pools[ACME, PoolId("live")].overflow_pool == ""


async def test_a_removed_subaccount_takes_its_keys_along_whoever_made_them(applied: Applied) -> None:
    sub = SubaccountId(7)
    key = ApiKey("ef" * 32, "efef", ACME, "live", frozenset({"smtp/inject"}), sub)
    await applied.write(*create_key(await applied.store.directory.snapshot(), key, SHELL))
    snapshot = await applied.apply(without('name = "Sub"', "of the subaccount"))
    assert [key.label for key in snapshot.keys.values()] == ["main"]
    assert snapshot.subaccounts == {}


async def test_what_was_made_live_is_kept_and_listed(applied: Applied) -> None:
    entries: tuple[Entry, ...] = (
        Account(AccountId(9), "Live", Plan.FREE, origin=Origin.LIVE),
        Pool(ACME, PoolId("live"), "Live", origin=Origin.LIVE),
        Subaccount(ACME, SubaccountId(8), "Live", origin=Origin.LIVE),
    )
    await applied.write(*map(Put, entries))
    difference = await applied.difference(BASE)
    assert difference.changes == ()
    assert set(difference.kept) == set(entries)
    pruned = await applied.difference(BASE, prune=True)
    assert {change.entry for change in pruned.changes if isinstance(change, Remove)} == set(entries)
    assert pruned.kept == ()
    snapshot = await applied.apply(BASE, prune=True)
    assert list(snapshot.accounts) == [1, 2]
    assert (await applied.difference(BASE)) == Difference((), ())


async def test_a_removed_account_gives_live_ips_back_and_takes_its_own_along(applied: Applied) -> None:
    account, address = AccountId(2), IpAddress("127.0.0.9")
    live = SendingIp(address, address, "mta9", account=account, pool=DEFAULT, origin=Origin.LIVE)
    await applied.write(Put(live), Put(Pool(account, PoolId("live"), "Live", origin=Origin.LIVE)))
    snapshot = await applied.apply(without('name = "Birch"'))
    assert snapshot.ips[address] == replace(live, account=None, pool=None)
    assert [owner for owner, _ in snapshot.pools if owner == account] == []
    assert (await applied.difference(without('name = "Birch"'))).changes == ()


async def test_an_ip_with_queued_mail_is_retired_and_the_mail_is_not_touched(applied: Applied) -> None:
    store, revision = applied.store, await applied.store.directory.revision()
    message = build_message(ip=TWO, due=NOW + timedelta(hours=1))
    await store.queue.enqueue(build_batch(message, revision=revision))
    text = without('"127.0.0.2"')
    snapshot = await applied.apply(text)
    assert snapshot.ips[TWO].is_retired
    assert [one.state for one in await store.queue.select(MailFilter(None), 10)] == [State.QUEUED]
    assert (await applied.difference(text)).changes == ()
    again = await applied.apply(BASE)
    assert not again.ips[TWO].is_retired, "a file that lists it again brings it back"


async def test_an_account_with_queued_mail_is_refused_by_name_and_nothing_changes(applied: Applied) -> None:
    store, revision = applied.store, await applied.store.directory.revision()
    await store.queue.enqueue(build_batch(build_message(ip=ONE), revision=revision))
    birch = BASE[BASE.index("[[account]]\nid = 2") :]
    with pytest.raises(Conflict, match="Acme"):
        await applied.apply(birch)
    assert await store.directory.revision() == revision
    assert ACME in (await store.directory.snapshot()).accounts


async def test_r13_ips_that_were_given_live_count_against_the_limit(applied: Applied) -> None:
    addresses = [IpAddress(f"127.0.0.{number}") for number in (11, 12, 13)]
    lives = [
        SendingIp(address, address, "mta", account=ACME, pool=DEFAULT, origin=Origin.LIVE)
        for address in addresses
    ]
    await applied.write(*map(Put, lives))
    with pytest.raises(Conflict, match=r"account 1 \(Acme\) would have 5 dedicated IPs; its limit is 4"):
        await applied.difference(BASE)


async def test_r1_an_account_with_live_ips_does_not_become_free(applied: Applied) -> None:
    address = IpAddress("127.0.0.11")
    await applied.write(
        Put(SendingIp(address, address, "m", account=AccountId(2), pool=DEFAULT, origin=Origin.LIVE))
    )
    with pytest.raises(Conflict, match="the free plan has none"):
        await applied.difference(BASE.replace('plan = "enterprise"', 'plan = "free"'))


async def test_an_ip_may_change_from_an_account_that_goes_to_one_that_stays(applied: Applied) -> None:
    text = BASE.replace('hostname = "mta3.example"', 'hostname = "mta3.example"\naccount = 2')
    await applied.apply(text)
    moved = without('name = "Birch"').replace("mta3.example", 'mta3.example"\naccount = 1 #')
    snapshot = await applied.apply(moved)
    assert snapshot.ips[THREE].account == ACME


async def test_everything_can_be_removed(applied: Applied) -> None:
    snapshot = await applied.apply("")
    assert list(entries_of(snapshot)) == []
    assert snapshot.routes == ()
