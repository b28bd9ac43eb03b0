"""An export and the file that it makes: nothing that a file can say is lost, and nothing changes by it."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import entries_of, identity
from relay.domain.directory import (
    GRANTS,
    SUBACCOUNT_GRANTS,
    Account,
    ApiKey,
    Check,
    DkimKey,
    Entry,
    Origin,
    Plan,
    Pool,
    SendingDomain,
    SendingIp,
    Snapshot,
    Status,
    Subaccount,
    ip_limit,
    pool_id_of,
)
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId, SubaccountId
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.process.directory.changes import changes_to
from relay.process.directory.export import export
from relay.process.directory.file import DirectoryFile, load_directory

Target = MxRoute | SmarthostRoute
Values = Mapping[str, st.SearchStrategy[Any]]

WHEN = st.integers(0, 2**31).map(lambda second: datetime.fromtimestamp(second, UTC))
NAMES = st.text(min_size=1, max_size=64).filter(lambda text: bool(text.strip()) and text.isprintable())
POOL_NAMES = st.from_regex(r"[A-Za-z0-9]{1,9}([ _-][A-Za-z0-9]{1,9})?", fullmatch=True).filter(
    lambda name: pool_id_of(name) not in {"default", "sp_shared", "shared_pool"}
)
POOL_IDS = st.from_regex(r"[a-z0-9]{1,8}_?[a-z0-9]{1,8}", fullmatch=True).filter(
    lambda text: text not in {"default", "sp_shared", "shared_pool"}
)
HOSTS = st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,3})?\.[a-z]{2,5}", fullmatch=True)
SHA256 = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
IPV4, IPV6 = (
    st.integers(1, 200).map(lambda number: IpAddress(f"127.0.0.{number}")),
    st.integers(1, 200).map(lambda number: IpAddress(f"2001:db8::{number:x}")),
)
NETWORKS = st.sampled_from(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1", "192.0.2.2/32"])

SAID: Mapping[type[Entry], Values] = {
    Account: {
        "name": NAMES,
        "plan": st.sampled_from(Plan),
        "dedicated_ip_limit": st.none() | st.integers(1, 99_999),
        "ip_price_cents": st.integers(0, 100_000_000),
        "bill_cycle_day": st.integers(1, 28),
        "require_sending_domain": st.booleans(),
        "bounce_domain": st.just("") | HOSTS,
        "dsn": st.booleans(),
    },
    Pool: {
        "name": POOL_NAMES,
        "signing_domain": st.just("") | HOSTS,
        "fbl_signing_domain": st.just("") | HOSTS,
    },
    Subaccount: {
        "name": NAMES,
        "ip_pool": st.none() | st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True),
    },
    SendingIp: {
        "hostname": HOSTS,
        "node": st.just(NodeName("")) | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        "weight": st.integers(1, 100),
        "shared": st.booleans(),
    },
    ApiKey: {
        "short": st.text("0123456789abcdef", max_size=4),
        "label": NAMES,
        "valid_ips": st.lists(NETWORKS, unique=True).map(tuple),
    },
    SendingDomain: {"shared_with_subaccounts": st.booleans()},
}
"""What a file says of an entry, beside what it is known by."""

KEPT: Mapping[type[Entry], Values] = {
    Account: {
        "status": st.sampled_from(Status),
        "origin": st.sampled_from(Origin),
        "next_plan": st.none() | st.sampled_from(Plan),
        "next_plan_at": st.none() | WHEN,
        "tracking": st.sampled_from([(), ("click_tracking", "smtp_tracking_default")]),
    },
    Pool: {"origin": st.sampled_from(Origin)},
    Subaccount: {
        "status": st.sampled_from(Status),
        "origin": st.sampled_from(Origin),
        "created": st.none() | WHEN,
        "updated": st.none() | WHEN,
    },
    SendingIp: {
        "is_draining": st.booleans(),
        "is_retired": st.just(False),  # such ones are left out
        "origin": st.sampled_from(Origin),
        "released_from": st.none(),
    },
    ApiKey: {"origin": st.sampled_from(Origin)},
    SendingDomain: {
        "origin": st.sampled_from(Origin),
        "tracking_domain": st.just("") | HOSTS,
        "dkim": st.none() | st.builds(DkimKey, HOSTS, st.just("public half"), st.just("private half")),
        "dkim_status": st.just(Check.VALID),  # others are left out, unless a file lists them
        "cname_status": st.sampled_from(Check),
        "mx_status": st.sampled_from(Check),
        "created": st.none() | WHEN,
    },
}
"""What only the store has: no file says it, and applying one leaves it alone."""

PLACES: Mapping[type[Entry], frozenset[str]] = {
    Account: frozenset({"id"}),
    Pool: frozenset({"account", "id", "overflow_pool"}),
    Subaccount: frozenset({"account", "id"}),
    SendingIp: frozenset({"address", "bind", "account", "pool"}),
    ApiKey: frozenset({"sha256", "account", "subaccount", "grants", "is_operator"}),
    SendingDomain: frozenset({"account", "domain", "subaccount"}),
}
"""What an entry is known by, and what depends on others: drawn below."""

IGNORED = st.lists(st.sampled_from(["PIPELINING", "CHUNKING", "8BITMIME"]), unique=True).map(tuple)
ROUTING: Mapping[type[Target], Values] = {
    MxRoute: {
        "tls": st.sampled_from(TlsPolicy),
        "port": st.integers(1, 65_535),
        "allow_private": st.booleans(),
        "ehlo_ignore": IGNORED,
    },
    SmarthostRoute: {
        "host": HOSTS | IPV4 | IPV6,
        "port": st.integers(1, 65_535),
        "tls": st.sampled_from(TlsPolicy),
        "username": st.text(min_size=1),
        "password": st.text(min_size=1),
        "ehlo_ignore": IGNORED,
    },
}
WITHOUT_LOGIN = {**ROUTING[SmarthostRoute], "username": st.just(""), "password": st.just("")}
TARGETS = (
    st.builds(MxRoute, **ROUTING[MxRoute])
    | st.builds(SmarthostRoute, **ROUTING[SmarthostRoute])
    | st.builds(SmarthostRoute, **WITHOUT_LOGIN)
)
PATTERNS = HOSTS | HOSTS.map(lambda host: f"*.{host}") | st.just("*")
ROUTES = st.lists(
    st.builds(Route, st.lists(PATTERNS, min_size=1, max_size=3).map(tuple), TARGETS), max_size=3
)


@pytest.mark.parametrize("kind", get_args(Entry))
def test_each_field_of_an_entry_is_said_by_the_file_or_kept_by_the_store(kind: type[Entry]) -> None:
    drawn = [*SAID[kind], *KEPT[kind], *PLACES[kind]]
    assert sorted(drawn) == sorted(field.name for field in dataclasses.fields(kind))


@pytest.mark.parametrize("kind", get_args(Target))
def test_each_field_of_a_route_is_drawn(kind: type[Target]) -> None:
    assert sorted(ROUTING[kind]) == sorted(field.name for field in dataclasses.fields(kind))


def values_of(kind: type[Entry]) -> Values:
    return {**SAID[kind], **KEPT[kind]}


@st.composite
def directories(draw: st.DrawFn) -> Snapshot:
    """Of what may be in a store together."""
    entries: list[Entry] = []
    addresses = draw(st.lists(IPV4 | IPV6, unique=True, max_size=6))
    hashes = draw(st.lists(SHA256, unique=True, max_size=4))
    for number in draw(st.lists(st.integers(1, 2**31 - 1), unique=True, max_size=3)):
        account = draw(st.builds(Account, st.just(AccountId(number)), **values_of(Account)))
        pools = draw(st.lists(POOL_IDS.map(PoolId), unique=True, max_size=3))
        parts = draw(st.lists(st.integers(1, 2**31 - 1).map(SubaccountId), unique=True, max_size=2))
        entries += [account, Pool(account.id, DEFAULT_POOL, "Default")]
        for at, pool in enumerate(pools):
            # One step of overflow: the later ones into the first, into `default`, into the shared pool.
            others = ["", *([pools[0], DEFAULT_POOL] if at else [])]
            others += ["shared pool"] if at and account.has_shared_pool else []
            overflow = st.sampled_from(others)
            entries.append(
                draw(
                    st.builds(
                        Pool,
                        st.just(account.id),
                        st.just(pool),
                        overflow_pool=overflow,
                        **values_of(Pool),
                    )
                )
            )
        entries += [
            draw(st.builds(Subaccount, st.just(account.id), st.just(part), **values_of(Subaccount)))
            for part in parts
        ]
        whose = st.none() | st.sampled_from(parts) if parts else st.none()
        for sha256 in [hashes.pop() for _ in range(min(len(hashes), 2))]:
            part = draw(whose)
            grants = SUBACCOUNT_GRANTS if part else GRANTS
            key = st.builds(
                ApiKey,
                sha256=st.just(sha256),
                account=st.just(account.id),
                grants=st.frozensets(st.sampled_from(sorted(grants))),
                subaccount=st.just(part),
                is_operator=st.just(False) if part else st.booleans(),
                **values_of(ApiKey),
            )
            entries.append(draw(key))
        entries += [
            draw(
                st.builds(
                    SendingDomain,
                    st.just(account.id),
                    st.just(domain),
                    subaccount=whose,
                    **values_of(SendingDomain),
                )
            )
            for domain in draw(st.lists(HOSTS, unique=True, max_size=2))
        ]
        limit = ip_limit(account)
        for _ in range(draw(st.integers(0, min(2, len(addresses), 2 if limit is None else limit)))):
            drawn = draw_ip(draw, addresses.pop())
            pool = draw(st.sampled_from([DEFAULT_POOL, *pools]))
            entries.append(replace(drawn, shared=False, account=account.id, pool=pool))
    entries += [draw_ip(draw, address) for address in addresses]
    return snapshot_of(entries, tuple(draw(ROUTES)))


def draw_ip(draw: st.DrawFn, address: IpAddress) -> SendingIp:
    bind = st.just(address) | (IPV6 if ":" in address else IPV4)
    return draw(st.builds(SendingIp, st.just(address), bind, **values_of(SendingIp)))


def snapshot_of(entries: Iterable[Entry], routes: tuple[Route, ...]) -> Snapshot:
    entries = tuple(entries)
    return Snapshot(
        accounts={entry.id: entry for entry in entries if isinstance(entry, Account)},
        pools={(entry.account, entry.id): entry for entry in entries if isinstance(entry, Pool)},
        subaccounts={(entry.account, entry.id): entry for entry in entries if isinstance(entry, Subaccount)},
        ips={entry.address: entry for entry in entries if isinstance(entry, SendingIp)},
        keys={entry.sha256: entry for entry in entries if isinstance(entry, ApiKey)},
        domains={
            (entry.account, entry.domain): entry for entry in entries if isinstance(entry, SendingDomain)
        },
        routes=routes,
    )


def as_said(entry: Entry) -> Entry:
    """The entry as a file can say it: without what only the store has."""
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(entry)}
    return replace(entry, **{name: defaults[name] for name in KEPT[type(entry)]})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export") / "directory.toml"


def load(file: Path, text: str) -> DirectoryFile:
    file.write_text(text, encoding="utf-8")
    return load_directory(file)


@given(stored=directories())
def test_what_is_exported_loads_back_with_each_field_that_a_file_can_say(
    file: Path, stored: Snapshot
) -> None:
    again = load(file, export(stored))
    listed = {identity(entry): entry for entry in again.entries}
    wanted = {
        identity(entry): as_said(entry)
        for entry in entries_of(stored)
        if getattr(entry, "id", "") != DEFAULT_POOL
    }
    assert listed == wanted
    assert again.routes == stored.routes


@given(stored=directories())
def test_an_export_that_is_applied_changes_nothing_but_where_entries_come_from(
    file: Path, stored: Snapshot
) -> None:
    of_files = [replace(entry, origin=Origin.FILE) for entry in entries_of(stored)]
    again = load(file, export(stored))
    difference = changes_to(snapshot_of(of_files, stored.routes), again.entries, again.routes)
    assert difference.changes == ()
