"""Servers to talk to: the fake next hop by way of the plugin, and raw ones that a test writes by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from relay.domain.ids import IpAddress
from relay.net.tls import ensure_self_signed
from relay.ports.outbound import Host

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest_asyncio.fixture
async def raw() -> AsyncIterator[Callable[[Serve], Awaitable[Host]]]:
    """Starts servers that treat each connection as the given function says, and hang up when it returns."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(serve: Serve) -> Host:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return Host("raw.test", IpAddress("127.0.0.1"), server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()
    for server in servers:
        await server.wait_closed()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of mx.fake.test; it is its own authority."""
    return ensure_self_signed(tmp_path_factory.mktemp("tls"), "mx.fake.test")
