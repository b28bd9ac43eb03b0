"""Many short lines of HTTP: all that was sent is read, in pieces between which others have their turn."""

import asyncio
import re

import pytest
from starlette.types import Receive, Scope, Send

from tests.net.test_http_server import listening

MANY = 30_000
CHUNKED = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED += b"1\r\na\r\n" * MANY + b"0\r\n\r\n"
LINES = b"POST /lines HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * MANY) + b"b\n" * MANY
SHORT = b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def measure(scope: Scope, receive: Receive, send: Send) -> None:
    """Says the path and how long the body was; it takes its time for some."""
    size, more, pieces = 0, True, 0
    if scope["path"] != "/unread":
        while more:
            message, pieces = await receive(), pieces + 1
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            if scope["path"] == "/slow" and not size % 7:
                await asyncio.sleep(0.001)
    answer = f"{scope['path']} {pieces if scope['path'] == '/pieces' else size};".encode()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def ask(octets: bytes) -> bytes:
    """All that is said to that, headers left out."""
    async with listening(measure) as http:
        reader, writer = await asyncio.open_connection(*http.address)
        writer.write(octets)
        async with asyncio.timeout(20):
            said = await reader.read()
        writer.transport.abort()
    return b"".join(re.findall(rb"/\w+ \d+;", said))


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (CHUNKED + LAST, b"/chunked 30000;/last 0;"),
        (LINES + LAST, b"/lines 60000;/last 0;"),
        (SHORT + CHUNKED + SHORT + LINES + LAST, b"/short 0;/chunked 30000;/short 0;/lines 60000;/last 0;"),
        (SHORT * 400 + LAST, b"/short 0;" * 400 + b"/last 0;"),
        (CHUNKED.replace(b"/chunked", b"/slow") + LAST, b"/slow 30000;/last 0;"),
        (CHUNKED.replace(b"/chunked", b"/unread") + LAST, b"/unread 0;/last 0;"),
    ],
    ids=["chunks", "lines", "all in one", "requests", "a slow reader", "no reader"],
)
async def test_what_was_sent_at_once_is_answered_in_order(octets: bytes, said: bytes) -> None:
    assert await ask(octets) == said


async def test_others_have_their_turn_in_between() -> None:
    """The application is one of them: it finds the body in many pieces."""
    said = await ask(CHUNKED.replace(b"/chunked", b"/pieces") + LAST)
    assert int(said.split(b";")[0].split()[1]) > MANY // 500
