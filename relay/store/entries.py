"""Directory objects ⇄ JSON: few and rarely written, so one table and one shape serve all kinds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, assert_never

from relay.domain.directory import (
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
)
from relay.domain.ids import AccountId, IpAddress, NodeName, PoolId, Revision, SubaccountId, from_us, to_us
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.store.codec import from_json, to_json

ROUTES = "routes"
"""The kind of the one entry that is no `Entry`: all routes, in order."""


def place(entry: Entry) -> tuple[str, str]:
    """Kind and key under which the entry is stored."""
    match entry:
        case Account():
            return "account", str(entry.id)
        case Pool():
            return "pool", f"{entry.account}/{entry.id}"
        case Subaccount():
            return "subaccount", f"{entry.account}/{entry.id}"
        case SendingIp():
            return "sending_ip", entry.address
        case ApiKey():
            return "api_key", entry.sha256
        case SendingDomain():
            return "sending_domain", f"{entry.account}/{entry.domain}"
        case _:
            assert_never(entry)


def entry_json(entry: Entry) -> str:
    fields = asdict(entry)
    if isinstance(entry, ApiKey):
        fields["grants"] = sorted(entry.grants)
    if isinstance(entry, SendingDomain):
        fields["created"] = None if entry.created is None else to_us(entry.created)
    if isinstance(entry, Subaccount):
        fields |= {"created": _us(entry.created), "updated": _us(entry.updated)}
    if isinstance(entry, Account):
        fields["next_plan_at"] = None if entry.next_plan_at is None else to_us(entry.next_plan_at)
    return to_json(fields)


def told_json(value: str | None) -> str | None:
    """What `entry_json` wrote, fit for an audit line: without a private key."""
    if value is None or '"private":' not in value:
        return value
    fields = from_json(value)
    dkim = fields.get("dkim")
    if isinstance(dkim, dict):
        del dkim["private"]
    return to_json(fields)


def entry(kind: str, value: str) -> Entry:
    """What `entry_json` wrote."""
    return _READERS[kind](from_json(value))


def routes_json(routes: Iterable[Route], *, with_passwords: bool = True) -> str:
    """The list of routes; without passwords for eyes and audit lines."""
    listed = []
    for route in routes:
        target = asdict(route.target)
        if not with_passwords and target.pop("password", ""):
            target["has_password"] = True
        listed.append({"patterns": route.patterns, "target": target})
    return to_json(listed)


def routes(value: str) -> tuple[Route, ...]:
    """What `routes_json` wrote, with passwords."""
    return tuple(Route(tuple(fields["patterns"]), _target(fields["target"])) for fields in from_json(value))


def snapshot(revision: Revision, rows: Iterable[tuple[str, str]]) -> Snapshot:
    """The directory that rows of (kind, value) make."""
    found: list[Entry] = []
    listed: tuple[Route, ...] = ()
    for kind, value in rows:
        if kind == ROUTES:
            listed = routes(value)
        else:
            found.append(entry(kind, value))
    return Snapshot(
        revision=revision,
        accounts={item.id: item for item in found if isinstance(item, Account)},
        pools={(item.account, item.id): item for item in found if isinstance(item, Pool)},
        subaccounts={(item.account, item.id): item for item in found if isinstance(item, Subaccount)},
        ips={item.address: item for item in found if isinstance(item, SendingIp)},
        keys={item.sha256: item for item in found if isinstance(item, ApiKey)},
        domains={(item.account, item.domain): item for item in found if isinstance(item, SendingDomain)},
        routes=listed,
    )


_CHECKS = ("dkim_status", "cname_status", "mx_status")


def _target(fields: dict[str, Any]) -> MxRoute | SmarthostRoute:
    fields["tls"] = TlsPolicy(fields["tls"])
    fields["ehlo_ignore"] = tuple(fields.get("ehlo_ignore", ()))
    return SmarthostRoute(**fields) if "host" in fields else MxRoute(**fields)


def _account(fields: dict[str, Any]) -> Account:
    enums = {"plan": Plan(fields["plan"]), "status": Status(fields["status"]), **_origin(fields)}
    next_plan, at_us = fields.get("next_plan"), fields.get("next_plan_at")
    pending = {
        "next_plan": None if next_plan is None else Plan(next_plan),
        "next_plan_at": None if at_us is None else from_us(at_us),
        "tracking": tuple(fields.get("tracking", ())),
    }
    return Account(**{**fields, "id": AccountId(fields["id"]), **enums, **pending})


def _pool(fields: dict[str, Any]) -> Pool:
    return Pool(**{**fields, "id": PoolId(fields["id"]), **_origin(fields)})


def _subaccount(fields: dict[str, Any]) -> Subaccount:
    return Subaccount(
        **{
            **fields,
            "id": SubaccountId(fields["id"]),
            "status": Status(fields["status"]),
            **_origin(fields),
            "created": _moment(fields.get("created")),
            "updated": _moment(fields.get("updated")),
        }
    )


def _sending_ip(fields: dict[str, Any]) -> SendingIp:
    address, node = IpAddress(fields["address"]), NodeName(fields["node"])
    return SendingIp(**{**fields, "address": address, "node": node, **_origin(fields)})


def _api_key(fields: dict[str, Any]) -> ApiKey:
    grants, valid_ips = frozenset(fields["grants"]), tuple(fields["valid_ips"])
    return ApiKey(**{**fields, "grants": grants, "valid_ips": valid_ips, **_origin(fields)})


def _sending_domain(fields: dict[str, Any]) -> SendingDomain:
    """Older rows have neither keys nor checks."""
    dkim, created = fields.get("dkim"), fields.get("created")
    checks = {name: Check(fields[name]) for name in _CHECKS if name in fields}
    read = {
        "dkim": None if dkim is None else DkimKey(**dkim),
        "created": None if created is None else from_us(created),
    }
    return SendingDomain(**{**fields, **_origin(fields), **checks, **read})


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _origin(fields: dict[str, Any]) -> dict[str, Origin]:
    return {"origin": Origin(fields["origin"])}


_READERS: Mapping[str, Callable[[dict[str, Any]], Entry]] = {
    "account": _account,
    "pool": _pool,
    "subaccount": _subaccount,
    "sending_ip": _sending_ip,
    "api_key": _api_key,
    "sending_domain": _sending_domain,
}
