"""`kill -9` at random moments under load: what was acknowledged arrives, at least once."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiosmtplib
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

ROUNDS = 20
CLIENTS = 4


class Load:
    """Clients that inject as fast as they are answered, and what they were told."""

    def __init__(self, relay: RelayProcess) -> None:
        self._relay = relay
        self.acknowledged: list[str] = []
        self.progress = asyncio.Event()

    async def client(self, name: str) -> None:
        """Until the relay dies under it."""
        number = 0
        try:
            while True:
                number += 1
                recipient = f"{name}-{number}@domain{number % 5}.example"
                await self._relay.inject(
                    recipient, ip_pool=random.Random(name).choice(["marketing", "receipts"])
                )
                self.acknowledged.append(recipient)
                self.progress.set()
        except (OSError, aiosmtplib.SMTPException):
            return

    async def reach(self, count: int) -> None:
        """Wait until that many more were acknowledged."""
        goal = len(self.acknowledged) + count
        while len(self.acknowledged) < goal:
            self.progress.clear()
            await self.progress.wait()


@pytest.mark.timeout(180)
async def test_every_acknowledged_message_arrives_after_twenty_kills(
    tmp_path: Path, mta: FakeMta, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(20)
    relay = RelayProcess(tmp_path, mta.address, settings={"queue": {"first_retry": "1s"}})
    load = Load(relay)
    for round_number in range(ROUNDS):
        await relay.start()
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            for client in range(CLIENTS):
                tasks.create_task(load.client(f"r{round_number}c{client}"), name=f"client {client}")
            await load.reach(chance.randint(1, 60))
            # The moment of the kill is to fall anywhere between two acknowledgements.
            await asyncio.sleep(chance.uniform(0, 0.02))
            relay.kill()

    await relay.start()

    async def all_arrived() -> bool:
        return seen().keys() >= set(load.acknowledged)

    def seen() -> Counter[str]:
        return Counter(attempt.recipient for attempt in mta.accepted)

    try:
        await eventually(all_arrived, timeout_s=30)
    except TimeoutError:
        missing = set(load.acknowledged) - seen().keys()
        pytest.fail(
            f"acknowledged and lost: {sorted(missing)[:20]} ({len(missing)} in all)\n{relay.log_tail()}"
        )
    assert await relay.stop() == 0
    arrived = seen()
    duplicates = sum(arrived.values()) - len(arrived)
    unanswered = len(arrived.keys() - set(load.acknowledged))
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what the test is run for
            f"\n{ROUNDS} kills: {len(load.acknowledged)} acknowledged, all arrived; {duplicates} duplicates, "
            f"{unanswered} more arrived whose 250 the client did not see"
        )
