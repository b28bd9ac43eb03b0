"""Each tenth call of the store's files fails once; `make soak` has all of them, and kills besides."""

from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from tests.support.faults import FaultyRelay, build_faults

CALLS = range(10, 201, 10)
AT_THE_START = (3, 20)


async def test_a_call_that_fails_loses_nothing_that_was_acknowledged(tmp_path: Path, mta: FakeMta) -> None:
    async with FaultyRelay(tmp_path, mta, build_faults(tmp_path)) as relay:
        for number in CALLS:
            relay.fail_at(number)
            await relay.ask_until_it_failed()
        await relay.delivers(mta)
        assert await relay.stop() == 0
    assert relay.is_sound()
    assert "Traceback" not in relay.log.read_text()


@pytest.mark.parametrize("number", AT_THE_START)
async def test_a_call_that_fails_at_the_start_stops_it_with_a_word_or_not_at_all(
    tmp_path: Path, mta: FakeMta, number: int
) -> None:
    relay = FaultyRelay(tmp_path, mta, build_faults(tmp_path))
    relay.fail_at(number)
    try:
        await relay.start()
    except ChildProcessError:
        assert "cannot open the store" in relay.log.read_text()
        await relay.start()
    assert relay.has_failed
    await relay.ask_until_it_failed()
    await relay.delivers(mta)
    assert await relay.stop() == 0
    assert relay.is_sound()
    assert "Traceback" not in relay.log.read_text()


@pytest.mark.parametrize("is_killed", [False, True])
async def test_while_no_sync_succeeds_nothing_is_acknowledged_and_the_log_is_written_again(
    tmp_path: Path, mta: FakeMta, is_killed: bool
) -> None:
    async with FaultyRelay(tmp_path, mta, build_faults(tmp_path)) as relay:
        host, port = relay.http_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=20) as client:
            assert await relay.ask(client) == (250, 200)
            relay.fail_at(0, "s")
            for _ in range(3):
                assert await relay.ask(client) == (451, 503)
            await relay.becomes(client, 503)
            if is_killed:
                relay.kill()
            relay.heal()
            if is_killed:
                await relay.start()
            await relay.becomes(client, 200)
            assert await relay.ask(client) == (250, 200)
        await relay.delivers(mta)
        assert await relay.stop() == 0
    assert relay.log.read_text().count("was written again, and is on the disk") == 1
    assert "Traceback" not in relay.log.read_text()
    assert relay.is_sound()
