"""Networks whose clients are believed: too wide ones, and those of which nobody is."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Sequence

from relay.domain.clients import Network, network_text
from relay.domain.directory import Account, ApiKey, Status, Subaccount
from relay.process.judgments.case import Case, Finding, Judgment
from relay.process.judgments.listeners import public_listeners

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
_WIDE = {4: 16, 6: 32}
"""Prefixes shorter than these hold more than one network's own addresses: an IPv6 provider has a /32."""
_GOOD_PART = 1 / 64
"""Of all addresses: four /8 of IPv4, and an eighth of the IPv6 that is given out."""
_HALF = {4: 1 / 2, 6: 1 / 16}
_MOST_NAMED = 10


def _is_open(network: Network) -> bool:
    return network.prefixlen < _WIDEST[network.version] and not _is_own(network)


def _is_wide(network: Network) -> bool:
    return network.prefixlen < _WIDE[network.version] and not (_is_own(network) or network.is_private)


def _is_own(network: Network) -> bool:
    return any(_holds(own, network) for own in _OWN)


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
    is_public = bool(public_listeners(case, "smtp.listen", "smtp.listen_tls"))
    trusted = case.config.smtp.trusted
    networks = [entry.network for entry in trusted]
    for at, entry in enumerate(trusted, 1):
        key, shown = f"smtp.trusted[#{at}]", network_text(entry.network)
        if _is_open(entry.network):
            what = f"{shown}: an open relay: whoever can connect sends as account {entry.account}"
            yield _of(case, key, f"{what} without a key; name your own networks", is_public)
        elif nobody := _holds_nobody(entry.network):
            yield _of(case, key, f"{shown}: {nobody}")
        elif is_public and _is_wide(entry.network):
            what = f"all these addresses of the internet send as account {entry.account} without a key"
            yield _of(case, key, f"{shown}: {what}; name your own networks alone")
        for before, earlier in enumerate(networks[: at - 1], 1):
            if _holds(earlier, entry.network):
                what = f"{shown} is within smtp.trusted[#{before}], {network_text(earlier)}"
                yield _of(case, key, f"{what}, which comes first: this one is never used; put it before that")
                break
    if told := _open_together(networks):
        what = f"{told}: an open relay: whoever can connect sends without a key"
        yield _of(case, "smtp.trusted", f"{what}; name your own networks", is_public)


def _believed_proxies(case: Case) -> Iterator[Finding]:
    by_smtp = bool(public_listeners(case, "smtp.listen", "smtp.listen_tls"))
    by_http = bool(public_listeners(case, "http.listen", "http.listen_tls"))
    smtp, http = case.config.smtp.proxy_protocol, case.config.http.trusted_proxies
    yield from _proxies(case, "smtp.proxy_protocol", smtp, by_smtp, refuses=by_smtp)
    yield from _proxies(case, "http.trusted_proxies", http, by_http, refuses=False)


def _proxies(
    case: Case, key: str, networks: Sequence[Network], is_public: bool, *, refuses: bool
) -> Iterator[Finding]:
    """is_public: whether others may reach the listener; there wide networks are too many to believe."""
    who = "whoever can connect names its own address; name the proxies alone"
    for at, network in enumerate(networks, 1):
        shown = network_text(network)
        if _is_open(network):
            yield _of(case, f"{key}[#{at}]", f"{shown}: {who}", refuses)
        elif nobody := _holds_nobody(network):
            yield _of(case, f"{key}[#{at}]", f"{shown}: {nobody}")
        elif is_public and _is_wide(network):
            what = (
                "who connects from all these addresses of the internet names its own; name the proxies alone"
            )
            yield _of(case, f"{key}[#{at}]", f"{shown}: {what}")
    if told := _open_together(networks):
        yield _of(case, key, f"{told}: {who}", refuses)


def _open_together(networks: Sequence[Network]) -> str:
    """Of networks of which none is everybody, and all are; empty: they are not."""
    if any(_is_open(network) for network in networks):
        return ""
    for version in (4, 6):
        listed = [network for network in networks if network.version == version and not _is_own(network)]
        whole = _union(listed)
        if any(_is_open(network) for network in whole) or _share(whole) >= _GOOD_PART:
            return f"{_named(listed)} together"
    return ""


def _union(networks: Iterable[Network]) -> list[Network]:
    """Of one version, without what others cover, neighbours as one."""
    return list(ipaddress.collapse_addresses(networks))  # type: ignore[type-var]  # of one version


def _share(networks: Iterable[Network]) -> float:
    """How much of all addresses of that version is in networks that share none."""
    return sum(2.0**-network.prefixlen for network in networks if not _is_own(network))


def _named(networks: Sequence[Network]) -> str:
    more = len(networks) - _MOST_NAMED
    return ", ".join(map(network_text, networks[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


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
        told = f"{network_text(entry.network)} is trusted for account {entry.account}"
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
            where = f"{book.place}: account[{key.account}].api_key[{key.label}].valid_ips"
            networks = []
            for text in key.valid_ips:
                try:
                    network = ipaddress.ip_network(text, strict=False)
                except ValueError:
                    what = f"{text}: expected an address or a network; the key serves nobody by it"
                    yield Finding(where, what)
                    continue
                networks.append(network)
                if nobody := _holds_nobody(network):
                    yield Finding(where, f"{text}: {nobody}")
            for told in _nearly_everybody(networks):
                yield Finding(where, f"{told}: leave valid_ips out, or name networks of your own")


def _nearly_everybody(networks: Sequence[Network]) -> Iterator[str]:
    for version in (4, 6):
        listed = [network for network in networks if network.version == version]
        whole = _union(listed)
        if any(network.prefixlen == 0 for network in whole):
            yield f"{_named(listed)}: that is everybody"
        elif _share(whole) >= _HALF[version]:
            yield f"{_named(listed)}: that is half of the internet, or more"


NETWORKS: tuple[Judgment, ...] = (_open_relay, _believed_proxies, _trusted_for_nobody, _valid_ips)
