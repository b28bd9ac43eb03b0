"""Networks whose clients are believed: too wide ones, and those of which nobody is."""

import ipaddress
from collections.abc import Collection, Iterator

from relay.domain.clients import Network
from relay.domain.directory import Account, ApiKey, Status, Subaccount
from relay.judgments.case import Case, Finding, Judgment
from relay.judgments.listeners import public_listeners

_OWN = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
            *("169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"),
        ),
    )
)
"""Not of the internet: however wide, only the own network's clients are in them."""
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
_WIDEST = {4: 8, 6: 16}
"""Prefixes shorter than these hold a good part of the internet."""
_MOST_NAMED = 10


def _is_open(network: Network) -> bool:
    return network.prefixlen < _WIDEST[network.version] and not any(_holds(own, network) for own in _OWN)


def _holds(outer: Network, inner: Network) -> bool:
    return (
        outer.version == inner.version
        and outer.network_address <= inner.network_address  # type: ignore[operator]  # the same version
        and outer.broadcast_address >= inner.broadcast_address  # type: ignore[operator]
    )


def _holds_nobody(network: Network) -> str:
    """Why no client is in it; empty: some may be."""
    if network.version == 6 and _holds(_MAPPED, network):
        return "clients by IPv4 are known by their IPv4 addresses: expected such a network"
    if network.is_multicast or (network.is_unspecified and network.prefixlen == network.max_prefixlen):
        return "no client comes from there"
    return ""


def _open_relay(case: Case) -> Iterator[Finding]:
    public = public_listeners(case, "smtp.listen", "smtp.listen_tls")
    for at, entry in enumerate(case.config.smtp.trusted, 1):
        key = f"smtp.trusted[#{at}]"
        if _is_open(entry.network):
            what = f"{entry.network}: an open relay: whoever can connect sends as account {entry.account}"
            yield _of(case, key, f"{what} without a key; name your own networks", bool(public))
        elif nobody := _holds_nobody(entry.network):
            yield _of(case, key, f"{entry.network}: {nobody}")
        for before, earlier in enumerate(case.config.smtp.trusted[: at - 1], 1):
            if _holds(earlier.network, entry.network):
                what = (
                    f"{entry.network} is within smtp.trusted[#{before}], {earlier.network}, which comes first"
                )
                yield _of(case, key, f"{what}: this one is never used; put it before that")
                break
    for at, network in enumerate(case.config.smtp.proxy_protocol, 1):
        if _is_open(network):
            what = f"{network}: whoever can connect names its own address; name the proxies alone"
            yield _of(case, f"smtp.proxy_protocol[#{at}]", what, bool(public))
    for at, network in enumerate(case.config.http.trusted_proxies, 1):
        if _is_open(network):
            what = f"{network}: whoever can connect names its own address; name the proxies alone"
            yield _of(case, f"http.trusted_proxies[#{at}]", what)


def _of(case: Case, key: str, what: str, refuses: bool = False) -> Finding:
    return Finding(f"{case.source(key.partition('[')[0])}: {key}", what, refuses)


def _trusted_for_nobody(case: Case) -> Iterator[Finding]:
    book = case.in_force
    if book is None:
        return
    accounts = {account.id: account for account in book.of(Account)}
    subaccounts = {(part.account, part.id): part for part in book.of(Subaccount)}
    for at, entry in enumerate(case.config.smtp.trusted, 1):
        account = accounts.get(entry.account)
        part = None if entry.subaccount is None else subaccounts.get((entry.account, entry.subaccount))
        told = f"{entry.network} is trusted for account {entry.account}"
        if account is None:
            reason = f", which {book.place} does not have: {_listed(accounts)}"
        elif account.status is not Status.ACTIVE:
            reason = f", which is {account.status}"
        elif entry.subaccount is not None and part is None:
            known = [number for owner, number in subaccounts if owner == entry.account]
            reason = f", subaccount {entry.subaccount}, which {book.place} does not have: {_listed(known)}"
        elif part is not None and part.status is not Status.ACTIVE:
            reason = f", subaccount {entry.subaccount}, which is {part.status}"
        else:
            continue
        yield _of(case, f"smtp.trusted[#{at}]", f"{told}{reason}; its mail is refused: 550 5.7.1")


def _listed(ids: Collection[int]) -> str:
    known = [str(number) for number in sorted(ids)]
    return "there is none" if not known else f"expected one of {', '.join(known[:_MOST_NAMED])}"


def _valid_ips(case: Case) -> Iterator[Finding]:
    for book in case.books:
        for key in book.of(ApiKey):
            for text in key.valid_ips:
                try:
                    network = ipaddress.ip_network(text, strict=False)
                except ValueError:
                    what = f"{text}: expected an address or a network; the key serves nobody by it"
                else:
                    what = _holds_nobody(network)
                    if network.prefixlen == 0:
                        what = "that is everybody: leave valid_ips out, or name networks of your own"
                    what = f"{text}: {what}" if what else ""
                if what:
                    yield Finding(
                        f"{book.place}: account[{key.account}].api_key[{key.label}].valid_ips", what
                    )


NETWORKS: tuple[Judgment, ...] = (_open_relay, _trusted_for_nobody, _valid_ips)
