"""directory.toml: what it means, and that an export is a file like any other."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay.domain.directory import (
    GRANTS,
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
from relay.domain.ids import AccountId, IpAddress, NodeName, PoolId, SubaccountId
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.process.directory.export import export
from relay.process.directory.file import DirectoryFile, load_directory
from relay.resources.api_keys.rules import hash_key
from relay.testing.lab import lab_directory

SHIPPED = Path(__file__).parents[2] / "config" / "directory.toml"
ACCOUNT = '[[account]]\nid = 1\nname = "Acme"\nplan = "self_serve"\n'
ENTERPRISE = '[[account]]\nid = 1\nname = "Cedar"\nplan = "enterprise"\n'


def ip(address: str = "127.0.0.1", more: str = "") -> str:
    return f'[[sending_ip]]\naddress = "{address}"\nhostname = "mta.example"\n{more}\n'


def load(folder: Path, text: str) -> DirectoryFile:
    file = folder / "directory.toml"
    file.write_text(text, encoding="utf-8")
    return load_directory(file)


def snapshot_of(entries: tuple[Entry, ...], routes: tuple[Route, ...] = ()) -> Snapshot:
    return Snapshot(
        accounts={entry.id: entry for entry in entries if isinstance(entry, Account)},
        pools={(entry.account, entry.id): entry for entry in entries if isinstance(entry, Pool)},
        subaccounts={(entry.account, entry.id): entry for entry in entries if isinstance(entry, Subaccount)},
        ips={entry.address: entry for entry in entries if isinstance(entry, SendingIp)},
        keys={entry.sha256: entry for entry in entries if isinstance(entry, ApiKey)},
        domains={
            (entry.account, entry.domain): entry for entry in entries if isinstance(entry, SendingDomain)
        },
        routes=routes,
    )


# ── what a file means ────────────────────────────────────────────────────────────────────


def test_an_empty_file_lists_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "") == DirectoryFile((), ())


def test_all_tables_arrive(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        [[sending_ip]]
        address = "2001:DB8:0::1"
        bind = "fd00::1"
        hostname = "MTA1.example.com"
        node = "n1"
        weight = 7
        account = 1
        pool = "news_letter"
        [[sending_ip]]
        address = "192.0.2.9"
        hostname = "mta9.example.com"
        shared = true
        [[sending_ip]]
        address = "192.0.2.8"
        hostname = "mta8.example.com"
        account = 1
        [[account]]
        id = 1
        name = "Ünï"
        plan = "manual"
        dedicated_ip_limit = 9
        ip_price_cents = 0
        bill_cycle_day = 28
        require_sending_domain = false
        bounce_domain = "Bounces.Example.com"
        dsn = true
        [[account.pool]]
        name = "News-Letter"
        auto_warmup_overflow_pool = "shared pool"
        [[account.subaccount]]
        id = 7
        name = "Joe's Garage"
        ip_pool = "nowhere"
        [[account.api_key]]
        label = "clear"
        key = "00112233445566778899aabbccddeeff00112233"
        grants = ["smtp/inject"]
        subaccount = 7
        valid_ips = ["10.0.0.0/8", "192.0.2.1"]
        [[account.api_key]]
        label = "hashed"
        key_sha256 = "AA00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
        short = "beef"
        grants = ["ip_pools/manage"]
        operator = true
        [[account.sending_domain]]
        domain = "Bücher.example"
        subaccount = 7
        shared_with_subaccounts = true
        [[route]]
        domains = ["Example.com", "*.example.net"]
        smarthost = "[2001:db8::25]:587"
        tls = "required"
        username = "joe"
        password = "secret"
        [[route]]
        domains = ["*"]
        mx = true
        allow_private = true
        ehlo_ignore = ["pipelining", "X-Odd", "PIPELINING"]
        port = 2525
        tls = "off"
        """,
    )
    account, sub = AccountId(1), SubaccountId(7)
    key = "00112233445566778899aabbccddeeff00112233"
    sha = "aa00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
    networks = ("10.0.0.0/8", "192.0.2.1")
    v6, news = IpAddress("2001:db8::1"), PoolId("news_letter")
    nine, eight = IpAddress("192.0.2.9"), IpAddress("192.0.2.8")
    assert found.entries == (
        Account(account, "Ünï", Plan.MANUAL, 9, 0, 28, False, "bounces.example.com", True),
        Pool(account, news, "News-Letter", "shared pool"),
        Subaccount(account, sub, "Joe's Garage", PoolId("nowhere")),
        ApiKey(hash_key(key), "0011", account, "clear", frozenset({"smtp/inject"}), sub, networks),
        ApiKey(sha, "beef", account, "hashed", frozenset({"ip_pools/manage"}), is_operator=True),
        SendingDomain(account, "xn--bcher-kva.example", sub, True),
        SendingIp(
            v6, IpAddress("fd00::1"), "mta1.example.com", NodeName("n1"), 7, account=account, pool=news
        ),
        SendingIp(nine, nine, "mta9.example.com", shared=True),
        SendingIp(eight, eight, "mta8.example.com", account=account, pool=PoolId("default")),
    )
    smarthost = SmarthostRoute("2001:db8::25", 587, TlsPolicy.REQUIRED, "joe", "secret")
    assert found.routes == (
        Route(("example.com", "*.example.net"), smarthost),
        Route(("*",), MxRoute(TlsPolicy.OFF, 2525, True, ("PIPELINING", "X-ODD"))),
    )


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param(ACCOUNT, 4, id="R13: four where nothing is said"),
        pytest.param(ACCOUNT + "dedicated_ip_limit = 0\n", 0, id="none"),
        pytest.param(ENTERPRISE, None, id="R14: Enterprise has none"),
        pytest.param(ENTERPRISE + "dedicated_ip_limit = 0\n", None, id="R14: nor with 0"),
    ],
)
def test_the_limit_of_dedicated_ips(tmp_path: Path, text: str, limit: int | None) -> None:
    (account,) = load(tmp_path, text).entries
    assert isinstance(account, Account)
    assert account.dedicated_ip_limit == limit


@pytest.mark.parametrize(
    ("said", "listed", "required"),
    [
        pytest.param("", "", False, id="none listed: from any"),
        pytest.param("", '[[account.sending_domain]]\ndomain = "a.test"\n', True, id="one listed"),
        pytest.param("require_sending_domain = true\n", "", True, id="none listed, but required"),
        pytest.param(
            "require_sending_domain = false\n",
            '[[account.sending_domain]]\ndomain = "a.test"\n',
            False,
            id="listed, but not required",
        ),
    ],
)
def test_an_account_that_lists_a_domain_needs_one_unless_it_says_otherwise(
    tmp_path: Path, said: str, listed: str, required: bool
) -> None:
    account = load(tmp_path, ACCOUNT + said + listed).entries[0]
    assert isinstance(account, Account)
    assert account.require_sending_domain is required


def test_r14_an_enterprise_account_may_be_given_any_number_of_ips(tmp_path: Path) -> None:
    text = "".join(ip(f"127.0.0.{number}", "account = 1") for number in range(1, 10)) + ENTERPRISE
    assert len(load(tmp_path, text).entries) == 10


@pytest.mark.parametrize("file", [pytest.param(SHIPPED, id="shipped"), pytest.param(None, id="of the tests")])
def test_the_labs_are_right(tmp_path: Path, file: Path | None) -> None:
    found = load(tmp_path, file.read_text(encoding="utf-8") if file else lab_directory())
    plans = {entry.id: entry.plan.value for entry in found.entries if isinstance(entry, Account)}
    assert list(plans.items())[:5] == [
        (1, "self_serve"),
        (2, "self_serve"),
        (3, "enterprise"),
        (4, "enterprise"),
        (5, "free"),
    ]


def test_the_shipped_lab_has_what_every_row_of_the_routing_table_needs() -> None:
    found = load_directory(SHIPPED)
    snapshot = snapshot_of(found.entries, found.routes)
    filled = {(account, pool) for account, pool in snapshot.members if pool == "default"}
    assert filled == {(1, "default"), (3, "default")}
    assert len(snapshot.shared) == 2
    assert sum(not one.shared and one.account is None for one in snapshot.ips.values()) == 4
    assert sorted(one.ip_pool or "" for one in snapshot.subaccounts.values()) == ["", "marketing"]
    assert (1, "quiet") in snapshot.pools
    assert (1, "quiet") not in snapshot.members
    assert all(one.address.startswith("127.0.0.") for one in snapshot.ips.values())
    (route,) = found.routes
    assert route == Route(("*",), SmarthostRoute("127.0.0.1", 2526))


# ── export ───────────────────────────────────────────────────────────────────────────────


def test_the_key_that_a_newcomer_is_shown_opens_every_door() -> None:
    key = next(entry for entry in load_directory(SHIPPED).entries if isinstance(entry, ApiKey))
    assert key.grants == GRANTS


@pytest.mark.parametrize("file", [pytest.param(SHIPPED, id="shipped"), pytest.param(None, id="of the tests")])
def test_an_export_loads_back_to_the_same_entries(tmp_path: Path, file: Path | None) -> None:
    found = load(tmp_path, file.read_text(encoding="utf-8") if file else lab_directory())
    again = load(tmp_path, export(snapshot_of(found.entries, found.routes)))
    assert set(again.entries) == set(found.entries)
    assert again.routes == found.routes


def test_an_export_keeps_everything_that_a_file_can_say(tmp_path: Path) -> None:
    account, other = AccountId(3), AccountId(4)
    news, v6 = PoolId("news"), IpAddress("2001:db8::1")
    entries: tuple[Entry, ...] = (
        Account(account, 'A "quoted" \\ näme\x7f'[:-1], Plan.MANUAL, 0, 0, 17, True, "b.example", True),
        Account(other, "Other", Plan.ENTERPRISE, None),
        Account(AccountId(5), "Unlimited", Plan.SELF_SERVE, None),
        Pool(account, news, "Renamed since"),
        Pool(account, PoolId("more"), "More", "news"),
        Subaccount(account, SubaccountId(5), "Sub", news),
        SendingDomain(account, "acme.test", SubaccountId(5), True),
        SendingDomain(other, "other.test"),
        SendingIp(v6, IpAddress("fd00::1"), "mta", NodeName("n1"), 7),
        ApiKey("ab" * 32, "abab", other, "label", GRANTS, None, ("10.0.0.0/8", "192.0.2.1"), True),
        ApiKey("cd" * 32, "", account, "sub", frozenset(), SubaccountId(5)),
    )
    routes = (
        Route(("b.example", "*.b.example"), SmarthostRoute("::1", 587, TlsPolicy.REQUIRED, "u", 'p"\\\n')),
        Route(("c.example",), SmarthostRoute("h.example", 587, TlsPolicy.OPPORTUNISTIC, "u", "p")),
        Route(("d.example",), SmarthostRoute("h.example", 587, TlsPolicy.OFF, "u", "p")),
        Route(("e.example",), SmarthostRoute("h.example", 587)),
        Route(("*.test",), MxRoute(TlsPolicy.OFF, 2525, allow_private=True, ehlo_ignore=("CHUNKING",))),
        Route(("f.example",), SmarthostRoute("h.example", 25, ehlo_ignore=("PIPELINING", "8BITMIME"))),
        Route(("*",), MxRoute()),
    )
    again = load(tmp_path, export(snapshot_of(entries, routes)))
    assert set(again.entries) == set(entries)
    assert again.routes == routes


def test_what_was_made_live_becomes_a_file_s(tmp_path: Path) -> None:
    live = Account(AccountId(1), "Acme", Plan.SELF_SERVE, origin=Origin.LIVE)
    default = Pool(live.id, PoolId("default"), "Default", origin=Origin.LIVE)
    assert load(tmp_path, export(snapshot_of((live, default)))).entries == (
        replace(live, origin=Origin.FILE),
    )


def test_an_export_leaves_out_what_is_retired_and_remarks_on_what_it_cannot_say(tmp_path: Path) -> None:
    address, gone = IpAddress("127.0.0.1"), IpAddress("127.0.0.2")
    text = export(
        snapshot_of(
            (
                Account(AccountId(1), "Acme", Plan.SELF_SERVE, status=Status.SUSPENDED),
                SendingIp(address, address, "mta", is_draining=True),
                SendingIp(gone, gone, "mta", is_retired=True),
            )
        )
    )
    assert gone not in text
    assert "[[account]]   # suspended" in text
    assert "[[sending_ip]]   # draining" in text
    assert len(load(tmp_path, text).entries) == 2


@pytest.mark.parametrize(
    ("plan", "overflow", "exported"),
    [
        pytest.param(Plan.ENTERPRISE, "shared pool", "", id="no shared pool"),
        pytest.param(Plan.MANUAL, "shared pool", "shared pool", id="a shared pool"),
        pytest.param(Plan.ENTERPRISE, "middle", "", id="into one that overflows"),
        pytest.param(Plan.ENTERPRISE, "first", "", id="into itself"),
        pytest.param(Plan.ENTERPRISE, "gone", "", id="into none"),
        pytest.param(Plan.ENTERPRISE, "default", "default", id="into default"),
        pytest.param(Plan.ENTERPRISE, "last", "last", id="into another"),
    ],
)
def test_an_export_loads_whatever_a_pool_overflows_into(
    tmp_path: Path, plan: Plan, overflow: str, exported: str
) -> None:
    number = AccountId(1)
    stored = (
        Account(number, "Acme", plan, None if plan is Plan.ENTERPRISE else 4),
        Pool(number, PoolId("default"), "Default"),
        Pool(number, PoolId("first"), "First", overflow),
        Pool(number, PoolId("middle"), "Middle", "last"),
        Pool(number, PoolId("last"), "Last"),
    )
    again = load(tmp_path, export(snapshot_of(stored)))
    pools = {entry.id: entry.overflow_pool for entry in again.entries if isinstance(entry, Pool)}
    assert pools == {"first": exported, "middle": "last", "last": ""}
