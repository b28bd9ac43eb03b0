"""The PROXY protocol, versions 1 and 2: who a load balancer speaks for (haproxy's proxy-protocol.txt)."""

import ipaddress
import struct
from dataclasses import dataclass

from relay.domain.ids import canonical_ip, ip_text

_V1 = b"PROXY "
_V1_MAX_OCTETS = 107
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")
_V2_MAX_OCTETS = 4096
_LOCAL, _PROXY = 0x20, 0x21
_V2_ADDRESSES = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
"""TCP over IPv4 and over IPv6."""


@dataclass(frozen=True, slots=True)
class Proxied:
    """A complete header."""

    client: tuple[str, int] | None
    """Address and port; None: the balancer speaks for itself, or does not know."""
    length: int
    """Octets that the header takes."""


def parse_proxy(octets: bytes) -> Proxied | None:
    """The header that a connection begins with; None while it is incomplete. Else raises ValueError."""
    if octets.startswith(_V1):
        return _parse_v1(octets)
    if octets.startswith(PROXY_V2):
        return _parse_v2(octets)
    if _V1.startswith(octets) or PROXY_V2.startswith(octets):
        return None
    raise ValueError("no PROXY header")


def _parse_v1(octets: bytes) -> Proxied | None:
    end = octets.find(b"\r\n", 0, _V1_MAX_OCTETS)
    if end < 0:
        if len(octets) >= _V1_MAX_OCTETS:
            raise ValueError("PROXY header too long")
        return None
    words = octets[:end].decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return Proxied(None, end + 2)
    _, family, source, destination, port, other_port = words
    kind = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}.get(family)
    if kind is None:
        raise ValueError("PROXY family")
    kind(source), kind(destination)
    _port(other_port)
    return Proxied((canonical_ip(source), _port(port)), end + 2)


def _parse_v2(octets: bytes) -> Proxied | None:
    if len(octets) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(octets)
    if length > _V2_MAX_OCTETS or command not in (_LOCAL, _PROXY):
        raise ValueError("PROXY header")
    end = _V2_HEAD.size + length
    if len(octets) < end:
        return None
    layout = _V2_ADDRESSES.get(family)
    if command == _LOCAL or layout is None:
        return Proxied(None, end)
    if length < layout.size:
        raise ValueError("PROXY addresses")
    source, _, port, _ = layout.unpack_from(octets, _V2_HEAD.size)
    return Proxied((ip_text(ipaddress.ip_address(source)), port), end)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError("PROXY port")
    return int(text)
