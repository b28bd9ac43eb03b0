"""The listener of `[http]`: over real sockets."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from relay.domain.shares import Shares
from relay.frames.rest.app import build_app
from relay.frames.services import Services
from relay.net.http_server import HttpServer
from relay.net.tls import ensure_self_signed, server_context
from relay.process.mount import ROUTERS
from relay.resources.transmissions.rejections import tell_rejection
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess, free_port
from relay.testing.waiting import eventually
from relay.testing.wire import connect_wire
from tests.support.rest import refusal, results


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}


async def test_health_is_told_without_a_key(relay: RelayHarness) -> None:
    host, port = relay.http_address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        for path in ("/healthz", "/readyz", "/healthz/"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert "server" not in answer.headers
            assert "date" in answer.headers


async def test_an_unknown_path_is_refused_in_sparkposts_shape(relay: RelayHarness) -> None:
    async with relay.api(over_socket=True) as api:
        answer = await api.get("/nowhere")
    assert answer.status_code == 404
    assert answer.json() == {
        "errors": [
            {
                "message": "resource not found",
                "description": "Resource not found:/api/v1/nowhere",
                "code": "1600",
            }
        ]
    }


async def test_pools_are_managed_over_a_socket(relay: RelayHarness) -> None:
    async with relay.api(over_socket=True) as api:
        made = results(await api.post("/ip-pools/", json={"name": "News"}))
        assert results(await api.get(f"/ip-pools/{made['id']}"))["name"] == "News"
        assert (await api.delete(f"/ip-pools/{made['id']}")).status_code == 204
        assert refusal(await api.get("/ip-pools/news")) == (404, "IP pool not found.")


async def test_an_address_that_is_taken_ends_the_start_and_names_itself(tmp_path: Path, mta: FakeMta) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        harness = RelayHarness(tmp_path, mta, settings={**WITH_API, "http": {"listen": address}})
        with pytest.raises(
            OSError, match=f"on {address}: another program has that port.*RELAY_HTTP__LISTEN=127"
        ):
            await harness.__aenter__()


async def test_with_a_certificate_the_api_speaks_tls(tmp_path: Path, mta: FakeMta) -> None:
    certificate, key = ensure_self_signed(tmp_path, "127.0.0.1")
    http = {"listen": "127.0.0.1:0", "certificate": str(certificate), "key": str(key)}
    async with RelayHarness(tmp_path, mta, settings={**WITH_API, "http": http}) as relay:
        url = relay.inside.http_url
        assert url is not None
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(verify=trust) as client:
            assert (await client.get(f"{url}/healthz")).status_code == 200


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def listening(
    app: ASGIApp, tls: ssl.SSLContext | None = None, **limits: Any
) -> AsyncIterator[HttpServer]:
    http = HttpServer("127.0.0.1", 0, tls, 10, **limits)
    await http.bind()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(http.run(app))
        yield http
        await http.close()


@asynccontextmanager
async def connected(
    address: tuple[str, int],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _ask(address: tuple[str, int]) -> bytes:
    async with connected(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return await reader.read()


async def _is_free(address: tuple[str, int]) -> bool:
    """Whether nobody listens there. asyncio of Python 3.11 trips over a client that comes meanwhile."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


async def test_a_request_in_hand_is_answered_before_the_server_ends() -> None:
    app = Slow()
    async with listening(app) as http, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_ask(http.address))
        await app.asked.wait()
        closing = tasks.create_task(http.close())
        await eventually(lambda: _is_free(http.address), 5)
        assert not closing.done()
        app.may_answer.set()
    assert asked.result().startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="says nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n", id="half a header section"),
    ],
)
async def test_a_client_that_does_not_finish_its_headers_is_hung_up_on(begun: bytes) -> None:
    async with listening(Slow(), headers_s=0.2) as http, connected(http.address) as (reader, writer):
        writer.write(begun)
        assert await reader.read() == b""


async def test_the_second_request_of_a_connection_may_not_dawdle_either(relay: RelayHarness) -> None:
    app = build_app(services_of(relay), ROUTERS, tell_rejection)
    async with listening(app, headers_s=0.2) as http, connected(http.address) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'{"status":"ok"}')
        writer.write(b"GET /")
        assert await reader.read() == b""


async def test_a_client_that_falls_silent_inside_a_body_is_told_and_hung_up_on(relay: RelayHarness) -> None:
    key = await relay.make_key()
    head = f"POST /api/v1/ip-pools HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 100\r\n\r\n"
    app = build_app(services_of(relay), ROUTERS, tell_rejection, idle_s=0.2)
    async with listening(app) as http, connected(http.address) as (reader, writer):
        writer.write(head.encode() + b'{"name"')
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'{"errors":[{"message":"Request timed out"}]}' in answer


async def test_clients_over_the_limit_are_hung_up_on() -> None:
    async with (
        listening(Slow(), max_connections=1) as http,
        connected(http.address),
        connected(http.address) as (reader, _),
    ):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_an_address_holds_its_share_and_gets_a_place_when_one_ends() -> None:
    async with listening(Slow(), shares=Shares(1)) as http:
        async with connected(http.address), connected(http.address) as (reader, _):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""

        async def is_let_in() -> bool:
            async with connected(http.address) as (reader, writer):
                writer.write(b"no HTTP\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    return (await reader.read()).startswith(b"HTTP/1.1 400")
            return False

        await eventually(is_let_in)


async def test_a_handshake_that_is_not_begun_is_counted_and_one_that_fails_is_given_back(
    tmp_path: Path,
) -> None:
    context = server_context(*ensure_self_signed(tmp_path, "relay.test"))
    async with listening(Slow(), tls=context, shares=Shares(1)) as http:
        async with connected(http.address) as (silent, writer):
            async with connected(http.address) as (reader, _):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                await silent.read()

        async def is_let_in() -> bool:
            encrypted = ssl.create_default_context()
            encrypted.check_hostname, encrypted.verify_mode = False, ssl.CERT_NONE
            try:
                _, writer = await asyncio.open_connection(*http.address, ssl=encrypted)
            except ConnectionError:
                return False
            writer.transport.abort()
            return True

        for _ in range(3):
            await eventually(is_let_in)


async def test_trusted_networks_and_proxies_are_exempt_from_shares(tmp_path: Path, mta: FakeMta) -> None:
    settings: dict[str, Mapping[str, object]] = {
        **WITH_API,
        "smtp": {"max_connections_per_client": 1},
        "http": {"listen": "127.0.0.1:0", "max_connections_per_client": 1},
    }
    exempt: dict[str, Mapping[str, object]] = {
        **settings,
        "http": {**settings["http"], "trusted_proxies": ["127.0.0.0/8"]},
    }
    for given, expected in ((settings, 1), (exempt, 3)):
        folder = tmp_path / str(expected)
        folder.mkdir()
        async with RelayHarness(folder, mta, settings=given) as relay, AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(connect_wire(relay.smtp_address)) for _ in range(3)]
            assert [(await wire.reply())[:3] for wire in wires].count("220") == expected
            answers = []
            for _ in range(3):
                reader, writer = await stack.enter_async_context(connected(relay.http_address))
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    answers.append(await reader.read(12))
            assert answers.count(b"HTTP/1.1 200") == expected


def services_of(relay: RelayHarness) -> Services:
    services: Services = relay.inside.http_app.state.services  # type: ignore[attr-defined] # FastAPI's
    return services


async def test_a_chunked_body_that_is_too_long_ends_with_the_connection(relay: RelayHarness) -> None:
    key = await relay.make_key()
    head = f"POST /api/v1/ip-pools HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nTransfer-Encoding: chunked"
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with connected(relay.http_address) as (reader, writer):
        writer.write(head.encode() + b"\r\n\r\n" + piece * 17)
        assert await reader.read(12) == b"HTTP/1.1 413"
        with contextlib.suppress(ConnectionResetError):
            await reader.read()


async def test_of_several_workers_one_answers_http(tmp_path: Path, mta: FakeMta) -> None:
    settings = {"": {**WITH_API[""], "workers": 2}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as running:
        host, port = running.http_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.ConnectError:
                    return False

            await eventually(answers, 20)
        await running.inject("bob@gmail.example", ip_pool="receipts")
        (attempt,) = await mta.attempts_reached(1)
        assert attempt.peer_ip == "127.0.0.13"
        assert "cannot listen" not in running.log_tail(1000)


def test_tls_of_the_api_is_that_of_the_other_listeners(tmp_path: Path) -> None:
    context = server_context(*ensure_self_signed(tmp_path, "x"))
    http = HttpServer("127.0.0.1", free_port(), context, 1)
    assert http.scheme == "https"
    with pytest.raises(RuntimeError):
        _ = http.address
