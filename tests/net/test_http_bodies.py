"""Bodies by HTTP: how long they may take, and where they end."""

import asyncio
import contextlib
import time

import pytest
from starlette.types import Receive, Scope, Send

from relay.frames.rest.app import build_app
from relay.process.mount import ROUTERS
from relay.resources.transmissions.rejections import tell_rejection
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from tests.net.test_http_server import connected, listening, services_of

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}


async def _trickle(writer: asyncio.StreamWriter, octets: bytes) -> None:
    """An octet now and then, for as long as somebody takes them."""
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            writer.write(octets)
            await writer.drain()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("field", "octets"),
    [
        pytest.param("Content-Length: 1000", b" ", id="length"),
        pytest.param("Transfer-Encoding: chunked", b"1\r\n \r\n", id="chunks"),
        pytest.param("Transfer-Encoding: chunked", b"1;", id="an endless chunk extension"),
    ],
)
async def test_a_body_that_comes_an_octet_at_a_time_has_an_end(
    relay: RelayHarness, field: str, octets: bytes
) -> None:
    key = await relay.make_key()
    head = f"POST /api/v1/ip-pools HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n{field}\r\n\r\n"
    app = build_app(services_of(relay), ROUTERS, tell_rejection, idle_s=5, body_s=0.5)
    async with listening(app) as http, connected(http.address) as (reader, writer):
        writer.write(head.encode())
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(_trickle(writer, octets))
            answer = await reader.readuntil(b"]}")
            slow.cancel()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'{"errors":[{"message":"Request timed out"}]}' in answer
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_the_time_of_one_body_is_not_that_of_the_next(relay: RelayHarness) -> None:
    key = await relay.make_key()
    head = f"POST /api/v1/ip-pools HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 2\r\n\r\n"
    app = build_app(services_of(relay), ROUTERS, tell_rejection, idle_s=5, body_s=0.6)
    async with listening(app) as http, connected(http.address) as (reader, writer):
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            writer.write(head.encode() + b"{")
            await asyncio.sleep(0.2)
            writer.write(b"}")
            assert (await reader.readuntil(b"}]}")).startswith(b"HTTP/1.1 400")


async def test_who_trickles_on_after_an_early_answer_is_hung_up_on(relay: RelayHarness) -> None:
    head = (
        b"POST /api/v1/ip-pools HTTP/1.1\r\nHost: x\r\nAuthorization: wrong\r\nContent-Length: 1000\r\n\r\n"
    )
    app = build_app(services_of(relay), ROUTERS, tell_rejection, idle_s=5, body_s=5)
    async with listening(app, headers_s=0.5) as http, connected(http.address) as (reader, writer):
        writer.write(head)
        assert (await reader.readuntil(b"}]}")).startswith(b"HTTP/1.1 401")
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(_trickle(writer, b" "))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            slow.cancel()


async def test_an_answer_that_takes_long_is_not_cut_off_by_the_time_for_its_body(relay: RelayHarness) -> None:
    """A request whose body came in time has all the time for its answer."""
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.6)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with listening(app, headers_s=0.3) as http, connected(http.address) as (reader, writer):
        for path in ("/one", "/two"):
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
    assert asked == ["/one", "/two"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param("Content-Length: 5\r\nTransfer-Encoding: chunked", id="length first"),
        pytest.param("Transfer-Encoding: chunked\r\nContent-Length: 5", id="length last"),
        pytest.param("transfer-encoding: CHUNKED\r\ncontent-length: 0", id="in small letters"),
        pytest.param(
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive", id="asked to stay"
        ),
    ],
)
@pytest.mark.parametrize("reads", [True, False])
async def test_two_ends_of_a_body_are_the_end_of_the_connection(fields: str, reads: bool) -> None:
    """RFC 9112 §6.1: for a proxy that goes by the length, what follows is another client's request."""
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        while reads and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with listening(app) as http, connected(http.address) as (reader, writer):
        head = f"POST /first HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n"
        writer.write(head.encode() + b"0\r\n\r\n" + SMUGGLED)
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"ok")
    assert asked == ["/first"]


async def test_one_end_of_a_body_leaves_the_connection_open(relay: RelayHarness) -> None:
    async with connected(relay.http_address) as (reader, writer):
        for field, body in (("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "0\r\n\r\n")):
            writer.write(f"POST /healthz HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n{body}".encode())
            assert (await reader.readuntil(b"}]}")).startswith(b"HTTP/1.1 405")


async def test_rest_closes_after_a_request_with_two_ends(relay: RelayHarness) -> None:
    key = await relay.make_key()
    body = b'{"name":"Two ends"}'
    head = (
        f"POST /api/v1/ip-pools HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 19\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with connected(relay.http_address) as (reader, writer):
        writer.write(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) + SMUGGLED)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
