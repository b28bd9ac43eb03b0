"""Which addresses the internet reaches: a host that a stranger names must have one of these."""

import ipaddress

from relay.domain.ids import IpAddress, ip_text

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that IANA has opened so far (RFC 4291 §2.4, RFC 3513 §4)."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64 by the well-known prefix: the last 32 bits are where it goes (RFC 6052 §2.1)."""
_NOT_THOUGH_PYTHON_SAYS_SO = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # protocol assignments, two anycast services of the own network among them
            "192.88.99.0/24",  # the 6to4 relay, given up (RFC 7526)
            "2001::/23",  # protocol assignments, Teredo and ORCHID among them (RFC 6890)
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)


def is_public(address: IpAddress) -> bool:
    """Whether it is a host's on the internet.

    Not: unspecified, loopback, private, link-local, shared (RFC 6598), multicast, documentation,
    benchmark or reserved addresses, nor IPv6 addresses that stand for such an IPv4 address (mapped,
    6to4, NAT64). Raises ValueError for what is no address.
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return _is_host(inner)
        if parsed not in _GLOBAL_UNICAST:
            return False
    return _is_host(parsed)


def plain(address: IpAddress) -> IpAddress:
    """The address that a connection ends at: without a zone, and of a mapped one the IPv4 address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return ip_text(parsed.ipv4_mapped or ipaddress.IPv6Address(int(parsed)))
    return address


def _is_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NOT_THOUGH_PYTHON_SAYS_SO)
    )
