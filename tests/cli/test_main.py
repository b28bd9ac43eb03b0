"""The command line as a whole: help, exit status, configuration, and the commands that stand alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from relay import __version__
from relay.process.main import app
from tests.cli.conftest import Cli


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_there_is_a_command_for_everything_that_is_promised() -> None:
    promised = """
        run check explain sink migrate directory/diff directory/apply directory/export queue/list queue/show
        queue/hold queue/release queue/retry queue/cancel queue/repin account/create account/list
        account/set-plan ip/add ip/assign ip/move ip/release ip/drain ip/list key/create key/list key/revoke
        subaccount/create subaccount/list subaccount/set-pool pool/create pool/list pool/delete
        transmission/list transmission/show transmission/cancel transmission/retry
    """
    assert set(promised.split()) <= {"/".join(path) for path in COMMANDS}


@pytest.mark.parametrize("path", [pytest.param(path, id=" ".join(path)) for path in COMMANDS])
def test_help_teaches_with_an_example_of_this_command(cli: Cli, path: tuple[str, ...]) -> None:
    printed = cli.bare(*path, "--help")
    assert printed.status == 0
    assert f"Example: relay {' '.join(path)}" in " ".join(printed.out.split())
    assert "--config PATH" in printed.out
    assert printed.err == ""
    assert not any(char in printed.out for char in "╭│"), "plain text"


@pytest.mark.parametrize("path", [pytest.param((), id="relay"), pytest.param(("queue",), id="queue")])
def test_a_group_alone_shows_its_commands(cli: Cli, path: tuple[str, ...]) -> None:
    printed = cli.bare(*path)
    assert "Commands:" in printed.out + printed.err


def test_the_version(cli: Cli) -> None:
    assert cli.bare("--version").out == f"relay {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("quue",), id="an unknown command"),
        pytest.param(("queue", "hold", "--ipp", "x"), id="an unknown option"),
        pytest.param(("queue", "list", "--limit", "many"), id="no number"),
        pytest.param(("queue", "list", "--state", "lost"), id="an unknown state"),
        pytest.param(("queue", "list", "--ip", "127.0.0"), id="no address"),
        pytest.param(("queue", "list", "--domain", "a b"), id="no domain"),
        pytest.param(("queue", "repin", "--ip", "127.0.0.1"), id="an option that is missing"),
        pytest.param(("explain",), id="no account"),
        pytest.param(("ip", "move", "127.0.0.1"), id="moved to nowhere"),
        pytest.param(("ip", "add", "127.0.0.1", "--hostname", "a", "--bind", "::1"), id="two families"),
        pytest.param(("ip", "add", "0.0.0.0", "--hostname", "a"), id="any address"),
        pytest.param(("account", "create", "A\x1b[2J", "--plan", "free"), id="escapes in a name"),
        pytest.param(("account", "create", "A", "--plan", "gold"), id="an unknown plan"),
        pytest.param(("run", "--workers", "0"), id="no workers"),
        pytest.param(("sink", "--listen", "here"), id="listening nowhere"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(cli: Cli, arguments: tuple[str, ...]) -> None:
    printed = cli(*arguments)
    assert printed.status == 2
    assert "Error: " in printed.err
    assert "Traceback" not in printed.err
    assert "\x1b" not in printed.err
    assert printed.out == ""


# ── the configuration ────────────────────────────────────────────────────────────────────


def test_a_wrong_configuration_ends_with_2_and_tells_every_mistake(cli: Cli) -> None:
    cli.config.write_text('nod = "n1"\nworkers = 0\n')
    printed = cli("check")
    assert printed.status == 2
    assert [line.partition(": ")[2].partition(":")[0] for line in printed.err.splitlines()] == [
        "workers",
        "nod",
    ]


def test_what_a_wrong_file_holds_does_not_steer_the_terminal(cli: Cli) -> None:
    cli.config.write_text('"a\\u001b[2Jb" = 1\n')
    printed = cli("check")
    assert printed.status == 2
    assert "\x1b" not in printed.err


def test_a_wrong_directory_file_ends_with_2(cli: Cli) -> None:
    cli.directory.write_text("[[acount]]\n")
    for arguments in (("check",), ("directory", "apply", str(cli.directory))):
        printed = cli(*arguments)
        assert printed.status == 2
        assert "did you mean account?" in printed.err


def test_no_configuration_anywhere_says_where_it_was_looked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = cli.folder / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    printed = cli.bare("queue", "list")
    assert printed.status == 2
    assert "config/relay.toml or /etc/relay/relay.toml" in printed.err


def test_the_configuration_is_found_here_else_by_the_environment_else_by_the_option(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str, node: str) -> Path:
        file = cli.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(cli.config.read_text().replace('node = "n1"', f'node = "{node}"'))
        return file

    config("config/relay.toml", "usual")
    named, optional = config("named.toml", "named"), config("optional.toml", "optional")
    monkeypatch.chdir(cli.folder)
    assert cli.bare("check").out.startswith("config/relay.toml: ok")
    monkeypatch.setenv("RELAY_CONFIG", str(named))
    assert cli.bare("check").out.startswith(f"{named}: ok")
    assert cli.bare("check", "--config", str(optional)).out.startswith(f"{optional}: ok")


def test_the_environment_overrides_the_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_STORE", f"sqlite:///{cli.folder}/other.db")
    cli.ok("migrate")
    assert (cli.folder / "other.db").exists()
    monkeypatch.setenv("RELAY_SMTP__LISTNE", "x")
    printed = cli("queue", "list")
    assert printed.status == 2
    assert printed.err.startswith("environment RELAY_SMTP__LISTNE: ")


# ── the store ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("queue", "list"), id="queue list"),
        pytest.param(("queue", "show", "x"), id="queue show"),
        pytest.param(("queue", "retry", "--yes"), id="queue retry"),
        pytest.param(("account", "list"), id="account list"),
        pytest.param(("ip", "list"), id="ip list"),
        pytest.param(("explain", "--account", "1"), id="explain"),
        pytest.param(("directory", "export"), id="directory export"),
    ],
)
def test_reading_a_store_that_is_not_there_says_so_and_makes_none(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    said = cli.refused(*arguments)
    assert f"no store at {cli.folder / 'relay.db'}" in said
    assert "relay migrate" in said
    assert not (cli.folder / "relay.db").exists()


def test_migrate_makes_the_store_and_leaves_one_alone(cli: Cli) -> None:
    assert "made, version" in cli.ok("migrate")
    assert "is at version" in cli.ok("migrate")
    assert cli.ok("account", "list") == "no accounts\n"


def test_a_store_that_cannot_be_opened_is_one_line(cli: Cli) -> None:
    (cli.folder / "relay.db").write_bytes(b"no database, and long enough to be looked at" * 50)
    assert "cannot open the store" in cli.refused("queue", "list")


# ── check ────────────────────────────────────────────────────────────────────────────────


def test_check_says_for_each_ip_whether_this_node_has_it(cli: Cli) -> None:
    more = '[[sending_ip]]\naddress = "{}"\nhostname = "a.example"\nnode = "{}"\n'
    text = cli.directory.read_text()
    cli.directory.write_text(more.format("192.0.2.1", "n1") + more.format("192.0.2.2", "n2") + text)
    printed = cli("check", "--json")
    assert printed.status == 0
    assert "sending_ip: not on this machine (n1): 192.0.2.1; their mail waits" in printed.err
    states = {row["address"]: row["state"] for row in cli.json("check")["sending_ips"]}
    assert states["192.0.2.1"] == "missing"
    assert states["192.0.2.2"] == "on another node"
    assert states["127.0.0.11"] == "ok"
    assert "127.0.0.11" in cli.ok("check")


def test_check_names_the_routes_that_allow_private_hosts(cli: Cli) -> None:
    route = '[[route]]\ndomains = ["in.example"]\nmx = true\nallow_private = true\n'
    head, tables = cli.directory.read_text().split("[[route]]", 1)
    cli.directory.write_text(f"{head}{route}[[route]]{tables}")
    told = "warning: the route of in.example goes to private addresses too: allow_private is true\n"
    assert told in cli("check").err


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ("", "the route of * logs in: TLS is required, and mail waits without it\n"),
        ('tls = "opportunistic"', "the route of * logs in: TLS is required, and mail waits without it\n"),
        ('tls = "off"', "warning: the route of * sends its password in clear text: tls is off\n"),
    ],
)
def test_check_says_what_a_login_wants_of_tls(cli: Cli, tls: str, told: str) -> None:
    head = cli.directory.read_text().partition("[[route]]")[0]
    login = 'smarthost = "127.0.0.1:587"\nusername = "us"\npassword = "secret"'
    cli.directory.write_text(f'{head}[[route]]\ndomains = ["*"]\n{login}\n{tls}\n')
    assert told in cli("check").err


def test_check_needs_no_store_and_reads_the_certificates(cli: Cli) -> None:
    assert "relay.toml: ok" in cli.ok("check")
    assert not (cli.folder / "relay.db").exists()
    text = cli.config.read_text().replace("[smtp]", '[smtp]\ncertificate = "none.pem"\nkey = "none.key"')
    cli.config.write_text(text)
    printed = cli("check")
    assert printed.status == 2
    assert "smtp.certificate: none.pem: expected a readable file" in printed.err


# ── explain ──────────────────────────────────────────────────────────────────────────────


def test_explain_shows_the_steps_and_the_candidates(lab: Cli) -> None:
    said = lab.ok("explain", "--account", "1", "--ip-pool", "Marketing")
    for piece in ("R18", "ip_pool asked for: Marketing", "127.0.0.11", "mta12.relay.test"):
        assert piece in said
    assert said.count("docs/rules.md") == 1
    found = lab.json("explain", "--account", "1", "--subaccount", "123")
    assert [step["rule"] for step in found["steps"]] == ["R18", "R26", "R18"]
    assert (found["pool"], found["refusal"]) == ("marketing", None)
    assert len(found["candidates"]) == 2


@pytest.mark.parametrize(
    ("arguments", "rule", "words"),
    [
        pytest.param(("4",), "R22", "IP Pool 'default' is empty", id="R22"),
        pytest.param(("1", "--ip-pool", "Quiet"), "A8", "IP Pool 'quiet' is empty", id="A8: empty"),
        pytest.param(("1", "--ip-pool", "X"), "A8", "IP Pool 'X' does not exist", id="A8: unknown"),
        pytest.param(("3", "--ip-pool", "sp_shared"), "A6", "sp_shared is not a valid", id="A6"),
        pytest.param(
            ("1", "--subaccount", "123", "--ip-pool", "receipts"), "A5", "bound to pool marketing", id="A5"
        ),
        pytest.param(("9",), "", "no account 9", id="no account"),
        pytest.param(("1", "--subaccount", "9"), "R18", "no subaccount 9", id="no subaccount"),
    ],
)
def test_explain_ends_with_1_when_the_mail_would_be_refused(
    lab: Cli, arguments: tuple[str, ...], rule: str, words: str
) -> None:
    printed = lab("explain", "--account", *arguments)
    assert printed.status == 1
    assert rule in printed.out
    assert words in printed.err


def test_scheduled_mail_falls_back_r31_r32(lab: Cli) -> None:
    said = lab.ok("explain", "--account", "2", "--ip-pool", "nowhere", "--scheduled")
    for piece in ("R31", "R32", "127.0.0.91"):
        assert piece in said


# ── the real program ─────────────────────────────────────────────────────────────────────


def test_the_program_ends_with_the_status_and_without_a_traceback(cli: Cli) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "relay", *arguments, "--config", str(cli.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert run("directory", "apply", str(cli.directory)).returncode == 0
    refused = run("ip", "move", "127.0.0.77", "--pool", "quiet")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "relay: no sending IP 127.0.0.77\n"
    assert run("ip", "move").returncode == 2
