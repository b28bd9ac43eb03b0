"""`make demo`: one message for each row of the routing table, and the IP that the next hop saw (C §1.4).

Starts the real program in a folder of its own with the directory of the lab, and a next hop
beside it. Ends with 0 when every message left from where the table says, or was refused as it says.
"""

import asyncio
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.testing.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError, compose, inject_by_smtp
from relay.testing.lab import key_of
from relay.testing.process import RelayProcess

DIRECTORY = Path("config/directory.toml")
SHARED = "sp_shared"
_ARRIVAL_S = 20.0
_ROUTES = re.compile(r"^\[\[route\]\].*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
_HEADINGS = ("rule", "pool", "expected IP", "seen IP", "ok")

CORNERS = """
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
grants = ["smtp/inject"]

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
grants = ["smtp/inject"]

[[account]]
id = 9003
name = "Enterprise with a subaccount"
plan = "enterprise"
[[account.pool]]
name = "Bound"
[[account.subaccount]]
id = 1
name = "Bound"
ip_pool = "bound"
[[account.api_key]]
label = "demo"
key = "de10000000000000000000000000000000009003"
grants = ["smtp/inject"]
[[sending_ip]]
address = "127.0.90.3"
hostname = "mta90-3.relay.localhost"
account = 9003
pool = "bound"
"""
"""Accounts for the rows that no account of a sensible directory stands in."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is asked, and what must come of it."""

    rule: str
    account: int
    asked: str | None
    pool: str = ""
    """That sends; empty when the message is to be refused."""
    reply: str = ""
    """How the refusal begins."""
    subaccount: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that is printed."""

    rule: str
    pool: str
    expected: str
    seen: str
    is_ok: bool


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


def cases(lab: Lab) -> Iterator[Case]:
    """Every row of the table in both columns, as far as SMTP reaches it. Raises LookupError."""
    for plan, who, lone in (("self_serve", "self-serve", 9002), ("enterprise", "Enterprise", 9001)):
        is_enterprise = plan == "enterprise"
        filled, empty = (lab.account(plan, has_default=has_default) for has_default in (True, False))
        named = lab.named(filled)
        none_left = ("", "550 5.7.1 IP Pool 'default' is empty") if is_enterprise else (SHARED, "")
        rule = "R22" if is_enterprise else "R21"
        yield Case(f"R18 {who}: a pool is named", filled, named, named)
        yield Case(f"R18 {who}: named in capitals", filled, named.upper(), named)
        yield Case(f"R20 {who}: nothing named, the default pool has IPs", filled, None, "default")
        yield Case(f"{rule} {who}: nothing named, the default pool is empty", empty, None, *none_left)
        yield Case(f"{rule} {who}: the empty default pool is named", empty, "default", *none_left)
        yield Case(f"{rule} {who}: no IP in any pool", lone, None, *none_left)
        unknown = "550 5.7.1 IP Pool 'nowhere' does not exist"
        yield Case(f"A8  {who}: an unknown pool is named", filled, "nowhere", reply=unknown)
        nothing_in_it = "550 5.7.1 IP Pool 'empty' is empty"
        yield Case(f"A8  {who}: an empty pool is named", lone, "empty", reply=nothing_in_it)
        account, subaccount, pool = lab.bound(plan)
        yield Case(f"R26 {who}: a bound subaccount", account, None, pool, subaccount=subaccount)
        yield Case(f"R26 {who}: it names its own pool", account, pool, pool, subaccount=subaccount)
        restricted = f"550 5.7.1 Subaccount {subaccount} is restricted to IP Pool '{pool}'"
        yield Case(
            f"A5  {who}: it names another pool", account, "default", reply=restricted, subaccount=subaccount
        )
        yield Case(f"R26 {who}: bound to an empty pool", lone, None, reply=nothing_in_it, subaccount=1)
        gone = "550 5.7.1 IP Pool 'gone' does not exist"
        yield Case(f"A9  {who}: bound to a pool that is gone", lone, None, reply=gone, subaccount=2)
        shared = ("", "550 5.7.1 sp_shared is not a valid customer ip pool") if is_enterprise else none_left
        yield Case(f"A6  {who}: the shared pool is named", filled, SHARED, *shared)
    free = lab.account("free", has_default=False)
    yield Case("R21 free: no dedicated IP at all", free, None, SHARED)


async def run(directory: str, choose: Callable[[Lab], Iterable[Case]] = cases) -> list[Row]:
    """Send one message for each case through a relay with this directory, the text of a directory.toml."""
    lab = Lab(_ROUTES.sub("", directory) + CORNERS)
    listed = list(choose(lab))
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as folder:
        async with FakeMta() as mta, RelayProcess(Path(folder), mta.address, directory=lab.text) as relay:
            replies = [await _inject(relay, lab, case, number) for number, case in enumerate(listed)]
            await _wait(mta, sum(reply.startswith("250") for reply in replies))
            return [_judge(mta, lab, *told) for told in zip(listed, replies, range(len(listed)), strict=True)]


async def _wait(mta: FakeMta, count: int) -> None:
    """Until that much mail came; what is missing then is told in its row."""
    try:
        await mta.attempts_reached(count, timeout_s=_ARRIVAL_S)
    except TimeoutError:
        return


async def _inject(relay: RelayProcess, lab: Lab, case: Case, number: int) -> str:
    """The reply to the message of one case."""
    user = "SMTP_Injection" + (f":X-MSYS-SUBACCOUNT={case.subaccount}" if case.subaccount else "")
    login = (user, key_of(lab.text, case.account))
    mail_from, to = lab.from_address(case.account), _recipient(number)
    content = compose(to, mail_from, ip_pool=case.asked)
    try:
        return "250 " + await inject_by_smtp((relay.host, relay.port), login, mail_from, [to], content)
    except InjectionRefusedError as refused:
        return str(refused)


def _judge(mta: FakeMta, lab: Lab, case: Case, reply: str, number: int) -> Row:
    attempts = mta.attempts_for(_recipient(number))
    seen = " ".join(attempt.peer_ip for attempt in attempts)
    if not case.pool:
        is_ok = reply.startswith(case.reply) and not attempts
        return Row(case.rule, "refused", case.reply.strip(), seen or reply, is_ok)
    expected = lab.ips(case.account, case.pool)
    is_ok = [attempt.is_accepted for attempt in attempts] == [True] and seen in expected
    told = seen or ("nothing came" if reply.startswith("250") else reply)
    return Row(case.rule, case.pool, " or ".join(sorted(expected)), told, is_ok)


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings, in columns."""
    cells = [_HEADINGS, *((r.rule, r.pool, r.expected, r.seen, "ok" if r.is_ok else "WRONG") for r in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    rights = sum(row.is_ok for row in rows)
    return "\n".join([*lines, "", f"{rights} of {len(rows)} rows are ok"])


def _recipient(number: int) -> str:
    return f"row{number}@example.com"


def main(arguments: Sequence[str]) -> int:
    """0 when every row is ok, 1 when one is not or the relay does not start, 2 without a usable directory."""
    path = Path(arguments[0]) if arguments else DIRECTORY
    try:
        rows = asyncio.run(run(path.read_text(encoding="utf-8")))
    except (ChildProcessError, TimeoutError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, LookupError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 2
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(row.is_ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
