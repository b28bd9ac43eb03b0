"""The store's files under a running relay: gone, replaced, emptied, moved away and put back."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.support.volumes import answer

Befall = Callable[[Path], object]


def _replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copyfile(path, other)
    other.replace(path)


FAULTS: list[tuple[str, str, Befall]] = [
    ("", "is gone", Path.unlink),
    ("-wal", "is gone", Path.unlink),
    ("-shm", "is gone", Path.unlink),
    ("", "was replaced", _replace),
    ("-wal", "was replaced", _replace),
    ("", "was truncated", lambda path: os.truncate(path, 0)),
    ("", "is gone", lambda path: path.parent.rename(path.parent.with_name("elsewhere"))),
]


def _relay(folder: Path, mta: FakeMta) -> RelayProcess:
    (folder / "volume").mkdir()
    store = f"sqlite:///{folder / 'volume' / 'relay.db'}"
    settings: dict[str, dict[str, object]] = {
        "": {**WITH_API[""], "store": store},
        "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
    }
    return RelayProcess(folder, mta.address, settings=settings)


async def _ready(relay: RelayProcess) -> tuple[int, str]:
    host, port = relay.http_address
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{host}:{port}/readyz")
    return answer.status_code, answer.text


async def _becomes(relay: RelayProcess, status: int, timeout_s: float = 10) -> str:
    text = ""

    async def is_so() -> bool:
        nonlocal text
        found, text = await _ready(relay)
        return found == status

    await eventually(is_so, timeout_s)
    return text


@pytest.mark.parametrize(("suffix", "words", "befall"), FAULTS)
async def test_nothing_is_acknowledged_that_goes_to_a_file_which_is_no_longer_the_stores(
    tmp_path: Path, mta: FakeMta, suffix: str, words: str, befall: Befall
) -> None:
    mta.limit(first=0)
    path = tmp_path / "volume" / f"relay.db{suffix}"
    async with _relay(tmp_path, mta) as relay:
        assert (await _ready(relay))[0] == 200
        assert await answer(relay, "before@gmail.example") == 250
        befall(path)
        assert await answer(relay, "after@gmail.example") == 451
        text = await _becomes(relay, 503)
        assert words in text
        assert str(tmp_path) not in text
        errors = [line for line in relay.log.read_text().splitlines() if " ERROR " in line]
        assert any(f"volume/relay.db{suffix} {words}" in line for line in errors)
        if words != "was truncated":
            # What waits is delivered from the file that is still open.
            mta.limit()
            await eventually(
                lambda: asyncio.sleep(0, "before@gmail.example" in {one.recipient for one in mta.accepted}),
                20,
            )
        relay.kill()


async def test_put_back_it_is_used_again(tmp_path: Path, mta: FakeMta) -> None:
    volume = tmp_path / "volume"
    async with _relay(tmp_path, mta) as relay:
        assert await answer(relay, "before@gmail.example") == 250
        volume.rename(tmp_path / "elsewhere")
        assert await answer(relay, "during@gmail.example") == 451
        await _becomes(relay, 503)
        (tmp_path / "elsewhere").rename(volume)
        await _becomes(relay, 200)
        assert await answer(relay, "after@gmail.example") == 250
