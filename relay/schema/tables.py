"""The tables of `directory.toml`, each by itself; what they say of one another is `schema.directory`'s."""

import hashlib
import ipaddress
import re
from contextlib import suppress
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from relay.domain.clients import network_text
from relay.domain.directory import (
    GRANTS,
    MAX_WEIGHT,
    USUAL_IP_LIMIT,
    USUAL_PRICE_CENTS,
    Account,
    ApiKey,
    Plan,
    Pool,
    SendingDomain,
    SendingIp,
    Subaccount,
    is_pool_id,
    is_pool_name,
    pool_id_of,
)
from relay.domain.ids import (
    DEFAULT_POOL,
    LARGEST_NUMBER,
    AccountId,
    IpAddress,
    NodeName,
    PoolId,
    SubaccountId,
    ip_text,
)
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.schema.problems import Lacking, Table
from relay.schema.values import Endpoint, check_is_one_host, parse_host_name, parse_network, parse_node

MOST_IPS = 100_000
"""Dedicated IPs of one account: what stands for "no limit" where nothing stands for the usual one."""
MAX_NAME = 64
_KEY = re.compile(r"[0-9A-Fa-f]{40}")
_KEYWORD = re.compile(r"[0-9A-Za-z][-0-9A-Za-z]{0,63}")
"""Of EHLO (RFC 5321 §4.1.1.1)."""
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


def parse_name(text: object) -> str:
    """A name for people. Raises ValueError with what was expected, as the others do."""
    if isinstance(text, str) and text.strip() and text.isprintable() and len(text) <= MAX_NAME:
        return text
    raise ValueError(f"1 to {MAX_NAME} printable characters")


def parse_address(text: object) -> IpAddress:
    """A host's address: no wildcard, for which the system would choose, and no group."""
    if isinstance(text, str):
        check_is_one_host(text)
        with suppress(ValueError):
            address = ipaddress.ip_address(text)
            if "%" not in text and not address.is_unspecified:
                return ip_text(address)
    raise ValueError("an IPv4 or IPv6 address of one host")


def _parse_optional_address(text: object) -> IpAddress | None:
    return None if text in ("", None) else parse_address(text)


def _parse_optional_node(text: object) -> NodeName:
    return NodeName("") if text == "" else parse_node(text)


def _parse_pool_name(text: object) -> str:
    if isinstance(text, str) and is_pool_name(text):
        return text
    raise ValueError("1 to 20 letters and digits, with single spaces, hyphens or underscores between them")


def _parse_pool_id(text: object) -> PoolId:
    if text == "" or (isinstance(text, str) and is_pool_id(text) and text == text.lower()):
        return PoolId(str(text))
    raise ValueError("a pool id: 1 to 20 small letters, digits and underscores")


def _parse_bound_pool(text: object) -> PoolId | None:
    if text in ("", None):
        return None
    if isinstance(text, str) and is_pool_id(text):
        return PoolId(text)
    raise ValueError("a pool id: 1 to 20 letters, digits and underscores")


def _parse_optional_host_name(text: object) -> str:
    return "" if text == "" else parse_host_name(text)


def _parse_grant(text: object) -> str:
    if isinstance(text, str) and text in GRANTS:
        return text
    raise ValueError(f"one of {', '.join(sorted(GRANTS))}")


def parse_client(text: object) -> str:
    """Where clients come from: an address or a network, in canonical text."""
    network = parse_network(text)
    return network_text(network) if "/" in str(text) else ip_text(network.network_address)


def _parse_key(text: object) -> str:
    if isinstance(text, str) and _KEY.fullmatch(text):
        return text
    raise ValueError("40 hexadecimal digits")


def _parse_sha256(text: object) -> str:
    if isinstance(text, str) and _SHA256.fullmatch(text):
        return text.lower()
    raise ValueError("64 hexadecimal digits: the SHA-256 of the key's text")


def _parse_pattern(text: object) -> str:
    try:
        if isinstance(text, str):
            domain = text.removeprefix("*.")
            return text if text == "*" else text[: len(text) - len(domain)] + parse_host_name(domain)
    except ValueError:
        pass
    raise ValueError('"example.com", "*.example.com" or "*"')


Name = Annotated[str, PlainValidator(parse_name)]
SubaccountNumber = Annotated[SubaccountId, Field(ge=0, le=LARGEST_NUMBER)]
"""0 is the account itself."""


class SendingIpTable(Table):
    """`[[sending_ip]]`."""

    address: Annotated[IpAddress, PlainValidator(parse_address)]
    bind: Annotated[IpAddress | None, PlainValidator(_parse_optional_address)] = None
    hostname: Annotated[str, PlainValidator(parse_host_name)]
    node: Annotated[NodeName, PlainValidator(_parse_optional_node)] = NodeName("")
    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] = 1
    shared: bool = False
    account: Annotated[AccountId | None, Field(ge=1)] = None
    pool: str | None = None

    @field_validator("bind")
    @classmethod
    def _same_family(cls, bind: IpAddress | None, info: ValidationInfo) -> IpAddress | None:
        if bind and "address" in info.data and (":" in bind) != (":" in info.data["address"]):
            raise ValueError("an address of the same family as the public one")
        return bind

    @field_validator("account")
    @classmethod
    def _not_shared(cls, account: AccountId | None, info: ValidationInfo) -> AccountId | None:
        if account is not None and info.data.get("shared"):
            raise ValueError("either shared = true or an account")
        return account

    @field_validator("pool")
    @classmethod
    def _with_account(cls, pool: str | None, info: ValidationInfo) -> str | None:
        if pool and "account" in info.data and info.data["account"] is None:
            raise ValueError("an account beside the pool")
        return pool

    def to_domain(self) -> SendingIp:
        pool = PoolId(self.pool or DEFAULT_POOL) if self.account is not None else None
        return SendingIp(
            self.address,
            self.bind or self.address,
            self.hostname,
            self.node,
            self.weight,
            self.shared,
            self.account,
            pool,
        )


class PoolTable(Table):
    """`[[account.pool]]`."""

    name: Annotated[str, PlainValidator(_parse_pool_name)]
    id: Annotated[PoolId, PlainValidator(_parse_pool_id), Field(validate_default=True)] = PoolId("")
    """Derived from the name where it does not stand; a pool that was renamed keeps its own."""
    auto_warmup_overflow_pool: str = ""
    """A pool id, or "shared pool"."""
    signing_domain: Annotated[str, PlainValidator(_parse_optional_host_name)] = ""
    fbl_signing_domain: Annotated[str, PlainValidator(_parse_optional_host_name)] = ""

    @field_validator("id")
    @classmethod
    def _of_the_name(cls, id_: PoolId, info: ValidationInfo) -> PoolId:
        return id_ or pool_id_of(info.data.get("name", ""))

    def to_domain(self, account: AccountId) -> Pool:
        return Pool(
            account,
            self.id,
            self.name,
            self.auto_warmup_overflow_pool,
            signing_domain=self.signing_domain,
            fbl_signing_domain=self.fbl_signing_domain,
        )


class SubaccountTable(Table):
    """`[[account.subaccount]]`."""

    id: Annotated[SubaccountId, Field(ge=1, le=LARGEST_NUMBER)]
    name: Name
    ip_pool: Annotated[PoolId | None, PlainValidator(_parse_bound_pool)] = None

    def to_domain(self, account: AccountId) -> Subaccount:
        return Subaccount(account, self.id, self.name, self.ip_pool)


class ApiKeyTable(Table):
    """`[[account.api_key]]`: the key in clear text, or its hash."""

    label: Name
    key: Annotated[str | None, PlainValidator(_parse_key)] = None
    key_sha256: Annotated[str | None, PlainValidator(_parse_sha256)] = None
    short: Annotated[str, Field(max_length=4)] = ""
    """The first four characters, beside a hash."""
    grants: tuple[Annotated[str, PlainValidator(_parse_grant)], ...]
    subaccount: SubaccountNumber = SubaccountId(0)
    valid_ips: tuple[Annotated[str, PlainValidator(parse_client)], ...] = ()
    operator: bool = False
    """May administer the whole installation."""

    @property
    def sha256(self) -> str:
        return self.key_sha256 or hashlib.sha256((self.key or "").encode()).hexdigest()

    def to_domain(self, account: AccountId) -> ApiKey:
        return ApiKey(
            self.sha256,
            self.key[:4] if self.key else self.short,
            account,
            self.label,
            frozenset(self.grants),
            self.subaccount or None,
            self.valid_ips,
            self.operator,
        )


class SendingDomainTable(Table):
    """`[[account.sending_domain]]`."""

    domain: Annotated[str, PlainValidator(parse_host_name)]
    subaccount: SubaccountNumber = SubaccountId(0)
    shared_with_subaccounts: bool = False

    def to_domain(self, account: AccountId) -> SendingDomain:
        return SendingDomain(account, self.domain, self.subaccount or None, self.shared_with_subaccounts)


class AccountTable(Table):
    """`[[account]]`."""

    id: Annotated[AccountId, Field(ge=1, le=LARGEST_NUMBER)]
    name: Name
    plan: Plan
    dedicated_ip_limit: Annotated[int | None, Field(ge=0, le=MOST_IPS)] = None
    ip_price_cents: Annotated[int, Field(ge=0, le=100_000_000)] = USUAL_PRICE_CENTS
    bill_cycle_day: Annotated[int, Field(ge=1, le=28)] = 1
    require_sending_domain: bool | None = None
    bounce_domain: Annotated[str, PlainValidator(_parse_optional_host_name)] = ""
    dsn: bool = False
    pool: tuple[PoolTable, ...] = ()
    subaccount: tuple[SubaccountTable, ...] = ()
    api_key: tuple[ApiKeyTable, ...] = ()
    sending_domain: tuple[SendingDomainTable, ...] = ()

    def to_domain(self) -> Account:
        """The account alone. On the Enterprise plan 0 and nothing both mean no limit (R14)."""
        limit = self.dedicated_ip_limit
        if limit == MOST_IPS:
            limit = None
        elif self.plan is Plan.ENTERPRISE:
            limit = limit or None
        elif limit is None:
            limit = USUAL_IP_LIMIT
        required = self.require_sending_domain
        return Account(
            self.id,
            self.name,
            self.plan,
            limit,
            self.ip_price_cents,
            self.bill_cycle_day,
            bool(self.sending_domain) if required is None else required,
            self.bounce_domain,
            self.dsn,
        )


def _parse_smarthost(text: object) -> Endpoint:
    endpoint = Endpoint.parse(text, such_as='"127.0.0.1:2526"')
    if not endpoint.port:
        raise ValueError('"HOST:PORT", such as "127.0.0.1:2526"')
    return endpoint


def _parse_keyword(text: object) -> str:
    if not isinstance(text, str) or not _KEYWORD.fullmatch(text):
        raise ValueError('an EHLO keyword of letters, digits and hyphens, such as "PIPELINING"')
    return text.upper()


class RouteTable(Table):
    """`[[route]]`."""

    domains: tuple[Annotated[str, PlainValidator(_parse_pattern)], ...]
    smarthost: Annotated[Endpoint | None, PlainValidator(_parse_smarthost)] = None
    mx: Annotated[bool, Field(validate_default=True)] = False
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Of MX hosts; a smarthost has its own."""
    allow_private: bool = False
    """Of MX hosts; a smarthost may be private anyway."""
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    ehlo_ignore: tuple[Annotated[str, PlainValidator(_parse_keyword)], ...] = ()
    username: str = ""
    password: Annotated[str, Field(validate_default=True)] = ""

    @field_validator("domains")
    @classmethod
    def _for_some(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        if not domains:
            raise ValueError('at least one domain, or "*"')
        return domains

    @field_validator("mx")
    @classmethod
    def _one_way(cls, mx: bool, info: ValidationInfo) -> bool:
        if "smarthost" in info.data and mx is (info.data["smarthost"] is not None):
            either = "either a smarthost or mx = true"
            raise ValueError(either) if mx else Lacking(either, key=False)
        return mx

    @field_validator("port")
    @classmethod
    def _of_mx(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("smarthost") is not None:
            raise ValueError("the port of a smarthost in smarthost itself")
        return port

    @field_validator("username")
    @classmethod
    def _of_a_smarthost(cls, username: str, info: ValidationInfo) -> str:
        if username and "smarthost" in info.data and info.data["smarthost"] is None:
            raise ValueError("a smarthost to log in to")
        return username

    @field_validator("password")
    @classmethod
    def _both_or_neither(cls, password: str, info: ValidationInfo) -> str:
        if bool(password) != bool(info.data.get("username", password)):
            both = "username and password to be given both or neither"
            raise ValueError(both) if password else Lacking(both)
        return password

    def to_domain(self) -> Route:
        ignored = tuple(dict.fromkeys(self.ehlo_ignore))
        if self.smarthost is None:
            return Route(self.domains, MxRoute(self.tls, self.port or 25, self.allow_private, ignored))
        host, port = self.smarthost.host, self.smarthost.port
        login = self.username, self.password
        return Route(self.domains, SmarthostRoute(host, port, self.tls, *login, ehlo_ignore=ignored))
