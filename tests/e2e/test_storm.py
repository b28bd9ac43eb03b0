"""A short storm: processes are killed and stopped under all kinds of work. The long one is in tests/soak."""

from pathlib import Path

import pytest

from tests.support.storm import Storm


@pytest.mark.timeout(180)
async def test_what_was_acknowledged_outlives_a_short_storm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storm = Storm(tmp_path, seed=1)
    async with storm.mta:
        await storm.run(kills=3, stops=2)
        await storm.is_over()
        await storm.check_store()
    with capsys.disabled():
        print(f"\n  {storm.report()}", end="")  # noqa: T201 - the figure is what the test is run for
