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
_A_SECOND = 5000


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


async def test_a_bounded_number_of_names_is_heard_and_then_all_is_looked_at(tmp_path: Path) -> None:
    heard: list[str] = []
    hearing = DatagramWakeUps(tmp_path, WorkerId("a"))
    hearing.hear(lambda ip, domain: heard.append(domain if ip else "all"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for number in range(400):
            octets = b"\n".join(b"127.0.0.1 d%d.test" % (number * 50 + n) for n in range(50))
            async with asyncio.timeout(10):
                while True:
                    try:
                        sender.sendto(octets, _address(hearing))
                        break
                    except BlockingIOError:
                        await asyncio.sleep(0)

    async def all_is_looked_at() -> bool:
        return heard[-1] == "all"

    await eventually(all_is_looked_at)
    assert heard == [f"d{number}.test" for number in range(_A_SECOND)] + ["all"]
    heard.clear()
    telling = DatagramWakeUps(tmp_path, WorkerId("b"))
    (tmp_path / "a").touch()
    telling.tell(IpAddress("127.0.0.1"), "acme.test")

    async def is_heard() -> bool:
        return heard == ["acme.test"]

    await eventually(is_heard)
    telling.close()
    hearing.close()


async def test_what_cannot_be_told_is_kept_in_bounded_memory(tmp_path: Path) -> None:
    """To a worker that hears nothing any more, as long as its file is there."""
    heard: list[str] = []
    hearing = DatagramWakeUps(tmp_path, WorkerId("a"))
    hearing.hear(lambda ip, domain: heard.append(domain if ip else "all"))
    (tmp_path / "a").touch()
    asyncio.get_running_loop().remove_reader(hearing._socket)  # noqa: SLF001 - it is stopped
    telling = DatagramWakeUps(tmp_path, WorkerId("b"))
    for batch in range(40):
        for number in range(100):
            telling.tell(IpAddress("127.0.0.1"), f"d{batch}-{number}.test")
        await asyncio.sleep(0.01)
    assert sum(map(len, telling._unsent.values())) <= 1000  # noqa: SLF001
    hearing._loop.add_reader(  # type: ignore[union-attr]  # noqa: SLF001
        hearing._socket,  # noqa: SLF001
        hearing._receive,  # noqa: SLF001
        lambda ip, domain: heard.append(domain if ip else "all"),
    )

    async def all_is_looked_at() -> bool:
        return "all" in heard

    await eventually(all_is_looked_at)
    assert len(heard) < 2000
    telling.close()
    hearing.close()
