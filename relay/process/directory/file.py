"""`directory.toml`: who may send from what, as a file. Read and checked as a whole."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from relay.config.problems import AnyTable, ConfigError, Location, known_key, line, parse_table, show_value
from relay.config.toml import read_toml
from relay.domain.directory import (
    RESERVED_POOLS,
    SHARED_OVERFLOW,
    SUBACCOUNT_GRANTS,
    Account,
    Entry,
    Plan,
    ip_limit,
    may_overflow,
)
from relay.domain.ids import DEFAULT_POOL
from relay.domain.route import Route
from relay.resources.accounts.file import AccountTable
from relay.resources.api_keys.file import ApiKeyTable
from relay.resources.ip_pools.file import PoolTable
from relay.resources.routes.file import RouteTable
from relay.resources.sending_domains.file import SendingDomainTable
from relay.resources.sending_ips.file import SendingIpTable
from relay.resources.subaccounts.file import SubaccountTable

_TABLES = ("sending_ip", "account", "route")
_NAMES: Mapping[str, str] = {
    "sending_ip": "address",
    "account": "id",
    "pool": "name",
    "subaccount": "id",
    "api_key": "label",
    "sending_domain": "domain",
}
"""What people call one table of a list by."""

_Placed = list[tuple[int, AnyTable]]
"""Tables that are right by themselves, with their position in the file."""


@dataclass(frozen=True, slots=True)
class DirectoryFile:
    """What the file says, checked. Every entry has Origin.FILE."""

    entries: tuple[Entry, ...]
    """In the order in which they can be written: accounts first, then what is theirs."""
    routes: tuple[Route, ...]
    idle: tuple[str, ...] = ()
    """Keys that stand there without effect."""


def load_directory(path: Path) -> DirectoryFile:
    """The file at path. Raises ConfigError with all that is wrong."""
    return _Reader(path, read_toml(path)).read()


class WholeAccountTable(AccountTable):
    """`[[account]]`, with what is its own."""

    pool: tuple[PoolTable, ...] = ()
    subaccount: tuple[SubaccountTable, ...] = ()
    api_key: tuple[ApiKeyTable, ...] = ()
    sending_domain: tuple[SendingDomainTable, ...] = ()

    def entry(self) -> Account:
        """The account alone."""
        return self.to_domain(lists_domains=bool(self.sending_domain))


class _Reader:
    """One file while it is read; `problems` gathers what is wrong."""

    def __init__(self, path: Path, tree: dict[str, Any]) -> None:
        self._path, self._tree = path, tree
        self._problems: list[str] = []

    def read(self) -> DirectoryFile:
        for key in self._tree:
            if key not in _TABLES:
                self._problem((key,), self._tree[key], known_key(key, _TABLES))
        ips = self._tables("sending_ip", SendingIpTable)
        accounts = self._tables("account", WholeAccountTable)
        routes = self._tables("route", RouteTable)
        self._check_unique(("sending_ip",), "address", [(at, ip.address) for at, ip in ips])
        self._check_unique(("account",), "id", [(at, account.id) for at, account in accounts])
        self._check_keys(accounts)
        for at, account in accounts:
            self._check_pools(("account", at), account)
            self._check_subaccounts(("account", at), account)
        for at, ip in ips:
            self._check_place(("sending_ip", at), ip, accounts)
        self._check_limits(ips, accounts)
        if self._problems:
            raise ConfigError(tuple(self._problems))
        return DirectoryFile(
            tuple(_entries([account for _, account in accounts], [ip for _, ip in ips])),
            tuple(route.to_domain() for _, route in routes),
            tuple(
                self._key(("route", at, "allow_private"))
                for at, route in routes
                if route.allow_private and route.smarthost is not None
            ),
        )

    def _tables(self, name: str, model: type[AnyTable]) -> "_Placed[AnyTable]":
        """Those tables of the list that are right by themselves; the others leave problems."""
        listed = self._tree.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            self._problem((name,), listed, f"tables that begin with [[{name}]]")
            return []
        found = []
        for at, item in enumerate(listed):
            try:
                table = parse_table(model, item, self._source, partial(self._key_within, name, at))
            except ConfigError as error:
                self._problems += error.problems
            else:
                found.append((at, table))
        return found

    # ── checks between tables ────────────────────────────────────────────────────────────

    def _check_unique(self, within: Location, key: str, values: Iterable[tuple[int, object]]) -> None:
        seen = set()
        for at, value in values:
            if value in seen:
                self._problem((*within, at, key), value, f"another {key} than its predecessors have")
            seen.add(value)

    def _check_keys(self, accounts: "_Placed[WholeAccountTable]") -> None:
        seen = set()
        for at, account in accounts:
            for number, key in enumerate(account.api_key):
                where = ("account", at, "api_key", number)
                if (key.key is None) == (key.key_sha256 is None):
                    self._problem((*where, "key"), key.key, "either key or key_sha256")
                elif key.sha256 in seen:
                    self._problem((*where, "key"), key.sha256, "a key that is listed once")
                seen.add(key.sha256)
                beyond = sorted(set(key.grants) - SUBACCOUNT_GRANTS)
                if key.subaccount and beyond:
                    expected = f"grants that a subaccount may hold: {', '.join(sorted(SUBACCOUNT_GRANTS))}"
                    self._problem((*where, "grants"), beyond, expected)
                if key.subaccount and key.operator:
                    self._problem((*where, "operator"), True, "no subaccount beside it")

    def _check_pools(self, where: Location, account: WholeAccountTable) -> None:
        entry = account.entry()
        pools = {(account.id, pool.id): pool.to_domain(account.id) for pool in account.pool}
        seen = set()
        for at, pool in enumerate(account.pool):
            place = (*where, "pool", at)
            if pool.id in RESERVED_POOLS:
                self._problem(
                    (*place, "name"), pool.name, f"a name whose id is not {pool.id}: it is reserved"
                )
            elif pool.id in seen:
                self._problem(
                    (*place, "name"), pool.name, f"a name whose id is not {pool.id}: another pool has it"
                )
            seen.add(pool.id)
            if not may_overflow(entry, pool.to_domain(account.id), pools):
                places = (DEFAULT_POOL, *(id_ for _, id_ in pools), SHARED_OVERFLOW)
                named = {one: replace(pool.to_domain(account.id), overflow_pool=one) for one in places}
                able = [name for name, other in named.items() if may_overflow(entry, other, pools)]
                expected = f"another pool without an overflow pool: {', '.join(able)}"
                value = pool.auto_warmup_overflow_pool
                self._problem((*place, "auto_warmup_overflow_pool"), value, expected)

    def _check_subaccounts(self, where: Location, account: WholeAccountTable) -> None:
        ids = [subaccount.id for subaccount in account.subaccount]
        self._check_unique((*where, "subaccount"), "id", enumerate(ids))
        domains = [domain.domain for domain in account.sending_domain]
        self._check_unique((*where, "sending_domain"), "domain", enumerate(domains))
        lists: dict[str, tuple[ApiKeyTable | SendingDomainTable, ...]] = {
            "api_key": account.api_key,
            "sending_domain": account.sending_domain,
        }
        for name, listed in lists.items():
            for at, item in enumerate(listed):
                if item.subaccount and item.subaccount not in ids:
                    known = ", ".join(str(number) for number in [0, *ids])
                    expected = f"a subaccount of account {account.id}: {known}"
                    self._problem((*where, name, at, "subaccount"), item.subaccount, expected)

    def _check_place(
        self, where: Location, ip: SendingIpTable, accounts: "_Placed[WholeAccountTable]"
    ) -> None:
        """The account and the pool that the IP is given to. An account with problems of its own is let be."""
        if ip.account is None:
            return
        ids = self._account_ids()
        if ip.account not in ids:
            known = ", ".join(str(number) for number in ids) or "none"
            self._problem((*where, "account"), ip.account, f"the id of an account of this file: {known}")
        for _, account in accounts:
            pools = [DEFAULT_POOL, *(pool.id for pool in account.pool)]
            if account.id == ip.account and ip.pool and ip.pool not in pools:
                expected = f"the id of a pool of account {account.id}: {', '.join(pools)}"
                self._problem((*where, "pool"), ip.pool, expected)

    def _check_limits(self, ips: "_Placed[SendingIpTable]", accounts: "_Placed[WholeAccountTable]") -> None:
        """R1, R13, R14."""
        held = Counter(ip.account for _, ip in ips)
        for at, account in accounts:
            limit, number = ip_limit(account.entry()), held[account.id]
            if limit is not None and number > limit:
                expected = (
                    "no dedicated IP on the free plan"
                    if account.plan is Plan.FREE
                    else f"at least {number}, as many dedicated IPs as the account is given"
                )
                key, value = ("plan", "free") if account.plan is Plan.FREE else ("dedicated_ip_limit", limit)
                self._problem(("account", at, key), value, f"{expected}; sending_ip gives it {number}")

    def _account_ids(self) -> list[object]:
        """Of all accounts, those with problems too."""
        listed = self._tree.get("account", [])
        tables = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        return [table.get("id") for table in tables]

    # ── telling ──────────────────────────────────────────────────────────────────────────

    def _source(self, _: Location) -> str:
        return str(self._path)

    def _key_within(self, name: str, at: int, location: Location) -> str:
        return self._key((name, at, *location))

    def _problem(self, location: Location, value: object, expected: str) -> None:
        self._problems.append(line(self._path, self._key(location), show_value(value, location), expected))

    def _key(self, location: Location) -> str:
        """`account[1].pool[Marketing].name`: tables of a list by what people call them, else by position."""
        text, name = "", ""
        node: Any = self._tree
        for part in location:
            if isinstance(part, int):
                text += f"[{_call(node, part, name)}]"
                node = node[part] if isinstance(node, list) else None
            else:
                text, name = f"{text}.{part}" if text else part, part
                node = node.get(part) if isinstance(node, dict) else None
        return text


def _call(listed: Any, at: int, name: str) -> str:
    key = _NAMES.get(name)
    if key is not None and isinstance(listed, list):
        names = [str(item.get(key, "")) if isinstance(item, dict) else "" for item in listed]
        if names[at] and names.count(names[at]) == 1:
            return names[at]
    return f"#{at + 1}"


def _entries(accounts: Iterable[WholeAccountTable], ips: Iterable[SendingIpTable]) -> Iterator[Entry]:
    accounts = tuple(accounts)
    for account in accounts:
        yield account.entry()
    for account in accounts:
        yield from (pool.to_domain(account.id) for pool in account.pool)
        yield from (subaccount.to_domain(account.id) for subaccount in account.subaccount)
        yield from (key.to_domain(account.id) for key in account.api_key)
        yield from (domain.to_domain(account.id) for domain in account.sending_domain)
    for ip in ips:
        yield ip.to_domain()
