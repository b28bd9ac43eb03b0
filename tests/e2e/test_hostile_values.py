"""Whatever stands in the fields of a transmission: what leaves is one message of one sender, or nothing."""

import pytest
from hypothesis import strategies as st

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support import hostile
from tests.support.proving import SETTINGS, prove, prover_of, settings_for

BY_REST, BY_SMTP = 300, 120


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in SETTINGS.items()}


async def test_by_rest(relay: RelayHarness, mta: FakeMta) -> None:
    async with prover_of(relay, mta) as prover:
        await prove(hostile.transmissions(), settings_for(BY_REST, is_random=False), prover.by_rest)
    # Neither is everything refused, nor nothing.
    assert min(prover.counts[what] for what in ("200", "400", "422", "mail", "refused for one")) > 0


async def test_by_smtp(relay: RelayHarness, mta: FakeMta) -> None:
    given = st.tuples(hostile.messages(), hostile.options())
    async with prover_of(relay, mta) as prover:
        await prove(given, settings_for(BY_SMTP, is_random=False), prover.by_smtp)
    assert min(prover.counts[what] for what in ("250", "550", "mail")) > 0
