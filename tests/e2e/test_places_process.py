"""Places for clients in the real program: several workers, and TLS in its own event loop."""

import asyncio
import contextlib
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

from relay.net.tls import ensure_self_signed
from relay.testing.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess, free_port
from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect


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
                wires = [await stack.enter_async_context(connect(smtp)) for _ in range(40)]
                assert 4 <= [(await wire.reply())[:3] for wire in wires].count("220") <= 6

            async def is_let_in() -> bool:
                async with connect(smtp) as wire:
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
                    silent.append(await stack.enter_async_context(connect(("127.0.0.1", port))))
                for wire in silent:
                    with contextlib.suppress(ConnectionError):
                        await wire.write(b"EHLO in clear\r\n")
                await eventually(is_let_in)
        assert "Traceback" not in running.log.read_text()
