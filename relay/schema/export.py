"""The directory as the text of a `directory.toml`, so that what REST and commands made becomes a file."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from relay.domain.directory import (
    Account,
    ApiKey,
    Plan,
    Pool,
    SendingDomain,
    SendingIp,
    Snapshot,
    Status,
    Subaccount,
    may_overflow,
    pool_id_of,
)
from relay.domain.ids import DEFAULT_POOL
from relay.domain.route import MxRoute, Route, TlsPolicy
from relay.schema.tables import MOST_IPS

Item = TypeVar("Item")

_HEAD = """\
# The directory: who may send from what. `relay directory apply` sets the store to what this file says.
# It names keys by their hashes and routes with their passwords: keep it to yourself.
"""


def export(snapshot: Snapshot) -> str:
    """A file that loads back to the same entries, all with Origin.FILE.

    Retired IPs are left out, and sending domains that nobody verified: a file that lists them would
    vouch for them; and what a pool overflows into where it may not, which an earlier relay has stored.
    What the file has no key for (suspended, draining, a plan that waits, options of tracking, a DKIM
    key) is a comment; private keys stay in the store.
    """
    ips = sorted(
        (ip for ip in snapshot.ips.values() if not ip.is_retired),
        key=lambda ip: (ip.account is None, ip.account or 0, ip.shared, ip.pool or "", ip.address),
    )
    blocks = [_HEAD, *(_sending_ip(ip) for ip in ips)]
    for account in _sorted(snapshot.accounts):
        listed = [domain for domain in _sorted(snapshot.domains) if domain.account == account.id]
        domains = [domain for domain in listed if domain.is_verified]
        blocks.append(_account(account, lists_domains=bool(domains)))
        pools = [pool for pool in _sorted(snapshot.pools) if pool.id != DEFAULT_POOL]
        blocks += [
            _pool(pool, overflows=may_overflow(account, pool, snapshot.pools))
            for pool in pools
            if pool.account == account.id
        ]
        blocks += [_subaccount(item) for item in _sorted(snapshot.subaccounts) if item.account == account.id]
        blocks += [_api_key(key) for key in _sorted(snapshot.keys) if key.account == account.id]
        blocks += [_sending_domain(domain) for domain in domains]
    blocks += [_route(route) for route in snapshot.routes]
    return "\n".join(blocks)


def _sorted(entries: Mapping[Any, Item]) -> list[Item]:
    return [entry for _, entry in sorted(entries.items())]


def _sending_ip(ip: SendingIp) -> str:
    values = {
        "address": ip.address,
        "bind": ip.bind if ip.bind != ip.address else "",
        "hostname": ip.hostname,
        "node": ip.node,
        "weight": ip.weight,
        "shared": ip.shared,
        "account": ip.account,
        "pool": ip.pool,
    }
    return _table("sending_ip", values, *(["draining"] if ip.is_draining else []))


def _account(account: Account, *, lists_domains: bool) -> str:
    limit = account.dedicated_ip_limit
    values = {
        "id": account.id,
        "name": account.name,
        "plan": account.plan.value,
        "dedicated_ip_limit": MOST_IPS if limit is None and account.plan is not Plan.ENTERPRISE else limit,
        "ip_price_cents": account.ip_price_cents,
        "bill_cycle_day": account.bill_cycle_day,
        "require_sending_domain": account.require_sending_domain,
        "bounce_domain": account.bounce_domain,
        "dsn": account.dsn,
    }
    if account.require_sending_domain == lists_domains:
        del values["require_sending_domain"]
    remarks = [] if account.status is Status.ACTIVE else [account.status.value]
    if account.next_plan is not None and account.next_plan_at is not None:
        remarks.append(f"plan {account.next_plan} from {account.next_plan_at:%Y-%m-%d}")
    return _table("account", values, *remarks, *account.tracking)


def _pool(pool: Pool, *, overflows: bool) -> str:
    values = {
        "name": pool.name,
        "id": pool.id if pool.id != pool_id_of(pool.name) else "",
        "auto_warmup_overflow_pool": pool.overflow_pool if overflows else "",
        "signing_domain": pool.signing_domain,
        "fbl_signing_domain": pool.fbl_signing_domain,
    }
    return _table("account.pool", values)


def _subaccount(subaccount: Subaccount) -> str:
    values = {"id": subaccount.id, "name": subaccount.name, "ip_pool": subaccount.ip_pool}
    remarks = [] if subaccount.status is Status.ACTIVE else [subaccount.status.value]
    return _table("account.subaccount", values, *remarks)


def _api_key(key: ApiKey) -> str:
    values = {
        "label": key.label,
        "key_sha256": key.sha256,
        "short": key.short,
        "grants": sorted(key.grants),
        "subaccount": key.subaccount,
        "valid_ips": list(key.valid_ips),
        "operator": key.is_operator,
    }
    return _table("account.api_key", values)


def _sending_domain(domain: SendingDomain) -> str:
    values = {
        "domain": domain.domain,
        "subaccount": domain.subaccount,
        "shared_with_subaccounts": domain.shared_with_subaccounts,
    }
    remarks = [f"tracking domain {domain.tracking_domain}"] if domain.tracking_domain else []
    if domain.dkim is not None:
        remarks.append(f"DKIM key {domain.dkim.selector}, which is not in this file")
    return _table("account.sending_domain", values, *remarks)


def _route(route: Route) -> str:
    target = route.target
    values: dict[str, object] = {"domains": list(route.patterns)}
    if isinstance(target, MxRoute):
        values |= {"mx": True, "port": target.port if target.port != 25 else None}
        values["allow_private"] = target.allow_private
    else:
        host = f"[{target.host}]" if ":" in target.host else target.host
        values["smarthost"] = f"{host}:{target.port}"
        values |= {"username": target.username, "password": target.password}
    values["tls"] = target.tls.value if target.tls is not TlsPolicy.OPPORTUNISTIC else ""
    values["ehlo_ignore"] = list(target.ehlo_ignore)
    return _table("route", values)


_ALWAYS = frozenset({"grants", "require_sending_domain"})
"""Keys that mean something when they are empty or false."""


def _table(name: str, values: Mapping[str, object], *remarks: str) -> str:
    """One table of an array. What is empty or false says nothing, as in the schema."""
    lines = [f"[[{name}]]"]
    if remarks:
        lines[0] += f"   # {', '.join(remarks)}: kept as it is by apply"
    lines += [
        f"{key} = {_value(value)}"
        for key, value in values.items()
        if key in _ALWAYS or _says_something(value)
    ]
    return "\n".join(lines) + "\n"


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in ("", [])


def _value(value: object) -> str:
    """TOML writes text, whole numbers, booleans and lists of them as JSON does, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
