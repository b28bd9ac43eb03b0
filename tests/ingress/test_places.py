"""Places for clients: of one address, of strangers, and who is exempt."""

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack

import pytest

from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect_wire
from tests.ingress.conftest import Serve, Served, hello, login, unverified

FULL = "421 4.4.5 Service unavailable, concurrency limit reached."
PROXY = b"PROXY TCP4 %s 192.0.2.1 4000 25\r\n"


async def greeted(smtp: Served, stack: AsyncExitStack, said: bytes = b"") -> tuple[Wire, str]:
    """A connection that stays, and its first reply."""
    wire = await stack.enter_async_context(smtp.connect())
    if said:
        await wire.write(said)
    return wire, await wire.reply()


async def _lets_in(smtp: Served, said: bytes = b"") -> None:
    async def is_let_in() -> bool:
        async with smtp.connect() as wire:
            if said:
                await wire.write(said)
            return (await wire.reply())[:3] == "220"

    await eventually(is_let_in)


async def test_an_address_holds_its_share_whoever_it_says_it_is(serve: Serve) -> None:
    async with serve(max_connections_per_client=2) as smtp, AsyncExitStack() as stack:
        first, _ = await greeted(smtp, stack)
        second, _ = await greeted(smtp, stack)
        await second.ask(b"EHLO client.example")
        assert await login(second) == "235 2.0.0 Authed. Go on."
        async with smtp.connect() as third:
            assert await third.reply() == FULL
            assert await third.reply() == ""
        assert (await first.ask(b"QUIT"))[:3] == "221"
        assert await first.reply() == ""
        await _lets_in(smtp)


async def test_behind_a_proxy_the_address_it_names_is_counted(serve: Serve) -> None:
    async with (
        serve(max_connections_per_client=1, proxy_protocol=["127.0.0.0/8"]) as smtp,
        AsyncExitStack() as stack,
    ):
        first = PROXY % b"198.51.100.1"
        assert (await greeted(smtp, stack, first))[1][:3] == "220"
        wire, reply = await greeted(smtp, stack, first)
        assert reply == FULL
        assert await wire.reply() == ""
        assert (await greeted(smtp, stack, PROXY % b"198.51.100.2"))[1][:3] == "220"
        for _ in range(3):
            assert (await greeted(smtp, stack, b"PROXY UNKNOWN\r\n"))[1][:3] == "220", "the proxy itself"


async def test_who_has_not_yet_encrypted_holds_a_place_and_gives_it_back(serve: Serve) -> None:
    """Handshakes of implicit TLS that are never begun, and that fail."""
    async with serve(listen_tls=("127.0.0.1:0",), max_connections_per_client=2) as smtp:
        encrypted = smtp.server.addresses[1]
        async with connect_wire(encrypted) as silent, connect_wire(encrypted):

            async def are_counted() -> bool:
                return smtp.server.connections == 2

            await eventually(are_counted)
            async with connect_wire(encrypted) as third:
                assert await third.reply() == ""
            async with smtp.connect() as clear:
                assert await clear.reply() == FULL
            await silent.write(b"EHLO in clear\r\n")
            with contextlib.suppress(ConnectionError):
                await silent.reply()
            await _lets_in(smtp)

        async def all_are_gone() -> bool:
            return smtp.server.connections == 0

        await eventually(all_are_gone)
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*encrypted, ssl=unverified())
            wire = Wire(reader, writer)
            assert "STARTTLS" not in await hello(wire)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_failed_starttls_gives_its_place_back(serve: Serve) -> None:
    async with serve(max_connections_per_client=1) as smtp, smtp.connect() as wire:
        await hello(wire)
        await wire.ask(b"STARTTLS")
        await wire.send(b"EHLO in clear")
        with contextlib.suppress(ConnectionError):
            await wire.reply()
        await _lets_in(smtp)


async def test_strangers_leave_a_tenth_to_those_who_say_who_they_are(serve: Serve) -> None:
    async with serve(max_connections=10) as smtp, AsyncExitStack() as stack:
        known, _ = await greeted(smtp, stack)
        await known.ask(b"EHLO client.example")
        await login(known)
        strangers = [await greeted(smtp, stack) for _ in range(9)]
        assert {reply[:3] for _, reply in strangers} == {"220"}
        assert (await greeted(smtp, stack))[1] == FULL
        await known.ask(b"QUIT")
        assert (await known.reply()) == ""
        assert (await greeted(smtp, stack))[1] == FULL, "the tenth place is no stranger's"
        wire, _ = strangers[0]
        await wire.ask(b"EHLO client.example")
        assert await login(wire) == "235 2.0.0 Authed. Go on."
        assert (await greeted(smtp, stack))[1][:3] == "220"


@pytest.mark.parametrize(("number", "is_waited_for"), [(3, True), (8, False)])
async def test_when_it_gets_crowded_strangers_are_waited_for_less_long(
    serve: Serve, number: int, is_waited_for: bool
) -> None:
    """One that sends an octet now and then, which is idle for no time-out."""
    async with serve(max_connections=10, idle_timeout_s=1) as smtp, AsyncExitStack() as stack:
        crowd = [(await greeted(smtp, stack))[0] for _ in range(number)]
        for _ in range(10):
            await asyncio.sleep(0.2)
            for wire in crowd:
                with contextlib.suppress(ConnectionError):
                    await wire.write(b"x")
        replies = set()
        for wire in crowd:
            with contextlib.suppress(ConnectionError):
                await wire.write(b"\r\n")
                replies.add((await wire.reply())[:3])
        assert ("500" in replies) == is_waited_for
        assert ("421" in replies) != is_waited_for


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "relay.ingress"]


async def test_who_is_refused_a_place_is_told_once_with_a_count(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(max_connections_per_client=1) as smtp, AsyncExitStack() as stack:
        await greeted(smtp, stack)
        for _ in range(4):
            async with smtp.connect() as wire:
                assert await wire.reply() == FULL
    assert _told(caplog) == [
        "client=127.0.0.1 no place reason=max_connections_per_client",
        "client=127.0.0.1 no place more=3",
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"max_connections": 1}, "max_connections"), ({"max_connections": 10}, "strangers")],
)
async def test_the_log_says_for_want_of_what_place(
    serve: Serve, caplog: pytest.LogCaptureFixture, settings: dict[str, object], reason: str
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(**settings) as smtp, AsyncExitStack() as stack:
        while (await greeted(smtp, stack))[1] != FULL:
            pass
    assert _told(caplog) == [f"client=127.0.0.1 no place reason={reason}"]


async def test_failed_handshakes_and_other_protocols_are_told_once_with_a_count(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(listen_tls=("127.0.0.1:0",)) as smtp:
        for _ in range(3):
            async with connect_wire(smtp.server.addresses[1]) as wire:
                await wire.write(b"EHLO in clear, and more than one record header\r\n")
                assert await wire.reply() == ""
            async with smtp.connect() as wire:
                await hello(wire)
                await wire.ask(b"STARTTLS")
                await wire.send(b"EHLO in clear")
                assert await wire.reply() == ""
            for said in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\0"):
                async with smtp.connect() as wire:
                    await wire.reply()
                    await wire.write(said)
                    assert (await wire.reply())[:3] in ("421", "500")
    assert _told(caplog) == [
        "client=127.0.0.1 TLS handshake failed reason=WRONG_VERSION_NUMBER",
        "client=127.0.0.1 does not speak SMTP",
        "client=127.0.0.1 TLS handshake failed more=5",
        "client=127.0.0.1 does not speak SMTP more=5",
    ]


async def test_behind_a_proxy_the_share_is_of_the_networks_of_ipv6(serve: Serve) -> None:
    proxied = b"PROXY TCP6 2001:db8:0:%d::%d 2001:db8::1 4000 25\r\n"
    async with (
        serve(max_connections_per_client=2, proxy_protocol=["127.0.0.0/8"]) as smtp,
        AsyncExitStack() as stack,
    ):
        for host in (1, 2):
            assert (await greeted(smtp, stack, proxied % (7, host)))[1][:3] == "220"
        assert (await greeted(smtp, stack, proxied % (7, 3)))[1] == FULL, "another of the same /64"
        assert (await greeted(smtp, stack, proxied % (8, 1)))[1][:3] == "220"


async def test_behind_a_proxy_strangers_hold_nine_tenths_and_each_place_comes_back(serve: Serve) -> None:
    async with serve(max_connections=10, proxy_protocol=["127.0.0.0/8"]) as smtp:
        for _ in range(3):
            async with AsyncExitStack() as stack:
                said = [PROXY % b"198.51.100.%d" % number for number in range(1, 11)]
                replies = [(await greeted(smtp, stack, header))[1] for header in said]
                assert [reply[:3] for reply in replies] == [*["220"] * 9, "421"]

            async def all_are_gone() -> bool:
                return smtp.server.connections == 0

            await eventually(all_are_gone)
