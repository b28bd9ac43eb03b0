"""Signing in to the web console: passwords, one-time links, sessions, and the users themselves.

A token is 32 random octets, known to the browser alone: the store has its SHA-256. What may be asked
of whom is for the console to decide; here `actor` is who an audit line names.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil
from typing import TypeVar

from relay.domain.errors import NotAuthenticated, NotGranted, OverCapacity, StoreUnavailable, UnknownObject
from relay.domain.ids import AccountId
from relay.domain.users import (
    LINK_LIFE,
    MAX_NAME,
    MAX_PASSWORD,
    BadCredentials,
    BadLink,
    Link,
    Role,
    Session,
    SessionId,
    TooManyTries,
    UnfitName,
    User,
    address_of_client,
    check_role,
    client_network,
    is_live,
    name_key,
    normal_password,
    parse_password,
    parse_user_name,
    shorten,
)
from relay.ports.ambient import Clock, Entropy
from relay.ports.directory import Directory
from relay.ports.users import PasswordHasher, UserStore, Verified

LINK_PATH = "/sign-in/link/"
"""Where the console takes a sign-in link; the token follows."""
FIRST_NAME = "admin"
TRIES_COUNT_FOR = timedelta(minutes=15)
FAILURES_OF_NAME, FAILURES_OF_CLIENT, FAILURES_EVERYWHERE = 5, 20, 50
"""Within that time, for a name from one client, for a client, and for a name; then there is no further try.

The last is high, so that it takes some effort to shut somebody out.
"""
_HASHES_AT_ONCE = 2
_HASHES_WAITING = 32
"""More than that is an attack, or no use to whoever waits: they hear OverCapacity at once."""
_TOUCH_EVERY = timedelta(minutes=1)
_CSRF_LABEL = b"relay console form"

Result = TypeVar("Result")

log = logging.getLogger("relay.sign_in")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whoever sends a request of the console."""

    user: User
    session: Session

    @property
    def account(self) -> AccountId | None:
        """Whose things they see: their own account's, or those of the one an operator has chosen, if any."""
        return self.session.acting_for if self.user.account is None else self.user.account


def csrf_of(token: str) -> str:
    """What the forms of a session carry, so that no other site can send them."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), _CSRF_LABEL, hashlib.sha256).hexdigest()


def is_csrf(token: str, given: str) -> bool:
    """Whether given is that session's; compared in constant time."""
    return hmac.compare_digest(csrf_of(token).encode(), given.encode("utf-8", "surrogatepass"))


def actor_of(user: User) -> str:
    """How audit lines name a user."""
    return f"user:{user.name}"


class SignIns:
    """Who is signed in, and who may. All of it is in the store, so any process answers for any other."""

    def __init__(
        self,
        users: UserStore,
        passwords: PasswordHasher,
        clock: Clock,
        entropy: Entropy,
        directory: Directory,
    ) -> None:
        self._users, self._passwords, self._clock = users, passwords, clock
        self._entropy, self._directory = entropy, directory
        # A pool of its own: each hash takes much memory, and one that nobody waits for any more
        # still runs to its end.
        self._hashing = ThreadPoolExecutor(_HASHES_AT_ONCE, "passwords")
        self._waiting = 0

    # ── signing in ───────────────────────────────────────────────────────────────────────

    async def sign_in(
        self, name: str, password: str, client: str, user_agent: str, old_token: str | None = None
    ) -> str:
        """The token of a new session; that of old_token is ended.

        A name that there is not takes as long as a wrong password. Raises BadCredentials,
        TooManyTries, OverCapacity.
        """
        here = _name_tries(name, client)
        limits = {
            here: FAILURES_OF_NAME,
            _name_tries(name): FAILURES_EVERYWHERE,
            _client_tries(client): FAILURES_OF_CLIENT,
        }
        with self._room():
            tried = await self._begin_try(limits)
            user = await self._find(name)
            verified = await self._verify(tried, user, password)
        if user is None or verified is None:
            raise BadCredentials(await self._reason(user))
        token, session = self._new_session(user, client, user_agent)
        if not await self._users.begin_session(session, verified, _known(old_token)):
            raise BadCredentials
        await self._users.forgive(tried, here)
        log.info("signed in user=%d session=%s client=%s", user.id, session.id, session.client)
        return token

    async def link(self, token: str) -> User:
        """Whom the sign-in link is for; it stays good. Raises BadLink."""
        user = await self._users.linked(_sha256(token), self._clock.now())
        if user is None or not await self._has_account(user.account):
            raise BadLink
        return user

    async def follow_link(self, token: str, new_password: str, client: str, user_agent: str) -> str:
        """Set the password and begin a session, whose token comes back; other sessions of the user end.

        The link is used up. Raises BadLink, UnfitPassword (the link stays good), OverCapacity.
        """
        user = await self.link(token)
        password = parse_password(new_password, user.name)
        with self._room():
            hashed = await self._work(lambda: self._passwords.hash(password))
        own, session = self._new_session(user, client, user_agent)
        if not await self._users.use_link(_sha256(token), hashed, session):
            raise BadLink
        for key in (_name_tries(user.name), _name_tries(user.name, client)):
            await self._users.forgive("", key)
        log.info("signed in by link user=%d session=%s client=%s", user.id, session.id, session.client)
        return own

    async def change_password(self, user: User, old: str, new: str, keep_token: str) -> None:
        """Other sessions of the user than that of keep_token end.

        Raises BadCredentials when old is wrong, UnfitPassword, TooManyTries, OverCapacity.
        """
        password = parse_password(new, user.name)
        with self._room():
            own = f"password of {user.id}"
            tried = await self._begin_try({own: FAILURES_OF_NAME})
            found = await self._users.user(user.name)
            if found is None or found.id != user.id or await self._verify(tried, found, old) is None:
                raise BadCredentials
            await self._users.forgive(tried, own)
            hashed = await self._work(lambda: self._passwords.hash(password))
        if not await self._users.set_password(found, hashed, _sha256(keep_token), self._clock.now()):
            raise BadCredentials

    async def _begin_try(self, limits: Mapping[str, int]) -> str:
        now, tried = self._clock.now(), self._entropy.octets(8).hex()
        oldest = await self._users.begin_try(tried, limits, now - TRIES_COUNT_FOR, now)
        if oldest is not None:
            wait = oldest + TRIES_COUNT_FOR - now
            raise TooManyTries(max(1, ceil(wait.total_seconds())))
        return tried

    async def _find(self, name: str) -> User | None:
        try:
            return await self._users.user(parse_user_name(name))
        except UnfitName:
            return None

    async def _verify(self, tried: str, user: User | None, password: str) -> Verified | None:
        """None when it is not the user's password, or the user is nobody or disabled: after the same work."""
        passwords, text = self._passwords, normal_password(password)
        is_possible = len(text) <= MAX_PASSWORD
        stored = user.password_hash if user is not None and user.password_hash else passwords.decoy

        def work() -> Verified | None:
            is_correct = passwords.is_correct(stored, text if is_possible else "")
            if not is_correct or not is_possible or user is None or user.is_disabled:
                return None
            return Verified(stored, passwords.hash(text) if passwords.is_outdated(stored) else None)

        try:
            verified = await self._work(work)
        except OverCapacity:
            await self._users.forgive(tried)
            raise
        is_welcome = verified is not None and user is not None and await self._has_account(user.account)
        return verified if is_welcome else None

    async def _reason(self, user: User | None) -> str:
        """Why the credentials are refused."""
        if user is None:
            return "user_name"
        if user.is_disabled:
            reason = "user_disabled"
        elif not await self._has_account(user.account):
            reason = "account_unknown"
        else:
            reason = "password" if user.password_hash else "no_password"
        return f"{reason} user={user.id}"

    async def _work(self, work: Callable[[], Result]) -> Result:
        """In one of the few threads that hash."""
        return await asyncio.get_running_loop().run_in_executor(self._hashing, work)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Around what hashes. Raises OverCapacity when too many wait already."""
        if self._waiting >= _HASHES_WAITING:
            raise OverCapacity
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _new_session(self, user: User, client: str, user_agent: str) -> tuple[str, Session]:
        token, now = self._new_token(), self._clock.now()
        id_ = SessionId(self._entropy.octets(8).hex())
        return token, Session(
            id_, user.id, _sha256(token), now, now, shorten(user_agent), address_of_client(client)
        )

    def _new_token(self) -> str:
        return base64.urlsafe_b64encode(self._entropy.octets(32)).decode().rstrip("=")

    # ── sessions ─────────────────────────────────────────────────────────────────────────

    async def of(self, token: str) -> SignedIn | None:
        """Who sends a request with that token; None when they have to sign in."""
        found = await self._users.session(_sha256(token))
        now = self._clock.now()
        if found is None:
            return None
        user, session = found
        if user.is_disabled or not is_live(session, now) or not await self._has_account(user.account):
            return None
        # Noted at a time that is set back later, it would prolong the session by as much.
        if now - session.last_seen >= _TOUCH_EVERY and self._clock.is_steady():
            session = replace(session, last_seen=now)
            try:
                await self._users.touch(session.token_sha256, now)
            except StoreUnavailable:
                log.debug("a session's last use is not noted: the store is unavailable")
        if not await self._has_account(session.acting_for):
            session = replace(session, acting_for=None)
        return SignedIn(user, session)

    async def act_for(self, token: str, account: AccountId | None) -> None:
        """The operator of that session sees this account's things from now on; None: all.

        Raises NotAuthenticated, NotGranted for others than operators, UnknownObject.
        """
        found = await self.of(token)
        if found is None:
            raise NotAuthenticated
        if found.user.role is not Role.OPERATOR:
            raise NotGranted
        if not await self._has_account(account):
            raise UnknownObject("account", str(account))
        await self._users.act_for(found.session.token_sha256, account)

    async def sign_out(self, token: str) -> None:
        """Nothing happens when there is no such session."""
        await self._users.end_session(_sha256(token))

    async def sessions(self, user: User) -> list[Session]:
        """Those that are live, the most recently used first."""
        now = self._clock.now()
        return [session for session in await self._users.sessions(user.id) if is_live(session, now)]

    async def revoke(self, user: User, session_id: SessionId, actor: str | None = None) -> None:
        """End a session of the user, who is the actor when none is named. Raises UnknownObject."""
        if not await self._users.revoke(user, session_id, actor or actor_of(user), self._clock.now()):
            raise UnknownObject("session", session_id)

    async def _has_account(self, account: AccountId | None) -> bool:
        """True for None. One that another process has just made is looked for in the store."""
        if account is None or account in self._directory.snapshot.accounts:
            return True
        return account in (await self._directory.refresh()).accounts

    # ── users ────────────────────────────────────────────────────────────────────────────

    async def users(self, account: AccountId | None = None) -> list[User]:
        """By name; those of the account, or all."""
        return await self._users.users(account)

    async def user(self, name: str) -> User:
        """Raises UnknownObject."""
        user = await self._users.user(parse_user_name(name))
        if user is None:
            raise UnknownObject("user", name)
        return user

    async def add_user(
        self, name: str, role: Role, account: AccountId | None, actor: str
    ) -> tuple[User, str]:
        """The user, and the token of the link by which they set their password.

        Raises UnfitName, UnfitRole, UnknownObject for the account, Conflict for a taken name.
        """
        fit = parse_user_name(name)
        check_role(role, account)
        token, link = self._new_link()
        return await self._users.add(fit, role, account, link, actor, self._clock.now()), token

    async def remove_user(self, name: str, actor: str) -> User:
        """As they were; their sessions end. Raises UnknownObject, and Conflict for the last operator."""
        return await self._users.remove(parse_user_name(name), actor, self._clock.now())

    async def set_disabled(self, name: str, is_disabled: bool, actor: str) -> User:
        """Disabling ends sessions and link. Raises UnknownObject, and Conflict for the last operator."""
        return await self._users.set_disabled(parse_user_name(name), is_disabled, actor, self._clock.now())

    async def new_link(self, name: str, actor: str) -> tuple[User, str]:
        """The token of a link that sets a new password; an earlier link is no longer good.

        The present password and sessions stay until it is followed. Raises UnknownObject, and
        Conflict for a disabled user.
        """
        token, link = self._new_link()
        return await self._users.put_link(parse_user_name(name), link, actor, self._clock.now()), token

    async def lacks_first(self) -> bool:
        """Whether nobody has signed in yet, so that `first_link` makes a link."""
        return await self._users.lacks_first(FIRST_NAME)

    async def first_link(self, actor: str) -> tuple[User, str] | None:
        """The first operator, and the token by which they come in, while nobody has signed in yet.

        Else None, and when an operator of another name is invited. Each call makes a new token, and
        the earlier is no longer good.
        """
        token, link = self._new_link()
        made = await self._users.add_first(FIRST_NAME, link, actor, self._clock.now())
        return None if made is None else (made, token)

    def _new_link(self) -> tuple[str, Link]:
        token = self._new_token()
        return token, Link(_sha256(token), self._clock.now() + LINK_LIFE)

    async def forget_old(self) -> int:
        """Remove sessions and links that have ended, and tries that no longer count: now and then.

        How many sessions and links there were.
        """
        now = self._clock.now()
        return await self._users.forget(now, now - TRIES_COUNT_FOR)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _known(token: str | None) -> str | None:
    return None if token is None else _sha256(token)


def _name_tries(name: str, client: str = "") -> str:
    """From one client, or from all. Hashed: people type passwords where names belong.

    Of a text longer than any name, its beginning.
    """
    where = f" from {client_network(client)}" if client else ""
    return _sha256(f"name {name_key(name.strip(' ')[: 4 * MAX_NAME])}{where}")


def _client_tries(client: str) -> str:
    return f"client {client_network(client)}"
