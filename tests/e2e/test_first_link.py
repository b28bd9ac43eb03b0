"""The first operator's link: a terminal shows it, whatever keeps the output does not."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess, free_port
from relay.testing.waiting import eventually

LINK = re.compile(r"http://\S+/sign-in/link/[\w-]{43}")
NAMED = "`relay user first-link`"
ROLES: dict[str, dict[str, object]] = {"": {"roles": ["smtp", "web"]}}


class Terminal:
    """What a person saw."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        os.set_blocking(self._ours, False)
        self.shown = ""

    def look(self) -> str:
        with suppress(BlockingIOError):
            while octets := os.read(self._ours, 65536):
                self.shown += octets.decode()
        return self.shown

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)


@contextmanager
def _terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    try:
        yield terminal
    finally:
        terminal.close()


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / "out", folder / "err"


@contextmanager
def _running(relay: RelayProcess, folder: Path, terminal: dict[str, int], *more: str) -> Iterator[None]:
    """With those outputs on a terminal, and the others in files."""
    out, err = _files(folder)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "relay", "run", *more, "--config", str(relay.config)],
            stdin=subprocess.DEVNULL,
            stdout=terminal.get("stdout", stdout),
            stderr=terminal.get("stderr", stderr),
        )
    try:
        yield
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()


async def _opens(link: str) -> bool:
    async with httpx.AsyncClient() as http:
        return "Welcome, admin" in (await http.get(link)).text


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("output", ["stdout", "stderr"])
async def test_the_output_that_is_a_terminal_shows_it(
    tmp_path: Path, mta: FakeMta, output: str, workers: int
) -> None:
    settings = {"": {**ROLES[""], "workers": workers}}
    relay = RelayProcess(tmp_path, mta.address, settings=settings)
    with _terminal() as terminal, _running(relay, tmp_path, {output: terminal.theirs}):

        async def links() -> list[str]:
            return LINK.findall(terminal.look())

        (link,) = await eventually(links, 20)
        assert await _opens(link)
        assert not [path for path in _files(tmp_path) if "/sign-in/link/" in path.read_text()]


async def test_the_welcome_in_a_file_is_without_it_when_only_the_log_is_on_a_terminal(
    tmp_path: Path,
) -> None:
    relay = RelayProcess(tmp_path, f"127.0.0.1:{free_port()}", settings=ROLES)
    with _terminal() as terminal, _running(relay, tmp_path, {"stderr": terminal.theirs}, "--with-sink"):

        async def is_shown() -> bool:
            return bool(LINK.search(terminal.look()))

        await eventually(is_shown, 20)
        welcome = _files(tmp_path)[0].read_text()
        assert "Ctrl-C stops it." in welcome
        assert "/sign-in/link/" not in welcome


async def test_a_log_names_the_command_that_shows_it_as_long_as_nobody_has_signed_in(
    tmp_path: Path, mta: FakeMta
) -> None:
    async with RelayProcess(tmp_path, mta.address, settings=ROLES) as relay:
        await eventually(lambda: asyncio.sleep(0, NAMED in relay.log.read_text()))
        first = await relay.run_cli("user", "first-link")
        newer = await relay.run_cli("user", "first-link")
        assert (first.status, newer.status) == (0, 0)
        assert not await _opens(first.out.strip())
        await _sign_in(newer.out.strip())
        refused = await relay.run_cli("user", "first-link")
        assert (refused.status, refused.out) == (1, "")
        assert "somebody has signed in" in refused.err
        assert relay.log.read_text().count(NAMED) == 1
        await relay.restart()
        assert await relay.stop() == 0
        assert relay.log.read_text().count(NAMED) == 1
        assert "/sign-in/link/" not in relay.log.read_text()


async def test_make_run_shows_it_whatever_its_output_is(tmp_path: Path) -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    (arguments,) = re.findall(r"-m relay run (.*)", makefile)
    relay = RelayProcess(tmp_path, f"127.0.0.1:{free_port()}", settings=ROLES)
    with _running(relay, tmp_path, {}, *arguments.split()):

        async def links() -> list[str]:
            return LINK.findall(_files(tmp_path)[0].read_text())

        (link,) = await eventually(links, 20)
        assert await _opens(link)


async def _sign_in(link: str) -> None:
    """Follow the link and choose a password."""
    async with httpx.AsyncClient() as http:
        page = (await http.get(link)).text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        form = {"csrf": csrf, "password": "correct horse battery", "again": "correct horse battery"}
        assert (await http.post(link, data=form)).status_code == 303
