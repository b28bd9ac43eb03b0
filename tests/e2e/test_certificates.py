"""SIGHUP: certificates that were replaced are shown to clients to come, and nobody is hung up on."""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from relay.net.tls import ensure_self_signed
from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess, free_port
from relay.testing.waiting import eventually


class Files:
    """A certificate and its key, which are replaced by others."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self.certificate, self.key = folder / "site.crt", folder / "site.key"
        self.replace()

    def replace(self) -> str:
        """What the new certificate is told by."""
        self._number += 1
        made = ensure_self_signed(self._folder / str(self._number), "relay.test")
        for source, target in zip(made, (self.certificate, self.key), strict=True):
            shutil.copy(source, target)
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text()).hex()


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _shown(address: tuple[str, int], is_smtp: bool) -> str:
    """The certificate that a new client sees there."""
    with socket.create_connection(address, 10) as plain:
        if is_smtp:
            for line in (b"EHLO client.test\r\n", b"STARTTLS\r\n"):
                while (reply := plain.recv(4096)).splitlines()[-1][3:4] == b"-":
                    pass
                assert reply[:1] == b"2", reply
                plain.sendall(line)
            assert plain.recv(4096)[:3] == b"220"
        with _tls().wrap_socket(plain) as wrapped:
            return (wrapped.getpeercert(binary_form=True) or b"").hex()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_new_pair_is_shown_after_sighup_and_a_broken_one_is_told(
    tmp_path: Path, mta: FakeMta, workers: int
) -> None:
    files = Files(tmp_path)
    pair: dict[str, object] = {"certificate": str(files.certificate), "key": str(files.key)}
    by_tls = free_port()
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["smtp", "api"], "workers": workers},
        "smtp": pair,
        "http": {**pair, "listen_tls": [f"127.0.0.1:{by_tls}"]},
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        # The listener of HTTP is one process's; those of SMTP are all of them's.
        places = [
            ((relay.host, relay.port), True),
            (relay.http_address, False),
            ((relay.host, by_tls), False),
        ]
        places += places[:1] * 4 * (workers - 1)

        async def shown() -> set[str]:
            return {await asyncio.to_thread(_shown, *place) for place in places}

        await eventually(lambda: asyncio.sleep(0, "ready version" in relay.log.read_text()), 10)
        (before,) = await shown()
        reader, writer = await asyncio.open_connection(relay.host, by_tls, ssl=_tls())
        newer = files.replace()
        assert await shown() == {before}
        os.kill(relay.pid, signal.SIGHUP)

        async def all_are_newer() -> bool:
            return await shown() == {newer}

        await eventually(all_are_newer, 10)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()

        files.certificate.write_text("nothing")
        os.kill(relay.pid, signal.SIGHUP)
        told = f"{files.certificate} not reloaded, the old one stays: "
        told += f"{files.certificate}: expected a certificate"
        # The process that answers HTTP tells it of both doors.
        await eventually(lambda: asyncio.sleep(0, relay.log.read_text().count(told) == workers + 1), 10)
        assert await shown() == {newer}


async def test_http_by_tls_is_beside_http_in_clear_with_the_pair_that_the_relay_made(
    tmp_path: Path, mta: FakeMta
) -> None:
    by_tls = free_port()
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["smtp", "api"]},
        "http": {"listen_tls": [f"127.0.0.1:{by_tls}"]},
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        host, port = relay.http_address
        for url in (f"http://{host}:{port}", f"https://localhost:{by_tls}", f"https://127.0.0.1:{by_tls}"):
            curl = ["curl", "-sS", "--cacert", str(tmp_path / "relay.crt"), f"{url}/healthz"]
            asked = await asyncio.to_thread(subprocess.run, curl, capture_output=True, timeout=20)
            assert json.loads(asked.stdout) == {"status": "ok"}, asked.stderr


@pytest.mark.parametrize("workers", [1, 2])
async def test_when_its_terminal_is_closed_it_ends(tmp_path: Path, mta: FakeMta, workers: int) -> None:
    relay = RelayProcess(tmp_path, mta.address, settings={"": {"workers": workers}})
    ours, theirs = os.openpty()
    child = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [sys.executable, "-m", "relay", "run", "--config", str(relay.config)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        shown = b""
        while b"ready version" not in shown:
            shown += await asyncio.to_thread(os.read, ours, 4096)
        child.send_signal(signal.SIGHUP)
        while shown.count(b"relay.crt reloaded") < workers:
            shown += await asyncio.to_thread(os.read, ours, 4096)
        assert child.poll() is None
        os.close(ours)
        child.send_signal(signal.SIGHUP)
        assert await asyncio.to_thread(child.wait, 20) == 0
    finally:
        child.kill()
        child.wait()
