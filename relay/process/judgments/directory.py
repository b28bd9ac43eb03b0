"""What a directory says that is allowed, and probably not meant: bindings, sending IPs, routes."""

import ipaddress
from collections.abc import Iterator, Sequence

from relay.domain.directory import Account, Pool, SendingIp, Subaccount
from relay.domain.ids import DEFAULT_POOL
from relay.domain.public import is_public
from relay.domain.resolve import find_stranded
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.net.own import Listener, is_own
from relay.process.judgments.case import Case, Finding, Judgment
from relay.process.judgments.hosts import (
    address_of,
    is_here,
    is_loopback,
    is_number,
    is_unknown_to_the_internet,
)

_MOST_NAMED = 10
_MOST_LISTED = 20


def _bound_to_no_pool(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        pools: dict[object, list[str]] = {}
        for pool in book.of(Pool):
            pools.setdefault(pool.account, [str(DEFAULT_POOL)]).append(str(pool.id))
        filled = {(ip.account, ip.pool) for ip in book.of(SendingIp) if ip.takes_pins}
        for part in book.of(Subaccount):
            where = f"{book.place_of(part)}: account[{part.account}].subaccount[{part.id}].ip_pool"
            known = sorted(set(pools.get(part.account, [str(DEFAULT_POOL)])))
            if part.ip_pool is None:
                continue
            if part.ip_pool.lower() not in known:
                listed = ", ".join(known[:_MOST_NAMED])
                what = f'"{part.ip_pool}": all its mail is refused; expected a pool of the account: {listed}'
                yield Finding(where, what)
            elif part.ip_pool != DEFAULT_POOL and (part.account, part.ip_pool.lower()) not in filled:
                what = f'"{part.ip_pool}" has no sending IP: all its mail is refused'
                yield Finding(where, f"{what}; give the pool one (sending_ip.pool)")


def _empty_pools(case: Case) -> Iterator[Finding]:
    """What is set up to be asked for; a subaccount that is bound to one is told by `_bound_to_no_pool`."""
    for book in case.outlooks:
        ips = [ip for ip in book.of(SendingIp) if not ip.is_retired]
        filled = {(ip.account, ip.pool) for ip in ips if ip.takes_pins}
        leaving = {(ip.account, ip.pool) for ip in ips} - filled
        overflown = {(pool.account, pool.overflow_pool) for pool in book.of(Pool)}
        for pool in book.of(Pool):
            named = (pool.account, pool.id)
            if pool.id == DEFAULT_POOL or named in filled:
                continue
            if named in overflown:
                why = "another pool overflows into it"
            elif named in leaving:
                why = "its sending IPs are draining"
            elif pool.signing_domain or pool.fbl_signing_domain:
                why = "it signs mail"
            else:
                continue
            what = f"{why}, and it has no sending IP that takes mail: mail that names it is refused, and"
            remedy = "scheduled mail leaves from the default pool; give it one (sending_ip.pool)"
            where = f"{book.place_of(pool)}: account[{pool.account}].pool[{pool.name}]"
            yield Finding(where, f"{what} {remedy}")


def _nowhere_to_send_from(case: Case) -> Iterator[Finding]:
    """Mail of these accounts that names no pool is refused."""
    for book in case.outlooks:
        found = find_stranded(book.of(Account), book.of(SendingIp))
        if waiting := [str(account.id) for account in found if account.has_shared_pool]:
            whose = f"account{'' if len(waiting) == 1 else 's'} {join_names(waiting)}"
            what = (
                f"mail of {whose} that names no pool is refused for now (451, 503): no IP in the default pool"
            )
            remedy = (
                'no shared one either; expected a sending_ip with shared = true, or with pool = "default"'
            )
            yield Finding(f"{book.place}: sending_ip", f"{what}, {remedy}")
        for account in found:
            if not account.has_shared_pool:
                what = "no IP in the default pool: mail that names no pool is refused, bounces of others' too"
                where = f"{book.place_of(account)}: account[{account.id}]"
                yield Finding(where, f'{what}; expected a sending_ip with pool = "default"')


def _missing_ips(case: Case) -> Iterator[Finding]:
    node, told = case.config.node, set[str]()
    # What runs now comes first: its mail waits already.
    for book in sorted(case.outlooks, key=lambda book: book is not case.stored):
        ips = [ip for ip in book.of(SendingIp) if not ip.is_retired]
        here = [ip for ip in ips if ip.node in ("", node)]
        if ips and not here:
            what = f"none of the sending IPs is for this node, {node}: all mail waits"
            yield Finding(book.place, f"{what}; see node in {case.source('node')}")
        for place in dict.fromkeys(map(book.place_of, here)):
            there = [ip for ip in here if book.place_of(ip) == place]
            if missing := [bind for bind in missing_of(there, node) if bind not in told]:
                told.update(missing)
                yield _not_here(place, node, missing)


def _not_here(place: str, node: str, missing: list[str]) -> Finding:
    what = f"not on this machine ({node}): {join_names(missing)}; their mail waits until each is"
    bits = ipaddress.ip_address(missing[0]).max_prefixlen
    return Finding(f"{place}: sending_ip", f"{what}: ip address add {missing[0]}/{bits} dev DEVICE")


def join_names(addresses: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = len(addresses) - _MOST_LISTED
    return ", ".join(addresses[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def missing_of(ips: Sequence[SendingIp], node: str) -> list[str]:
    """The addresses to bind that should be on this node, and are not."""
    return [ip.bind for ip in ips if ip.node in ("", node) and not ip.is_retired and not is_here(ip.bind)]


def _same_bind(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        seen: dict[str, list[SendingIp]] = {}
        for ip in book.of(SendingIp):
            if ip.is_retired:
                continue
            earlier = seen.setdefault(ip.bind, [])
            # One of no node is on every node.
            first = next(
                (one.address for one in earlier if "" in (one.node, ip.node) or one.node == ip.node), ""
            )
            earlier.append(ip)
            if first:
                what = f"{ip.bind} is that of sending_ip[{first}] too: others see one address for both"
                yield Finding(f"{book.place_of(ip)}: sending_ip[{ip.address}].bind", what)


def _nameless_ips(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        for ip in book.of(SendingIp):
            is_open = is_public(ip.address) and is_unknown_to_the_internet(ip.hostname)
            if is_open or is_number(ip.hostname):
                what = f'"{ip.hostname}" is no name of the internet: many receivers refuse such an EHLO'
                where = f"{book.place_of(ip)}: sending_ip[{ip.address}].hostname"
                yield Finding(where, f"{what}; expected the name that its reverse DNS gives")


def _caged_ips(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        away = [route for route in book.routes if not _stays_here(route)]
        caged = [ip.bind for ip in book.of(SendingIp) if is_loopback(ip.bind) and not ip.is_retired]
        if caged and (away or not book.routes):
            told = ", ".join(caged[:_MOST_NAMED]) + (" …" if len(caged) > _MOST_NAMED else "")
            what = f"{told}: nothing leaves this machine from a loopback address, and a route leads to others"
            yield Finding(f"{book.place}: sending_ip", what)


def _stays_here(route: Route) -> bool:
    return isinstance(route.target, SmarthostRoute) and is_loopback(route.target.host)


def _no_catch_all(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        if any("*" in route.patterns for route in book.routes):
            continue
        what = 'no route for all other domains: their mail goes to their MX hosts; expected one for "*"'
        yield Finding(f"{book.place}: route", what)


def _never_used(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        earlier: list[tuple[int, str]] = []
        for at, route in enumerate(book.routes, 1):
            for pattern in route.patterns:
                covering = next((entry for entry in earlier if _covers(entry[1], pattern)), None)
                if covering is not None:
                    number, other = covering
                    by = "itself" if number == at else f"route[#{number}]"
                    what = f'"{pattern}" is never used: "{other}" of {by} comes first'
                    where = f"{book.place}: route[#{at}].domains"
                    yield Finding(where, f"{what}; put the narrower one before it")
                earlier.append((at, pattern))


def _covers(wide: str, narrow: str) -> bool:
    if wide == "*" or wide == narrow:
        return True
    return wide.startswith("*.") and narrow.removeprefix("*").endswith(wide[1:])


def _risky_routes(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        for route in book.routes:
            domains, target = ", ".join(route.patterns), route.target
            if isinstance(target, MxRoute) and target.allow_private:
                what = f"the route of {domains} goes to private addresses too: allow_private is true"
                yield Finding("", what)
            if isinstance(target, SmarthostRoute) and target.username and target.tls is TlsPolicy.OFF:
                yield Finding("", f"the route of {domains} sends its password in clear text: tls is off")


def _leads_to_itself(case: Case) -> Iterator[Finding]:
    listeners: list[Listener] = []
    for listener in case.listeners:
        address = address_of(listener.endpoint.host)
        if address is not None and listener.endpoint.port:
            listeners.append((address, listener.endpoint.port))
    for book in case.outlooks:
        for at, route in enumerate(book.routes, 1):
            if _is_own_smarthost(case, route, listeners):
                what = f"{_told(route)} is this relay itself: its mail bounces as a loop"
                where = f"{book.place}: route[#{at}].smarthost"
                yield Finding(where, f"{what}; expected another host or port")


def _is_own_smarthost(case: Case, route: Route, listeners: list[Listener]) -> bool:
    if not isinstance(route.target, SmarthostRoute):
        return False
    host, port = route.target.host, route.target.port
    address = address_of(host)
    if address is None:
        is_named = host.lower().rstrip(".") == case.config.hostname.lower().rstrip(".")
        return is_named and any(port == own for _, own in listeners)
    return is_own(address, port, listeners)


def _told(route: Route) -> str:
    target = route.target
    assert isinstance(target, SmarthostRoute)
    return f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"


DIRECTORY: tuple[Judgment, ...] = (
    _bound_to_no_pool,
    _empty_pools,
    _nowhere_to_send_from,
    _missing_ips,
    _same_bind,
    _nameless_ips,
    _caged_ips,
    _no_catch_all,
    _never_used,
    _risky_routes,
    _leads_to_itself,
)
