"""Three hundred uploads of 20 MB at once: memory stays within its budget, and nobody's mail is lost."""

import asyncio
import base64
import re
from collections import Counter
from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from relay.sink.orders import Attempt
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from relay.testing.wire import connect_wire

UPLOADS = 300
BUDGET_BYTES = 1 << 30
"""The default of `body_budget_bytes`."""
BODY = (b"x" * 98 + b"\r\n") * 200_000
AT_A_TIME = 30
_PIECE = 256 * 1024
_MB = 1 << 20


def _memory_bytes(pid: int, name: str) -> int:
    """`VmRSS`: resident now; `VmHWM`: the most it ever was (proc(5))."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def _upload(relay: RelayProcess, to: str, size: str = "") -> str:
    """The reply that ended it: to the content, or to MAIL when that was refused."""
    token = base64.b64encode("\0{}\0{}".format(*relay.login()).encode())
    async with connect_wire((relay.host, relay.port)) as wire:
        assert (await wire.reply(60)).startswith("220")
        await wire.send(b"EHLO big.example", b"AUTH PLAIN " + token)
        assert [(await wire.reply(60))[:3] for _ in range(2)] == ["250", "235"]
        await wire.send(f"MAIL FROM:<alice@acme.test>{size}".encode())
        if not (reply := await wire.reply(60)).startswith("250"):
            return reply
        await wire.send(f"RCPT TO:<{to}>".encode(), b"DATA")
        assert [(await wire.reply(60))[:3] for _ in range(2)] == ["250", "354"]
        await wire.send(b"Subject: big", b'X-MSYS-API: {"options": {"ip_pool": "marketing"}}', b"")
        for at in range(0, len(BODY), _PIECE):
            await wire.write(BODY[at : at + _PIECE])
        await wire.send(b".")
        return await wire.reply(300)


@pytest.mark.timeout(900)
async def test_300_uploads_of_20_mb_stay_within_the_budget_and_all_arrive_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrived: Counter[str] = Counter()

    def took(attempt: Attempt) -> None:
        arrived[attempt.recipient] += attempt.is_accepted and len(attempt.content) > len(BODY)

    replies: dict[str, str] = {}
    gate = asyncio.Semaphore(UPLOADS)

    async def client(to: str, size: str = "") -> None:
        async with gate:
            replies[to] = await _upload(relay, to, size)

    async def insistent(to: str) -> None:
        while not replies[to].startswith("250"):
            await client(to, f" SIZE={len(BODY) + 200}")
            if not replies[to].startswith("250"):
                await asyncio.sleep(0.2)

    names = [f"r{number}@domain{number % 5}.example" for number in range(UPLOADS)]
    settings = {"smtp": {"body_budget_bytes": BUDGET_BYTES, "idle_timeout_s": 120}}
    clock = asyncio.get_running_loop().time
    async with (
        FakeMta(on_attempt=took, remembers=False) as mta,
        RelayProcess(tmp_path, mta.address, settings=settings) as relay,
    ):
        at_rest = _memory_bytes(relay.pid, "VmRSS")
        began = clock()
        async with asyncio.timeout(600), asyncio.TaskGroup() as tasks:
            for to in names:
                tasks.create_task(client(to), name=to)
        took_s = clock() - began
        peak = _memory_bytes(relay.pid, "VmHWM")
        codes = Counter(reply[:3] for reply in replies.values())

        gate = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.timeout(600), asyncio.TaskGroup() as tasks:
            for to in names:
                tasks.create_task(insistent(to), name=to)

        async def all_arrived() -> bool:
            return len(+arrived) == UPLOADS

        await eventually(all_arrived, 120)
        assert "Traceback" not in relay.log.read_text()
        later_peak, later = _memory_bytes(relay.pid, "VmHWM"), _memory_bytes(relay.pid, "VmRSS")
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what the test is run for
            f"\n  {UPLOADS} uploads of {len(BODY) / _MB:.0f} MB at once, budget {BUDGET_BYTES / _MB:.0f} MB: "
            f"{dict(codes)} in {took_s:.0f} s; memory {at_rest / _MB:.0f} MB at rest, {peak / _MB:.0f} MB at "
            f"most; all {UPLOADS} arrived when those refused tried again, {later_peak / _MB:.0f} MB at most, "
            f"{later / _MB:.0f} MB then; {sum(arrived.values()) - UPLOADS} duplicates",
            end="",
        )
    assert set(codes) == {"250", "452"}
    assert later_peak < 2 * BUDGET_BYTES, (
        "what is not bodies, and the system's own account of memory, included"
    )
    assert set(arrived.values()) == {1}
