"""A transmission that ends the relay each time it is worked on does so three times, and no more."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

KEY = "c100000000000000000000000000000000000001"
RECIPIENTS = 60
"""More than are made before the answer."""


class Deadly(RelayProcess):
    module = "tests.support.deadly"

    async def dies(self) -> None:
        async def is_gone() -> bool:
            return self._child is not None and self._child.poll() is not None

        await eventually(is_gone, timeout_s=20)


def _body(campaign: str) -> dict[str, object]:
    return {
        "options": {"ip_pool": "marketing"},
        "campaign_id": campaign,
        "recipients": [{"address": f"{campaign}{number}@b.example"} for number in range(RECIPIENTS)],
        "content": {"from": "a@acme.test", "subject": "s", "text": "Hello."},
    }


async def _post(process: RelayProcess, campaign: str) -> None:
    host, port = process.http_address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}/api/v1") as client:
        # It may die before it answers.
        with contextlib.suppress(httpx.TransportError):
            await client.post("/transmissions", json=_body(campaign), headers={"Authorization": KEY})


async def test_the_fourth_start_lives_and_tells(tmp_path: Path, mta: FakeMta) -> None:
    process = Deadly(tmp_path, mta.address, settings=WITH_API)
    await process.start()
    await _post(process, "deadly")
    await process.dies()
    for _ in range(2):
        with contextlib.suppress(TimeoutError, ChildProcessError):
            await process.start(timeout_s=5)
        await process.dies()
    await process.start(timeout_s=5)

    async def is_told() -> bool:
        text = "SELECT count(*) FROM event WHERE kind = 'generation_failure'"
        with closing(sqlite3.connect(tmp_path / "relay.db")) as connection:
            return int(connection.execute(text).fetchone()[0]) == 1

    await eventually(is_told, timeout_s=10)
    await _post(process, "good")

    async def has_arrived() -> bool:
        return len({one.recipient for one in mta.accepted}) == RECIPIENTS

    await eventually(has_arrived, timeout_s=20)
    assert all(one.recipient.startswith("good") for one in mta.accepted)
    assert "set aside at position=0" in process.log.read_text()
    assert await process.stop() == 0
