"""Whether a next hop is ourselves: addresses on which this relay listens."""

import ipaddress
import socket
from collections.abc import Iterable

from relay.domain.ids import IpAddress
from relay.domain.public import plain

Listener = tuple[str, int]
"""Address and port, as bound."""


def is_own(address: IpAddress, port: int, listeners: Iterable[Listener]) -> bool:
    """Whether one of the listeners would answer there, at any of this machine's addresses for a wildcard."""
    ports = [plain(IpAddress(listener)) for listener, number in listeners if number == port]
    if not ports:
        return False
    asked = plain(address)
    # The kernel takes an unspecified peer for the machine itself (ip(7)).
    is_anywhere = ipaddress.ip_address(asked).is_unspecified
    return is_anywhere or any(
        asked == listener or (ipaddress.ip_address(listener).is_unspecified and _is_local(asked))
        for listener in ports
    )


def addresses_of(host: str, port: int) -> list[Listener]:
    """What listening at a name or an address comes to. Waits for DNS when it is a name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(str(where[0]), port) for *_, where in found]


def _is_local(address: str) -> bool:
    """Whether the address is this machine's: then it can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
