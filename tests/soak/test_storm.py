"""Forty times `kill -9` of the whole and twenty times SIGSTOP of a worker, under all kinds of work."""

from pathlib import Path

import pytest

from tests.support.storm import Storm


@pytest.mark.timeout(1800)
async def test_what_was_acknowledged_outlives_a_long_storm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storm = Storm(tmp_path, seed=60)
    async with storm.mta:
        await storm.run(kills=40, stops=20)
        await storm.is_over()
        await storm.check_store()
    with capsys.disabled():
        print(f"\n  {storm.report()}", end="")  # noqa: T201 - the figure is what the test is run for
