"""`relay user`: the people who sign in to the console, as an operator makes them."""

import re
import sqlite3
from contextlib import closing

import pytest

from relay.config.config import Config, HttpSettings
from relay.domain.users import BadLink, User
from relay.frames.live import LiveDirectory
from relay.frames.sign_in import SignIns
from relay.net.ambient import SystemClock, SystemEntropy
from relay.net.passwords import Argon2Hasher
from relay.resources.users.commands import link_url
from relay.store import Store
from tests.cli.conftest import Cli

PASSWORD = "correct horse battery"


def token_in(url: str) -> str:
    found = re.fullmatch(r"http://127\.0\.0\.1:\d+/sign-in/link/([A-Za-z0-9_-]{43})\n?", url)
    assert found, url
    return found[1]


async def sign_ins(store: Store) -> SignIns:
    clock = SystemClock()
    directory = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
    return SignIns(store.users, Argon2Hasher(1, 8), clock, SystemEntropy(), directory)


def follow(cli: Cli, link: str) -> User:
    """Whom the link lets in."""

    async def work(store: Store) -> User:
        service = await sign_ins(store)
        found = await service.of(await service.follow_link(token_in(link), PASSWORD, "127.0.0.1", "test"))
        assert found is not None
        return found.user

    return cli.in_store(work)


def states(cli: Cli) -> dict[str, str]:
    return {user["name"]: user["state"] for user in cli.json("user", "list")}


def test_a_user_is_added_with_a_link_that_lets_them_in(lab: Cli) -> None:
    printed = lab("user", "add", "Jane@Acme.test", "--role", "admin", "--account", "1")
    assert printed.status == 0
    assert "By this link Jane@Acme.test sets a password: once, within 24 hours." in printed.err
    assert states(lab) == {"Jane@Acme.test": "invited"}
    user = follow(lab, printed.out)
    assert (user.name, user.role, user.account) == ("Jane@Acme.test", "admin", 1)
    assert states(lab) == {"Jane@Acme.test": "active"}


def test_an_operator_can_be_made_before_anything_else(cli: Cli) -> None:
    made = cli.json("user", "add", "root", "--role", "operator")
    assert (made["name"], made["role"], made["account"], made["state"]) == (
        "root",
        "operator",
        None,
        "invited",
    )
    assert follow(cli, made["link"]).name == "root"


def test_lists_are_tables_or_json_of_one_account_or_all(lab: Cli) -> None:
    assert lab.ok("user", "list") == "no users\n"
    lab.ok("user", "add", "zoe", "--role", "reader", "--account", "2")
    lab.ok("user", "add", "Anna", "--role", "operator")
    header, anna, zoe = lab.ok("user", "list").splitlines()
    assert header.split() == ["NAME", "ROLE", "ACCOUNT", "STATE", "CREATED"]
    assert anna.split()[:3] == ["Anna", "operator", "invited"]
    assert zoe.split()[:4] == ["zoe", "reader", "2", "invited"]
    assert [user["name"] for user in lab.json("user", "list", "--account", "2")] == ["zoe"]
    assert lab.json("user", "list", "--account", "1") == []


def test_a_user_is_disabled_enabled_and_removed(lab: Cli) -> None:
    lab.ok("user", "add", "jane", "--role", "admin", "--account", "1")
    assert lab.ok("user", "disable", "JANE") == "user jane disabled\n"
    assert states(lab) == {"jane": "disabled"}
    assert "user jane is disabled: enable them first" in lab.refused("user", "link", "jane")
    assert lab.ok("user", "enable", "jane") == "user jane enabled\n"
    assert states(lab) == {"jane": "invited"}
    assert lab.ok("user", "remove", "Jane") == "user jane removed\n"
    assert states(lab) == {}


def test_a_forgotten_password_is_helped_by_a_new_link(lab: Cli) -> None:
    first = lab.ok("user", "add", "jane", "--role", "operator")
    follow(lab, first)
    second = lab.ok("user", "link", "jane")
    third = lab.json("user", "link", "jane")
    assert third["state"] == "active"
    assert len({token_in(link) for link in (first, second, third["link"])}) == 3
    assert follow(lab, third["link"]).name == "jane"


def test_the_first_operator_comes_in_by_a_link_that_needs_no_running_relay(cli: Cli) -> None:
    printed = cli("user", "first-link")
    assert printed.status == 0
    assert "By this link admin sets a password: once, within 24 hours." in printed.err
    newer = cli.json("user", "first-link")
    assert (newer["name"], newer["role"], newer["state"]) == ("admin", "operator", "invited")
    with pytest.raises(BadLink):
        follow(cli, printed.out)
    held = b"".join(file.read_bytes() for file in cli.folder.glob("relay.db*") if file.is_file())
    assert token_in(newer["link"]).encode() not in held
    assert follow(cli, newer["link"]).name == "admin"
    assert "somebody has signed in" in cli.refused("user", "first-link")


def test_the_first_link_is_there_while_others_are_invited_but_no_other_operator(lab: Cli) -> None:
    lab.ok("user", "add", "bob", "--role", "reader", "--account", "1")
    assert lab.json("user", "first-link")["name"] == "admin"
    lab.ok("user", "add", "jane", "--role", "operator")
    assert "another operator is invited; `relay user link NAME`" in lab.refused("user", "first-link")


def test_a_store_that_takes_no_writes_gets_a_sentence_and_keeps_the_link_before(cli: Cli) -> None:
    first = cli.ok("user", "first-link")
    with closing(sqlite3.connect(cli.folder / "relay.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "the store is unavailable: try again" in cli.refused("user", "first-link")
    assert follow(cli, first).name == "admin"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("add", "JANE", "--role", "operator"), "a user jane already", id="taken"),
        pytest.param(("add", "bob", "--role", "admin"), "belongs to an account", id="no account"),
        pytest.param(
            ("add", "bob", "--role", "operator", "--account", "1"),
            "an operator has no account",
            id="an account",
        ),
        pytest.param(("add", "bob", "--role", "reader", "--account", "9"), "no account 9", id="not there"),
        pytest.param(("add", "b\nob", "--role", "operator"), "do not print", id="two lines"),
        pytest.param(("add", "\udcff", "--role", "operator"), "do not print", id="no UTF-8"),
        pytest.param(("add", "x" * 129, "--role", "operator"), "expected 1 to 128", id="long"),
        pytest.param(("remove", "bob"), "no user bob", id="remove nobody"),
        pytest.param(("remove", "\udcff"), "do not print", id="remove what is no name"),
        pytest.param(("disable", "bob"), "no user bob", id="disable nobody"),
        pytest.param(("enable", "bob"), "no user bob", id="enable nobody"),
        pytest.param(("link", "bob"), "no user bob", id="link nobody"),
        pytest.param(("remove", "jane"), "last operator and cannot be removed", id="remove the last"),
        pytest.param(("disable", "jane"), "last operator and cannot be disabled", id="disable the last"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(lab: Cli, arguments: tuple[str, ...], words: str) -> None:
    lab.ok("user", "add", "jane", "--role", "operator")
    assert words in lab.refused("user", *arguments)
    assert states(lab) == {"jane": "invited"}


def test_a_role_that_there_is_not_is_wrong_usage(lab: Cli) -> None:
    printed = lab("user", "add", "jane", "--role", "boss")
    assert printed.status == 2
    assert "operator" in printed.err


def test_the_audit_says_who_typed_it_and_tells_no_link(lab: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "joe")
    token = token_in(lab.ok("user", "add", "jane", "--role", "operator"))
    with closing(sqlite3.connect(lab.folder / "relay.db")) as connection:
        lines = connection.execute("SELECT actor, what, after FROM audit WHERE what LIKE '%user%'").fetchall()
    assert [line[:2] for line in lines] == [
        ("cli:joe", "put user jane"),
        ("cli:joe", "put link of user jane"),
    ]
    assert token not in str(lines)
    assert token.encode() not in b"".join(
        file.read_bytes() for file in lab.folder.glob("relay.db*") if file.is_file()
    )


@pytest.mark.parametrize(
    ("http", "start"),
    [
        pytest.param(HttpSettings(), "http://127.0.0.1:8025", id="the usual"),
        pytest.param(
            HttpSettings.model_validate({"listen": "[::1]:443", "certificate": "c.pem", "key": "k.pem"}),
            "https://[::1]:443",
            id="TLS",
        ),
        pytest.param(
            HttpSettings.model_validate({"listen": "0.0.0.0:80"}),
            "http://mail.acme.test:80",
            id="all of IPv4",
        ),
        pytest.param(
            HttpSettings.model_validate({"listen": "[::]:80"}), "http://mail.acme.test:80", id="all of IPv6"
        ),
        pytest.param(
            HttpSettings.model_validate({"public_url": "https://console.acme.test/"}),
            "https://console.acme.test",
            id="public",
        ),
    ],
)
def test_a_link_begins_where_the_console_is(http: HttpSettings, start: str) -> None:
    config = Config(hostname="mail.acme.test").model_copy(update={"http": http})
    assert link_url(config, "token") == f"{start}/sign-in/link/token"
