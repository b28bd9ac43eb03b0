"""Where a client speaks from, and whether a key may be used from there."""

import ipaddress
from collections.abc import Sequence
from contextlib import suppress

from relay.domain.directory import ApiKey
from relay.domain.ids import ip_text

ClientAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(host: str) -> ClientAddress:
    """The address of a socket's peer; IPv4 that came through an IPv6 socket is IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def party_of(client: ClientAddress) -> int:
    """Who counts as one client: an address, or a network of IPv6 (/64), which is negative."""
    return int(client) if client.version == 4 else -(int(client) >> 64) - 1


def network_text(network: Network) -> str:
    """Its first address in the canonical form, and the length of its prefix."""
    return f"{ip_text(network.network_address)}/{network.prefixlen}"


def client_behind(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """Who speaks, as proxies that are trusted tell it: the last of X-Forwarded-For that is none of them.

    Whatever stands before that in the field may have been made up by the client. peer: of the connection.
    """
    client = peer
    # What is no address says nothing more.
    with suppress(ValueError):
        for told in reversed(forwarded_for.split(",")):
            if not any(client_address(client) in network for network in proxies):
                break
            client = ip_text(client_address(told.strip()))
    return client


def may_come_from(key: ApiKey, client: ClientAddress) -> bool:
    """Whether valid_ips lets the key be used from this address."""
    return not key.valid_ips or any(_holds(entry, client) for entry in key.valid_ips)


def _holds(entry: str, client: ClientAddress) -> bool:
    """An entry that is no network holds nobody: it was meant as a restriction."""
    try:
        return client in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
