"""Who hangs up in the midst of a body is no fault of ours: the log has no traceback."""

import asyncio
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import rest_key_of
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

ROLES: dict[str, dict[str, object]] = {"": {"roles": ["smtp", "api", "web", "egress", "feed"]}}
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with RST."""
BODIES = {
    "nothing of it": ("Content-Length: 100", b""),
    "half of it": ("Content-Length: 100", b'{"name"'),
    "a large half": ("Content-Length: 900000", b'{"x":"' + b"x" * 300_000),
    "half a chunk": ("Transfer-Encoding: chunked", b'50\r\n{"name"'),
    "no last chunk": ("Transfer-Encoding: chunked", b"2\r\n{}\r\n"),
    "waits for 100": ("Content-Length: 100\r\nExpect: 100-continue", b""),
}


async def _doors(http: httpx.AsyncClient, relay: RelayProcess) -> list[tuple[str, str]]:
    """Each first line and what lets it in: all of REST that has a body, and forms of the console."""
    key = rest_key_of(relay.directory, 1)
    paths = (await http.get("/api/openapi.json")).json()["paths"]
    doors = [
        (f"{method.upper()} {re.sub('{.*?}', '1', path)}", f"Authorization: {key}")
        for path, operations in paths.items()
        for method in operations
        if method in {"post", "put", "delete"}
    ]
    link = httpx.URL((await relay.run_cli("user", "first-link")).out.strip()).path
    page = (await http.get(link)).text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    form = {"csrf": csrf, "password": "correct horse battery", "again": "correct horse battery"}
    await http.post(link, data=form)
    cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    assert "relay_session" in cookie
    console = ["/sign-in", link, "/act-for", "/sign-out", "/account/users", "/nowhere"]
    return doors + [(f"POST {path}", f"Cookie: {cookie}") for path in console]


def _requests(doors: list[tuple[str, str]]) -> Iterator[tuple[bytes, bool]]:
    for line, access in doors:
        kind = "application/json" if "/api/" in line else "application/x-www-form-urlencoded"
        for field, begun in BODIES.values():
            head = f"{line} HTTP/1.1\r\nHost: x\r\n{access}\r\nContent-Type: {kind}\r\n{field}\r\n\r\n"
            for is_reset in (False, True):
                yield head.encode() + begun, is_reset


async def _hang_up(address: tuple[str, int], octets: bytes, is_reset: bool) -> None:
    with socket.socket() as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, octets)
        # So that it is being read when we go.
        await asyncio.sleep(0.01)
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.mark.parametrize("idempotency", ["", "\r\nIdempotency-Key: again"], ids=["plain", "with a key"])
async def test_a_client_that_hangs_up_in_mid_body_leaves_no_traceback(
    tmp_path: Path, mta: FakeMta, idempotency: str
) -> None:
    async with RelayProcess(tmp_path, mta.address, settings=ROLES) as relay:
        host, port = relay.http_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
            doors = [(line, access + idempotency) for line, access in await _doors(http, relay)]
            assert len(doors) > 20
            before = len(relay.log.read_text().splitlines())
            for octets, is_reset in _requests(doors):
                await _hang_up(relay.http_address, octets, is_reset)

            async def is_answered() -> bool:
                return (await http.get("/readyz")).status_code == 200

            await eventually(is_answered)
        assert await relay.stop() == 0
        said = relay.log.read_text().splitlines()[before:]
        assert not [line for line in said if "Traceback" in line or "failed" in line], said
        assert len(said) < 30, said
