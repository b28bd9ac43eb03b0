"""Who acts, for which account, with which rights: by a key, as somebody who has signed in, or in the shell.

A door says who it is and what is to be done; whether that may be is asked here, of each directory on which a
change is computed.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from relay.domain.authority import check_change, check_no_stronger, what_rests
from relay.domain.directory import ApiKey, Principal, Snapshot
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.refusals import AccountAtRest
from relay.domain.users import Role, User
from relay.frames.caps import Caps


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever changes something. By itself: the shell of the machine, and the relay's own doings."""

    name: str
    """What audit lines say."""
    is_operator: bool = field(default=True, kw_only=True)
    """May do everything, in each account, whatever its status."""
    caps: Caps | None = field(default=None, kw_only=True)
    """How much the account may have; None for operators."""

    def check(self, snapshot: Snapshot) -> None:
        """Raises NotGranted when in this directory it may not do what it is about to do."""

    def check_no_stronger(self, snapshot: Snapshot, key: ApiKey) -> None:
        """Raises BeyondMaker for a key that may do what this actor may not, be it made or revoked."""

    def sees(self, subaccount: SubaccountId | None) -> bool:
        """Whether an object of that subaccount, or of the account itself (None), is in scope."""
        return True


SHELL = Actor("cli")
"""Whoever types commands on this machine, in what is asked before their name matters."""


class Scope(StrEnum):
    """What part of the account a request is about."""

    ALL = "all"
    """Reading without the header: the account and all its subaccounts."""
    ACCOUNT = "account"
    SUBACCOUNT = "subaccount"
    """`Caller.subaccount` alone."""


@dataclass(frozen=True, slots=True)
class Caller(Actor):
    """Who shows a key, and what they asked to see or to act as."""

    principal: Principal
    scope: Scope
    is_bound: bool = field(default=False, kw_only=True)
    """The key itself is a subaccount's; events go by that and not by the header."""
    grants: Collection[str] = field(default=(), kw_only=True)
    """Any of which is enough for what is to be done."""

    @property
    def account(self) -> AccountId:
        return self.principal.account

    @property
    def subaccount(self) -> SubaccountId | None:
        """Set when the request is about, or by, one subaccount."""
        return self.principal.subaccount

    def check(self, snapshot: Snapshot) -> None:
        check_change(snapshot, self.principal, self.grants)

    def check_no_stronger(self, snapshot: Snapshot, key: ApiKey) -> None:
        check_no_stronger(snapshot, self.principal, key.grants, key.valid_ips, key.subaccount)

    def sees(self, subaccount: SubaccountId | None) -> bool:
        return self.scope is Scope.ALL or subaccount == self.subaccount


class Right(Enum):
    """What a page asks of a person."""

    LOOK = "look"
    CHANGE = "change"
    """Not for readers."""
    OPERATE = "operate"
    """For operators."""


MAY = {
    Role.OPERATOR: frozenset(Right),
    Role.ADMIN: frozenset({Right.LOOK, Right.CHANGE}),
    Role.READER: frozenset({Right.LOOK}),
}


@dataclass(frozen=True, slots=True)
class Person(Actor):
    """Who has signed in, and the account that they act for."""

    role: Role
    account: AccountId

    @classmethod
    def of(cls, user: User, account: AccountId, caps: Caps) -> "Person":
        is_operator = Right.OPERATE in MAY[user.role]
        own_caps = None if is_operator else caps
        return cls(f"user:{user.name}", user.role, account, is_operator=is_operator, caps=own_caps)

    def may(self, right: Right) -> bool:
        return right in MAY[self.role]

    def check(self, snapshot: Snapshot) -> None:
        """People of an account that is not active look and change nothing."""
        if not self.is_operator and (rests := what_rests(snapshot, self.account)):
            raise AccountAtRest(status="gone" if rests[1] == "unknown" else rests[1])
