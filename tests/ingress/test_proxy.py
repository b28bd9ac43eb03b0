"""PROXY headers as octets, and on the wire."""

import socket
import struct
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ingress.proxy import Proxied, parse_proxy
from relay.testing.waiting import eventually
from relay.testing.wire import Wire
from tests.ingress.conftest import Serve

PROXIES = ("127.0.0.0/8",)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4000, 25)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 4000, 25)
)
GOOD = [
    pytest.param(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\n", ("192.0.2.7", 4000), id="1, IPv4"),
    pytest.param(b"PROXY TCP6 2001:DB8::7 2001:db8::1 4000 25\r\n", ("2001:db8::7", 4000), id="1, IPv6"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="1, unknown"),
    pytest.param(b"PROXY UNKNOWN what ever it says\r\n", None, id="1, unknown with more"),
    pytest.param(version_2(0x21, 0x11, V4), ("192.0.2.7", 4000), id="2, IPv4"),
    pytest.param(version_2(0x21, 0x11, V4 + b"\x03\0\x04abcd"), ("192.0.2.7", 4000), id="2, with a TLV"),
    pytest.param(version_2(0x21, 0x21, V6), ("2001:db8::7", 4000), id="2, IPv6"),
    pytest.param(version_2(0x20, 0, b""), None, id="2, local"),
    pytest.param(version_2(0x21, 0x31, b"x" * 216), None, id="2, Unix sockets"),
]


@pytest.mark.parametrize(("header", "client"), GOOD)
def test_a_header_names_the_client_and_its_own_length(header: bytes, client: tuple[str, int] | None) -> None:
    assert parse_proxy(header + b"EHLO") == Proxied(client, len(header))


@pytest.mark.parametrize(("header", "client"), GOOD)
def test_a_part_of_a_header_asks_for_more(header: bytes, client: tuple[str, int] | None) -> None:
    assert all(parse_proxy(header[:length]) is None for length in range(len(header)))


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"EHLO client.example\r\n", id="SMTP"),
        pytest.param(b"PROXY\r\n", id="1, nothing"),
        pytest.param(b"PROXY TCP4\r\n", id="1, no addresses"),
        pytest.param(b"PROXY TCP5 192.0.2.7 192.0.2.1 4000 25\r\n", id="1, family"),
        pytest.param(b"PROXY TCP4 2001:db8::7 2001:db8::1 4000 25\r\n", id="1, IPv6 as IPv4"),
        pytest.param(b"PROXY TCP4 192.0.2.7 192.0.2.1 70000 25\r\n", id="1, port"),
        pytest.param(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 -1\r\n", id="1, other port"),
        pytest.param(b"PROXY TCP4  192.0.2.7 192.0.2.1 4000 25\r\n", id="1, two spaces"),
        pytest.param("PROXY TCP4 192.0.2.７ 192.0.2.1 4000 25\r\n".encode(), id="1, not ASCII"),
        pytest.param(b"PROXY " + b"x" * 200, id="1, without end"),
        pytest.param(version_2(0x31, 0x11, V4), id="2, version"),
        pytest.param(version_2(0x22, 0x11, V4), id="2, command"),
        pytest.param(version_2(0x21, 0x11, V4[:-1]), id="2, addresses cut short"),
        pytest.param(version_2(0x21, 0x11, b"x" * 5000), id="2, too long"),
    ],
)
async def test_without_a_proper_header_nothing_is_said(
    serve: Serve, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        parse_proxy(octets)
    async with serve(proxy_protocol=PROXIES) as smtp, smtp.connect() as wire:
        await wire.write(octets)
        assert await wire.reply() == ""
    assert caplog.messages == ["client=127.0.0.1 sent no valid PROXY header"]


@pytest.mark.parametrize("octets", [b"PROXY TCP4 10.0.0.9 192.0.2.1 4000 25\r\n", version_2(0x21, 0x11, V4)])
async def test_who_is_no_proxy_cannot_name_an_address(serve: Serve, octets: bytes) -> None:
    trusted = ({"network": "10.0.0.0/8", "account": 1},)
    async with serve(proxy_protocol=("192.0.2.0/24",), trusted=trusted) as smtp, smtp.connect() as wire:
        assert (await wire.reply())[:3] == "220"
        await wire.write(octets + b"EHLO c\r\nMAIL FROM:<a@acme.test>\r\n")
        replies = [reply async for reply in _all(wire)]
        assert [reply[:3] for reply in replies][-1] == "421"
        assert not any(reply.startswith("250") for reply in replies)


async def _all(wire: Wire) -> AsyncIterator[str]:
    while reply := await wire.reply():
        yield reply


@given(
    st.binary()
    | st.binary().map(lambda rest: SIGNATURE + rest)
    | st.text().map(lambda t: b"PROXY " + t.encode())
)
def test_no_octets_are_worse_than_a_value_error(octets: bytes) -> None:
    try:
        proxied = parse_proxy(octets)
    except ValueError:
        return
    assert proxied is None or proxied.length <= len(octets)


async def test_the_client_behind_the_balancer_is_the_client(serve: Serve) -> None:
    trusted = ({"network": "192.0.2.0/24", "account": 1},)
    async with serve(proxy_protocol=PROXIES, trusted=trusted) as smtp, smtp.connect() as wire:
        await wire.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\nEHLO client.example\r\n")
        assert (await wire.reply())[:3] == "220"
        assert (await wire.reply()).startswith("250-relay.test says EHLO to 192.0.2.7:4000\n")
        assert (await wire.ask(b"MAIL FROM:<a@acme.test>"))[:3] == "250"


async def test_an_ipv6_client_is_named_in_brackets(serve: Serve) -> None:
    async with serve(proxy_protocol=PROXIES) as smtp, smtp.connect() as wire:
        await wire.write(version_2(0x21, 0x21, V6))
        assert (await wire.reply())[:3] == "220"
        assert (await wire.ask(b"EHLO c")).startswith("250-relay.test says EHLO to [2001:db8::7]:4000\n")


async def test_the_balancer_itself_is_a_client_too(serve: Serve) -> None:
    async with serve(proxy_protocol=PROXIES) as smtp, smtp.connect() as wire:
        await wire.write(version_2(0x20, 0, b"")[:10])
        await wire.write(version_2(0x20, 0, b"")[10:])
        assert (await wire.reply())[:3] == "220"
        assert (await wire.ask(b"EHLO c")).startswith("250-relay.test says EHLO to 127.0.0.1:")


async def test_a_balancer_that_only_looks_is_no_event(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(proxy_protocol=PROXIES) as smtp:
        async with smtp.connect():
            pass

        async def is_gone() -> bool:
            return smtp.server.connections == 0

        await eventually(is_gone)
    assert caplog.records == []


async def test_a_header_that_does_not_come_is_not_waited_for_long(serve: Serve) -> None:
    async with serve(proxy_protocol=PROXIES, idle_timeout_s=0.1) as smtp, smtp.connect() as wire:
        await wire.write(b"PROXY TCP4 ")
        assert await wire.reply() == ""
