"""`UserStore` on SQLite: users, links, sessions and tries to sign in."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, from_us, to_us
from relay.domain.refusals import LastOperator, UserExists, UserIsDisabled
from relay.domain.users import IDLE, LIFE, Link, Role, Session, SessionId, User, UserId, name_key
from relay.ports.users import Verified
from relay.store.codec import Row
from relay.store.sql import load_queries
from relay.store.sqlite.audit import add_line
from relay.store.sqlite.executor import Connection, Executor

_USER = ("id", "name", "role", "account", "password_hash", "is_disabled", "created_us")
_SESSION = ("id", "user", "token_sha256", "created_us", "last_seen_us", "user_agent", "client", "acting_for")
_SQL: Mapping[str, str] = load_queries(
    "relay.store.sqlite",
    "users.sql",
    {"user": ", ".join(f"user.{name}" for name in _USER), "session": ", ".join(_SESSION)},
)
_MOST_SESSIONS = 100
"""Of a user at a time; the least recently used gives way."""


class SqliteUsers:
    """`UserStore`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    # ── users ────────────────────────────────────────────────────────────────────────────

    async def users(self, account: AccountId | None = None) -> list[User]:
        def query(connection: Connection) -> list[User]:
            if account is None:
                rows = connection.execute(_SQL["all"]).fetchall()
            else:
                rows = connection.execute(_SQL["of_account"], (account,)).fetchall()
            return [_user(row) for row in rows]

        return await self._executor.read(query)

    async def user(self, name: str) -> User | None:
        return await self._executor.read(lambda connection: _find(connection, name))

    async def add(
        self, name: str, role: Role, account: AccountId | None, link: Link, actor: str, now: datetime
    ) -> User:
        def unit(connection: Connection) -> User:
            if account is not None and not _holds(connection, "has_account", (str(account),)):
                raise UnknownObject("account", str(account))
            if (known := _find(connection, name)) is not None:
                raise UserExists(known.name)
            return _add(connection, name, role, account, link, actor, now)

        return await self._executor.write(unit)

    async def lacks_first(self, name: str) -> bool:
        return await self._executor.read(lambda connection: _lacks_first(connection, name))

    async def add_first(self, name: str, link: Link, actor: str, now: datetime) -> User | None:
        def unit(connection: Connection) -> User | None:
            if not _lacks_first(connection, name):
                return None
            user = _find(connection, name)
            if user is None:
                return _add(connection, name, Role.OPERATOR, None, link, actor, now)
            _put_link(connection, user, link, actor, now)
            return user

        return await self._executor.write(unit)

    async def remove(self, name: str, actor: str, now: datetime) -> User:
        def unit(connection: Connection) -> User:
            user = _existing(connection, name)
            _check_not_last(connection, user, "removed")
            _remove(connection, user, actor, now)
            return user

        return await self._executor.write(unit)

    async def set_disabled(self, name: str, is_disabled: bool, actor: str, now: datetime) -> User:
        def unit(connection: Connection) -> User:
            user = _existing(connection, name)
            if user.is_disabled is is_disabled:
                return user
            if is_disabled:
                _check_not_last(connection, user, "disabled")
                _shut_out(connection, user)
            connection.execute(_SQL["set_disabled"], (is_disabled, user.id)).fetchall()
            after = replace(user, is_disabled=is_disabled)
            add_line(connection, actor, now, f"put user {user.name}", _told(user), _told(after))
            return after

        return await self._executor.write(unit)

    # ── links and passwords ──────────────────────────────────────────────────────────────

    async def put_link(self, name: str, link: Link, actor: str, now: datetime) -> User:
        def unit(connection: Connection) -> User:
            user = _existing(connection, name)
            if user.is_disabled:
                raise UserIsDisabled(user.name)
            _put_link(connection, user, link, actor, now)
            return user

        return await self._executor.write(unit)

    async def linked(self, token_sha256: str, now: datetime) -> User | None:
        return await self._executor.read(lambda connection: _linked(connection, token_sha256, now))

    async def use_link(self, token_sha256: str, password_hash: str, session: Session) -> bool:
        def unit(connection: Connection) -> bool:
            user = _linked(connection, token_sha256, session.created)
            if user is None or user.id != session.user:
                return False
            _set_password(connection, user, password_hash, "by link", session.created)
            _begin(connection, session)
            return True

        return await self._executor.write(unit)

    async def set_password(self, user: User, password_hash: str, keep: str, now: datetime) -> bool:
        def unit(connection: Connection) -> bool:
            return _set_password(connection, user, password_hash, "by the old one", now, keep)

        return await self._executor.write(unit)

    # ── sessions ─────────────────────────────────────────────────────────────────────────

    async def begin_session(self, session: Session, verified: Verified, old_token_sha256: str | None) -> bool:
        def unit(connection: Connection) -> bool:
            if not _holds(connection, "is_as_verified", (session.user, verified.password_hash)):
                return False
            if verified.upgraded is not None:
                values = {"id": session.user, "old": verified.password_hash, "new": verified.upgraded}
                connection.execute(_SQL["set_password"], values).fetchall()
            if old_token_sha256 is not None:
                connection.execute(_SQL["end_session"], (old_token_sha256,))
            _begin(connection, session)
            return True

        return await self._executor.write(unit)

    async def session(self, token_sha256: str) -> tuple[User, Session] | None:
        def query(connection: Connection) -> tuple[User, Session] | None:
            row = connection.execute(_SQL["session"], (token_sha256,)).fetchone()
            if row is None:
                return None
            session = _session(row)
            user = connection.execute(_SQL["by_id"], (session.user,)).fetchone()
            return None if user is None else (_user(user), session)

        return await self._executor.read(query)

    async def sessions(self, user: UserId) -> list[Session]:
        def query(connection: Connection) -> list[Session]:
            return [_session(row) for row in connection.execute(_SQL["sessions"], (user,)).fetchall()]

        return await self._executor.read(query)

    async def touch(self, token_sha256: str, now: datetime) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["touch"], {"token_sha256": token_sha256, "now_us": to_us(now)})

        await self._executor.write(unit, is_durable=False)

    async def act_for(self, token_sha256: str, account: AccountId | None) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["act_for"], (account, token_sha256))

        await self._executor.write(unit)

    async def end_session(self, token_sha256: str) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["end_session"], (token_sha256,))

        await self._executor.write(unit)

    async def revoke(self, user: User, session: SessionId, actor: str, now: datetime) -> bool:
        def unit(connection: Connection) -> bool:
            if not connection.execute(_SQL["revoke"], (user.id, session)).fetchall():
                return False
            add_line(connection, actor, now, f"remove session {session} of user {user.name}", None, None)
            return True

        return await self._executor.write(unit)

    # ── tries ────────────────────────────────────────────────────────────────────────────

    async def begin_try(
        self, tried: str, limits: Mapping[str, int], since: datetime, now: datetime
    ) -> datetime | None:
        def unit(connection: Connection) -> datetime | None:
            oldest = [
                connection.execute(
                    _SQL["oldest_counted"], (key, to_us(since), to_us(now), limit - 1)
                ).fetchone()[0]
                for key, limit in limits.items()
            ]
            if blocking := [at_us for at_us in oldest if at_us is not None]:
                return from_us(max(blocking))
            for key in limits:
                connection.execute(_SQL["count_try"], (key, to_us(now), tried))
            return None

        return await self._executor.write(unit, is_durable=False)

    async def forgive(self, tried: str, key: str = "") -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["forgive"], (tried, key))

        await self._executor.write(unit, is_durable=False)

    async def forget(self, now: datetime, tries_before: datetime) -> int:
        def unit(connection: Connection) -> int:
            ended = {"idle_us": to_us(now - IDLE), "began_us": to_us(now - LIFE)}
            sessions = connection.execute(_SQL["forget_sessions"], ended).rowcount
            links = connection.execute(_SQL["forget_links"], (to_us(now),)).rowcount
            connection.execute(_SQL["forget_tries"], (to_us(tries_before),))
            return sessions + links

        return await self._executor.write(unit)


def forget_users_of(connection: Connection, account: AccountId, actor: str, now: datetime) -> None:
    """An account is removed: so are its users, and nobody acts for it. Its number may serve again."""
    for row in connection.execute(_SQL["of_account"], (account,)).fetchall():
        _remove(connection, _user(row), actor, now)
    connection.execute(_SQL["act_for_nobody"], (account,))


def _find(connection: Connection, name: str) -> User | None:
    row = connection.execute(_SQL["by_key"], (name_key(name),)).fetchone()
    return None if row is None else _user(row)


def _lacks_first(connection: Connection, name: str) -> bool:
    """Nobody has signed in, and whoever has that name, if anybody, is the one operator."""
    user = _find(connection, name)
    if user is not None and (user.role is not Role.OPERATOR or user.is_disabled):
        return False
    return not _holds(connection, "has_been_used", ()) and not _holds(
        connection, "has_other_operator", (-1 if user is None else user.id,)
    )


def _existing(connection: Connection, name: str) -> User:
    user = _find(connection, name)
    if user is None:
        raise UnknownObject("user", name)
    return user


def _linked(connection: Connection, token_sha256: str, now: datetime) -> User | None:
    row = connection.execute(_SQL["linked"], (token_sha256, to_us(now))).fetchone()
    return None if row is None else _user(row)


def _check_not_last(connection: Connection, user: User, what: str) -> None:
    """Raises Conflict when nobody else could make users any more."""
    is_operator = user.role is Role.OPERATOR and not user.is_disabled
    if is_operator and not _holds(connection, "has_other_operator", (user.id,)):
        raise LastOperator(user.name, what)


def _add(
    connection: Connection,
    name: str,
    role: Role,
    account: AccountId | None,
    link: Link,
    actor: str,
    now: datetime,
) -> User:
    values = (name, name_key(name), role, account, to_us(now))
    user = _user(connection.execute(_SQL["add"], values).fetchone())
    add_line(connection, actor, now, f"put user {name}", None, _told(user))
    _put_link(connection, user, link, actor, now)
    return user


def _remove(connection: Connection, user: User, actor: str, now: datetime) -> None:
    _shut_out(connection, user)
    connection.execute(_SQL["remove"], (user.id,))
    add_line(connection, actor, now, f"remove user {user.name}", _told(user), None)


def _shut_out(connection: Connection, user: User, but: str = "") -> None:
    """End the user's link, and sessions but the one whose token's hash is but."""
    connection.execute(_SQL["remove_link"], (user.id,))
    connection.execute(_SQL["end_sessions"], (user.id, but))


def _put_link(connection: Connection, user: User, link: Link, actor: str, now: datetime) -> None:
    connection.execute(_SQL["put_link"], (user.id, link.token_sha256, to_us(link.expires)))
    told = json.dumps({"expires": link.expires.isoformat()})
    add_line(connection, actor, now, f"put link of user {user.name}", None, told)


def _set_password(
    connection: Connection, user: User, password_hash: str, how: str, now: datetime, keep: str = ""
) -> bool:
    """Only over the password that user has; its link, and sessions but keep, end."""
    values = {"id": user.id, "old": user.password_hash, "new": password_hash}
    if not connection.execute(_SQL["set_password"], values).fetchall():
        return False
    _shut_out(connection, user, keep)
    told = json.dumps({"set": how})
    add_line(connection, f"user:{user.name}", now, f"put password of user {user.name}", None, told)
    return True


def _begin(connection: Connection, session: Session) -> None:
    row = (
        session.id,
        session.user,
        session.token_sha256,
        to_us(session.created),
        to_us(session.last_seen),
        session.user_agent,
        session.client,
        session.acting_for,
    )
    connection.execute(_SQL["add_session"], row)
    others = {"user": session.user, "new": session.token_sha256, "others": _MOST_SESSIONS - 1}
    connection.execute(_SQL["end_more_sessions"], others)


def _holds(connection: Connection, name: str, values: tuple[object, ...]) -> bool:
    return bool(connection.execute(_SQL[name], values).fetchone()[0])


def _user(row: Row) -> User:
    id_, name, role, account, password_hash, is_disabled, created_us = row
    return User(UserId(id_), name, Role(role), account, password_hash, bool(is_disabled), from_us(created_us))


def _session(row: Row) -> Session:
    id_, user, token_sha256, created_us, last_seen_us, user_agent, client, acting_for = row
    created, last_seen = from_us(created_us), from_us(last_seen_us)
    return Session(
        SessionId(id_), UserId(user), token_sha256, created, last_seen, user_agent, client, acting_for
    )


def _told(user: User) -> str:
    """For audit lines: no hash."""
    return json.dumps(
        {"name": user.name, "role": user.role, "account": user.account, "is_disabled": user.is_disabled}
    )
