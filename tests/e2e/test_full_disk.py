"""A disk that another program fills: mail in the queue leaves, a start succeeds, and `/readyz` says why."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.support.volumes import MAY_MOUNT, all_arrive, answer, fill, mounted

VOLUME_BYTES = 160 << 20
BODY = ("y" * 98 + "\r\n") * 500


if MAY_MOUNT:

    @pytest.fixture
    def volume(tmp_path: Path) -> Iterator[Path]:
        with mounted(tmp_path / "volume", VOLUME_BYTES) as folder:
            yield folder

    async def test_what_waits_leaves_and_a_start_succeeds(tmp_path: Path, volume: Path, mta: FakeMta) -> None:
        mta.limit(first=0)
        async with _relay(tmp_path, volume, mta) as relay:
            assert await _ready(relay) == 200
            waiting = {f"r{number}@gmail.example" for number in range(40)}
            for to in sorted(waiting):
                assert await answer(relay, to, BODY) == 250
            await asyncio.to_thread(fill, volume)
            await eventually(lambda: _is(relay, 503), 10)
            assert await answer(relay, "refused@gmail.example", BODY) in {451, 452}
            mta.limit()
            await all_arrive(mta, waiting, 20)
            # Started where it was killed and where it was stopped, each time on a disk without a free block.
            for end in ("kill", "stop", "kill", "stop"):
                relay.kill() if end == "kill" else await relay.stop()
                await asyncio.to_thread(fill, volume)
                await relay.start()
                await eventually(lambda: _is(relay, 503), 10)
            (volume / "filler").unlink()
            await eventually(lambda: _is(relay, 200), 10)
            assert await answer(relay, "after@gmail.example", BODY) == 250
            await all_arrive(mta, waiting | {"after@gmail.example"}, 20)
            assert "Traceback" not in relay.log.read_text()

    async def test_what_waits_leaves_after_starts_without_a_free_block(
        tmp_path: Path, volume: Path, mta: FakeMta
    ) -> None:
        """What was kept back is used up by the first of them."""
        mta.limit(first=0)
        async with _relay(tmp_path, volume, mta) as relay:
            waiting = {f"r{number}@gmail.example" for number in range(40)}
            for to in sorted(waiting):
                assert await answer(relay, to, BODY) == 250
            for _ in range(3):
                relay.kill()
                await asyncio.to_thread(fill, volume)
                await relay.start()
                await eventually(lambda: _is(relay, 503), 10)
                await asyncio.to_thread(fill, volume)
            mta.limit()
            await all_arrive(mta, waiting, 20)
            assert "Traceback" not in relay.log.read_text()

    async def test_a_store_that_is_not_there_cannot_be_made_and_the_start_says_so(
        tmp_path: Path, volume: Path, mta: FakeMta
    ) -> None:
        relay = _relay(tmp_path, volume, mta)
        await asyncio.to_thread(fill, volume)
        printed = await relay.run_cli("run", timeout_s=20)
        assert printed.status == 1
        assert "relay.db" in printed.err
        assert "Traceback" not in printed.err
        (volume / "filler").unlink()
        await relay.start()
        assert await answer(relay, "after@gmail.example", BODY) == 250
        assert await relay.stop() == 0

    async def test_what_waits_leaves_while_the_other_program_goes_on_filling(
        tmp_path: Path, volume: Path, mta: FakeMta
    ) -> None:
        mta.limit(first=0)
        async with _relay(tmp_path, volume, mta) as relay:
            waiting = {f"r{number}@gmail.example" for number in range(40)}
            for to in sorted(waiting):
                assert await answer(relay, to, BODY) == 250
            async with asyncio.TaskGroup() as tasks:
                filling = tasks.create_task(_go_on_filling(volume))
                await eventually(lambda: _is(relay, 503), 10)
                mta.limit()
                await all_arrive(mta, waiting, 20)
                relay.kill()
                await relay.start()
                filling.cancel()
            (volume / "filler").unlink()
            await eventually(lambda: _is(relay, 200), 10)
            assert await answer(relay, "after@gmail.example", BODY) == 250


def _relay(folder: Path, volume: Path, mta: FakeMta) -> RelayProcess:
    settings: dict[str, dict[str, object]] = {
        "": {"store": f"sqlite:///{volume / 'relay.db'}", "roles": ["smtp", "api", "web", "egress"]},
        "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
    }
    return RelayProcess(folder, mta.address, settings=settings)


async def _go_on_filling(volume: Path) -> None:
    while True:
        await asyncio.to_thread(fill, volume)
        await asyncio.sleep(0.05)


async def _is(relay: RelayProcess, status: int) -> bool:
    return await _ready(relay) == status


async def _ready(relay: RelayProcess) -> int:
    host, port = relay.http_address
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://{host}:{port}/readyz")).status_code
