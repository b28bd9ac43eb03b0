"""Hosts of settings, judged without asking anybody: no name is looked up."""

import errno
import ipaddress
import socket

from relay.domain.ids import IpAddress
from relay.domain.public import plain

_LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
_SPECIAL = ("localhost", "local", "localdomain", "internal", "lan", "home", "test", "invalid", "example")
"""Last labels that the DNS of the internet does not know (RFC 6761, RFC 6762, and what routers use)."""


def address_of(host: str) -> IpAddress | None:
    """The address that a host is in any spelling the system takes, `0` too; None for a name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        name = host.lower().rstrip(".")
        is_here = name in _LOOPBACK_NAMES or name.endswith(".localhost")
        return IpAddress("127.0.0.1") if is_here else None
    return plain(IpAddress(str(found[0][4][0])))


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches it. A name that is not known to be so is not."""
    address = address_of(host)
    return address is not None and ipaddress.ip_address(address).is_loopback


def is_wildcard(host: str) -> bool:
    address = address_of(host)
    return address is not None and ipaddress.ip_address(address).is_unspecified


def is_here(address: str) -> bool:
    """Whether this machine has the address: it can be bound. Raises OSError for other troubles."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        # EINVAL: of an address that means nothing without an interface.
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL):
            raise
        return False
    return True


def is_unknown_to_the_internet(name: str) -> bool:
    """Whether no receiver could find the name in the DNS."""
    labels = name.lower().rstrip(".").split(".")
    return len(labels) == 1 or labels[-1] in _SPECIAL or is_number(name)


def is_number(name: str) -> bool:
    """Whether it ends in digits, as addresses do and no name of the DNS (RFC 3696 §2)."""
    return name.rstrip(".").rpartition(".")[2].isdigit()


def host_of_url(url: str) -> str:
    """Of a URL without a path; empty for none."""
    authority = url.partition("//")[2].rstrip("/")
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]
