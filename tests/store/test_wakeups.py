"""Whose datagrams are heard."""

import asyncio
import os
import resource
import socket
from pathlib import Path

from relay.domain.ids import IpAddress, WorkerId
from relay.store.sqlite.wakeups import DatagramWakeUps
from relay.testing.waiting import eventually

_NOBODY = 65534


def _address(hearing: DatagramWakeUps) -> bytes:
    return hearing._address(hearing._own)  # noqa: SLF001


def _flood(address: bytes, seconds: int) -> int:
    """A process of another user that sends whatever the system takes."""
    child = os.fork()
    if child:
        return child
    try:
        os.setuid(_NOBODY)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for number in range(100_000_000):
            sender.sendto(b"\n".join(b" d%d.test" % (number * 50 + n) for n in range(50)), address)
    finally:
        os._exit(0)


async def test_another_user_is_not_heard_and_costs_little(tmp_path: Path) -> None:
    heard: list[str] = []
    hearing = DatagramWakeUps(tmp_path, WorkerId("a"))
    hearing.hear(lambda ip, domain: heard.append(domain))
    before = os.times()
    child = _flood(_address(hearing), 5)
    await asyncio.sleep(1)
    after = os.times()
    os.kill(child, 9)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert heard == []
    assert after.user + after.system - before.user - before.system < 0.5

    (tmp_path / "a").touch()
    telling = DatagramWakeUps(tmp_path, WorkerId("b"))
    telling.tell(IpAddress("127.0.0.1"), "acme.test")

    async def is_heard() -> bool:
        telling.tell(IpAddress("127.0.0.1"), "acme.test")
        return "acme.test" in heard

    await eventually(is_heard)
    telling.close()
    hearing.close()
