"""Each of the first two hundred calls of the store's files fails once, amid mail and before a kill."""

from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from tests.support.faults import FaultyRelay, build_faults

CALLS = range(1, 201)
KILLED_EVERY = 4
AT_THE_START = range(1, 41)


@pytest.mark.timeout(900)
async def test_none_loses_what_was_acknowledged(tmp_path: Path, mta: FakeMta) -> None:
    async with FaultyRelay(tmp_path, mta, build_faults(tmp_path)) as relay:
        for number in CALLS:
            relay.fail_at(number)
            await relay.ask_until_it_failed(is_killed=number % KILLED_EVERY == 0)
        await relay.delivers(mta)
        assert await relay.stop() == 0
    assert relay.is_sound()
    assert "Traceback" not in relay.log.read_text()


@pytest.mark.timeout(900)
async def test_none_keeps_it_from_starting_again(tmp_path: Path, mta: FakeMta) -> None:
    relay = FaultyRelay(tmp_path, mta, build_faults(tmp_path))
    for number in AT_THE_START:
        relay.fail_at(number)
        try:
            await relay.start()
        except ChildProcessError:
            await relay.start()
        await relay.ask_until_it_failed()
        relay.kill()
    await relay.start()
    await relay.delivers(mta)
    assert await relay.stop() == 0
    assert relay.is_sound()
    assert "Traceback" not in relay.log.read_text()
