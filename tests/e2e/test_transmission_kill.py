"""`kill -9` while a large transmission becomes messages: each recipient gets one, no more and no fewer."""

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx

from relay.domain.events import Injection
from relay.domain.ids import TransmissionId
from relay.process.scheduler import LEASE_S
from relay.sink.fake_mta import FakeMta
from relay.store import open_store
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

RECIPIENTS = 8_000
KEY = "c100000000000000000000000000000000000001"


async def _made(url: str, transmission: TransmissionId) -> Counter[str]:
    """How many messages each recipient has so far."""
    async with await open_store(url) as store:
        told = await store.events.of_transmission(transmission)
    return Counter(one.event.about.rcpt_to for one in told if isinstance(one.event, Injection))


def _count(path: Path, transmission: TransmissionId) -> int:
    """How many messages there are so far."""
    text = "SELECT count(*) FROM event WHERE transmission_id = ? AND kind = 'injection'"
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(text, (transmission,)).fetchone()[0])


async def test_a_kill_in_the_middle_loses_and_doubles_no_message(tmp_path: Path, mta: FakeMta) -> None:
    path = tmp_path / "relay.db"
    body = {
        "options": {"ip_pool": "marketing"},
        "recipients": [{"address": f"r{number}@domain.example"} for number in range(RECIPIENTS)],
        "content": {"from": "a@acme.test", "subject": "many", "text": "Hello."},
    }
    async with RelayProcess(tmp_path, mta.address, settings=WITH_API) as process:
        host, port = process.http_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}/api/v1", timeout=60) as client:
            answer = await client.post(
                "/transmissions", content=json.dumps(body), headers={"Authorization": KEY}
            )
        assert answer.status_code == 200
        transmission = TransmissionId(answer.json()["results"]["id"])
        kills = 0
        for _ in range(5):
            await asyncio.sleep(0.15)
            process.kill()
            kills += 0 < _count(path, transmission) < RECIPIENTS
            await process.start()

        stored = _count(path, transmission)

        async def goes_on() -> bool:
            return _count(path, transmission) > stored

        async def all_made() -> bool:
            return _count(path, transmission) >= RECIPIENTS

        # The dead process's share is free at once: nobody waits for the end of its lease.
        assert await eventually(goes_on, timeout_s=LEASE_S * 2 / 3)
        assert await eventually(all_made, timeout_s=60)
        made = await _made(f"sqlite:///{path}", transmission)
        assert len(made) == RECIPIENTS
        assert set(made.values()) == {1}
        assert kills > 0, "at least one kill came in the middle"
