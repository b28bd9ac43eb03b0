"""The clock of a real process is set, back and forth, by a library that fakes it."""

import asyncio
from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
COUNT = 50
FORWARD_S = 12


@pytest.mark.parametrize(
    ("jump", "first_retry", "expire_after"),
    [("-2h", "10m", "3d"), ("-30d", "10m", "3d"), ("+4d", "5s", "3d"), ("+4d", "5s", "10d")],
)
async def test_deferred_mail_is_delivered_soon_after_and_none_is_given_up(
    tmp_path: Path, mta: FakeMta, jump: str, first_retry: str, expire_after: str
) -> None:
    assert LIBRARY is not None, "apt-get install --no-install-recommends faketime"
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["smtp", "egress"]},
        "queue": {"first_retry": first_retry, "expire_after": expire_after},
    }
    async with RelayProcess(tmp_path, mta.address, settings=settings, environment=environment) as relay:
        waiting = {f"r{number}@gmail.example" for number in range(COUNT)}
        for to in waiting:
            mta.answer(to, "451 4.2.1 later")
            await relay.inject(to, ip_pool="marketing")

        async def are_deferred() -> bool:
            return {attempt.recipient for attempt in mta.attempts} >= waiting

        await eventually(are_deferred, 20)
        await asyncio.sleep(2)  # so that it is stored, too
        if jump.startswith("+"):
            _set(offset, jump)
            await asyncio.sleep(FORWARD_S)
            assert not mta.accepted
        for to in waiting:
            mta.answer(to, "250 2.0.0 Ok")
        _set(offset, "+0" if jump.startswith("+") else jump)

        async def are_delivered() -> bool:
            return {attempt.recipient for attempt in mta.accepted} >= waiting

        try:
            await eventually(are_delivered, 20)
        except TimeoutError:
            pytest.fail(f"{len(mta.accepted)} delivered, {len(mta.attempts)} attempts:\n{relay.log_tail()}")
        assert "the clock was set by" in relay.log.read_text()
        assert await relay.stop() == 0
    assert "Traceback" not in relay.log.read_text()
    assert len(mta.accepted) == COUNT


def _set(offset: Path, to: str) -> None:
    """Whole at once."""
    prepared = offset.with_name("prepared")
    prepared.write_text(f"{to}\n")
    prepared.rename(offset)
