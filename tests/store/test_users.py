"""Users, links and sessions in the store: what one transaction changes, and the audit lines it leaves."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from relay.domain.changes import Put, Remove
from relay.domain.directory import Account, Plan
from relay.domain.errors import Conflict, UnknownObject
from relay.domain.ids import AccountId
from relay.domain.users import IDLE, LIFE, Link, Role, Session, SessionId, User
from relay.ports.directory import AuditLine
from relay.ports.users import Verified
from relay.store import Store
from tests.store.conftest import HOUR, MINUTE, OpenStore
from tests.support.mail import ACCOUNT, NOW

DAY = timedelta(days=1)


def link(token: str = "link", expires_in: timedelta = DAY) -> Link:
    return Link(token, NOW + expires_in)


def build_session(user: User, token: str = "token", id_: str = "") -> Session:
    return Session(SessionId(id_ or f"id of {token}"), user.id, token, NOW, NOW, "Firefox", "127.0.0.1")


async def add(store: Store, name: str = "jane", account: int | None = None) -> User:
    role = Role.OPERATOR if account is None else Role.ADMIN
    number = None if account is None else AccountId(account)
    return await store.users.add(name, role, number, link(f"link of {name}"), "cli:joe", NOW)


async def with_password(store: Store, name: str = "jane", account: int | None = None) -> User:
    """With the hash `hash` and the session `token of NAME`."""
    user = await add(store, name, account)
    assert await store.users.use_link(f"link of {name}", "hash", build_session(user, f"token of {name}"))
    found = await store.users.user(name)
    assert found is not None
    return found


async def lines(store: Store) -> list[AuditLine]:
    """Of users, oldest first."""
    return [line for line in reversed(await store.directory.audit(100)) if " user " in line.what]


# ── users ────────────────────────────────────────────────────────────────────────────────


async def test_a_user_is_found_by_name_in_any_case_and_survives(
    store: Store, open_another: OpenStore
) -> None:
    added = await store.users.add("Jane@Acme.test", Role.READER, ACCOUNT, link(), "cli:joe", NOW)
    assert (added.name, added.role, added.account, added.password_hash, added.is_disabled, added.created) == (
        *("Jane@Acme.test", Role.READER, ACCOUNT, "", False, NOW),
    )
    other = await open_another("w2")
    assert await other.users.user("JANE@acme.TEST") == added
    assert await other.users.user("jane") is None
    with pytest.raises(Conflict, match="a user Jane@Acme\\.test already"):
        await other.users.add("jane@acme.test", Role.OPERATOR, None, link("x"), "cli:joe", NOW)


async def test_users_are_listed_by_name_for_one_account_or_all(store: Store) -> None:
    for name, account in (("zoe", 1), ("Anna", None), ("bob", 1)):
        await add(store, name, account)
    assert [user.name for user in await store.users.users()] == ["Anna", "bob", "zoe"]
    assert [user.name for user in await store.users.users(ACCOUNT)] == ["bob", "zoe"]
    assert await store.users.users(AccountId(2)) == []


async def test_there_is_no_user_of_an_account_that_there_is_not(store: Store) -> None:
    with pytest.raises(UnknownObject) as caught:
        await add(store, account=9)
    assert (caught.value.kind, caught.value.name) == ("account", "9")
    assert await store.users.users() == []


async def test_what_names_nobody_is_unknown(store: Store) -> None:
    users = store.users
    for change in (
        users.remove("nobody", "cli:joe", NOW),
        users.set_disabled("nobody", True, "cli:joe", NOW),
        users.put_link("nobody", link(), "cli:joe", NOW),
    ):
        with pytest.raises(UnknownObject, match="nobody"):
            await change


async def test_a_removed_user_is_gone_with_sessions_and_link_and_the_number_is_not_used_again(
    store: Store,
) -> None:
    await add(store, "other")
    user = await with_password(store)
    await store.users.put_link("jane", link("again"), "cli:joe", NOW)
    assert await store.users.remove("JANE", "cli:joe", NOW) == user
    assert await store.users.session("token of jane") is None
    assert await store.users.linked("again", NOW) is None
    assert (await add(store)).id > user.id


@pytest.mark.parametrize("is_other_disabled", [True, False])
async def test_the_last_operator_is_neither_removed_nor_disabled(
    store: Store, is_other_disabled: bool
) -> None:
    await add(store, "jane")
    await add(store, "admin", 1)
    if is_other_disabled:
        await add(store, "other")
        await store.users.set_disabled("other", True, "cli:joe", NOW)
    with pytest.raises(Conflict, match="jane is the last operator and cannot be removed: add another"):
        await store.users.remove("jane", "cli:joe", NOW)
    with pytest.raises(Conflict, match="jane is the last operator and cannot be disabled"):
        await store.users.set_disabled("jane", True, "cli:joe", NOW)
    await store.users.remove("admin", "cli:joe", NOW)
    await add(store, "third")
    await store.users.remove("jane", "cli:joe", NOW)
    assert await store.users.user("jane") is None


async def test_of_two_operators_who_remove_each_other_one_stays(
    store: Store, open_another: OpenStore
) -> None:
    await add(store, "jane")
    await add(store, "joe")
    other = await open_another("w2")
    refused = []

    async def remove(where: Store, name: str) -> None:
        try:
            await where.users.remove(name, "test", NOW)
        except Conflict as error:
            refused.append(error)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(remove(store, "jane"))
        tasks.create_task(remove(other, "joe"))
    assert len(refused) == 1
    assert len(await store.users.users()) == 1


async def test_a_disabled_user_has_no_session_and_no_link_and_gets_none(store: Store) -> None:
    await add(store, "other")
    user = await with_password(store)
    await store.users.put_link("jane", link("again"), "cli:joe", NOW)
    disabled = await store.users.set_disabled("jane", True, "cli:joe", NOW)
    assert disabled.is_disabled
    assert await store.users.session("token of jane") is None
    assert await store.users.linked("again", NOW) is None
    assert not await store.users.begin_session(build_session(user), Verified("hash"), None)
    with pytest.raises(Conflict, match="jane is disabled"):
        await store.users.put_link("jane", link("again"), "cli:joe", NOW)
    assert await store.users.set_disabled("jane", False, "cli:joe", NOW) == user
    assert await store.users.begin_session(build_session(user), Verified("hash"), None)


async def test_with_an_account_its_users_go_and_its_next_holder_does_not_meet_them(store: Store) -> None:
    await with_password(store, "jane", 1)
    operator = await with_password(store, "op")
    await store.users.act_for("token of op", ACCOUNT)
    acme = Account(ACCOUNT, "Acme", Plan.SELF_SERVE)
    revision = await store.directory.apply([Remove(acme)], await store.directory.revision(), "cli:joe", NOW)
    assert [user.name for user in await store.users.users()] == ["op"]
    assert await store.users.session("token of jane") is None
    (line,) = [line for line in await lines(store) if line.what == "remove user jane"]
    assert (line.actor, line.revision, line.after) == ("cli:joe", revision, None)
    await store.directory.apply([Put(acme)], revision, "cli:joe", NOW)
    found = await store.users.session("token of op")
    assert found is not None
    assert (found[0], found[1].acting_for) == (operator, None)


# ── the first operator ───────────────────────────────────────────────────────────────────


async def test_the_first_operator_is_made_once_and_their_link_renewed_until_it_is_followed(
    store: Store,
) -> None:
    users = store.users
    made = await users.add_first("admin", link("one"), "start", NOW)
    assert made is not None
    assert (made.name, made.role) == ("admin", Role.OPERATOR)
    assert await users.add_first("admin", link("two"), "start", NOW) == made
    assert await users.linked("one", NOW) is None
    assert await users.use_link("two", "hash", build_session(made))
    assert await users.add_first("admin", link("three"), "start", NOW) is None
    assert await users.linked("three", NOW) is None


async def test_there_is_no_first_operator_once_somebody_signed_in_or_is_another_one(store: Store) -> None:
    users = store.users
    assert await users.lacks_first("admin")
    await add(store, "jane")
    assert not await users.lacks_first("admin"), "jane is an operator, and invited"
    assert await users.add_first("admin", link("one"), "start", NOW) is None
    await add(store, "admin")
    await users.remove("jane", "test", NOW)
    bob = await add(store, "bob", 1)
    assert await users.lacks_first("admin"), "bob has not signed in"
    assert await users.add_first("admin", link("one"), "start", NOW) is not None
    assert await users.use_link("link of bob", "hash", build_session(bob))
    assert not await users.lacks_first("admin")
    assert await users.add_first("admin", link("two"), "start", NOW) is None


async def test_a_reader_of_the_first_operators_name_stays_a_reader(store: Store) -> None:
    await add(store, "admin", 1)
    assert not await store.users.lacks_first("admin")
    assert await store.users.add_first("admin", link("one"), "start", NOW) is None


# ── links ────────────────────────────────────────────────────────────────────────────────


async def test_a_link_is_good_once_and_for_its_time(store: Store) -> None:
    user = await add(store)
    users, token = store.users, "link of jane"
    assert await users.linked(token, NOW + DAY) is None
    assert await users.linked(token, NOW + DAY - MINUTE) == user
    assert await users.use_link(token, "hash", build_session(user, "first"))
    assert not await users.use_link(token, "other hash", build_session(user, "second"))
    found = await users.user("jane")
    assert found is not None
    assert found.password_hash == "hash"
    assert await users.session("second") is None


async def test_one_link_followed_twice_at_once_serves_once(store: Store, open_another: OpenStore) -> None:
    user = await add(store)
    other = await open_another("w2")
    async with asyncio.TaskGroup() as tasks:
        tries = [
            tasks.create_task(
                where.users.use_link("link of jane", f"hash {at}", build_session(user, f"t{at}"))
            )
            for at, where in enumerate((store, other, store, other))
        ]
    assert sorted(task.result() for task in tries) == [False, False, False, True]
    assert len(await store.users.sessions(user.id)) == 1


async def test_a_newer_link_replaces_the_older_and_a_followed_one_ends_all_other_sessions(
    store: Store,
) -> None:
    user = await with_password(store)
    await store.users.put_link("jane", link("older"), "cli:joe", NOW)
    await store.users.put_link("jane", link("newer"), "cli:joe", NOW)
    assert await store.users.linked("older", NOW) is None
    assert await store.users.session("token of jane") is not None
    assert await store.users.use_link("newer", "new hash", build_session(user, "fresh"))
    assert await store.users.session("token of jane") is None
    assert [session.token_sha256 for session in await store.users.sessions(user.id)] == ["fresh"]


# ── sessions ─────────────────────────────────────────────────────────────────────────────


async def test_a_session_comes_back_as_it_was_with_its_user(store: Store) -> None:
    user = await with_password(store)
    session = build_session(user)
    assert await store.users.begin_session(session, Verified("hash"), None)
    assert await store.users.session("token") == (user, session)
    await store.users.act_for("token", ACCOUNT)
    await store.users.touch("token", NOW + MINUTE)
    await store.users.touch("token", NOW)
    found = await store.users.session("token")
    assert found is not None
    assert (found[1].acting_for, found[1].last_seen) == (ACCOUNT, NOW + MINUTE)
    assert [one.token_sha256 for one in await store.users.sessions(user.id)] == ["token", "token of jane"]
    await store.users.end_session("token")
    assert await store.users.session("token") is None


async def test_a_session_begins_in_place_of_the_old_one_with_the_upgraded_hash(store: Store) -> None:
    user = await with_password(store)
    begun = await store.users.begin_session(
        build_session(user), Verified("hash", "better hash"), "token of jane"
    )
    assert begun
    assert await store.users.session("token of jane") is None
    found = await store.users.user("jane")
    assert found is not None
    assert found.password_hash == "better hash"


async def test_no_session_begins_by_a_password_that_was_changed_meanwhile(store: Store) -> None:
    user = await with_password(store)
    assert await store.users.set_password(user, "new hash", "token of jane", NOW)
    assert not await store.users.begin_session(build_session(user), Verified("hash"), "token of jane")
    assert await store.users.session("token of jane") is not None, "nothing was done"
    assert not await store.users.set_password(user, "newer hash", "", NOW)


async def test_a_changed_password_ends_the_link_and_all_sessions_but_the_one_that_is_kept(
    store: Store,
) -> None:
    user = await with_password(store)
    assert await store.users.begin_session(build_session(user), Verified("hash"), None)
    await store.users.put_link("jane", link("open"), "cli:joe", NOW)
    assert await store.users.set_password(user, "new hash", "token", NOW)
    assert [session.token_sha256 for session in await store.users.sessions(user.id)] == ["token"]
    assert await store.users.linked("open", NOW) is None


async def test_a_user_revokes_their_own_sessions_alone(store: Store) -> None:
    jane, bob = await with_password(store), await with_password(store, "bob", 1)
    theirs = SessionId("id of token of jane")
    assert not await store.users.revoke(bob, theirs, "user:bob", NOW)
    assert await store.users.revoke(jane, theirs, "user:jane", NOW)
    assert not await store.users.revoke(jane, theirs, "user:jane", NOW)
    assert await store.users.session("token of jane") is None


async def test_a_user_has_a_hundred_sessions_at_most(store: Store) -> None:
    user = await with_password(store)
    for number in range(101):
        await store.users.begin_session(build_session(user, f"t{number}"), Verified("hash"), None)
        await store.users.touch(f"t{number}", NOW + (number + 1) * MINUTE)
    found = [session.token_sha256 for session in await store.users.sessions(user.id)]
    assert found == [f"t{number}" for number in range(100, 0, -1)]


async def test_what_has_ended_is_forgotten(store: Store) -> None:
    user = await with_password(store)
    await add(store, "bob", 1)
    assert await store.users.begin_try("t1", {"k": 1}, NOW - HOUR, NOW) is None
    assert await store.users.forget(NOW + IDLE - MINUTE, NOW - MINUTE) == 0
    assert await store.users.begin_try("t2", {"k": 1}, NOW - HOUR, NOW) == NOW
    await store.users.touch("token of jane", NOW + LIFE - MINUTE)
    assert await store.users.forget(NOW + LIFE - MINUTE, NOW) == 1, "the link"
    assert await store.users.forget(NOW + LIFE, NOW) == 1
    assert await store.users.sessions(user.id) == []
    assert await store.users.begin_try("t3", {"k": 1}, NOW - HOUR, NOW) is None


# ── tries ────────────────────────────────────────────────────────────────────────────────


async def test_tries_made_before_the_clock_was_set_back_keep_nobody_out(store: Store) -> None:
    day = 24 * HOUR
    assert await store.users.begin_try("t1", {"k": 1}, NOW + day - HOUR, NOW + day) is None
    assert await store.users.begin_try("t2", {"k": 1}, NOW - HOUR, NOW) is None
    assert await store.users.begin_try("t3", {"k": 1}, NOW - HOUR, NOW) == NOW


async def test_tries_count_under_each_key_until_one_has_its_limit(store: Store) -> None:
    since = NOW - HOUR
    for number in range(3):
        at = NOW + number * MINUTE
        assert await store.users.begin_try(f"a{number}", {"name a": 3, "client": 4}, since, at) is None
    blocked = await store.users.begin_try("a3", {"name a": 3, "client": 4}, since, NOW + 3 * MINUTE)
    assert blocked == NOW, "the first of three is to be older"
    later = NOW + 4 * MINUTE
    assert await store.users.begin_try("b0", {"name b": 3, "client": 4}, since, later) is None
    assert await store.users.begin_try("b1", {"name b": 3, "client": 4}, since, later) == NOW
    assert await store.users.begin_try("b1", {"name b": 3, "client": 4}, NOW, later) is None


async def test_a_try_that_did_not_fail_is_uncounted_with_all_of_its_name_but_not_of_its_client(
    store: Store,
) -> None:
    since, limits = NOW - HOUR, {"name": 2, "client": 2}
    assert await store.users.begin_try("one", limits, since, NOW) is None
    assert await store.users.begin_try("two", limits, since, NOW) is None
    await store.users.forgive("two", "name")
    assert await store.users.begin_try("three", {"name": 1}, since, NOW) is None
    assert await store.users.begin_try("four", {"client": 1}, since, NOW) == NOW
    assert await store.users.begin_try("four", {"client": 2}, since, NOW) is None


async def test_many_tries_at_once_are_no_more_than_the_limit(store: Store, open_another: OpenStore) -> None:
    other = await open_another("w2")
    async with asyncio.TaskGroup() as tasks:
        tries = [
            tasks.create_task((store, other)[at % 2].users.begin_try(f"t{at}", {"k": 5}, NOW - HOUR, NOW))
            for at in range(40)
        ]
    assert sum(task.result() is None for task in tries) == 5


# ── the audit ────────────────────────────────────────────────────────────────────────────


async def test_each_change_of_a_user_leaves_a_line_without_secrets_and_the_revision_stays(
    store: Store, store_url: str
) -> None:
    revision = await store.directory.revision()
    await add(store, "other")
    user = await with_password(store)
    await store.users.set_password(user, "new hash", "", NOW)
    await store.users.put_link("jane", link("secret link"), "user:other", NOW)
    await store.users.set_disabled("jane", True, "user:other", NOW)
    await store.users.set_disabled("jane", True, "user:other", NOW)
    await store.users.remove("jane", "user:other", NOW)
    told = [line for line in await lines(store) if "jane" in line.what]
    assert [(line.actor, line.what) for line in told] == [
        ("cli:joe", "put user jane"),
        ("cli:joe", "put link of user jane"),
        ("user:jane", "put password of user jane"),
        ("user:jane", "put password of user jane"),
        ("user:other", "put link of user jane"),
        ("user:other", "put user jane"),
        ("user:other", "remove user jane"),
    ]
    assert {line.revision for line in told} == {revision} == {await store.directory.revision()}
    before, after = json.loads(told[5].before or ""), json.loads(told[5].after or "")
    assert before == {"name": "jane", "role": "operator", "account": None, "is_disabled": False}
    assert after == {**before, "is_disabled": True}
    assert json.loads(told[-1].before or "") == after
    text = "".join(f"{line.before}{line.after}{line.what}" for line in told)
    assert "hash" not in text
    assert "secret" not in text
    assert "token" not in text


async def test_a_user_without_account_who_is_no_operator_cannot_be_stored(
    store: Store, store_url: str
) -> None:
    path = Path(store_url.removeprefix("sqlite:///"))
    row = "INSERT INTO user VALUES (1, 'x', 'x', ?, ?, '', 0, 0)"
    with closing(sqlite3.connect(path)) as connection:
        for values in (("admin", None), ("operator", 1)):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(row, values)
