"""Stores that are full of mail and events, made within a minute or two.

    python -m tests.support.crowded STORE MESSAGES EVENTS

The rows of mail and events are written in bulk into a store of an older version. Counts, tallies and
indexes come of its upgrade, and summaries of the product's own work.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final

from relay.domain.changes import Put
from relay.domain.directory import Account, Entry, Plan, Pool, SendingIp
from relay.domain.ids import SHARED_POOL, AccountId, IpAddress, PoolId, Revision, to_us
from relay.net.ambient import SystemClock
from relay.store import migrate_store, open_store
from relay.store.migrate import migrate, migrations
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.wal import connect_wal

ACCOUNTS: Final = tuple(AccountId(number) for number in range(1, 6))
"""The first has six messages of ten, the last one of a hundred."""
IPS: Final = tuple(IpAddress(f"127.0.3.{number}") for number in range(1, 21))
SHARED: Final = IPS[18:]
"""Every tenth message leaves from one of these. The others are the accounts', in turn."""
DOMAINS: Final = 2000
"""Half of the mail is for the first ten of d0.example, d1.example, …"""
NEEDLE: Final = "needle"
"""Two of the oldest events are about a message of account 1 that has this everywhere a search may look."""
NEEDLE_IP: Final = IpAddress("127.0.3.99")
_WORDS: Final = {"needle": NEEDLE, "needle_ip": NEEDLE_IP}
_BEFORE: Final = 5
"""The version that the rows are written in."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """A store full of mail."""

    url: str
    now: datetime
    """When the newest event was; the oldest is two days older."""
    upgrade_s: float
    """How long the upgrade took."""


async def crowd(path: Path, messages: int, events: int, *, with_summaries: bool = True) -> Crowd:
    """A new store at path with so many unfinished messages and events, five accounts and twenty IPs."""
    url, now = f"sqlite:///{path}", SystemClock().now()
    path.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(_write, path, messages, events, to_us(now))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.to_thread(migrate_store, url)
    upgrade_s = loop.time() - started
    async with await open_store(url) as store:
        await store.directory.apply(_directory(), Revision(0), "crowd", now)
        while with_summaries and await store.events.summarise():
            pass
    return Crowd(url, now, upgrade_s)


def ips_of(account: AccountId) -> Sequence[IpAddress]:
    """The dedicated IPs of the account."""
    return IPS[account - 1 : 18 : 5]


def pool_of(ip: IpAddress) -> PoolId:
    """The first half of the dedicated IPs are in the pools `default`, the others in `marketing`."""
    return SHARED_POOL if ip in SHARED else PoolId("default" if ip in IPS[:10] else "marketing")


def _directory() -> list[Put]:
    pools = [Pool(account, PoolId("marketing"), "Marketing") for account in ACCOUNTS]
    ips = [
        SendingIp(ip, ip, f"mta.{ip}", account=account, pool=pool_of(ip))
        for account in ACCOUNTS
        for ip in ips_of(account)
    ]
    shared = [SendingIp(ip, ip, f"mta.{ip}", shared=True) for ip in SHARED]
    accounts = [Account(account, f"Account {account}", Plan.ENTERPRISE) for account in ACCOUNTS]
    entries: list[Entry] = [*accounts, *pools, *ips, *shared]
    return [Put(entry) for entry in entries]


def _write(path: Path, messages: int, events: int, now_us: int) -> None:
    steps = {
        version: text for version, text in migrations("relay.store.sqlite").items() if version <= _BEFORE
    }
    with closing(connect_wal(path)) as connection:
        # It is new: what a power failure leaves of it is thrown away.
        connection.execute("PRAGMA synchronous = OFF")
        migrate(connection, steps)
        connection.execute("BEGIN")
        _number(connection, max(messages, events))
        given = {"messages": messages, "events": events, "now_us": now_us}
        for text in load_queries("tests.support", "crowded.sql", _WORDS).values():
            used = {name: value for name, value in given.items() if f":{name}" in text}
            connection.execute(text, used)
        connection.execute("DROP TABLE numbered")
        connection.execute("COMMIT")


def _number(connection: Connection, rows: int) -> None:
    """What each row is about, by its number: the same in each store."""
    connection.execute(
        "CREATE TABLE numbered (n INTEGER PRIMARY KEY, account INTEGER, ip TEXT, pool TEXT, domain TEXT)"
    )
    connection.executemany("INSERT INTO numbered VALUES (?, ?, ?, ?, ?)", _numbered(rows))


def _numbered(rows: int) -> Iterator[tuple[int, AccountId, IpAddress, PoolId, str]]:
    bits = Random(1).getrandbits
    share = [
        account for account, parts in zip(ACCOUNTS, (60, 20, 12, 7, 1), strict=True) for _ in range(parts)
    ]
    own = {account: ips_of(account) for account in ACCOUNTS}
    for number in range(rows):
        account = share[bits(20) % 100]
        ip = SHARED[bits(1)] if bits(20) % 10 == 0 else own[account][bits(20) % len(own[account])]
        domain = bits(20) % (DOMAINS if bits(1) else 10)
        yield number, account, ip, pool_of(ip), f"d{domain}.example"


if __name__ == "__main__":
    made = asyncio.run(crowd(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    print(f"{made.url}, upgraded in {made.upgrade_s:.1f} s")  # noqa: T201 - its output
