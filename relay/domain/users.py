"""People who sign in to the web console: who they are, and the rules for names, passwords and sessions."""

import ipaddress
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from relay.domain.errors import Refused
from relay.domain.ids import AccountId, ip_text

UserId = NewType("UserId", int)
"""Never given to a second user."""
SessionId = NewType("SessionId", str)
"""Names a session in lists. It opens nothing: the token does."""

IDLE = timedelta(hours=12)
"""A session ends when nothing was asked for so long."""
LIFE = timedelta(days=7)
"""A session ends after that, however busy."""
LINK_LIFE = timedelta(hours=24)
MAX_NAME = 128
MIN_PASSWORD, MAX_PASSWORD = 12, 256
_MAX_USER_AGENT, _MAX_CLIENT = 200, 64


class Role(StrEnum):
    """What a user may do in the console."""

    OPERATOR = "operator"
    """Everything, and act for any account."""
    ADMIN = "admin"
    """Everything in one account."""
    READER = "reader"
    """Look at one account, and change nothing."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in to the console."""

    id: UserId
    name: str
    """As it was given, in NFC; see `name_key` for what it is found by."""
    role: Role
    account: AccountId | None
    """None for operators, and for them alone."""
    password_hash: str = field(repr=False)
    """Empty until the first link was followed."""
    is_disabled: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that is signed in."""

    id: SessionId
    user: UserId
    token_sha256: str = field(repr=False)
    created: datetime
    last_seen: datetime
    """To the minute."""
    user_agent: str
    client: str
    """The address that signed in."""
    acting_for: AccountId | None = None
    """The account that an operator has chosen to look at."""


@dataclass(frozen=True, slots=True)
class Link:
    """A sign-in link: whoever has its token sets the user's password, once."""

    token_sha256: str = field(repr=False)
    expires: datetime


@dataclass
class BadCredentials(Refused):
    """No such name, a wrong password or a disabled user: which it is, is for the log alone."""

    reason: str = "password"
    """A word for it; `user=` and the number where there is one."""


@dataclass
class TooManyTries(Refused):
    """Too many failures for the name or from the client; the next try in `wait_s` seconds."""

    wait_s: int


class BadLink(Refused):
    """The sign-in link was used, is too old, was replaced by a newer one, or never was."""


@dataclass
class UnfitName(Refused):
    """Nobody can be called that; `detail` says what was expected."""

    detail: str


@dataclass
class UnfitPassword(Refused):
    """That cannot be the password; `detail` says what was expected."""

    detail: str


@dataclass
class UnfitRole(Refused):
    """Role and account do not go together; `detail` says what was expected."""

    detail: str


def parse_user_name(text: str) -> str:
    """The name in NFC, without spaces around it. Raises UnfitName."""
    name = _composed(text.strip(" "), MAX_NAME)
    if not 1 <= len(name) <= MAX_NAME:
        raise UnfitName(f"a user's name has {len(name)} characters: expected 1 to {MAX_NAME}")
    if not name.isprintable():
        raise UnfitName(
            "a user's name has characters that do not print: expected a plain name or an e-mail address"
        )
    return name


def name_key(name: str) -> str:
    """What two names have in common when they differ in case alone."""
    folded = unicodedata.normalize("NFC", name.strip(" ")).casefold()
    return unicodedata.normalize("NFC", folded)


def parse_password(text: str, name: str) -> str:
    """The password as it is hashed, fit for the user of that name. Raises UnfitPassword."""
    password = normal_password(text)
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise UnfitPassword(
            f"the password has {len(password)} characters: expected {MIN_PASSWORD} to {MAX_PASSWORD}"
        )
    if name_key(password) == name_key(name):
        raise UnfitPassword("the password is the user's name: expected another one")
    return password


def normal_password(text: str) -> str:
    """In NFC: keyboards differ in how they compose the same characters."""
    return _composed(text, MAX_PASSWORD)


def _composed(text: str, most: int) -> str:
    """In NFC; as it is when it has more than `most` characters in NFC too.

    That is known beforehand, as no character is composed of more than four: composing takes as long as
    the square of the length, and anybody may send a name and a password.
    """
    return text if len(text) > 4 * most else unicodedata.normalize("NFC", text)


def check_role(role: Role, account: AccountId | None) -> None:
    """Raises UnfitRole."""
    if role is Role.OPERATOR and account is not None:
        raise UnfitRole("an operator has no account, and may act for every one: leave the account out")
    if role is not Role.OPERATOR and account is None:
        raise UnfitRole(f"a user with the role {role} belongs to an account: say to which")


def ends_at(session: Session) -> datetime:
    """When the session ends unless it is used before."""
    return min(session.last_seen + IDLE, session.created + LIFE)


def is_live(session: Session, now: datetime) -> bool:
    return now < ends_at(session)


def shorten(user_agent: str) -> str:
    """What a browser says of itself, in one printable line."""
    return _printable(user_agent[:_MAX_USER_AGENT])


def address_of_client(text: str) -> str:
    """The address in its canonical form, an IPv4 one that came by an IPv6 socket as IPv4; else the text."""
    address = _address(text)
    return _printable(text[:_MAX_CLIENT]) if address is None else ip_text(address)


def client_network(text: str) -> str:
    """What is one client to the count of failures: an IPv4 address, or the /64 of an IPv6 one."""
    address = _address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return address_of_client(text)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
