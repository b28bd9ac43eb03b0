"""A connection from a given source address, or none."""

import asyncio
import errno
import ipaddress
import socket

from relay.domain.errors import OverCapacity, PeerUnreachable, SourceUnplumbed
from relay.domain.ids import IpAddress
from relay.net.descriptors import NONE_LEFT

_NOT_OURS = {errno.EADDRNOTAVAIL, errno.EINVAL, errno.EAFNOSUPPORT}
"""What bind(2) says of an address that this machine does not have, or has no protocol for."""


async def dial(source: IpAddress, host: IpAddress, port: int, timeout_s: float) -> socket.socket:
    """A connected, non-blocking socket bound to source, without Nagle's delay.

    Raises SourceUnplumbed before any packet leaves, and PeerUnreachable after, or when the
    address families differ; OverCapacity without a descriptor for it.
    """
    peer = f"{host}:{port}"
    try:
        address = ipaddress.ip_address(source)
    except ValueError as error:
        raise SourceUnplumbed(source) from error
    if address.is_unspecified or address.is_multicast:
        # bind(2) takes them, and the kernel then chooses for us.
        raise SourceUnplumbed(source)
    version = address.version
    if ipaddress.ip_address(host).version != version:
        raise PeerUnreachable(peer, f"{source} cannot reach it: address families differ")
    sock = _bound(source, socket.AF_INET if version == 4 else socket.AF_INET6)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        # Whatever the kernel made of it: from another address nothing is ever sent.
        if ipaddress.ip_address(sock.getsockname()[0]) != address:
            raise SourceUnplumbed(source)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError as error:
        sock.close()
        raise PeerUnreachable(peer, "connection timed out") from error
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL and not _is_plumbed(source, sock.family):
            raise SourceUnplumbed(source) from error
        raise PeerUnreachable(peer, error.strerror or str(error)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bound(source: IpAddress, family: socket.AddressFamily) -> socket.socket:
    """Raises SourceUnplumbed, OverCapacity."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in NONE_LEFT:
            raise OverCapacity from error
        if error.errno == errno.EAFNOSUPPORT:
            raise SourceUnplumbed(source) from error
        raise
    try:
        sock.setblocking(False)
        if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT"):
            # Choose the port at connect time: else some 28,000 are the ceiling over all hosts (ip(7)).
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError as error:
        sock.close()
        if error.errno in _NOT_OURS:
            raise SourceUnplumbed(source) from error
        raise
    return sock


def _is_plumbed(source: IpAddress, family: socket.AddressFamily) -> bool:
    """EADDRNOTAVAIL from connect(2) may also mean that no port is free towards that peer."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((source, 0))
    except OSError as error:
        return error.errno not in _NOT_OURS
    return True
