"""What lies between a directory file and the store, told to people and to programs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import SequenceMatcher

from relay.domain.changes import Change, Put, Remove, SetRoutes, entries_of, identity
from relay.domain.directory import Entry, SendingDomain, SendingIp, Snapshot
from relay.domain.route import Route, SmarthostRoute
from relay.frames.commands.printing import make_plain, print_json, print_line, warn
from relay.frames.consequences import foretell
from relay.ports.directory import AuditLine, DirectoryStore
from relay.process.directory.changes import Difference

Returning = Mapping[str, str]
"""Sending IPs that were removed once and are listed again: "removed on … by …" by address."""

_MOST_LOOKED_UP = 200
_LATEST = 6
"""Changes of one IP among which its removal is looked for."""


async def returning_ips(directory: DirectoryStore, snapshot: Snapshot, difference: Difference) -> Returning:
    """Among the changes; snapshot: the directory before. The audit lines tell, before and after apply."""
    if snapshot.revision == 0:
        return {}
    found: dict[str, str] = {}
    new = [change.entry for change in difference.changes if isinstance(change, Put)]
    for ip in [entry for entry in new if isinstance(entry, SendingIp)][:_MOST_LOOKED_UP]:
        stored = snapshot.ips.get(ip.address)
        if stored is None or (stored.is_retired and not ip.is_retired):
            lines = await directory.audit_of(_LATEST, about=f"sending_ip {ip.address}")
            removal = next((line for line in lines if _is_removal(line)), None)
            if removal is not None:
                found[ip.address] = f"removed on {removal.at:%Y-%m-%d %H:%M} UTC by {removal.actor}"
    return found


def _is_removal(line: AuditLine) -> bool:
    """By whoever asked for it: when its last mail has left, a retired IP goes by itself."""
    was, now = ('"is_retired":true' in (text or "") for text in (line.before, line.after))
    return not was and (now or line.after is None)


def print_difference(snapshot: Snapshot, difference: Difference, returning: Returning, as_json: bool) -> None:
    """snapshot: the directory before."""
    stored = {identity(entry): entry for entry in entries_of(snapshot)}
    if as_json:
        print_json(
            {
                "changes": [
                    _told(change, stored.get(_place(change)), snapshot.routes, returning)
                    for change in difference.changes
                ],
                "kept": [_name(entry) for entry in difference.kept],
            }
        )
        return
    for change in difference.changes:
        for line in _lines(change, stored.get(_place(change)), snapshot.routes):
            print_line(make_plain(line))
        if back := returning.get(_place(change)[1]):
            print_line(make_plain(f"    brings back a sending IP that was {back}"))
    for entry in difference.kept:
        print_line(make_plain(f"  {_name(entry)}: kept, not made by a file"))
    for told in foretell(snapshot, difference.changes):
        warn(make_plain(told))
    number = len(difference.changes)
    print_line(f"{number} change{'' if number == 1 else 's'}" if number else "nothing to change")


def _place(change: Change) -> tuple[str, str]:
    return ("", "") if isinstance(change, SetRoutes) else identity(change.entry)


def _lines(change: Change, before: Entry | None, routes: Sequence[Route]) -> Iterator[str]:
    match change:
        case SetRoutes(wanted):
            yield "~ routes:"
            yield from _route_lines(routes, wanted)
        case Remove(entry):
            yield f"- {_name(entry)}"
        case Put(entry) if before is None:
            yield f"+ {_name(entry)}: {', '.join(_facts(entry))}"
        case Put(entry):
            was, now = _fields(before), _fields(entry)
            differing = [
                f"{key}: {_word(was[key])} → {_word(now[key])}" for key in now if was[key] != now[key]
            ]
            yield f"~ {_name(entry)}: {', '.join(differing)}"


def _route_lines(before: Sequence[Route], after: Sequence[Route]) -> Iterator[str]:
    """Those that differ, with their number, as the first that covers a domain counts."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        gone, come = before[start:end], after[other_start:other_end]
        yield from (f"    - {at}: {_route(route)}" for at, route in enumerate(gone, start + 1))
        told = {_route(route) for route in gone}
        for at, route in enumerate(come, other_start + 1):
            text = _route(route)
            yield f"    + {at}: {text}" + (", with another password" if text in told else "")


def _told(
    change: Change, before: Entry | None, routes: Sequence[Route], returning: Returning
) -> dict[str, object]:
    match change:
        case SetRoutes(wanted):
            old, new = ([_route(route) for route in listed] for listed in (routes, wanted))
            return {"change": "set", "object": "routes", "routes": new, "before": old}
        case Remove(entry):
            return {"change": "remove", "object": _name(entry)}
        case Put(entry):
            verb = "create" if before is None else "update"
            back = returning.get(identity(entry)[1])
            more: dict[str, object] = {} if back is None else {"brings_back": back}
            if before is not None:
                more["before"] = _fields(before)
            return {"change": verb, "object": _name(entry), "fields": _fields(entry), **more}


def _route(route: Route) -> str:
    """All of it but the password."""
    target = route.target
    if isinstance(target, SmarthostRoute):
        where = f"{target.host}:{target.port}"
        more = f", as {target.username}" if target.username else ""
    else:
        where = f"MX, port {target.port}"
        more = ", private hosts allowed" if target.allow_private else ""
    if target.ehlo_ignore:
        more += f", without {' '.join(target.ehlo_ignore)}"
    return f"{', '.join(route.patterns)} to {where}, TLS {target.tls}{more}"


def _name(entry: Entry) -> str:
    kind, name = identity(entry)
    short = name[:12] if kind == "api_key" else name
    label = getattr(entry, "label", "") or getattr(entry, "name", "")
    return f"{kind} {short}" + (f" ({label})" if label else "")


def _facts(entry: Entry) -> Iterable[str]:
    """What is not empty, and not in its name."""
    return (
        f"{key} {_word(value)}"
        for key, value in _fields(entry).items()
        if key not in ("name", "label", "origin") and value not in (None, "", False)
    )


def _fields(entry: Entry) -> dict[str, object]:
    """Everything but what the entry is known by, and of a key for DKIM no more than its selector."""
    fields = asdict(entry)
    if isinstance(entry, SendingDomain):
        fields["dkim"] = entry.dkim and entry.dkim.selector
    for key in ("id", "address", "sha256"):
        fields.pop(key, None)
    return {key: _plain(value) for key, value in fields.items()}


def _plain(value: object) -> object:
    """Several words as one text."""
    match value:
        case frozenset():
            return " ".join(sorted(value))
        case tuple():
            return " ".join(value)
        case _:
            return value


def _word(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
