"""The set of hosts that a route ends at: many domains share one, and with it sessions and limits.

Its hosts are names; addresses are looked up when a connection is made, and only those of the
sending IP's family count (RFC 5321 §5.1).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.domain.ids import IpAddress
from relay.domain.route import MxRoute, SmarthostRoute, TlsPolicy

PreferredHost = tuple[int, str]
"""Preference, the lower the better, and name."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where mail of one or many domains goes next. Equal for all domains that share it."""

    hosts: tuple[PreferredHost, ...]
    """Best first; those of equal preference by name, whatever order DNS answered in."""
    port: int
    tls: TlsPolicy
    username: str = ""
    password: str = field(default="", repr=False)
    allow_private: bool = False
    """Whether addresses that are not of the internet may be connected to."""
    ehlo_ignore: tuple[str, ...] = ()
    """EHLO keywords that count as not offered."""
    is_sink: bool = False
    """Whether mail ends here: no host is asked."""

    def __str__(self) -> str:
        """For logs: its best host, and how many more there are."""
        if self.is_sink:
            return "sink"
        more = f"+{len(self.hosts) - 1}" if len(self.hosts) > 1 else ""
        return f"{self.hosts[0][1]}{more}:{self.port}" if self.hosts else f"nowhere:{self.port}"


SINK = Site((), 0, TlsPolicy.OFF, is_sink=True)


def smarthost_site(route: SmarthostRoute) -> Site:
    """The one host that takes everything; whoever named it may mean a private one."""
    return Site(
        ((0, route.host.lower()),),
        route.port,
        route.tls,
        route.username,
        route.password,
        allow_private=True,
        ehlo_ignore=route.ehlo_ignore,
    )


def mx_site(route: MxRoute, hosts: Sequence[PreferredHost]) -> Site:
    """The site of a domain with these exchangers, each named once, at its best preference."""
    best: dict[str, int] = {}
    for preference, name in sorted(hosts):
        best.setdefault(_normal(name), preference)
    return Site(
        tuple(sorted((preference, name) for name, preference in best.items())),
        route.port,
        route.tls,
        allow_private=route.allow_private,
        ehlo_ignore=route.ehlo_ignore,
    )


def usable_addresses(addresses: Sequence[IpAddress], source: IpAddress) -> tuple[IpAddress, ...]:
    """Those that source can connect to: of its family, in the order given."""
    version = ipaddress.ip_address(source).version
    return tuple(address for address in addresses if ipaddress.ip_address(address).version == version)


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
