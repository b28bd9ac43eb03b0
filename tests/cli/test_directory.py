"""`relay directory`: previewed, applied, exported, and the same again."""

import os
import re
import stat
from datetime import UTC, datetime

import pytest

from relay.domain.changes import Put
from relay.domain.directory import DkimKey, Origin, SendingDomain, Snapshot
from relay.domain.ids import AccountId, IpAddress
from relay.ports.queue import MailFilter
from relay.store import Store
from tests.cli.conftest import Cli
from tests.store.conftest import build_batch
from tests.support.mail import IP, build_message


async def snapshot(store: Store) -> Snapshot:
    return await store.directory.snapshot()


def test_apply_makes_the_store_and_a_second_time_nothing(cli: Cli) -> None:
    first = cli.ok("directory", "apply", str(cli.directory))
    assert "+ account 1 (Acme): plan self_serve" in first
    assert "()" not in first
    assert "~ routes:\n    + 1: * to 127.0.0.1:2526, TLS off\n" in first
    before = cli.in_store(snapshot)
    assert before.revision == 1
    assert cli.ok("directory", "apply", str(cli.directory)) == "nothing to change\n"
    assert cli.in_store(snapshot).revision == 1


def test_diff_shows_what_apply_does_and_changes_nothing(lab: Cli) -> None:
    text = lab.directory.read_text()
    lab.directory.write_text(text.replace('pool = "receipts"', 'pool = "quiet"'))
    shown = lab.ok("directory", "diff", str(lab.directory))
    assert shown == "~ sending_ip 127.0.0.13: pool: receipts → quiet\n1 change\n"
    assert lab.in_store(snapshot).revision == 1
    assert lab.ok("directory", "apply", str(lab.directory)) == shown


def test_a_change_of_routes_tells_where_mail_goes_now_and_no_password(lab: Cli) -> None:
    routes = """
        [[route]]
        domains = ["a.example", "*.a.example"]
        mx = true
        allow_private = true
        tls = "required"
        [[route]]
        domains = ["*"]
        smarthost = "127.0.0.9:587"
        ehlo_ignore = ["PIPELINING", "8bitmime"]
        username = "us"
        password = "secret"
    """
    text = lab.directory.read_text().partition("[[route]]")[0]
    lab.directory.write_text(text + "\n".join(line.strip() for line in routes.splitlines()))
    now = "a.example, *.a.example to MX, port 25, TLS required, private hosts allowed"
    then = "* to 127.0.0.9:587, TLS required, as us, without PIPELINING 8BITMIME"
    before = "* to 127.0.0.1:2526, TLS off"
    told = f"~ routes:\n    - 1: {before}\n    + 1: {now}\n    + 2: {then}\n1 change\n"
    assert lab.ok("directory", "diff", str(lab.directory)) == told
    (change,) = lab.json("directory", "apply", str(lab.directory))["changes"]
    assert change == {"change": "set", "object": "routes", "routes": [now, then], "before": [before]}


def test_of_the_routes_those_that_differ_are_told_with_old_and_new(lab: Cli) -> None:
    def routes(port: int, password: str) -> str:
        listed = [
            'domains = ["a.example"]\nmx = true',
            f'domains = ["b.example"]\nsmarthost = "127.0.0.9:{port}"',
            f'domains = ["*"]\nsmarthost = "127.0.0.8:25"\nusername = "us"\npassword = "{password}"',
        ]
        return "".join(f"[[route]]\n{route}\n" for route in listed)

    text = lab.directory.read_text().partition("[[route]]")[0]
    lab.directory.write_text(text + routes(25, "one"))
    lab.ok("directory", "apply", str(lab.directory))
    lab.directory.write_text(text + routes(26, "two"))
    login = "* to 127.0.0.8:25, TLS required, as us"
    assert lab.ok("directory", "diff", str(lab.directory)).splitlines() == [
        "~ routes:",
        "    - 2: b.example to 127.0.0.9:25, TLS opportunistic",
        f"    - 3: {login}",
        "    + 2: b.example to 127.0.0.9:26, TLS opportunistic",
        f"    + 3: {login}, with another password",
        "1 change",
    ]


def test_values_are_told_in_words(lab: Cli) -> None:
    text = lab.directory.read_text()
    lab.directory.write_text(
        text.replace('plan = "free"', 'plan = "free"\ndsn = true\nbounce_domain = "b.example"')
    )
    shown = lab.ok("directory", "diff", str(lab.directory))
    assert shown == "~ account 5 (Elm): bounce_domain: nothing → b.example, dsn: no → yes\n1 change\n"


@pytest.mark.parametrize(
    ("was", "becomes", "line", "key"),
    [
        ('name = "Acme"', 'name = "Acme Ltd"', "~ account 1 (Acme Ltd): name: Acme → Acme Ltd", "name"),
        (
            'name = "Letters"',
            'name = "Post"\nid = "letters"',
            "~ pool 6/letters (Post): name: Letters → Post",
            "name",
        ),
        ("Joe's Garage", "Joe", "~ subaccount 1/123 (Joe): name: Joe's Garage → Joe", "name"),
        ('label = "rest"', 'label = "mine"', "(mine): label: rest → mine", "label"),
    ],
)
def test_another_name_is_told_with_the_old_one(lab: Cli, was: str, becomes: str, line: str, key: str) -> None:
    text = lab.directory.read_text()
    assert was in text
    lab.directory.write_text(text.replace(was, becomes, 1))
    shown = lab.ok("directory", "diff", str(lab.directory))
    assert shown.endswith(f"{line}\n1 change\n")
    (change,) = lab.json("directory", "diff", str(lab.directory))["changes"]
    old, new = line.rpartition(": ")[2].split(" → ")
    assert (change["before"][key], change["fields"][key]) == (old, new)


def test_the_private_half_of_a_key_for_dkim_is_not_told(lab: Cli) -> None:
    async def put(store: Store) -> None:
        found = await store.directory.snapshot()
        key = DkimKey("sel", "public-half", "private-half")
        domain = SendingDomain(AccountId(1), "a.example", origin=Origin.LIVE, dkim=key)
        await store.directory.apply([Put(domain)], found.revision, "test", datetime.now(UTC))  # noqa: TID251

    lab.in_store(put)
    text = lab.directory.read_text()
    domain = '[[account.sending_domain]]\ndomain = "a.example"\n'
    lab.directory.write_text(text.replace("[[account.subaccount]]", f"{domain}[[account.subaccount]]", 1))
    told = lab.ok("directory", "diff", str(lab.directory))
    told += lab.ok("directory", "diff", str(lab.directory), "--json")
    assert "~ sending_domain 1/a.example: origin: live → file" in told
    assert '"dkim": "sel"' in told
    assert "half" not in told


@pytest.mark.parametrize("has_mail", [False, True])
def test_what_brings_a_removed_ip_back_says_who_removed_it_and_when(lab: Cli, has_mail: bool) -> None:
    async def put(store: Store) -> None:
        message = build_message(ip=IpAddress("127.0.0.14"))
        await store.queue.enqueue(build_batch(message, revision=await store.directory.revision()))

    if has_mail:
        lab.in_store(put)
    help_ = lab.bare("ip", "remove", "--help").out
    lab.ok("ip", "remove", "127.0.0.14", *(["--yes"] if "--yes" in help_ else []))
    today = rf"{datetime.now(UTC):%Y-%m-%d} \d\d:\d\d UTC"  # noqa: TID251 - the command asks the system
    note = rf"    brings back a sending IP that was removed on {today} by cli:\w+\n"
    assert re.search(note, lab.ok("directory", "diff", str(lab.directory)))
    assert re.search(note, lab.ok("directory", "apply", str(lab.directory)))
    assert lab.ok("directory", "apply", str(lab.directory)) == "nothing to change\n"
    lab.directory.write_text(lab.directory.read_text().replace("mta14.relay.test", "mta15.relay.test"))
    assert "brings back" not in lab.ok("directory", "diff", str(lab.directory))


def test_diff_and_apply_tell_programs_the_same(lab: Cli) -> None:
    lab.ok("pool", "create", "Live", "--account", "1")
    text = lab.directory.read_text().replace('name = "Letters"', 'name = "Post"\nid = "letters"')
    text = text.replace('label = "account"\nkey = "a5', 'label = "new"\nkey = "b5')
    lab.directory.write_text(text)
    found = lab.json("directory", "diff", str(lab.directory))
    told = [(change["change"], change["object"].split()[0]) for change in found["changes"]]
    assert told == [("update", "pool"), ("create", "api_key"), ("remove", "api_key")]
    assert found["kept"] == ["pool 1/live (Live)"]
    assert lab.json("directory", "apply", str(lab.directory), "--yes") == found


def test_prune_removes_what_the_command_line_made(lab: Cli) -> None:
    lab.ok("pool", "create", "Live", "--account", "1")
    assert "pool 1/live (Live): kept" in lab.ok("directory", "apply", str(lab.directory))
    pruned = lab.ok("directory", "apply", str(lab.directory), "--prune", "--yes")
    assert pruned == "- pool 1/live (Live)\n1 change\n"


def test_apply_sets_back_what_the_command_line_changed(lab: Cli) -> None:
    lab.ok("ip", "move", "127.0.0.14", "--pool", "quiet")
    applied = lab.ok("directory", "apply", str(lab.directory))
    assert "~ sending_ip 127.0.0.14: pool: quiet → default" in applied


def test_an_account_with_queued_mail_is_refused_by_name(lab: Cli) -> None:
    async def put(store: Store) -> None:
        message = build_message(ip=IP)
        await store.queue.enqueue(build_batch(message, revision=await store.directory.revision()))

    lab.in_store(put)
    empty = lab.folder / "empty.toml"
    empty.write_text("")
    assert "account 1 (Acme) still has queued mail" in lab.refused("directory", "apply", str(empty), "--yes")

    async def waiting(store: Store) -> int:
        return await store.queue.count(MailFilter(None))

    assert lab.in_store(waiting) == 1


def test_too_many_ips_with_those_given_live_are_refused(lab: Cli) -> None:
    lab.ok("ip", "add", "127.0.0.81", "--hostname", "mta81.relay.test")
    lab.ok("account", "set-plan", "1", "manual", "--limit", "5")
    lab.ok("ip", "assign", "127.0.0.81", "--account", "1")
    said = lab.refused("directory", "apply", str(lab.directory))
    assert "account 1 (Acme) would have 5 dedicated IPs; its limit is 4" in said


def test_an_export_is_a_file_for_apply_and_for_its_owner_alone(lab: Cli) -> None:
    lab.ok("pool", "create", "Live", "--account", "1")
    target = lab.folder / "export.toml"
    lab.ok("directory", "export", str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    applied = lab.ok("directory", "apply", str(target))
    assert applied == "~ pool 1/live (Live): origin: live → file\n1 change\n"
    assert lab.ok("directory", "export") == target.read_text()


def test_an_export_replaces_no_file_unasked(lab: Cli) -> None:
    before = lab.directory.read_text()
    assert "exists already" in lab.refused("directory", "export", str(lab.directory))
    assert lab.directory.read_text() == before
    lab.ok("directory", "export", str(lab.directory), "--force")
    assert "key_sha256" in lab.directory.read_text()


def test_a_target_that_cannot_be_written_is_one_line(lab: Cli) -> None:
    assert "No such file or directory" in lab.refused(
        "directory", "export", os.fspath(lab.folder / "no" / "x.toml")
    )


def test_no_key_is_printed(cli: Cli) -> None:
    keys = [
        line.split('"')[1] for line in cli.directory.read_text().splitlines() if line.startswith("key = ")
    ]
    printed = cli.ok("directory", "apply", str(cli.directory)) + cli.ok("directory", "export")
    assert keys
    assert not any(key in printed for key in keys)


def test_the_audit_tells_who_changed_what_newest_first(lab: Cli) -> None:
    lab.ok("pool", "create", "Live", "--account", "1")
    newest, *older = lab.json("directory", "audit", "--limit", "3")
    assert newest["what"] == "put pool 1/live"
    assert newest["actor"].startswith("cli:")
    assert newest["before"] is None
    assert '"name":"Live"' in newest["after"]
    assert len(older) == 2
    assert all(line["revision"] < newest["revision"] for line in older)
    assert "put pool 1/live" in lab.ok("directory", "audit", "--limit", "1")
