"""The source address of a connection is the one that was asked for, or there is no connection."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Iterator

import pytest

from relay.domain.errors import PeerUnreachable, SourceUnplumbed
from relay.domain.ids import IpAddress
from relay.net.dial import dial

LOCAL = IpAddress("127.0.0.1")


@pytest.fixture
def ipv4_listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        sock.listen()
        sock.settimeout(2)
        yield sock


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.77", "127.9.8.7"])
async def test_the_peer_sees_the_address_that_was_bound(ipv4_listener: socket.socket, source: str) -> None:
    port = ipv4_listener.getsockname()[1]
    with await dial(IpAddress(source), LOCAL, port, 2) as sock:
        accepted, seen = ipv4_listener.accept()
        accepted.close()
        assert seen[0] == source == sock.getsockname()[0]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()


async def test_ipv6_is_dialled_too() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        sock.listen()
        with await dial(IpAddress("::1"), IpAddress("::1"), sock.getsockname()[1], 2) as dialled:
            assert ipaddress.ip_address(dialled.getsockname()[0]) == ipaddress.ip_address("::1")


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("192.0.2.1", id="not on this machine"),
        pytest.param("0.0.0.0", id="any address"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("localhost", id="no address"),
        pytest.param("", id="empty"),
    ],
)
async def test_an_address_that_is_not_ours_is_unplumbed_and_no_packet_leaves(
    ipv4_listener: socket.socket, source: str
) -> None:
    with pytest.raises(SourceUnplumbed) as caught:
        await dial(IpAddress(source), LOCAL, ipv4_listener.getsockname()[1], 2)
    assert caught.value.bind == source
    ipv4_listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        ipv4_listener.accept()


async def test_an_ipv6_address_that_is_not_ours_is_unplumbed() -> None:
    with pytest.raises(SourceUnplumbed):
        await dial(IpAddress("2001:db8::1"), IpAddress("::1"), 25, 2)


async def test_a_closed_port_is_unreachable() -> None:
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        port = sock.getsockname()[1]
    with pytest.raises(PeerUnreachable) as caught:
        await dial(IpAddress("127.0.0.5"), LOCAL, port, 2)
    assert caught.value.peer == f"127.0.0.1:{port}"
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ECONNREFUSED


async def test_families_that_differ_are_unreachable() -> None:
    with pytest.raises(PeerUnreachable, match="families differ"):
        await dial(LOCAL, IpAddress("::1"), 25, 2)


async def test_a_host_that_does_not_answer_is_given_up_in_time() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as full:
        full.bind((LOCAL, 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
            began = loop.time()
            with pytest.raises(PeerUnreachable, match="timed out"):
                await dial(IpAddress("127.0.0.5"), LOCAL, full.getsockname()[1], 0.2)
            assert loop.time() - began < 2
        finally:
            for sock in waiting:
                sock.close()
