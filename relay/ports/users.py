"""Users of the web console and their sessions: the rows, and the hashing of passwords."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from relay.domain.ids import AccountId
from relay.domain.users import Link, Role, Session, SessionId, User, UserId


@dataclass(frozen=True, slots=True)
class Verified:
    """The hash against which a password was good, and what is to be stored instead of it."""

    password_hash: str = field(repr=False)
    upgraded: str | None = field(default=None, repr=False)
    """None: as it is."""


class PasswordHasher(Protocol):
    """Slow on purpose, and synchronous: called in a thread."""

    @property
    def decoy(self) -> str:
        """A hash with the present parameters that no password fits; checking against it takes as long."""

    def hash(self, password: str) -> str:
        """With a salt of its own. Raises OverCapacity when there is no memory for it."""

    def is_correct(self, stored: str, password: str) -> bool:
        """Raises OverCapacity when there is no memory for it."""

    def is_outdated(self, stored: str) -> bool:
        """Whether it was made with other parameters than the present ones."""


class UserStore(Protocol):
    """Users, links and sessions. Each change of a user leaves its audit line in the same transaction.

    Tokens come and stay as hashes. A user is found by `name_key`.
    """

    async def users(self, account: AccountId | None = None) -> list[User]:
        """By name; those of the account, or all."""

    async def user(self, name: str) -> User | None: ...

    async def add(
        self, name: str, role: Role, account: AccountId | None, link: Link, actor: str, now: datetime
    ) -> User:
        """With its first link. Raises Conflict for a taken name, UnknownObject for no such account."""

    async def lacks_first(self, name: str) -> bool:
        """Whether `add_first` would make a link."""

    async def add_first(self, name: str, link: Link, actor: str, now: datetime) -> User | None:
        """While nobody has a password, and no other operator is invited: an operator with that link.

        The link anew when that operator is there. Else None.
        """

    async def remove(self, name: str, actor: str, now: datetime) -> User:
        """With its sessions and link. Raises UnknownObject; Conflict for the last operator."""

    async def set_disabled(self, name: str, is_disabled: bool, actor: str, now: datetime) -> User:
        """Disabling ends its sessions and its link. Raises UnknownObject; Conflict for the last operator."""

    async def put_link(self, name: str, link: Link, actor: str, now: datetime) -> User:
        """In place of an earlier one. Raises UnknownObject; Conflict when the user is disabled."""

    async def linked(self, token_sha256: str, now: datetime) -> User | None:
        """Whose link that is; None for one that is no longer good."""

    async def use_link(self, token_sha256: str, password_hash: str, session: Session) -> bool:
        """Set the password, end the link and all sessions, begin this one. False: no longer good."""

    async def set_password(self, user: User, password_hash: str, keep: str, now: datetime) -> bool:
        """End its link and its sessions but the one whose token's hash is keep.

        False, and nothing done, when the password has been changed since user was read.
        """

    async def begin_session(self, session: Session, verified: Verified, old_token_sha256: str | None) -> bool:
        """End the session of the old token, begin this one, upgrade the hash.

        False, and nothing done, when the user has been removed, disabled or given another password since.
        """

    async def session(self, token_sha256: str) -> tuple[User, Session] | None:
        """Whether or not it is live."""

    async def sessions(self, user: UserId) -> list[Session]:
        """The most recently used first, live or not."""

    async def touch(self, token_sha256: str, now: datetime) -> None:
        """The session was used. Not durable: it may be forgotten at a loss of power."""

    async def act_for(self, token_sha256: str, account: AccountId | None) -> None: ...

    async def end_session(self, token_sha256: str) -> None: ...

    async def revoke(self, user: User, session: SessionId, actor: str, now: datetime) -> bool:
        """Whether there was such a session of the user."""

    async def begin_try(
        self, tried: str, limits: Mapping[str, int], since: datetime, now: datetime
    ) -> datetime | None:
        """Count a try as a failure under each key, and None; unless a key has its limit of them since then.

        Otherwise the oldest of the failures that must be older first. tried: an id of its own.
        Two tries at once are both counted before either is decided. Not durable.
        """

    async def forgive(self, tried: str, key: str = "") -> None:
        """The try did not fail: it is uncounted under all its keys, and so is every other under this key."""

    async def forget(self, now: datetime, tries_before: datetime) -> int:
        """Remove sessions and links that have ended, and old tries; how many sessions and links."""
