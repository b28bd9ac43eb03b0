"""Who may send from what: accounts, pools, sending IPs, keys and routes, and the snapshot that holds them."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from relay.domain.ids import (
    DEFAULT_POOL,
    SHARED_POOL,
    AccountId,
    IpAddress,
    NodeName,
    PoolId,
    Revision,
    SubaccountId,
)
from relay.domain.route import Route

MAX_POOL_NAME = 20
MAX_WEIGHT = 100
USUAL_IP_LIMIT = 4
"""Dedicated IPs of an account for which nobody said another number (R13)."""
USUAL_PRICE_CENTS = 2000
RESERVED_POOLS = frozenset({DEFAULT_POOL, SHARED_POOL, PoolId("shared_pool")})
"""Ids that no pool of an account's own may have."""
SHARED_OVERFLOW = "shared pool"
"""What `overflow_pool` calls the shared pool (A6)."""
SUBACCOUNT_GRANTS = frozenset(
    {
        "smtp/inject",
        "sending_domains/manage",
        "tracking_domains/view",
        "tracking_domains/manage",
        "message_events/view",
        "suppression_lists/manage",
        "transmissions/view",
        "transmissions/modify",
        "templates/preview",
        "webhooks/view",
        "webhooks/modify",
    }
)
"""What a subaccount's key may hold."""
GRANTS = SUBACCOUNT_GRANTS | {
    "ip_pools/view",
    "ip_pools/manage",
    "subaccount/view",
    "subaccount/manage",
    "metrics/view",
    "account/view",
    "account/manage",
    "billing/manage",
    "api_keys/manage",
    "usage/view",
}
"""What a key may hold."""

_POOL_NAME = re.compile(r"[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)*")
_POOL_ID = re.compile(r"[A-Za-z0-9_]+")


class Plan(StrEnum):
    """The classes of plans (docs/rules.md#plans)."""

    FREE = "free"
    SELF_SERVE = "self_serve"
    MANUAL = "manual"
    ENTERPRISE = "enterprise"


class Status(StrEnum):
    """Whether an account or subaccount may send."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class Check(StrEnum):
    """What a look into DNS found of a sending domain."""

    UNVERIFIED = "unverified"
    INVALID = "invalid"
    VALID = "valid"


class Origin(StrEnum):
    """What made a directory object: only what a file made does a later file remove."""

    FILE = "file"
    LIVE = "live"
    """REST, console or command line."""


@dataclass(frozen=True, slots=True)
class Account:
    """A customer of the installation; owns pools, dedicated IPs, subaccounts and keys."""

    id: AccountId
    name: str
    plan: Plan
    dedicated_ip_limit: int | None = USUAL_IP_LIMIT
    """None: no limit (R14)."""
    ip_price_cents: int = USUAL_PRICE_CENTS
    bill_cycle_day: int = 1
    require_sending_domain: bool = False
    bounce_domain: str = ""
    """Empty: MAIL FROM is kept as injected."""
    dsn: bool = False
    """Whether a bounce is answered with a DSN to the injected MAIL FROM."""
    status: Status = Status.ACTIVE
    origin: Origin = Origin.FILE
    next_plan: Plan | None = None
    """What the plan becomes at `next_plan_at`: a downgrade waits for the cycle to end (A13)."""
    next_plan_at: datetime | None = None
    tracking: tuple[str, ...] = ()
    """Its tracking options that are on, by their names: kept and shown, without effect."""

    @property
    def has_shared_pool(self) -> bool:
        """Every plan but Enterprise falls back to the shared pool (R21, R22)."""
        return self.plan is not Plan.ENTERPRISE


@dataclass(frozen=True, slots=True)
class Pool:
    """A named set of an account's sending IPs."""

    account: AccountId
    id: PoolId
    name: str
    overflow_pool: str = ""
    origin: Origin = Origin.FILE
    signing_domain: str = ""
    """Signs by DKIM what comes from a domain that has no verified key."""
    fbl_signing_domain: str = ""
    """Signs a second time for providers whose feedback loop goes by the signature."""


def may_overflow(account: Account, pool: Pool, pools: Mapping[tuple[AccountId, PoolId], Pool]) -> bool:
    """Whether what the pool overflows into is there, and overflows no further itself.

    The shared pool is there by plan; `default` always.
    """
    if pool.overflow_pool == SHARED_OVERFLOW:
        return account.has_shared_pool
    target = PoolId(pool.overflow_pool)
    other = pools.get((pool.account, target))
    return target in ("", DEFAULT_POOL) or (
        other is not None and target != pool.id and not other.overflow_pool
    )


@dataclass(frozen=True, slots=True)
class Subaccount:
    """A numbered part of an account, optionally bound to one pool (R24)."""

    account: AccountId
    id: SubaccountId
    name: str
    ip_pool: PoolId | None = None
    """May name a pool that no longer exists: its mail is refused until edited (A9)."""
    status: Status = Status.ACTIVE
    origin: Origin = Origin.FILE
    created: datetime | None = None
    """None: a file made it."""
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class SendingIp:
    """A source address. Dedicated (account and pool), shared, or free inventory (neither)."""

    address: IpAddress
    """What the world sees; the identity everywhere."""
    bind: IpAddress
    """What bind(2) gets; differs behind 1:1 NAT."""
    hostname: str
    """The EHLO name; forward and reverse DNS should agree with it."""
    node: NodeName = NodeName("")
    """The machine that can bind it; empty: any."""
    weight: int = 1
    shared: bool = False
    account: AccountId | None = None
    pool: PoolId | None = None
    is_draining: bool = False
    """Takes no new pins and finishes the old."""
    is_retired: bool = False
    """Deleted by the operator; kept until no queued message is pinned to it."""
    origin: Origin = Origin.FILE
    released_from: AccountId | None = None
    """Whose queued mail a released IP still carries (0: the shared pool's). The store sees to it."""

    @property
    def takes_pins(self) -> bool:
        return not (self.is_draining or self.is_retired)

    @property
    def is_free(self) -> bool:
        """Nobody has it and nobody's mail is pinned to it."""
        return self.account is None and not self.shared and not self.is_retired and self.released_from is None

    def may_carry(self, account: AccountId) -> bool:
        """Whether mail of that account may leave from it: its own or everybody's, or one it had."""
        return self.shared or account == (self.account if self.account is not None else self.released_from)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential of SMTP and REST. Only its hash is known."""

    sha256: str
    """Lower-case hex of the SHA-256 of the key's text."""
    short: str
    """The first four characters, for people."""
    account: AccountId
    label: str
    grants: frozenset[str]
    subaccount: SubaccountId | None = None
    valid_ips: tuple[str, ...] = ()
    """Addresses or networks (CIDR) a client must come from; empty: any."""
    is_operator: bool = False
    origin: Origin = Origin.FILE


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key pair for DKIM; both halves are base64 of DER, as the DNS record has the public one."""

    selector: str
    public: str
    private: str = field(repr=False)
    """Never leaves by REST, export, audit line or log."""


@dataclass(frozen=True, slots=True)
class SendingDomain:
    """A domain that an account may use in From, once it is verified."""

    account: AccountId
    domain: str
    subaccount: SubaccountId | None = None
    """Set: only that subaccount may use it."""
    shared_with_subaccounts: bool = False
    origin: Origin = Origin.FILE
    tracking_domain: str = ""
    dkim: DkimKey | None = None
    dkim_status: Check = Check.UNVERIFIED
    cname_status: Check = Check.UNVERIFIED
    mx_status: Check = Check.UNVERIFIED
    created: datetime | None = None
    """None: a file made it."""

    @property
    def is_verified(self) -> bool:
        """Whether its owner agrees: any check is valid, or the operator's file lists it."""
        return self.origin is Origin.FILE or Check.VALID in (
            self.dkim_status,
            self.cname_status,
            self.mx_status,
        )

    @property
    def signs(self) -> bool:
        """Whether receivers find the key that its signatures are made with."""
        return self.dkim is not None and self.dkim_status is Check.VALID


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated party of one request."""

    account: AccountId
    subaccount: SubaccountId | None = None
    grants: frozenset[str] = frozenset()
    key: str = field(default="", compare=False, repr=False)
    """The SHA-256 of the key that was shown; empty: none was, as by a trusted network."""
    client: str = field(default="", compare=False)
    """The address that it was shown from."""


Entry = Account | Pool | Subaccount | SendingIp | ApiKey | SendingDomain


@dataclass(frozen=True)
class Snapshot:
    """The whole directory at one revision. Never changed, only replaced.

    Every account has its `default` pool listed among `pools`.
    """

    revision: Revision = Revision(0)
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    pools: Mapping[tuple[AccountId, PoolId], Pool] = field(default_factory=dict)
    subaccounts: Mapping[tuple[AccountId, SubaccountId], Subaccount] = field(default_factory=dict)
    ips: Mapping[IpAddress, SendingIp] = field(default_factory=dict)
    keys: Mapping[str, ApiKey] = field(default_factory=dict)
    """By SHA-256."""
    domains: Mapping[tuple[AccountId, str], SendingDomain] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()

    @cached_property
    def members(self) -> Mapping[tuple[AccountId, PoolId], tuple[SendingIp, ...]]:
        """The IPs of each pool that take pins, in address order. A pool without any is absent."""
        found: dict[tuple[AccountId, PoolId], list[SendingIp]] = {}
        for ip in self.ips.values():
            if ip.account is not None and not ip.shared and ip.takes_pins:
                found.setdefault((ip.account, ip.pool or DEFAULT_POOL), []).append(ip)
        return {key: in_order(ips) for key, ips in found.items()}

    @cached_property
    def shared(self) -> tuple[SendingIp, ...]:
        """The IPs of the shared pool that take pins."""
        return in_order([ip for ip in self.ips.values() if ip.shared and ip.takes_pins])


def is_pool_name(name: str) -> bool:
    """Whether a pool may be called that: letters and digits, single separators between them (A1)."""
    return len(name) <= MAX_POOL_NAME and _POOL_NAME.fullmatch(name) is not None


def is_pool_id(text: str) -> bool:
    """The form of a pool id, whether or not there is such a pool (A9)."""
    return len(text) <= MAX_POOL_NAME and _POOL_ID.fullmatch(text) is not None


def ip_limit(account: Account) -> int | None:
    """How many dedicated IPs the account may hold; None: any number (R1, R13, R14)."""
    if account.plan is Plan.ENTERPRISE:
        return None
    return 0 if account.plan is Plan.FREE else account.dedicated_ip_limit


def pool_id_of(name: str) -> PoolId:
    """The id that a pool of this name gets: `Marketing IP Pool` → `marketing_ip_pool`."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in name.lower()).split()
    return PoolId("_".join(words))


def in_order(ips: Iterable[SendingIp]) -> tuple[SendingIp, ...]:
    """By address."""
    return tuple(sorted(ips, key=lambda ip: ipaddress.ip_address(ip.address).packed))
