"""What takes something from mail names the consequence, and is done only with --yes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.directory import Snapshot
from relay.domain.ids import DEFAULT_POOL, AccountId, PoolId
from relay.net.ambient import SystemClock
from relay.store import Store
from tests.cli.conftest import Cli
from tests.store.conftest import build_batch
from tests.support.mail import build_message

NOT_DONE = "nothing was changed: repeat it with --yes\n"


async def snapshot(store: Store) -> Snapshot:
    return await store.directory.snapshot()


def asked(lab: Cli, *arguments: str) -> list[str]:
    """What the command tells instead of doing it; with --yes it is done."""
    before = lab.in_store(snapshot)
    printed = lab(*arguments)
    assert printed.status == 1, printed
    assert printed.out == ""
    assert printed.err.endswith(NOT_DONE)
    assert lab.in_store(snapshot) == before
    lab.ok(*arguments, "--yes")
    assert lab.in_store(snapshot) != before
    return printed.err.removesuffix(NOT_DONE).splitlines()


def test_a_pool_with_ips_and_subaccounts_is_not_deleted_without_asking(lab: Cli) -> None:
    assert asked(lab, "pool", "delete", "marketing", "--account", "1") == [
        "pool marketing of account 1 goes, and its sending IPs go to pool default (127.0.0.11, 127.0.0.12): "
        "mail that names it is refused, and all mail of subaccount 123, bound to it"
    ]


def test_a_pool_that_holds_nothing_is(lab: Cli) -> None:
    lab.ok("pool", "create", "News", "--account", "1")
    assert lab.ok("pool", "delete", "news", "--account", "1") == "pool news of account 1 deleted\n"


def test_nor_one_that_mail_is_queued_in(lab: Cli) -> None:
    lab.ok("pool", "create", "News", "--account", "1")

    async def queue_one(store: Store) -> None:
        message = build_message()
        message = replace(message, pin=replace(message.pin, pool=PoolId("news")))
        await store.queue.enqueue(build_batch(message, revision=await store.directory.revision()))

    lab.in_store(queue_one)
    assert asked(lab, "pool", "delete", "news", "--account", "1") == [
        "1 queued message of it leaves from where it would, all the same"
    ]


@pytest.mark.parametrize("verb", ["release", "drain", "remove"])
def test_the_last_ip_of_a_pool_is_not_taken_without_asking(lab: Cli, verb: str) -> None:
    lab.ok("ip", verb, "127.0.0.11")
    assert asked(lab, "ip", verb, "127.0.0.12") == [
        "pool marketing of account 1 has no sending IP left: mail that names it is refused, "
        "and all mail of subaccount 123, bound to it"
    ]


def test_an_ip_that_takes_no_mail_any_more_is_nobodys_last(lab: Cli) -> None:
    lab.ok("ip", "drain", "127.0.0.11")
    lab.ok("ip", "drain", "127.0.0.12", "--yes")
    lab.ok("ip", "release", "127.0.0.12")
    lab.ok("ip", "drain", "127.0.0.11", "--undo")


def test_of_a_default_pool_it_is_told_where_mail_goes_instead(lab: Cli) -> None:
    before = lab.in_store(snapshot)
    pools = {1: "leaves from sp_shared", 3: "is refused"}
    for account, fate in pools.items():
        ips = [ip.address for ip in before.members[AccountId(account), DEFAULT_POOL]]
        for address in ips[:-1]:
            lab.ok("ip", "drain", address)
        assert asked(lab, "ip", "drain", ips[-1]) == [
            f"pool default of account {account} has no sending IP left: mail that names no pool {fate}"
        ]


def test_the_last_shared_ip_is_not_taken_without_asking(lab: Cli) -> None:
    first, last = [ip.address for ip in lab.in_store(snapshot).shared]
    lab.ok("ip", "release", first)
    (told,) = asked(lab, "ip", "release", last)
    assert told.startswith("the shared pool has no sending IP left")


def test_what_becomes_of_mail_by_a_move_is_told_and_done(lab: Cli) -> None:
    printed = lab("ip", "move", "127.0.0.13", "--pool", "marketing")
    assert (printed.status, printed.out) == (0, "sending IP 127.0.0.13 moved to pool marketing\n")
    assert printed.err == (
        "pool receipts of account 1 has no sending IP left: mail that names it is refused\n"
    )
    assert lab("ip", "move", "127.0.0.11", "--node", "n1").err == ""
    assert (
        "mail that names no pool leaves from sp_shared"
        in lab("ip", "move", "127.0.0.14", "--pool", "quiet").err
    )


def test_a_higher_plan_tells_whose_mail_has_nowhere_to_leave_from(lab: Cli) -> None:
    lab.ok("ip", "move", "127.0.0.14", "--pool", "quiet")
    printed = lab("account", "set-plan", "1", "enterprise")
    assert (printed.status, printed.out) == (0, "account 1: enterprise\n")
    assert printed.err == (
        "account 1 (Acme) has no sending IP in pool default: mail that names no pool is refused from now on;"
        " `relay ip assign ADDRESS --account 1` gives it one\n"
    )
    assert lab("account", "set-plan", "1", "enterprise").err == ""
    assert lab("account", "set-plan", "4", "enterprise").err == ""


def test_what_becomes_of_mail_by_a_file_is_told_before_and_after(lab: Cli) -> None:
    text = lab.directory.read_text()
    lab.directory.write_text(text.replace('pool = "receipts"', 'pool = "quiet"'))
    told = "pool receipts of account 1 has no sending IP left: mail that names it is refused\n"
    for verb in ("diff", "apply"):
        printed = lab("directory", verb, str(lab.directory))
        assert (printed.status, printed.err) == (0, told)
    assert lab("directory", "apply", str(lab.directory)).err == ""


def test_of_many_consequences_the_first_are_told(lab: Cli) -> None:
    pools = "".join(f'[[account.pool]]\nname = "P{number}"\n' for number in range(25))
    ips = [
        f'[[sending_ip]]\naddress = "127.0.1.{number}"\nhostname = "m.relay.test"\naccount = 7\n'
        f'pool = "p{number}"\n'
        for number in range(25)
    ]
    account = f'[[account]]\nid = 7\nname = "Gum"\nplan = "enterprise"\n{pools}'
    text = lab.directory.read_text().partition("[[route]]")[0]
    lab.directory.write_text("".join([text, *ips, account]))
    lab.ok("directory", "apply", str(lab.directory))
    moved = [ip.replace(f'pool = "p{number}"', 'pool = "default"') for number, ip in enumerate(ips)]
    lab.directory.write_text("".join([text, *moved, account]))
    told = lab("directory", "diff", str(lab.directory)).err.splitlines()
    assert len(told) == 21
    assert told[-1] == "and 5 more like this"


def test_a_lower_plan_names_what_it_takes(lab: Cli) -> None:
    (told,) = asked(lab, "account", "set-plan", "1", "free")
    assert told.startswith("account 1 (Acme) goes from self_serve to free on ")
    assert "127.0.0.11, 127.0.0.12, 127.0.0.13" in told
    lab.ok("account", "set-plan", "1", "free")
    lab.ok("account", "set-plan", "1", "self_serve")
    lab.ok("account", "set-plan", "1", "enterprise")
    assert asked(lab, "account", "set-plan", "1", "self_serve") == [
        "account 1 (Acme) goes from enterprise to self_serve at once"
    ]


def test_a_key_that_was_used_lately_is_not_revoked_without_asking(lab: Cli) -> None:
    keys = lab.in_store(snapshot).keys.values()
    used, old, unused = sorted((key for key in keys if key.account == 1), key=lambda key: key.label)[:3]
    today = SystemClock().now().date()

    async def use(store: Store) -> None:
        days = {used.sha256: today, old.sha256: today - timedelta(days=30)}
        await store.directory.note_key_uses(days)

    lab.in_store(use)
    listed = {key["sha256"]: key["last_used"] for key in lab.json("key", "list")}
    assert listed[used.sha256[:12]] == str(today)
    assert listed[unused.sha256[:12]] is None
    (told,) = asked(lab, "key", "revoke", used.sha256, "--account", "1")
    assert told == f"key {used.label} ({used.short}…) was used today: whoever has it is refused at once"
    for key in (old, unused):
        lab.ok("key", "revoke", key.sha256, "--account", "1")

    async def uses(store: Store) -> int:
        return len(await store.directory.key_uses())

    assert lab.in_store(uses) == 0


def test_apply_lists_what_it_would_remove(lab: Cli) -> None:
    """Also with --prune; what is only changed needs no question."""
    text = lab.directory.read_text()
    lab.directory.write_text(text.replace("Joe's Garage", "Joe"))
    assert "~ subaccount 1/123" in lab.ok("directory", "apply", str(lab.directory))
    lab.ok("key", "create", "--account", "1", "--label", "made here")
    lab.directory.write_text('[[sending_ip]]\naddress = "127.0.0.21"\nhostname = "a.test"\nshared = true\n')
    told = asked(lab, "directory", "apply", str(lab.directory))
    assert "account 1 (Acme) would be removed: directory.toml does not list it" in told
    assert sum(line.startswith("api_key ") for line in told) > 1
    assert lab.ok("directory", "apply", str(lab.directory), "--prune") == "nothing to change\n"


def test_what_was_made_otherwise_is_removed_by_prune_alone(lab: Cli) -> None:
    lab.ok("key", "create", "--account", "1", "--label", "made here")
    assert "nothing to change" in lab.ok("directory", "apply", str(lab.directory))
    (told,) = asked(lab, "directory", "apply", str(lab.directory), "--prune")
    assert told.startswith("api_key made here of account 1 (")
    assert told.endswith(") would be removed: directory.toml does not list it")
