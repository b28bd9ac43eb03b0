"""Signing in to the console: who gets in, for how long, and what an attacker does not learn."""

import asyncio
import logging
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from relay.domain.changes import Put, Remove
from relay.domain.directory import Account, Plan
from relay.domain.errors import Conflict, NotAuthenticated, NotGranted, OverCapacity, UnknownObject
from relay.domain.ids import AccountId
from relay.domain.users import (
    BadCredentials,
    BadLink,
    Role,
    SessionId,
    TooManyTries,
    UnfitName,
    UnfitPassword,
    UnfitRole,
    User,
)
from relay.frames.live import LiveDirectory
from relay.frames.sign_in import SignIns, actor_of, csrf_of, is_csrf
from relay.net.ambient import SystemEntropy
from relay.net.passwords import Argon2Hasher
from relay.store import Store, open_store
from relay.testing.clock import HandMovedClock
from relay.testing.waiting import eventually

ACME, BIRCH = (
    Account(AccountId(number), name, Plan.SELF_SERVE) for number, name in ((1, "Acme"), (2, "Birch"))
)
PASSWORD, NEW_PASSWORD = "correct horse battery", "another horse battery"
CLIENT, AGENT = "192.0.2.1", "Firefox"


class Watched(Argon2Hasher):
    """Cheap, and remembers against what it checked; `gate` is closed to keep it at work."""

    def __init__(self, passes: int = 1) -> None:
        super().__init__(passes=passes, memory_kib=8, lanes=1)
        self.checked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.has_memory = True
        self.at_work = self.most_at_work = 0
        self._lock = threading.Lock()

    def is_correct(self, stored: str, password: str) -> bool:
        with self._lock:
            self.checked.append(stored)
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        assert self.gate.wait(20)
        with self._lock:
            self.at_work -= 1
        if not self.has_memory:
            raise OverCapacity
        return super().is_correct(stored, password)


@dataclass(frozen=True)
class Console:
    """What one process has of the console."""

    sign_ins: SignIns
    store: Store
    directory: LiveDirectory
    passwords: Watched
    clock: HandMovedClock

    async def add(self, name: str = "jane", role: Role = Role.ADMIN, account: int | None = 1) -> User:
        """With PASSWORD."""
        number = None if role is Role.OPERATOR or account is None else AccountId(account)
        _, link = await self.sign_ins.add_user(name, role, number, "test")
        await self.sign_ins.sign_out(await self.sign_ins.follow_link(link, PASSWORD, CLIENT, AGENT))
        return await self.sign_ins.user(name)

    async def first_link(self) -> str:
        made = await self.sign_ins.first_link("start")
        assert made is not None
        user, token = made
        assert user.name == "admin"
        return token

    async def sign_in(
        self, name: str = "jane", password: str = PASSWORD, client: str = CLIENT, old: str | None = None
    ) -> str:
        return await self.sign_ins.sign_in(name, password, client, AGENT, old)

    async def fail(self, name: str = "jane", client: str = CLIENT) -> None:
        with pytest.raises(BadCredentials):
            await self.sign_in(name, "wrong password", client)


@pytest.fixture
def clock() -> HandMovedClock:
    return HandMovedClock()


@pytest.fixture
async def consoles(tmp_path: Path, clock: HandMovedClock) -> AsyncIterator[tuple[Console, Console]]:
    """Two processes over one store, which has two accounts."""
    async with AsyncExitStack() as stack:
        found: list[Console] = []
        for _ in range(2):
            store = await stack.enter_async_context(await open_store(f"sqlite:///{tmp_path}/relay.db"))
            directory = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
            if not found:
                await directory.apply([Put(ACME), Put(BIRCH)], "test")
            passwords = Watched()
            sign_ins = SignIns(store.users, passwords, clock, SystemEntropy(), directory)
            found.append(Console(sign_ins, store, directory, passwords, clock))
        yield found[0], found[1]


@pytest.fixture
def console(consoles: tuple[Console, Console]) -> Console:
    return consoles[0]


@pytest.fixture
def other(consoles: tuple[Console, Console]) -> Console:
    """Another process over the same store."""
    return consoles[1]


# ── name and password ────────────────────────────────────────────────────────────────────


async def test_whoever_has_name_and_password_gets_a_session_of_their_own(
    console: Console, other: Console
) -> None:
    user = await console.add()
    tokens = [await console.sign_in("JANE"), await other.sign_in(" jane ")]
    assert len(set(tokens)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
    for where in (console, other):
        found = await where.sign_ins.of(tokens[0])
        assert found is not None
        assert (found.user, found.account) == (user, ACME.id)
        assert (found.session.client, found.session.user_agent) == (CLIENT, AGENT)
        assert found.session.created == console.clock.now()


async def test_a_password_is_the_same_however_it_is_composed(console: Console) -> None:
    _, link = await console.sign_ins.add_user("rene", Role.OPERATOR, None, "test")
    await console.sign_ins.follow_link(link, "e\u0301" * 12, CLIENT, AGENT)
    assert await console.sign_in("rene", "\u00e9" * 12)


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        pytest.param("jane", "wrong password", "password user=1", id="wrong"),
        pytest.param("jane", "", "password user=1", id="empty"),
        pytest.param("jane", "x" * 100_000, "password user=1", id="too long"),
        pytest.param("jane", "\udcff" * 12, "password user=1", id="no UTF-8"),
        pytest.param("nobody", PASSWORD, "user_name", id="nobody"),
        pytest.param("", PASSWORD, "user_name", id="no name"),
        pytest.param("\udcff", PASSWORD, "user_name", id="a name that is no UTF-8"),
        pytest.param("x" * 1000, PASSWORD, "user_name", id="a long name"),
        pytest.param("invited", "", "no_password user=3", id="no password yet"),
        pytest.param("disabled", PASSWORD, "user_disabled user=2", id="disabled"),
    ],
)
async def test_whatever_is_wrong_the_answer_and_the_work_are_the_same(
    console: Console, name: str, password: str, reason: str
) -> None:
    await console.add()
    await console.add("disabled")
    await console.sign_ins.set_disabled("disabled", True, "test")
    await console.sign_ins.add_user("invited", Role.OPERATOR, None, "test")
    with pytest.raises(BadCredentials) as caught:
        await console.sign_in(name, password)
    assert caught.value.reason == reason
    (stored,) = console.passwords.checked
    known = {user.name: user.password_hash for user in await console.sign_ins.users()}
    assert stored == (known.get(name) or console.passwords.decoy)
    parameters = {text.rsplit("$", 2)[0] for text in (stored, known["jane"], console.passwords.decoy)}
    assert len(parameters) == 1, "the same work, whatever was checked"


def test_no_password_fits_the_decoy_and_it_is_made_like_every_hash() -> None:
    passwords = Argon2Hasher(1, 8)
    hashed = passwords.hash(PASSWORD)
    assert [len(part) for part in passwords.decoy.split("$")] == [len(part) for part in hashed.split("$")]
    assert not passwords.is_correct(passwords.decoy, "")
    assert not passwords.is_outdated(passwords.decoy)
    assert passwords.is_correct(hashed, PASSWORD)
    assert not passwords.is_correct("", PASSWORD)


def test_what_is_kept_of_a_password_is_argon2id_with_three_passes_over_64_mebibytes() -> None:
    assert Argon2Hasher().hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=1$")


async def test_a_hash_is_upgraded_when_the_parameters_have_changed(console: Console) -> None:
    before = await console.add()
    newer = Watched(passes=2)
    sign_ins = SignIns(console.store.users, newer, console.clock, SystemEntropy(), console.directory)
    await sign_ins.sign_in("jane", PASSWORD, CLIENT, AGENT)
    after = await sign_ins.user("jane")
    assert ",t=1," in before.password_hash
    assert ",t=2," in after.password_hash
    await sign_ins.sign_in("jane", PASSWORD, CLIENT, AGENT)
    assert (await sign_ins.user("jane")).password_hash == after.password_hash, "once is enough"


async def test_the_session_that_a_browser_had_before_ends_when_it_signs_in(console: Console) -> None:
    await console.add()
    old = await console.sign_in()
    new = await console.sign_in(old=old)
    assert new != old
    assert await console.sign_ins.of(old) is None
    assert await console.sign_ins.of(new) is not None
    await console.fail()
    assert await console.sign_ins.of(new) is not None


async def test_a_token_that_a_stranger_has_planted_never_becomes_a_session(console: Console) -> None:
    await console.add()
    token = await console.sign_in(old="planted")
    assert token != "planted"
    assert await console.sign_ins.of("planted") is None


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "\udcff", "ä"])
async def test_a_token_of_nobody_is_nobody(console: Console, token: str) -> None:
    await console.add()
    assert await console.sign_ins.of(token) is None
    await console.sign_ins.sign_out(token)
    with pytest.raises(BadLink):
        await console.sign_ins.link(token)
    with pytest.raises(NotAuthenticated):
        await console.sign_ins.act_for(token, None)


# ── guessing ─────────────────────────────────────────────────────────────────────────────


async def test_after_five_failures_from_a_client_a_name_has_to_wait_there_and_nowhere_else(
    console: Console, other: Console
) -> None:
    await console.add()
    for number in range(5):
        await (console, other)[number % 2].fail(client="198.51.100.7")
        console.clock.advance(minutes=1)
    for where in (console, other):
        with pytest.raises(TooManyTries) as caught:
            await where.sign_in("JANE", client="198.51.100.7")
        assert caught.value.wait_s == 10 * 60
        assert await where.sign_in(client="203.0.113.9")
    console.clock.advance(minutes=10)
    assert await console.sign_in(client="198.51.100.7")


async def test_after_fifty_failures_a_name_has_to_wait_wherever_they_came_from(
    console: Console, other: Console
) -> None:
    await console.add()
    for number in range(50):
        await (console, other)[number % 2].fail(client=f"198.51.100.{number}")
    for where in (console, other):
        with pytest.raises(TooManyTries):
            await where.sign_in("JANE", client="203.0.113.9")
    console.clock.advance(minutes=15)
    assert await console.sign_in()


async def test_a_name_that_there_is_not_has_to_wait_as_well(console: Console) -> None:
    for _ in range(5):
        await console.fail("nobody")
    with pytest.raises(TooManyTries):
        await console.sign_in("nobody")


async def test_a_refused_try_does_not_prolong_the_wait(console: Console) -> None:
    await console.add()
    for _ in range(5):
        await console.fail()
    console.clock.advance(minutes=14)
    for _ in range(3):
        with pytest.raises(TooManyTries) as caught:
            await console.sign_in()
        assert caught.value.wait_s == 60
    console.clock.advance(minutes=1)
    assert await console.sign_in()


async def test_a_success_clears_the_failures_of_the_name(console: Console) -> None:
    await console.add()
    for _ in range(3):
        for _ in range(4):
            await console.fail()
        assert await console.sign_in()


@pytest.mark.parametrize(
    ("clients", "is_one"),
    [
        pytest.param(("192.0.2.7", "::ffff:192.0.2.7"), True, id="IPv4"),
        pytest.param(("2001:db8::1", "2001:db8::2"), True, id="of one /64"),
        pytest.param(("2001:db8::1", "2001:db8:0:1::1"), False, id="of two /64"),
        pytest.param(("192.0.2.7", "192.0.2.8"), False, id="two addresses"),
    ],
)
async def test_after_twenty_failures_a_client_has_to_wait_whatever_the_names(
    console: Console, clients: tuple[str, str], is_one: bool
) -> None:
    await console.add()
    for number in range(20):
        await console.fail(f"name {number}", clients[number % 2])
    if is_one:
        with pytest.raises(TooManyTries):
            await console.sign_in(client=clients[0])
    assert await console.sign_in(client="203.0.113.9")
    assert is_one or await console.sign_in(client=clients[0])


async def test_a_success_does_not_clear_the_failures_of_the_client_and_is_none_of_them(
    console: Console,
) -> None:
    await console.add()
    for number in range(19):
        await console.fail(f"name {number}")
        assert await console.sign_in()
    await console.fail("last")
    with pytest.raises(TooManyTries):
        await console.sign_in()


async def test_guesses_made_all_at_once_are_no_more_than_those_made_in_turn(
    console: Console, other: Console
) -> None:
    await console.add()
    outcomes: list[type[Exception]] = []

    async def guess(where: Console) -> None:
        try:
            await where.sign_in(password="wrong password")
        except (BadCredentials, TooManyTries) as error:
            outcomes.append(type(error))

    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(guess((console, other)[number % 2]))
    assert sorted(kind.__name__ for kind in outcomes) == ["BadCredentials"] * 5 + ["TooManyTries"] * 25
    assert len(console.passwords.checked) + len(other.passwords.checked) == 5


async def test_two_passwords_are_checked_at_a_time_and_a_crowd_is_turned_away(console: Console) -> None:
    await console.add()
    console.passwords.gate.clear()

    async def two_at_work() -> bool:
        return console.passwords.at_work == 2

    async with asyncio.TaskGroup() as tasks:
        for number in range(32):
            tasks.create_task(console.fail(f"name {number}", f"198.51.100.{number}"))
        await eventually(two_at_work)
        for _ in range(6):
            with pytest.raises(OverCapacity):
                await console.sign_in()
        console.passwords.gate.set()
    assert console.passwords.most_at_work == 2
    assert await console.sign_in(), "a try that nobody looked at is no failure"


async def test_a_hash_for_which_there_is_no_memory_is_no_failure(console: Console) -> None:
    await console.add()
    console.passwords.has_memory = False
    for _ in range(6):
        with pytest.raises(OverCapacity):
            await console.sign_in()
    console.passwords.has_memory = True
    assert await console.sign_in()


# ── links ────────────────────────────────────────────────────────────────────────────────


async def test_a_link_sets_the_password_once_and_signs_in(console: Console, other: Console) -> None:
    user, link = await console.sign_ins.add_user("jane", Role.READER, BIRCH.id, "cli:joe")
    assert await other.sign_ins.link(link) == user
    assert await other.sign_ins.link(link) == user, "to look is not to follow"
    token = await other.sign_ins.follow_link(link, PASSWORD, CLIENT, AGENT)
    found = await console.sign_ins.of(token)
    assert found is not None
    assert found.user.id == user.id
    assert await console.sign_in()
    for where in (console, other):
        with pytest.raises(BadLink):
            await where.sign_ins.link(link)
        with pytest.raises(BadLink):
            await where.sign_ins.follow_link(link, NEW_PASSWORD, CLIENT, AGENT)


async def test_a_link_is_good_for_a_day(console: Console) -> None:
    _, link = await console.sign_ins.add_user("jane", Role.OPERATOR, None, "cli:joe")
    console.clock.advance(hours=24, milliseconds=-1)
    assert (await console.sign_ins.link(link)).name == "jane"
    console.clock.advance(milliseconds=1)
    with pytest.raises(BadLink):
        await console.sign_ins.follow_link(link, PASSWORD, CLIENT, AGENT)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        pytest.param("short", "5 characters: expected 12 to 256", id="short"),
        pytest.param("x" * 257, "257 characters", id="long"),
        pytest.param("Jane@Example.COM", "is the user's name", id="name"),
    ],
)
async def test_a_password_that_will_not_do_leaves_the_link_good(
    console: Console, password: str, words: str
) -> None:
    _, link = await console.sign_ins.add_user("jane@example.com", Role.OPERATOR, None, "cli:joe")
    with pytest.raises(UnfitPassword, match=words):
        await console.sign_ins.follow_link(link, password, CLIENT, AGENT)
    assert await console.sign_ins.follow_link(link, PASSWORD, CLIENT, AGENT)


async def test_a_forgotten_password_is_set_anew_which_ends_all_other_sessions_and_the_wait(
    console: Console,
) -> None:
    await console.add()
    before = await console.sign_in()
    for _ in range(5):
        await console.fail()
    (_, older), (_, newer) = [await console.sign_ins.new_link("JANE", "cli:joe") for _ in range(2)]
    with pytest.raises(BadLink):
        await console.sign_ins.link(older)
    assert await console.sign_ins.of(before) is not None, "until the link is followed"
    after = await console.sign_ins.follow_link(newer, NEW_PASSWORD, CLIENT, AGENT)
    assert await console.sign_ins.of(before) is None
    assert await console.sign_ins.of(after) is not None
    await console.fail()
    assert await console.sign_in(password=NEW_PASSWORD)


async def test_the_first_operator_comes_in_by_the_newest_first_link(console: Console, other: Console) -> None:
    assert await console.sign_ins.lacks_first()
    one = await console.first_link()
    two = await other.first_link()
    with pytest.raises(BadLink):
        await console.sign_ins.link(one)
    assert (await console.sign_ins.link(two)).name == "admin"
    console.clock.advance(hours=25)
    three = await console.first_link()
    assert await console.sign_ins.lacks_first()
    token = await console.sign_ins.follow_link(three, PASSWORD, CLIENT, AGENT)
    found = await console.sign_ins.of(token)
    assert found is not None
    assert (found.user.name, found.user.role, found.account) == ("admin", Role.OPERATOR, None)
    assert await console.sign_ins.first_link("start") is None
    assert not await console.sign_ins.lacks_first()
    await console.sign_ins.new_link("admin", "cli:joe")
    assert await other.sign_ins.first_link("start") is None


# ── sessions ─────────────────────────────────────────────────────────────────────────────


async def test_a_session_ends_when_nothing_is_asked_for_twelve_hours(console: Console) -> None:
    await console.add()
    token = await console.sign_in()
    for _ in range(3):
        console.clock.advance(hours=11, minutes=59)
        assert await console.sign_ins.of(token) is not None
    console.clock.advance(hours=12)
    assert await console.sign_ins.of(token) is None


async def test_a_session_ends_after_seven_days_however_busy(console: Console) -> None:
    await console.add()
    token = await console.sign_in()
    for _ in range(7 * 24 // 8 - 1):
        console.clock.advance(hours=8)
        assert await console.sign_ins.of(token) is not None
    console.clock.advance(hours=8)
    assert await console.sign_ins.of(token) is None


async def test_the_last_use_is_noted_once_a_minute(console: Console) -> None:
    user = await console.add()
    token = await console.sign_in()
    began = console.clock.now()
    console.clock.advance(seconds=59)
    await console.sign_ins.of(token)
    (session,) = await console.sign_ins.sessions(user)
    assert session.last_seen == began
    console.clock.advance(seconds=1)
    console.clock.steady = False
    assert await console.sign_ins.of(token) is not None
    (session,) = await console.sign_ins.sessions(user)
    assert session.last_seen == began, "a time that may be wrong prolongs no session"
    console.clock.steady = True
    found = await console.sign_ins.of(token)
    assert found is not None
    (session,) = await console.sign_ins.sessions(user)
    assert session.last_seen == found.session.last_seen == began + timedelta(minutes=1)


async def test_what_is_revoked_in_one_process_is_gone_in_the_other_at_once(
    console: Console, other: Console
) -> None:
    user = await console.add()
    mine, lost = await console.sign_in(), await other.sign_in(client="203.0.113.9")
    console.clock.advance(minutes=2)
    assert await console.sign_ins.of(mine) is not None
    newest, oldest = await console.sign_ins.sessions(user)
    assert oldest.client == "203.0.113.9"
    await console.sign_ins.revoke(user, oldest.id)
    assert await other.sign_ins.of(lost) is None
    assert await other.sign_ins.of(mine) is not None
    assert await other.sign_ins.sessions(user) == [newest]
    with pytest.raises(UnknownObject):
        await console.sign_ins.revoke(user, oldest.id)
    await console.sign_ins.sign_out(mine)
    assert await other.sign_ins.of(mine) is None


async def test_nobody_revokes_the_session_of_another_user(console: Console) -> None:
    jane, bob = await console.add(), await console.add("bob")
    token = await console.sign_in()
    (session,) = await console.sign_ins.sessions(jane)
    with pytest.raises(UnknownObject):
        await console.sign_ins.revoke(bob, session.id)
    with pytest.raises(UnknownObject):
        await console.sign_ins.revoke(bob, SessionId("\udcff".encode("utf-8", "replace").decode()))
    assert await console.sign_ins.of(token) is not None


async def test_a_session_that_has_ended_is_not_listed(console: Console) -> None:
    user = await console.add()
    await console.sign_in()
    console.clock.advance(hours=12)
    assert await console.sign_ins.sessions(user) == []


@pytest.mark.parametrize("what", ["disabled", "removed", "its account removed"])
async def test_a_user_who_may_no_longer_is_signed_out_in_all_processes_at_once(
    console: Console, other: Console, what: str
) -> None:
    await console.add()
    token = await other.sign_in()
    if what == "disabled":
        await console.sign_ins.set_disabled("jane", True, "test")
    elif what == "removed":
        await console.sign_ins.remove_user("jane", "test")
    else:
        await console.directory.apply([Remove(ACME)], "test")
        assert ACME.id in other.directory.snapshot.accounts, "it does not know yet"
    assert await other.sign_ins.of(token) is None
    await other.fail()
    with pytest.raises(BadCredentials):
        await other.sign_in()


async def test_a_user_of_an_account_that_was_made_this_moment_may_come_in_by_any_process(
    console: Console, other: Console
) -> None:
    number = AccountId(7)
    await console.directory.apply([Put(Account(number, "New", Plan.FREE))], "test")
    assert number not in other.directory.snapshot.accounts
    _, link = await other.sign_ins.add_user("jane", Role.ADMIN, number, "test")
    assert await other.sign_ins.of(await other.sign_ins.follow_link(link, PASSWORD, CLIENT, AGENT))


async def test_an_operator_acts_for_any_account_and_nobody_else_does(
    console: Console, other: Console
) -> None:
    await console.add("op", Role.OPERATOR)
    await console.add()
    operator, admin = await console.sign_in("op"), await console.sign_in()
    for account in (BIRCH.id, ACME.id, None):
        await console.sign_ins.act_for(operator, account)
        found = await other.sign_ins.of(operator)
        assert found is not None
        assert found.account == account
    with pytest.raises(UnknownObject):
        await console.sign_ins.act_for(operator, AccountId(9))
    with pytest.raises(NotGranted):
        await console.sign_ins.act_for(admin, BIRCH.id)
    with pytest.raises(NotGranted):
        await console.sign_ins.act_for(admin, None)
    await console.sign_ins.act_for(operator, BIRCH.id)
    await console.directory.apply([Remove(BIRCH)], "test")
    found = await other.sign_ins.of(operator)
    assert found is not None
    assert found.account is None


async def test_a_changed_password_ends_all_sessions_but_the_one_it_was_changed_in(console: Console) -> None:
    user = await console.add()
    mine, lost = await console.sign_in(), await console.sign_in()
    await console.sign_ins.change_password(user, PASSWORD, NEW_PASSWORD, mine)
    assert await console.sign_ins.of(lost) is None
    assert await console.sign_ins.of(mine) is not None
    await console.fail()
    assert await console.sign_in(password=NEW_PASSWORD)


async def test_a_password_is_changed_by_whoever_knows_the_old_one_alone(console: Console) -> None:
    user = await console.add()
    mine = await console.sign_in()
    with pytest.raises(UnfitPassword, match="5 characters"):
        await console.sign_ins.change_password(user, PASSWORD, "short", mine)
    for _ in range(5):
        with pytest.raises(BadCredentials):
            await console.sign_ins.change_password(user, "wrong password", NEW_PASSWORD, mine)
    with pytest.raises(TooManyTries):
        await console.sign_ins.change_password(user, PASSWORD, NEW_PASSWORD, mine)
    console.clock.advance(minutes=15)
    assert await console.sign_in()


async def test_a_form_of_one_session_is_not_good_in_another(console: Console) -> None:
    one, two = csrf_of("one"), csrf_of("two")
    assert one != two
    assert re.fullmatch(r"[0-9a-f]{64}", one)
    assert is_csrf("one", one)
    assert not is_csrf("one", two)
    assert not any(is_csrf("one", given) for given in ("", "\udcff", "ä", one[:-1], one.upper()))


# ── users ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "role", "account", "error"),
    [
        pytest.param("", Role.OPERATOR, None, UnfitName, id="no name"),
        pytest.param("a\nb", Role.OPERATOR, None, UnfitName, id="two lines"),
        pytest.param("\udcff", Role.OPERATOR, None, UnfitName, id="no UTF-8"),
        pytest.param("new", Role.OPERATOR, 1, UnfitRole, id="an operator with an account"),
        pytest.param("new", Role.READER, None, UnfitRole, id="a reader without"),
        pytest.param("new", Role.ADMIN, 9, UnknownObject, id="no such account"),
        pytest.param("JANE", Role.ADMIN, 1, Conflict, id="taken"),
    ],
)
async def test_a_user_who_cannot_be_is_refused_by_what_is_wrong(
    console: Console, name: str, role: Role, account: int | None, error: type[Exception]
) -> None:
    await console.add()
    number = None if account is None else AccountId(account)
    with pytest.raises(error):
        await console.sign_ins.add_user(name, role, number, "test")
    assert [user.name for user in await console.sign_ins.users()] == ["jane"]


async def test_users_are_listed_removed_disabled_and_enabled(console: Console, other: Console) -> None:
    await console.add("op", Role.OPERATOR)
    jane = await console.add()
    await console.add("bob", account=2)
    assert [user.name for user in await other.sign_ins.users()] == ["bob", "jane", "op"]
    assert await other.sign_ins.users(ACME.id) == [jane]
    await console.sign_ins.set_disabled("Jane", True, actor_of(jane))
    await other.fail()
    assert (await console.sign_ins.set_disabled("jane", False, "test")) == jane
    assert await other.sign_in()
    assert await console.sign_ins.remove_user("JANE", "test") == jane
    with pytest.raises(UnknownObject):
        await other.sign_ins.user("jane")
    with pytest.raises(Conflict, match="last operator"):
        await other.sign_ins.remove_user("op", "test")


async def test_what_has_ended_is_forgotten(console: Console, tmp_path: Path) -> None:
    await console.add()
    await console.sign_in()
    await console.fail()
    await console.sign_ins.new_link("jane", "test")
    assert await console.sign_ins.forget_old() == 0
    console.clock.advance(hours=24)
    assert await console.sign_ins.forget_old() == 2
    with closing(sqlite3.connect(tmp_path / "relay.db")) as connection:
        for table in ("user_session", "user_link", "sign_in_try"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


async def test_no_password_token_or_link_is_stored_or_logged(
    console: Console, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, link = await console.sign_ins.add_user("jane", Role.ADMIN, ACME.id, "test")
    first = await console.sign_ins.follow_link(link, PASSWORD, CLIENT, AGENT)
    with pytest.raises(BadCredentials):
        await console.sign_in("a password where the name belongs", PASSWORD)
    token = await console.sign_in()
    user = await console.sign_ins.user("jane")
    await console.sign_ins.change_password(user, PASSWORD, NEW_PASSWORD, token)
    for _ in range(5):
        await console.fail()
    with pytest.raises(TooManyTries):
        await console.sign_in()
    files = await asyncio.to_thread(_octets_of_store, tmp_path)
    told = caplog.text + repr(await console.sign_ins.sessions(user))
    assert "signed in" in told
    for secret in (link, first, token, PASSWORD, NEW_PASSWORD, "a password where the name belongs"):
        assert secret.encode() not in files
        assert secret not in told
    assert user.password_hash not in told
    assert "jane" not in caplog.text


def _octets_of_store(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("relay.db*") if file.is_file())
