"""Hostile classics against the real program: nothing queued, still serving, nothing leaks."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect_wire

SETTINGS: dict[str, dict[str, object]] = {
    "smtp": {"idle_timeout_s": 2, "body_budget_bytes": 24 << 20, "max_connections": 20}
}
CHUNK = b"x" * 998 + b"\r\n"


@pytest_asyncio.fixture
async def running(tmp_path: Path, mta: FakeMta) -> AsyncIterator[RelayProcess]:
    """The program, which must be none the worse for what the test did to it."""
    async with RelayProcess(tmp_path, mta.address, settings=SETTINGS) as process:
        await _send_a_good_one(process, mta, "first")
        open_files = _open_files(process)
        yield process
        await _send_a_good_one(process, mta, "last")

        async def all_closed() -> bool:
            return _open_files(process) <= open_files

        await eventually(all_closed, timeout_s=5)
        await _assert_nothing_queued(process)
        assert "Traceback" not in process.log.read_text()


async def test_10000_recipients_are_cut_at_the_limit(running: RelayProcess) -> None:
    async with connect_wire((running.host, running.port)) as wire:
        await _begin(wire, running)
        codes: list[str] = []
        for batch in range(20):
            recipients = [b"RCPT TO:<r%d@gmail.example>" % (batch * 500 + n) for n in range(500)]
            await wire.send(*recipients)
            codes += [(await wire.reply())[:3] for _ in recipients]
        assert codes == ["250"] * 1000 + ["452"] * 9000, "RFC 5321 §4.5.3.1.10"
        assert (await wire.ask(b"RSET")).startswith("250")
        assert (await wire.ask(b"NOOP")).startswith("250")


async def test_a_10_mb_header_is_refused(running: RelayProcess) -> None:
    async with connect_wire((running.host, running.port)) as wire:
        await _begin(wire, running, b"RCPT TO:<bob@gmail.example>", b"DATA")
        try:
            await wire.write(b"Subject: long\r\n")
            for _ in range(10):
                await wire.write((b" " + CHUNK[1:]) * 1000)
            await wire.send(b"", b"body", b".")
        except ConnectionError:
            pass
        assert (await wire.reply())[:1] in {"5", ""}


async def test_a_10_mb_line_is_refused(running: RelayProcess) -> None:
    async with connect_wire((running.host, running.port)) as wire:
        await _begin(wire, running, b"RCPT TO:<bob@gmail.example>", b"DATA")
        try:
            await wire.write(b"Subject: long\r\n\r\n")
            for _ in range(10):
                await wire.write(b"x" * 1_000_000)
            await wire.send(b"", b".")
        except ConnectionError:
            pass
        assert (await wire.reply())[:1] in {"5", ""}


async def test_more_than_the_size_limit_is_refused(running: RelayProcess) -> None:
    async with connect_wire((running.host, running.port)) as wire:
        assert (await _login(wire, running))[:3] == "235"
        declared = await wire.ask(b"MAIL FROM:<alice@acme.test> SIZE=20971521")
        assert declared == "552 5.3.4 Message size exceeds fixed limit"
        await wire.send(b"MAIL FROM:<alice@acme.test>", b"RCPT TO:<bob@gmail.example>", b"DATA")
        assert [(await wire.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        try:
            await wire.write(b"Subject: big\r\n\r\n")
            for _ in range(21):
                await wire.write(CHUNK * 1049)
            await wire.send(b".")
        except ConnectionError:
            pass
        assert await wire.reply(timeout_s=20) in {"552 5.3.4 Message size exceeds fixed limit", ""}


async def test_a_slow_writer_is_let_go_and_takes_its_message_along(running: RelayProcess) -> None:
    async with connect_wire((running.host, running.port)) as wire:
        await _begin(wire, running, b"RCPT TO:<bob@gmail.example>", b"DATA")
        await wire.write(b"Subject: slow\r\n\r\nI will finish")
        assert (await wire.reply(timeout_s=8))[:3] in {"421", ""}
        assert await wire.reply(timeout_s=8) == ""


async def test_clients_that_vanish_in_data_leave_nothing_behind(running: RelayProcess) -> None:
    for _ in range(30):
        async with connect_wire((running.host, running.port)) as wire:
            await _begin(wire, running, b"RCPT TO:<bob@gmail.example>", b"DATA")
            await wire.write(b"Subject: gone\r\n\r\n" + CHUNK * 1000)


async def test_connections_over_the_limit_are_told_so_and_the_rest_is_served(running: RelayProcess) -> None:
    async with (
        connect_wire((running.host, running.port)) as kept,
    ):
        assert (await kept.reply())[:3] == "220"
        greetings = await _greetings(running, 25)
        assert greetings.count("220") == 17, "nine tenths of 20 for strangers"
        assert greetings.count("421") == 8
        assert (await kept.ask(b"NOOP"))[:3] == "250"


async def _greetings(running: RelayProcess, count: int) -> list[str]:
    """Codes of the greetings of that many connections, all open at once."""
    if count == 0:
        return []
    async with connect_wire((running.host, running.port)) as wire:
        return [(await wire.reply())[:3], *await _greetings(running, count - 1)]


async def _login(wire: Wire, running: RelayProcess) -> str:
    token = base64.b64encode("\0{}\0{}".format(*running.login()).encode())
    assert (await wire.reply())[:3] == "220"
    assert (await wire.ask(b"EHLO hostile.example"))[:3] == "250"
    return await wire.ask(b"AUTH PLAIN " + token)


async def _begin(wire: Wire, running: RelayProcess, *commands: bytes) -> None:
    """Greeting, EHLO, AUTH, MAIL and what else is given; every one accepted."""
    assert (await _login(wire, running))[:3] == "235"
    for command in (b"MAIL FROM:<alice@acme.test>", *commands):
        assert (await wire.ask(command))[:3] in {"250", "354"}


async def _send_a_good_one(running: RelayProcess, mta: FakeMta, name: str) -> None:
    """10 MB, so that a body budget that leaked would show."""
    to = f"{name}@good.example"
    await running.inject(to, text=("x" * 98 + "\r\n") * 100_000)

    async def arrived() -> bool:
        return any(attempt.is_accepted for attempt in mta.attempts_for(to))

    await eventually(arrived, timeout_s=20)


async def _assert_nothing_queued(running: RelayProcess) -> None:
    listed = await running.run_cli("queue", "list", "--json")
    assert listed.status == 0, listed
    assert "gmail.example" not in listed.out


def _open_files(running: RelayProcess) -> int:
    return len(list(Path(f"/proc/{running.pid}/fd").iterdir()))
