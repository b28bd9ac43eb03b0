"""A hundred times `kill -9` amid deferrals, restarts and pool changes: what was acknowledged arrives."""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from pathlib import Path

import aiosmtplib
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.injection import InjectionRefusedError
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

ROUNDS = 100
CLIENTS = 6
POOLS = ("marketing", "receipts", None)
CHANGES = (
    ("ip", "move", "127.0.0.11", "--pool", "receipts"),
    ("pool", "delete", "receipts", "--account", "1", "--yes"),
    ("pool", "create", "Receipts", "--account", "1"),
    ("ip", "move", "127.0.0.13", "--pool", "receipts"),
    ("ip", "move", "127.0.0.11", "--pool", "marketing"),
)
_ADOPTED = re.compile(r"adopts messages=(\d+) left in flight")


class Load:
    """Clients that inject as fast as they are answered, and what they were told."""

    def __init__(self, relay: RelayProcess) -> None:
        self._relay = relay
        self.acknowledged: list[str] = []
        self.refused: Counter[int] = Counter()

    async def client(self, name: str, chance: random.Random) -> None:
        """Until the relay dies under it. A pool that is gone at the moment is no reason to stop."""
        number = 0
        while True:
            number += 1
            recipient = f"{name}-{number}@domain{number % 7}.example"
            try:
                await self._relay.inject(recipient, ip_pool=chance.choice(POOLS))
            except InjectionRefusedError as refusal:
                self.refused[refusal.code] += 1
            except (OSError, aiosmtplib.SMTPException):
                return
            else:
                self.acknowledged.append(recipient)

    async def has(self, count: int) -> bool:
        return len(self.acknowledged) >= count


class Fickle:
    """A next hop's judgement: every seventh recipient has to come twice."""

    def __init__(self) -> None:
        self.deferred: set[str] = set()

    def decide(self, source_ip: str, recipient: str) -> str | None:
        number = int(recipient.partition("@")[0].rpartition("-")[2])
        if number % 7 or recipient in self.deferred:
            return None
        self.deferred.add(recipient)
        return "451 4.2.1 come again"


async def _change_pools(relay: RelayProcess, over: asyncio.Event, done: Counter[int]) -> None:
    """An operator who goes on moving IPs and deleting pools, whether a relay runs or not."""
    while not over.is_set():
        for change in CHANGES:
            done[(await relay.run_cli(*change)).status] += 1


def _workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in children.split()]


async def _round(relay: RelayProcess, load: Load, number: int, workers: int, chance: random.Random) -> str:
    """One life of the relay, and how it ended."""
    await relay.start()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for client in range(CLIENTS):
            own = random.Random(f"{number} {client}")
            tasks.create_task(load.client(f"w{workers}r{number}c{client}", own), name=f"client {client}")
        goal = len(load.acknowledged) + chance.randint(1, 60)
        await eventually(lambda: load.has(goal), 40)
        # The moment is to fall anywhere between two acknowledgements.
        await asyncio.sleep(chance.uniform(0, 0.05))
        if number % 10 == 9:
            assert await relay.stop() == 0
            return "stopped"
        if workers > 1 and number % 2:
            os.kill(chance.choice(_workers(relay.pid)), signal.SIGKILL)
            # The others take over what it held, and then all die.
            goal = len(load.acknowledged) + 10
            tasks.create_task(load.client(f"w{workers}r{number}z", chance), name="another client")
            await eventually(lambda: load.has(goal), 40)
            relay.kill()
            return "worker killed, then all"
        relay.kill()
        return "killed"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 2])
async def test_every_acknowledged_message_arrives_after_a_hundred_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    chance, done, ends = random.Random(workers), Counter[int](), Counter[str]()
    over = asyncio.Event()
    async with FakeMta(decide=Fickle().decide) as mta:
        mta.restrict(delay_s=0.01)
        settings: dict[str, dict[str, object]] = {
            "": {"workers": workers},
            "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
        }
        relay = RelayProcess(tmp_path, mta.address, settings=settings)
        load = Load(relay)
        # The store is there before the operator comes.
        await relay.start()
        await relay.stop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_change_pools(relay, over, done), name="operator")
            for number in range(ROUNDS):
                ends[await _round(relay, load, number, workers, chance)] += 1
            over.set()
        await relay.start()

        async def all_arrived() -> bool:
            return {attempt.recipient for attempt in mta.accepted} >= set(load.acknowledged)

        try:
            await eventually(all_arrived, timeout_s=60)
        except TimeoutError:
            missing = set(load.acknowledged) - {attempt.recipient for attempt in mta.accepted}
            pytest.fail(f"lost: {sorted(missing)[:20]} ({len(missing)} in all)\n{relay.log_tail()}")

        async def is_empty() -> bool:
            return bool(json.loads((await relay.run_cli("queue", "list", "--json")).out) == [])

        await eventually(is_empty, timeout_s=60)
        assert await relay.stop() == 0
        arrived = Counter(attempt.recipient for attempt in mta.accepted)

    log = relay.log.read_text()
    assert "Traceback" not in log
    assert ends["stopped"] == ROUNDS // 10
    assert done[0] > ROUNDS // 2, "the operator was heard"
    in_flight = sum(map(int, _ADOPTED.findall(log)))
    duplicates = sum(arrived.values()) - len(arrived)
    unanswered = len(arrived.keys() - set(load.acknowledged))
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what the test is run for
            f"\n  {workers} workers, {ROUNDS} rounds ({dict(ends)}), {sum(done.values())} pool changes: "
            f"{len(load.acknowledged)} acknowledged, all arrived, none stuck; {duplicates} duplicates of "
            f"{in_flight} in flight at a kill; {unanswered} more arrived whose 250 the client did not see; "
            f"refused {dict(load.refused)}",
            end="",
        )
    assert duplicates <= in_flight
