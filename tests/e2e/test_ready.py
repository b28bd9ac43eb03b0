"""`/readyz` where the store is well and no mail is taken all the same."""

import asyncio
from base64 import b64encode
from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect_wire

POOL = b'X-MSYS-API: {"options": {"ip_pool": "marketing"}}'


async def test_while_it_stops_it_says_so_and_the_mail_that_is_under_way_is_taken(
    tmp_path: Path, mta: FakeMta
) -> None:
    async with RelayProcess(tmp_path, mta.address, settings=WITH_API) as relay:
        host, port = relay.http_address
        login = b64encode("\0".join(("", *relay.login())).encode())
        async with (
            connect_wire((relay.host, relay.port)) as wire,
            httpx.AsyncClient(base_url=f"http://{host}:{port}") as client,
            asyncio.TaskGroup() as tasks,
        ):
            await _begin(wire, login)
            stopped = tasks.create_task(relay.stop())

            async def says_why() -> bool:
                answer = await client.get("/readyz")
                return answer.status_code == 503 and "The relay is stopping" in answer.text

            await eventually(says_why, 5)
            assert (await client.get("/healthz")).status_code == 200
            await wire.send(b"Hello.", b".")
            assert (await wire.reply()).startswith("250")
            assert await stopped == 0
            with pytest.raises(httpx.ConnectError):
                await client.get("/readyz")


async def _begin(wire: Wire, login: bytes) -> None:
    """As far as the middle of a message."""
    await wire.reply()
    for line in (
        b"EHLO client.test",
        b"AUTH PLAIN " + login,
        b"MAIL FROM:<a@acme.test>",
        b"RCPT TO:<waits@gmail.example>",
        b"DATA",
    ):
        assert (await wire.ask(line))[0] in "23"
    await wire.send(b"From: a@acme.test", POOL, b"")


@pytest.mark.parametrize(
    ("roles", "status"),
    [(["smtp", "web"], 200), (["api"], 200), (["web", "egress"], 503)],
)
async def test_a_process_that_by_its_roles_takes_no_mail_is_not_ready(
    tmp_path: Path, mta: FakeMta, roles: list[str], status: int
) -> None:
    async with RelayHarness(tmp_path, mta, settings={"": {"roles": roles}}) as relay:
        host, port = relay.http_address
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{host}:{port}/readyz")
    assert answer.status_code == status
    assert ("neither role smtp nor api" in answer.text) == (status == 503)
