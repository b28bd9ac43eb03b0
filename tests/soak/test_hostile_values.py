"""As `tests/e2e/test_hostile_values.py`, with other values each time, and for longer.

RELAY_TEST_EXAMPLES=1000 .venv/bin/pytest -s -m soak tests/soak/test_hostile_values.py
"""

import os

import pytest
from hypothesis import strategies as st

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support import hostile
from tests.support.proving import SETTINGS, prove, prover_of, settings_for

EXAMPLES = int(os.environ.get("RELAY_TEST_EXAMPLES", "20000"))


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in SETTINGS.items()}


@pytest.mark.timeout(3600)
async def test_by_rest(relay: RelayHarness, mta: FakeMta) -> None:
    async with prover_of(relay, mta) as prover:
        await prove(hostile.transmissions(), settings_for(EXAMPLES, is_random=True), prover.by_rest)
    print(f"\n{dict(prover.counts)}")  # noqa: T201 - figures


@pytest.mark.timeout(3600)
async def test_by_smtp(relay: RelayHarness, mta: FakeMta) -> None:
    given = st.tuples(hostile.messages(), hostile.options())
    async with prover_of(relay, mta) as prover:
        await prove(given, settings_for(EXAMPLES, is_random=True), prover.by_smtp)
    print(f"\n{dict(prover.counts)}")  # noqa: T201 - figures
