"""What may not be done to the directory and to what people manage: each refusal with what it is about."""

from dataclasses import dataclass

from relay.domain.errors import Conflict, MalformedOptions, NotGranted


@dataclass
class AccountExists(Conflict):
    """An account has that number."""

    account: int
    name: str


@dataclass
class AccountHasMail(Conflict):
    """What waits in the queue is the account's: it cannot go."""

    account: int
    name: str


@dataclass
class SubaccountExists(Conflict):
    """A subaccount has that number."""

    subaccount: int
    account: int


@dataclass
class PoolExists(Conflict):
    """A pool has the id that the name makes."""

    field = "name"
    pool: str


@dataclass
class DefaultPoolStays(Conflict):
    """Each account has it."""

    pool: str
    account: int


@dataclass
class IpExists(Conflict):
    """The installation has that sending IP."""

    field = "address"
    address: str


@dataclass
class IpIsShared(Conflict):
    """It is in the shared pool, and no account can be given it."""

    address: str


@dataclass
class IpElsewhere(Conflict):
    """It is another account's."""

    address: str
    account: int


@dataclass
class IpCarriesMail(Conflict):
    """Mail of whoever had it waits to leave from it; 0 is the shared pool."""

    address: str
    account: int

    @property
    def whose(self) -> str:
        return f"account {self.account}" if self.account else "the shared pool"


@dataclass
class IpOfNobody(Conflict):
    """It is in no pool, because no account has it."""

    address: str


@dataclass
class IpNotForMail(Conflict):
    """It carries the mail of its owner alone."""

    address: str
    owner: int | None
    account: int

    @property
    def whose(self) -> str:
        return "nobody" if self.owner is None else f"account {self.owner}"


@dataclass
class IpsOverLimit(Conflict):
    """Accounts would hold more dedicated IPs than they may: number, name, IPs, limit (R1, R13, R14)."""

    field = "limit"
    accounts: tuple[tuple[int, str, int, int], ...]

    @property
    def listed(self) -> str:
        return "; ".join(
            f"account {account} ({name}) would have {number} dedicated IPs; "
            + (f"its limit is {limit}" if limit else "the free plan has none")
            for account, name, number, limit in self.accounts
        )


class OperatorsKeyIsNoPart(Conflict):
    """A key of operators is of no subaccount."""


@dataclass
class AmbiguousKey(Conflict):
    """Several keys are called that."""

    which: str
    hashes: tuple[str, ...]

    @property
    def number(self) -> int:
        return len(self.hashes)

    @property
    def listed(self) -> str:
        return ", ".join(self.hashes)


@dataclass
class DomainExists(Conflict):
    """The account has that sending domain."""

    field = "domain"
    domain: str


@dataclass
class UserExists(Conflict):
    """Somebody signs in with that name."""

    field = "name"
    name: str


@dataclass
class UserIsDisabled(Conflict):
    """Who may not sign in needs no link."""

    name: str


@dataclass
class LastOperator(Conflict):
    """Without them nobody could make users; `deed` is what was to be done."""

    name: str
    deed: str


class NoFirstOperator(Conflict):
    """The first link is for an installation that nobody has signed in to."""


@dataclass
class NotSetAside(Conflict):
    """Only what is set aside is tried again by hand."""

    transmission: str


@dataclass
class TransmissionEnded(Conflict):
    """What has ended cannot be stopped."""

    transmission: str
    state: str


@dataclass
class PoolNameTooLong(MalformedOptions):
    """A1."""

    field = "name"
    limit: int


class PoolNameMalformed(MalformedOptions):
    """A1."""

    field = "name"


@dataclass
class ReservedPool(MalformedOptions):
    """The installation's own name."""

    field = "name"
    pool: str


@dataclass
class FixedPool(MalformedOptions):
    """It keeps its name and settings."""

    pool: str


class NothingToEdit(MalformedOptions):
    """Of the default pool only the IPs can be changed."""


@dataclass
class NoSuchPool(MalformedOptions):
    """The account has no pool of that id to put IPs into."""

    field = "ip_pool"
    pool: str


@dataclass
class OverflowIntoItself(MalformedOptions):
    field = "overflow_pool"
    pool: str


@dataclass
class OverflowBeyondOne(MalformedOptions):
    """Others overflow into it: it cannot pass that on."""

    field = "overflow_pool"
    pool: str


@dataclass
class OverflowOfOverflow(MalformedOptions):
    """It overflows itself."""

    field = "overflow_pool"
    pool: str


@dataclass
class UnknownOverflowPool(MalformedOptions):
    field = "overflow_pool"
    pool: str


@dataclass
class NoSigningDomain(MalformedOptions):
    """The field names a domain that signs nothing."""

    field: str


@dataclass
class BoundPoolTooLong(MalformedOptions):
    """A9."""

    field = "ip_pool"
    limit: int


class BoundPoolMalformed(MalformedOptions):
    """A9."""

    field = "ip_pool"


@dataclass
class UnknownGrants(MalformedOptions):
    field = "grants"
    grants: tuple[str, ...]
    known: tuple[str, ...]

    @property
    def named(self) -> str:
        return ", ".join(self.grants)

    @property
    def listed(self) -> str:
        return ", ".join(self.known)


class SharedAndOwned(MalformedOptions):
    """A sending domain is one subaccount's, or all may use it."""


class BounceDomainOfPart(MalformedOptions):
    pass


class UnverifiedBounceDomain(MalformedOptions):
    pass


@dataclass
class AccountAtRest(NotGranted):
    """The account is not active: its people look, and change nothing."""

    status: str = ""
