"""`relay check`, a start and the store: what is none, and how the directory file is judged beside one."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, DkimKey, Origin, SendingDomain, SendingIp
from relay.domain.ids import AccountId, IpAddress
from relay.store import Store
from relay.testing.process import Printed
from tests.cli.conftest import Cli
from tests.cli.test_check import ACCOUNT, ALL, CLEAN, EMPTY, IP, KEY, PART, SHARED, judged, told


def test_a_store_that_differs_from_the_file_is_told_as_diff_counts(cli: Cli) -> None:
    judged(cli, {})
    cli.ok("directory", "apply", str(cli.directory))
    assert told(cli, cli("check", "--strict")) == []
    cli.ok("key", "create", "--account", "1", "--label", "more", "--grant", "smtp/inject")
    assert told(cli, cli("check", "--strict")) == []
    cli.directory.write_text(CLEAN.replace('"Acme"', '"Acme Ltd"'))
    diff = cli.ok("directory", "diff", str(cli.directory))
    assert diff.endswith("\n1 change\n")
    printed = cli("check")
    line = "the store differs from directory.toml by 1 change; see `relay directory diff directory.toml`"
    assert (printed.status, told(cli, printed)) == (0, [f"warning: {line}"])
    assert json.loads(cli("check", "--json").out)["warnings"][0].startswith("the store differs from ")
    cli.directory.write_text(CLEAN.replace('"Acme"', '"Acme Ltd"').replace('pool = "marketing"\n', "", 1))
    assert "by 2 changes; see" in cli("check").err
    assert cli("check", "--strict").status == 1


def test_a_file_that_could_not_be_applied_is_told(cli: Cli) -> None:
    judged(cli, {}, CLEAN.replace('plan = "self_serve"', 'plan = "self_serve"\ndedicated_ip_limit = 1'))
    cli.ok("directory", "apply", str(cli.directory))
    cli.ok("ip", "add", "127.0.0.12", "--hostname", "mta12.relay.test")
    judged(cli, {}, CLEAN.replace('plan = "self_serve"', 'plan = "self_serve"\ndedicated_ip_limit = 2'))
    cli.ok("directory", "apply", str(cli.directory))
    cli.ok("ip", "assign", "127.0.0.12", "--account", "1")
    judged(cli, {}, CLEAN.replace('plan = "self_serve"', 'plan = "self_serve"\ndedicated_ip_limit = 1'))
    line = "which cannot be applied: account 1 (Acme) would have 2 dedicated IPs; its limit is 1"
    assert told(cli, cli("check")) == [f"warning: the store is not as directory.toml says, {line}"]


def test_the_file_is_judged_as_it_will_be_in_the_store(cli: Cli) -> None:
    """What was bought or given since counts; the file does not list it."""
    inventory = IP.replace('account = 1\npool = "marketing"\n', "") + SHARED.replace("shared = true\n", "")
    judged(cli, {}, inventory + (ACCOUNT + KEY + PART + ALL).replace("self_serve", "enterprise"))
    cli.ok("directory", "apply", str(cli.directory))
    assert len(told(cli, cli("check", "--strict"))) == 2
    cli.ok("ip", "assign", "127.0.0.11", "--account", "1", "--pool", "marketing")
    cli.ok("ip", "assign", "127.0.0.91", "--account", "1")
    assert told(cli, cli("check", "--strict")) == []
    cli.ok("ip", "move", "127.0.0.91", "--pool", "marketing")
    (line,) = told(cli, cli("check", "--strict"))
    assert line.startswith("warning: directory.toml: account[1]: no IP in the default pool")
    cli.directory.write_text(cli.directory.read_text().replace("Acme", "Acme Ltd"))
    assert len(told(cli, cli("check", "--strict"))) == 3


def test_a_pool_whose_last_ip_drains_or_that_signs_is_told(cli: Cli) -> None:
    judged(cli, {}, CLEAN.replace(PART, ""))
    cli.ok("directory", "apply", str(cli.directory))
    assert told(cli, cli("check")) == []
    cli.ok("ip", "drain", "127.0.0.11", "--yes")
    (line,) = told(cli, cli("check"))
    assert (
        line == f"warning: directory.toml: account[1].pool[Marketing]: its sending IPs are draining, {EMPTY}"
    )
    cli.ok("pool", "create", "Letters", "--account", "1")
    assert len(told(cli, cli("check"))) == 1


@pytest.mark.parametrize("key", ["signing_domain", "fbl_signing_domain"])
def test_a_pool_that_signs_with_a_domain_without_a_verified_key_is_told(cli: Cli, key: str) -> None:
    signing = CLEAN.replace('name = "Marketing"', f'name = "Marketing"\n{key} = "acme.test"')
    line = f'warning: directory.toml: account[1].pool[Marketing].{key}: "acme.test" signs nothing: expected a'
    line += " sending domain of the account with a DKIM key that DNS has"
    assert told(cli, judged(cli, {}, signing)) == [line]
    cli.ok("directory", "apply", str(cli.directory))
    assert told(cli, cli("check")) == [line]
    dkim = DkimKey("sel", "public", "private")
    verified = SendingDomain(
        AccountId(1), "acme.test", origin=Origin.LIVE, dkim=dkim, dkim_status=Check.VALID
    )

    async def add(store: Store) -> None:
        revision = await store.directory.revision()
        await store.directory.apply([Put(verified)], revision, "test", datetime(2026, 1, 1, tzinfo=UTC))

    cli.in_store(add)
    assert told(cli, cli("check")) == []


def test_what_only_the_store_has_is_told_of_the_store(cli: Cli) -> None:
    judged(cli, {})
    cli.ok("directory", "apply", str(cli.directory))
    cli.ok("ip", "add", "8.8.4.4", "--bind", "127.0.0.12", "--hostname", "mta.invalid")
    (line,) = told(cli, cli("check"))
    assert line.startswith("warning: the store: sending_ip[8.8.4.4].hostname: ")


def test_sending_ips_of_store_and_file_are_both_looked_for(cli: Cli) -> None:
    judged(cli, {}, CLEAN.replace("127.0.0.11", "192.0.2.11"))
    cli.ok("directory", "apply", str(cli.directory))
    cli.ok("ip", "add", "192.0.2.13", "--hostname", "mta13.relay.test")
    cli.directory.write_text(cli.directory.read_text().replace("192.0.2.11", "192.0.2.12"))
    lines = [line for line in told(cli, cli("check")) if "not on this machine" in line]
    assert [line.partition("; their")[0] for line in lines] == [
        "warning: the store: sending_ip: not on this machine (n1): 192.0.2.11, 192.0.2.13",
        "warning: directory.toml: sending_ip: not on this machine (n1): 192.0.2.12",
    ]
    rows = {row["address"]: (row["place"], row["state"]) for row in cli.json("check")["sending_ips"]}
    assert rows == {
        "127.0.0.91": ("file and store", "ok"),
        "192.0.2.12": ("file", "missing"),
        "192.0.2.11": ("store", "missing"),
        "192.0.2.13": ("store", "missing"),
    }


def test_check_leaves_the_store_as_it_is(cli: Cli) -> None:
    judged(cli, {})
    cli.ok("directory", "apply", str(cli.directory))
    before = {path.name: path.read_bytes() for path in cli.folder.iterdir() if path.is_file()}
    assert cli("check").status == 0
    assert {path.name: path.read_bytes() for path in cli.folder.iterdir() if path.is_file()} == before


def test_a_store_that_is_none_is_refused(cli: Cli) -> None:
    (cli.folder / "relay.db").write_bytes(b"no database, and long enough to be looked at" * 50)
    printed = judged(cli, {})
    assert printed.status == 2
    assert told(cli, printed)[0].startswith("relay.toml: store: cannot read the store relay.db: ")


def test_a_store_that_is_not_the_relays_is_refused_by_name_and_left_alone(cli: Cli) -> None:
    """Made by another program, which may have a table of the same name too."""
    store = cli.folder / "relay.db"
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("CREATE TABLE guests (name TEXT)")
        connection.execute("CREATE TABLE schema_version (installed_rank INTEGER)")
        connection.commit()
    before = store.read_bytes()
    what = (
        "relay.db is the database of another program (guests, schema_version): expected the relay's own, or a"
    )
    what += " path where there is no file yet"
    refused_as(cli, judged(cli, {}), f"relay.toml: store: {what}")
    for command in (("migrate",), ("directory", "apply", str(cli.directory))):
        assert what in cli(*command).err.replace(f"{cli.folder}/", "")
    assert store.read_bytes() == before
    assert sorted(path.name for path in cli.folder.iterdir()) == ["directory.toml", "relay.db", "relay.toml"]


def test_a_store_that_is_no_file_is_refused(cli: Cli) -> None:
    what = "/dev/null is no file: expected one that the relay made, or a path where nothing is"
    refused_as(cli, judged(cli, {"": {"store": "sqlite:////dev/null"}}), f"relay.toml: store: {what}")
    os.mkfifo(cli.folder / "relay.db")
    refused_as(cli, judged(cli, {}), f"relay.toml: store: {what.replace('/dev/null', 'relay.db')}")
    assert cli("directory", "apply", str(cli.directory)).status == 1


def test_a_store_behind_a_link_that_leads_nowhere_is_refused(cli: Cli) -> None:
    (cli.folder / "relay.db").symlink_to(cli.folder / "gone" / "relay.db")
    what = "relay.db leads to gone/relay.db, which is not there: bring that back, or remove the link"
    refused_as(cli, judged(cli, {}), f"relay.toml: store: {what}")


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        pytest.param(
            "INSERT INTO schema_version VALUES (9999)", "the store has schema version 9999, ", id="newer"
        ),
        pytest.param(
            "DELETE FROM schema_version",
            "relay.db does not say which schema version it has: ",
            id="no version",
        ),
        pytest.param(
            "DROP TABLE message", "relay.db lacks tables of schema version ", id="no table of messages"
        ),
        pytest.param(
            "DELETE FROM directory_revision",
            "relay.db has a directory that this relay cannot read (ValueError: no revision): ",
            id="no revision",
        ),
        pytest.param(
            "UPDATE directory_entry SET value = '{}' WHERE kind = 'account'",
            "relay.db has a directory that this relay cannot read (KeyError: 'plan'): ",
            id="an entry without its fields",
        ),
        pytest.param(
            "UPDATE directory_entry SET value = json_set(value, '$.later', 1) WHERE kind = 'account'",
            "relay.db has a directory that this relay cannot read (TypeError: ",
            id="a field of a later relay",
        ),
        pytest.param(
            "UPDATE directory_entry SET kind = 'guest' WHERE kind = 'account'",
            "relay.db has a directory that this relay cannot read (KeyError: 'guest'): ",
            id="an entry of a later relay",
        ),
    ],
)
def test_a_store_that_this_relay_cannot_use_is_refused_and_left_alone(
    cli: Cli, statement: str, what: str
) -> None:
    judged(cli, {})
    cli.ok("directory", "apply", str(cli.directory))
    with closing(sqlite3.connect(cli.folder / "relay.db")) as connection:
        connection.execute(statement)
        connection.commit()
    before = {path.name: path.read_bytes() for path in cli.folder.iterdir() if path.is_file()}
    (line,) = [line for line in told(cli, cli("check")) if not line.startswith("warning: ")]
    assert line.startswith(f"relay.toml: store: {what}")
    assert line.endswith("a copy of the store from before")
    refused_as(cli, cli("check"), line)
    assert {path.name: path.read_bytes() for path in cli.folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("name", ["-wal", "-shm", "-reserve", "-doubt", ".workers"])
def test_what_stands_in_the_way_beside_the_store_is_refused(cli: Cli, name: str, has_store: bool) -> None:
    judged(cli, {})
    if has_store:
        cli.ok("directory", "apply", str(cli.directory))
    beside, kind = cli.folder / f"relay.db{name}", "folder" if name == ".workers" else "file"
    if beside.is_dir():
        shutil.rmtree(beside)
    beside.unlink(missing_ok=True)
    if kind == "file":
        beside.mkdir()
    else:
        beside.write_text("")
        beside.chmod(0o700)
    what = f"relay.db{name}: expected a {kind} that this user may read and write, or none"
    refused_as(cli, cli("check"), f"relay.toml: store: {what}")


def refused_as(cli: Cli, printed: Printed, line: str) -> None:
    """By check, which printed it, and by a start."""
    assert (printed.status, told(cli, printed)) == (2, [line])
    started = cli("run")
    assert (started.status, told(cli, started)) == (2, [line])


@pytest.mark.parametrize("text", ["[[rout]]\n", None])
def test_without_a_store_a_start_needs_the_directory_file(cli: Cli, text: str | None) -> None:
    judged(cli, {})
    cli.directory.unlink()
    if text is not None:
        cli.directory.write_text(text)
    (line,) = told(cli, cli("check"))
    assert line.startswith("directory.toml: ")
    refused_as(cli, cli("check"), line)
    assert not (cli.folder / "relay.db").exists()


def test_a_store_whose_folder_can_be_none_is_refused(cli: Cli) -> None:
    """A file stands where its folder should be, which stops root too."""
    (cli.folder / "file").write_text("")
    printed = judged(cli, {"": {"store": f"sqlite:///{cli.folder}/file/relay.db"}})
    assert printed.status == 2
    assert "expected a folder that this user may write" in printed.err


def test_a_link_local_ip_that_the_store_has_from_before_is_told_of_the_store(cli: Cli) -> None:
    judged(cli, {})
    cli.ok("directory", "apply", str(cli.directory))
    ip = SendingIp(IpAddress("fe80::1"), IpAddress("fe80::1"), "mta.relay.test", origin=Origin.LIVE)

    async def add(store: Store) -> None:
        await store.directory.apply(
            [Put(ip)], await store.directory.revision(), "test", datetime(2026, 1, 1, tzinfo=UTC)
        )

    cli.in_store(add)
    (line,) = told(cli, cli("check"))
    assert line.startswith("warning: the store: sending_ip: not on this machine (n1): fe80::1; ")
