"""What the log says of strangers who come by HTTP: once, with a count."""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from relay.domain.shares import Shares
from relay.net.tls import ensure_self_signed, server_context
from tests.net.test_http_server import Slow, connected, listening

GARBAGE = [b"\x16\x03\x01\x02garbage\r\n\r\n", b"EHLO x\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\0" * 40_000]


async def test_garbage_is_told_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = Slow()
    app.may_answer.set()
    async with listening(app) as http:
        for _ in range(5):
            for octets in GARBAGE:
                async with connected(http.address) as (reader, writer):
                    writer.write(octets)
                    with contextlib.suppress(ConnectionError):
                        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        # Answered as if it had not been asked.
        async with connected(http.address) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        assert caplog.messages == ["client=127.0.0.1 sent no valid HTTP"]
        caplog.clear()
    assert caplog.messages == ["client=127.0.0.1 sent no valid HTTP more=19"]


async def test_who_finds_no_place_is_told_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with listening(Slow(), shares=Shares(1)) as http, connected(http.address):
        for _ in range(4):
            async with connected(http.address) as (reader, _):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
    assert caplog.messages == [
        "client=127.0.0.1 no place reason=max_connections_per_client",
        "client=127.0.0.1 no place more=3",
    ]


async def test_failed_handshakes_are_told_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    context = server_context(*ensure_self_signed(tmp_path, "x"))
    async with listening(Slow(), context) as http:
        for _ in range(4):
            async with connected(http.address) as (reader, writer):
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    await reader.read()
    assert caplog.messages == [
        "client=127.0.0.1 TLS handshake failed reason=HTTP_REQUEST",
        "client=127.0.0.1 TLS handshake failed more=3",
    ]


async def test_who_does_not_take_the_answer_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    given_up = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            async with asyncio.timeout(0.3):
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        except TimeoutError:
            given_up.set()
            raise

    async with listening(app) as http:
        for _ in range(2):
            given_up.clear()
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, http.address)
                await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(10):
                    await given_up.wait()
    assert caplog.messages == [
        "client=127.0.0.1 did not take the answer",
        "client=127.0.0.1 did not take the answer more=1",
    ]
