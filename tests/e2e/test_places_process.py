"""Places for clients in the real program: several workers, and TLS in its own event loop."""

import asyncio
import contextlib
import socket
import ssl
import struct
from contextlib import AsyncExitStack
from pathlib import Path

from relay.net.tls import ensure_self_signed
from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess, free_port
from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect_wire


async def test_workers_count_the_connections_of_a_client_together(tmp_path: Path, mta: FakeMta) -> None:
    """Wrong by their number at most."""
    settings: dict[str, dict[str, object]] = {
        "": {"workers": 2},
        "smtp": {"max_connections_per_client": 4},
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings) as running:
        smtp = (running.host, running.port)
        for _ in range(2):
            async with AsyncExitStack() as stack:
                wires = [await stack.enter_async_context(connect_wire(smtp)) for _ in range(40)]
                assert 4 <= [(await wire.reply())[:3] for wire in wires].count("220") <= 6

            async def is_let_in() -> bool:
                async with connect_wire(smtp) as wire:
                    return (await wire.reply())[:3] == "220"

            await eventually(is_let_in)


async def test_handshakes_are_counted_from_the_first_octet_and_come_through(
    tmp_path: Path, mta: FakeMta
) -> None:
    certificate, key = ensure_self_signed(tmp_path, "127.0.0.1")
    smtps, https = free_port(), free_port()
    settings: dict[str, dict[str, object]] = {
        "": dict(WITH_API[""]),
        "smtp": {"listen_tls": [f"127.0.0.1:{smtps}"], "max_connections_per_client": 2},
        "http": {
            "listen": f"127.0.0.1:{https}",
            "certificate": str(certificate),
            "key": str(key),
            "max_connections_per_client": 2,
        },
    }
    encrypted = ssl.create_default_context()
    encrypted.check_hostname, encrypted.verify_mode = False, ssl.CERT_NONE

    async def answer(port: int, said: bytes) -> bytes:
        """The first line over TLS; empty when hung up on."""
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=encrypted)
            try:
                writer.write(said)
                return await reader.readline()
            finally:
                writer.transport.abort()
        return b""

    async with RelayProcess(tmp_path, mta.address, settings=settings) as running:
        for port, said, expected in (
            (smtps, b"", b"220 "),
            (https, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200"),
        ):

            async def is_let_in(port: int = port, said: bytes = said, expected: bytes = expected) -> bool:
                return (await answer(port, said)).startswith(expected)

            for _ in range(5):
                await eventually(is_let_in)
            async with AsyncExitStack() as stack:
                silent: list[Wire] = []
                # The places of those who have just gone may come back a moment later.
                while (await answer(port, said)).startswith(expected):
                    silent.append(await stack.enter_async_context(connect_wire(("127.0.0.1", port))))
                for wire in silent:
                    with contextlib.suppress(ConnectionError):
                        await wire.write(b"EHLO in clear\r\n")
                await eventually(is_let_in)
        assert "Traceback" not in running.log.read_text()


def _client_hello() -> bytes:
    context = ssl.create_default_context()
    said = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="relay.test").do_handshake()
    return said.read()


async def test_a_connection_that_is_reset_in_the_handshake_gives_its_place_back(
    tmp_path: Path, mta: FakeMta
) -> None:
    """In the event loop of the real program; after a reset nobody may be told of the end."""
    smtps, hello = free_port(), _client_hello()
    settings: dict[str, dict[str, object]] = {
        "smtp": {"listen_tls": [f"127.0.0.1:{smtps}"], "max_connections_per_client": 4}
    }

    def start_and_leave(port: int, said: bytes, is_reset: bool) -> None:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            if port != smtps:
                for line in (b"", b"EHLO client.example\r\n", b"STARTTLS\r\n"):
                    client.sendall(line)
                    if not client.recv(1000).startswith((b"220", b"250")):
                        return
            client.sendall(said)
            if is_reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with RelayProcess(tmp_path, mta.address, settings=settings) as running:

        async def is_let_in() -> bool:
            async with connect_wire((running.host, running.port)) as wire:
                return (await wire.reply())[:3] == "220"

        for port in (running.port, smtps):
            for said in (b"", hello[:50], hello, hello + b"\x17\x03\x03\0\x10" + b"x" * 16, b"in clear\r\n"):
                for is_reset in (True, False):
                    for _ in range(5):
                        await asyncio.to_thread(start_and_leave, port, said, is_reset)
                await eventually(is_let_in)
        assert "Traceback" not in running.log.read_text()
