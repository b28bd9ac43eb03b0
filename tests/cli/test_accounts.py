"""What the operator does to accounts, subaccounts, keys, pools and IPs, typed as they would type it."""

import re
import sqlite3
from contextlib import closing

import pytest

from relay.domain.directory import GRANTS, Origin, Plan, Snapshot
from relay.domain.ids import AccountId, IpAddress, PoolId, SubaccountId
from relay.resources.api_keys.rules import hash_key
from relay.store import Store
from tests.cli.conftest import Cli
from tests.store.conftest import build_batch
from tests.support.mail import build_message

ACME = AccountId(1)


async def snapshot(store: Store) -> Snapshot:
    return await store.directory.snapshot()


def test_an_installation_can_be_made_by_hand(cli: Cli) -> None:
    assert cli.ok("account", "create", "Acme", "--plan", "self_serve") == (
        "account 1 created: Acme, self_serve\n"
    )
    assert cli.ok("pool", "create", "Marketing News", "--account", "1") == (
        "pool marketing_news of account 1 created\n"
    )
    cli.ok("ip", "add", "127.0.0.11", "--hostname", "mta11.relay.test", "--weight", "3", "--node", "n1")
    cli.ok("ip", "add", "2001:db8::1", "--hostname", "mta.relay.test", "--bind", "fd00::1", "--shared")
    cli.ok("ip", "assign", "127.0.0.11", "--account", "1", "--pool", "Marketing_News")
    cli.ok("subaccount", "create", "Sub", "--account", "1", "--ip-pool", "marketing_news")
    key = cli.ok("key", "create", "--account", "1", "--label", "first").strip()
    found = cli.in_store(snapshot)
    assert [ip.address for ip in found.members[ACME, PoolId("marketing_news")]] == ["127.0.0.11"]
    assert [(ip.address, ip.bind) for ip in found.shared] == [("2001:db8::1", "fd00::1")]
    assert found.keys[hash_key(key)].label == "first"
    assert found.accounts[ACME].origin is Origin.LIVE


def test_the_audit_says_who_typed_it(lab: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "joe")
    lab.ok("ip", "drain", "127.0.0.11")
    with closing(sqlite3.connect(lab.folder / "relay.db")) as connection:
        (line,) = connection.execute("SELECT actor, what FROM audit WHERE revision = 2").fetchall()
    assert line == ("cli:joe", "put sending_ip 127.0.0.11")


def test_what_is_so_already_makes_no_new_revision(lab: Cli) -> None:
    lab.ok("ip", "move", "127.0.0.11", "--pool", "marketing")
    assert lab.in_store(snapshot).revision == 1


def test_lists_are_tables_or_json(lab: Cli) -> None:
    assert lab.ok("account", "list").splitlines()[1].split()[:7] == [
        "1",
        "Acme",
        "self_serve",
        "active",
        "4",
        "4",
        "0",
    ]
    by_id = {account["id"]: account for account in lab.json("account", "list")}
    assert (by_id[3]["limit"], by_id[3]["dedicated_ips"], by_id[5]["limit"]) == (None, 2, 0)
    pools = {(pool["account"], pool["id"]): pool["ips"] for pool in lab.json("pool", "list")}
    assert pools[1, "marketing"] == ["127.0.0.11", "127.0.0.12"]
    assert pools[1, "quiet"] == []
    assert {pool["account"] for pool in lab.json("pool", "list", "--account", "2")} == {2}
    states = {ip["address"]: ip["state"] for ip in lab.json("ip", "list")}
    assert (states["127.0.0.91"], states["127.0.0.11"]) == ("shared", "dedicated")
    assert len(lab.json("ip", "list", "--account", "1")) == 4
    subaccounts = lab.json("subaccount", "list", "--account", "1")
    assert [(one["id"], one["ip_pool"]) for one in subaccounts] == [
        (123, "marketing"),
        (124, None),
        (125, "quiet"),
    ]
    assert lab.json("subaccount", "list", "--account", "2") == []
    assert lab.ok("subaccount", "list", "--account", "2") == "no subaccounts\n"


def test_set_plan(lab: Cli) -> None:
    assert lab.ok("account", "set-plan", "1", "enterprise") == "account 1: enterprise\n"
    assert "no account 9" in lab.refused("account", "set-plan", "9", "free")
    assert "its limit is 3" in lab.refused("account", "set-plan", "1", "manual", "--limit", "3")


def test_on_a_plan_without_the_shared_pool_nothing_overflows_into_it(lab: Cli) -> None:
    lab.ok("pool", "create", "Letters", "--account", "1", "--overflow", "shared pool")
    printed = lab("account", "set-plan", "1", "enterprise")
    assert printed.status == 0
    assert printed.err == (
        "pool letters of account 1 overflows into the shared pool no more: there is none on plan enterprise\n"
    )
    assert lab.in_store(snapshot).pools[ACME, PoolId("letters")].overflow_pool == ""
    exported = lab.folder / "exported.toml"
    exported.write_text(lab.ok("directory", "export"), encoding="utf-8")
    lab.ok("directory", "apply", str(exported), "--yes")


def test_down_to_free_waits_for_the_end_of_the_billing_cycle(lab: Cli) -> None:
    assert re.fullmatch(
        r"account 1: self_serve, and free from \d{4}-\d\d-01 on\n",
        lab.ok("account", "set-plan", "1", "free", "--yes"),
    )
    account = lab.in_store(snapshot).accounts[ACME]
    assert (account.plan, account.next_plan) == (Plan.SELF_SERVE, Plan.FREE)
    lab.ok("account", "set-plan", "1", "self_serve")
    assert lab.in_store(snapshot).accounts[ACME].next_plan is None


def test_set_terms(lab: Cli) -> None:
    told = lab.ok("account", "set-terms", "1", "--limit", "14", "--price", "15.5", "--bill-cycle-day", "9")
    assert told == "account 1: at most 14, 15.50 USD for an IP and a month, billed on day 9\n"
    assert "no limit, 20.00 USD" in lab.ok("account", "set-terms", "3", "--bill-cycle-day", "28")
    account = lab.in_store(snapshot).accounts[ACME]
    assert (account.dedicated_ip_limit, account.ip_price_cents, account.bill_cycle_day) == (14, 1550, 9)
    assert "its limit is 3" in lab.refused("account", "set-terms", "1", "--limit", "3")
    assert "expected --limit" in lab("account", "set-terms", "1").err


def test_a_released_ip_is_told_to_be_free_or_to_carry_mail_still(lab: Cli) -> None:
    assert lab.ok("ip", "release", "127.0.0.14", "--yes") == "sending IP 127.0.0.14 released\n"
    lab.in_store(_queue_a_message)
    assert lab.ok("ip", "release", "127.0.0.11") == (
        "sending IP 127.0.0.11 released, and free when its queued mail has left\n"
    )
    states = {ip["address"]: ip["state"] for ip in lab.json("ip", "list")}
    assert (states["127.0.0.14"], states["127.0.0.11"]) == ("free", "released")
    told = lab.refused("ip", "assign", "127.0.0.11", "--account", "2")
    assert "still carries queued mail of account 1" in told


async def _queue_a_message(store: Store) -> None:
    """From 127.0.0.11."""
    await store.queue.enqueue(build_batch(build_message(), revision=await store.directory.revision()))


def test_a_subaccount_is_bound_and_unbound_with_a_warning_for_a_pool_that_is_not_there(lab: Cli) -> None:
    assert "pool receipts" in lab.ok("subaccount", "set-pool", "124", "receipts", "--account", "1")
    assert lab.in_store(snapshot).subaccounts[ACME, SubaccountId(124)].ip_pool == "receipts"
    warned = lab("subaccount", "set-pool", "124", "nowhere", "--account", "1")
    assert warned.status == 0
    assert "has no pool nowhere" in warned.err, "A9"
    assert "no pool of its own" in lab.ok("subaccount", "set-pool", "124", "--account", "1")
    assert lab.in_store(snapshot).subaccounts[ACME, SubaccountId(124)].ip_pool is None


def test_r16_pools_are_renamed_and_deleted(lab: Cli) -> None:
    lab.ok("pool", "rename", "marketing", "Ads", "--account", "1")
    assert lab.in_store(snapshot).pools[ACME, PoolId("marketing")].name == "Ads"
    lab.ok("pool", "delete", "marketing", "--account", "1", "--yes")
    found = lab.in_store(snapshot)
    assert (ACME, PoolId("marketing")) not in found.pools
    assert found.ips[IpAddress("127.0.0.11")].pool == "default", "A31"
    assert "IP Pool default is reserved." in lab.refused("pool", "delete", "default", "--account", "1")


def test_an_ip_is_released_drained_and_removed(lab: Cli) -> None:
    lab.ok("ip", "release", "127.0.0.11")
    lab.ok("ip", "drain", "127.0.0.12", "--yes")
    lab.ok("ip", "drain", "127.0.0.13", "--yes")
    lab.ok("ip", "drain", "127.0.0.13", "--undo")
    lab.ok("ip", "remove", "127.0.0.92")
    states = {ip["address"]: ip["state"] for ip in lab.json("ip", "list")}
    assert states["127.0.0.11"] == "free"
    assert states["127.0.0.12"] == "draining"
    assert states["127.0.0.13"] == "dedicated"
    assert "127.0.0.92" not in states
    lab.ok("ip", "move", "127.0.0.13", "--node", "n2")
    assert lab.in_store(snapshot).ips[IpAddress("127.0.0.13")].node == "n2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("ip", "assign", "127.0.0.91", "--account", "5"), "in the shared pool", id="shared"),
        pytest.param(("ip", "move", "127.0.0.11", "--pool", "news"), "no pool news in account 1", id="pool"),
        pytest.param(("ip", "move", "127.0.0.91", "--pool", "news"), "belongs to no account", id="free"),
        pytest.param(("ip", "add", "127.0.0.11", "--hostname", "a"), "exists already", id="an IP twice"),
        pytest.param(("pool", "create", "a!b", "--account", "1"), "only letters, numbers", id="A1"),
        pytest.param(("pool", "create", "SP shared", "--account", "1"), "reserved", id="A6"),
        pytest.param(("key", "revoke", "nothing", "--account", "1"), "no key nothing", id="no key"),
        pytest.param(("key", "create", "--account", "9", "--label", "x"), "no account 9", id="no account"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(lab: Cli, arguments: tuple[str, ...], words: str) -> None:
    assert words in lab.refused(*arguments)
    assert lab.in_store(snapshot).revision == 1


# ── keys ─────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_shown_once_and_only_its_hash_is_kept(lab: Cli) -> None:
    printed = lab(
        *("key", "create", "--account", "1", "--label", "mine", "--subaccount", "123"),
        *("--grant", "smtp/inject", "--grant", "transmissions/modify", "--valid-ip", "10.0.0.0/8"),
    )
    assert re.fullmatch(r"[0-9a-f]{40}\n", printed.out)
    assert "only time" in printed.err
    text = printed.out.strip()
    key = lab.in_store(snapshot).keys[hash_key(text)]
    assert (key.short, key.subaccount, key.valid_ips) == (text[:4], 123, ("10.0.0.0/8",))
    assert key.grants == {"smtp/inject", "transmissions/modify"}
    assert text not in lab.ok("key", "list", "--json")
    assert text.encode() not in b"".join(
        file.read_bytes() for file in lab.folder.glob("relay.db*") if file.is_file()
    )
    lab.ok("key", "revoke", "mine", "--account", "1")
    assert hash_key(text) not in lab.in_store(snapshot).keys


def test_keys_differ(lab: Cli) -> None:
    made = [lab.ok("key", "create", "--account", "1", "--label", "x") for _ in range(3)]
    assert len(set(made)) == 3
    assert "names 3 keys" in lab.refused("key", "revoke", "x", "--account", "1")


def test_an_operator_s_key_may_do_everything(lab: Cli) -> None:
    made = lab.json("key", "create", "--account", "1", "--label", "op", "--operator")
    key = lab.in_store(snapshot).keys[hash_key(made["key"])]
    assert key.is_operator
    assert key.grants == GRANTS
    assert "operator = true" in lab.ok("directory", "export")
