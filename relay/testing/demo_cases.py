"""The rows of `make demo`: the table of docs/rules.md#routing, by SMTP, by REST, at a scheduled time."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

SHARED = "sp_shared"

_KEY = 'grants = ["smtp/inject", "transmissions/modify", "ip_pools/manage", "message_events/view"]'
CORNERS = f"""
[[account]]
id = 9001
name = "Enterprise without any IP"
plan = "enterprise"
[[account.pool]]
name = "Empty"
[[account.subaccount]]
id = 1
name = "Bound to the empty pool"
ip_pool = "empty"
[[account.subaccount]]
id = 2
name = "Bound to a pool that is gone"
ip_pool = "gone"
[[account.api_key]]
label = "demo"
key = "de10000000000000000000000000000000009001"
{_KEY}

[[account]]
id = 9002
name = "Self-serve without any IP"
plan = "self_serve"
[[account.pool]]
name = "Empty"
[[account.subaccount]]
id = 1
name = "Bound to the empty pool"
ip_pool = "empty"
[[account.subaccount]]
id = 2
name = "Bound to a pool that is gone"
ip_pool = "gone"
[[account.api_key]]
label = "demo"
key = "de10000000000000000000000000000000009002"
{_KEY}

[[account]]
id = 9003
name = "Enterprise that things happen to"
plan = "enterprise"
[[account.pool]]
name = "Bound"
[[account.pool]]
name = "Spare"
[[account.pool]]
name = "Empty"
[[account.pool]]
name = "Filling"
[[account.pool]]
name = "Passing"
[[account.subaccount]]
id = 1
name = "Bound"
ip_pool = "bound"
[[account.subaccount]]
id = 2
name = "Bound to the empty pool"
ip_pool = "empty"
[[account.api_key]]
label = "demo"
key = "de10000000000000000000000000000000009003"
{_KEY}

[[account]]
id = 9004
name = "Self-serve that things happen to"
plan = "self_serve"
[[account.pool]]
name = "Spare"
[[account.pool]]
name = "Empty"
[[account.pool]]
name = "Filling"
[[account.pool]]
name = "Passing"
[[account.subaccount]]
id = 2
name = "Bound to the empty pool"
ip_pool = "empty"
[[account.api_key]]
label = "demo"
key = "de10000000000000000000000000000000009004"
{_KEY}

[[sending_ip]]
address = "127.0.90.3"
hostname = "mta90-3.relay.localhost"
account = 9003
pool = "bound"
[[sending_ip]]
address = "127.0.90.31"
hostname = "mta90-31.relay.localhost"
account = 9003
[[sending_ip]]
address = "127.0.90.32"
hostname = "mta90-32.relay.localhost"
account = 9003
pool = "spare"
[[sending_ip]]
address = "127.0.90.41"
hostname = "mta90-41.relay.localhost"
account = 9004
[[sending_ip]]
address = "127.0.90.42"
hostname = "mta90-42.relay.localhost"
account = 9004
pool = "spare"
"""
"""Accounts for the rows that no account of a sensible directory stands in."""


class Way(Enum):
    """How a message is handed in."""

    SMTP = "SMTP"
    REST = "REST"
    SCHEDULED = "scheduled"


_REFUSED = {Way.SMTP: "550 5.7.1 ", Way.REST: "422 1300 ", Way.SCHEDULED: "550 5.7.1 "}
"""Before the sentence. A scheduled one is refused long after the answer: its event tells it."""


@dataclass(frozen=True, slots=True)
class DemoRefusal:
    """What comes of a row that sends nothing, without the codes that differ by the way."""

    sentence: str


_NOWHERE = DemoRefusal("IP Pool 'nowhere' does not exist")


@dataclass(frozen=True, slots=True)
class DemoCase:
    """One row: what is asked, and what must come of it."""

    rule: str
    account: int
    asked: str | None
    pool: str = ""
    """That sends; empty when the message is to be refused."""
    reply: str = ""
    """How the refusal begins."""
    subaccount: int = 0
    way: Way = Way.SMTP
    moved: str = ""
    """The IP that is moved into the pool between acceptance and the scheduled time."""
    is_deleted: bool = False
    """Whether the pool is deleted in between."""


class Lab:
    """What a directory.toml has to offer for the cases."""

    def __init__(self, text: str) -> None:
        self.text = text
        tables = tomllib.loads(text)
        self._accounts: list[dict[str, Any]] = tables.get("account", [])
        self._ips: list[dict[str, Any]] = tables.get("sending_ip", [])

    def ips(self, account: int, pool: str) -> set[str]:
        """Addresses of a pool of that account, or of the shared pool."""
        if pool == SHARED:
            return {ip["address"] for ip in self._ips if ip.get("shared")}
        mine = [ip for ip in self._ips if ip.get("account") == account]
        return {ip["address"] for ip in mine if ip.get("pool", "default") == pool}

    def account(self, plan: str, *, has_default: bool) -> int:
        """One with that plan, and IPs in the default pool or none there."""
        for account in self._accounts:
            if account["plan"] == plan and bool(self.ips(account["id"], "default")) == has_default:
                return int(account["id"])
        raise LookupError(f"no {plan} account with default pool {'filled' if has_default else 'empty'}")

    def named(self, account: int) -> str:
        """A pool of that account with IPs, other than the default one."""
        found = {ip["pool"] for ip in self._ips if ip.get("account") == account and ip.get("pool")}
        for pool in sorted(found - {"default"}):
            return str(pool)
        raise LookupError(f"no pool to name in account {account}")

    def bound(self, plan: str) -> tuple[int, int, str]:
        """Account, subaccount and the pool with IPs that it is bound to."""
        for account in self._accounts:
            for subaccount in account.get("subaccount", ()):
                pool = subaccount.get("ip_pool", "")
                if account["plan"] == plan and self.ips(account["id"], pool):
                    return int(account["id"]), int(subaccount["id"]), str(pool)
        raise LookupError(f"no {plan} account with a subaccount that is bound to a filled pool")

    def from_address(self, account: int) -> str:
        """An address that the account may use in From."""
        (mine,) = [listed for listed in self._accounts if listed["id"] == account]
        domains = [domain["domain"] for domain in mine.get("sending_domain", ())]
        return f"demo@{(domains or ['demo.example'])[0]}"


def cases(lab: Lab) -> Iterator[DemoCase]:
    """Every row of the table in both columns. Raises LookupError."""
    for way in (Way.SMTP, Way.REST):
        yield from _immediate(lab, way)
    yield from _scheduled(lab)


def _immediate(lab: Lab, way: Way) -> Iterator[DemoCase]:
    """For what is decided when it is accepted."""
    for plan, who, lone in (("self_serve", "self-serve", 9002), ("enterprise", "Enterprise", 9001)):
        filled, empty = (lab.account(plan, has_default=has_default) for has_default in (True, False))
        named = lab.named(filled)
        is_enterprise = plan == "enterprise"
        none_left = DemoRefusal("IP Pool 'default' is empty") if is_enterprise else SHARED
        rule = "R22" if is_enterprise else "R21"
        name = "R18" if way is Way.SMTP else "R19"
        yield _case(way, f"{name} {who}: a pool is named", filled, named, named)
        yield _case(way, f"{name} {who}: named in capitals", filled, named.upper(), named)
        yield _case(way, f"R20 {who}: nothing named, the default pool has IPs", filled, None, "default")
        yield _case(way, f"{rule} {who}: nothing named, the default pool is empty", empty, None, none_left)
        yield _case(way, f"{rule} {who}: the empty default pool is named", empty, "default", none_left)
        yield _case(way, f"{rule} {who}: no IP in any pool", lone, None, none_left)
        yield _case(way, f"A8  {who}: an unknown pool is named", filled, "nowhere", _NOWHERE)
        nothing_in_it = DemoRefusal("IP Pool 'empty' is empty")
        yield _case(way, f"A8  {who}: an empty pool is named", lone, "empty", nothing_in_it)
        account, subaccount, pool = lab.bound(plan)
        yield _case(way, f"R26 {who}: a bound subaccount", account, None, pool, subaccount)
        yield _case(way, f"R26 {who}: it names its own pool", account, pool, pool, subaccount)
        restricted = DemoRefusal(f"Subaccount {subaccount} is restricted to IP Pool '{pool}'")
        yield _case(way, f"A5  {who}: it names another pool", account, "default", restricted, subaccount)
        yield _case(way, f"R26 {who}: bound to an empty pool", lone, None, nothing_in_it, 1)
        gone = DemoRefusal("IP Pool 'gone' does not exist")
        yield _case(way, f"A9  {who}: bound to a pool that is gone", lone, None, gone, 2)
        shared = DemoRefusal("sp_shared is not a valid customer ip pool") if is_enterprise else none_left
        yield _case(way, f"A6  {who}: the shared pool is named", filled, SHARED, shared)
    free = lab.account("free", has_default=False)
    yield _case(way, "R21 free: no dedicated IP at all", free, None, SHARED)


def _scheduled(lab: Lab) -> Iterator[DemoCase]:
    """What is there at the time counts, not what was there when it was accepted."""
    way = Way.SCHEDULED
    for plan, who, lone, busy, spare in (
        ("self_serve", "self-serve", 9002, 9004, "127.0.90.42"),
        ("enterprise", "Enterprise", 9001, 9003, "127.0.90.32"),
    ):
        filled = lab.account(plan, has_default=True)
        named = lab.named(filled)
        is_enterprise = plan == "enterprise"
        rule = "R33" if is_enterprise else "R32"
        none_left = DemoRefusal("IP Pool 'default' is empty") if is_enterprise else SHARED
        yield _case(way, f"R30 {who}: a pool is named", filled, named, named)
        filling = _case(way, f"R30 {who}: an IP comes into it meanwhile", busy, "filling", "filling")
        yield replace(filling, moved=spare)
        yield _case(way, f"R31 {who}: it is empty", busy, "empty", "default")
        passing = _case(way, f"R31 {who}: it is deleted meanwhile", busy, "passing", "default")
        yield replace(passing, is_deleted=True)
        yield _case(way, f"R31 {who}: bound to an empty pool", busy, None, "default", 2)
        yield _case(way, f"{rule} {who}: it is empty, as is the default pool", lone, "empty", none_left)
        yield _case(way, f"{rule} {who}: bound to an empty pool, the default too", lone, None, none_left, 1)
        # Whether the pool exists is asked at once.
        unknown = _case(Way.REST, f"A8  {who}: an unknown pool is named", filled, "nowhere", _NOWHERE)
        yield replace(unknown, way=way)


def _case(
    way: Way, rule: str, account: int, asked: str | None, outcome: str | DemoRefusal, subaccount: int = 0
) -> DemoCase:
    """outcome: the pool that sends, or the refusal."""
    if isinstance(outcome, DemoRefusal):
        return DemoCase(rule, account, asked, "", _REFUSED[way] + outcome.sentence, subaccount, way)
    return DemoCase(rule, account, asked, outcome, "", subaccount, way)
