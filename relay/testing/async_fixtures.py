"""The fixtures of the plugin that run in the test's own event loop; registered where pytest-asyncio is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from relay.sink.fake_mta import FakeMta
    from relay.testing.clock import HandMovedClock
    from relay.testing.harness import RelayHarness


@pytest_asyncio.fixture
async def relay_mta() -> "AsyncIterator[FakeMta]":
    """The next hop of `relay`: takes everything until it is told otherwise, and remembers it."""
    from relay.sink.fake_mta import FakeMta

    async with FakeMta() as mta:
        yield mta


@pytest_asyncio.fixture
async def relay(
    tmp_path: Path,
    relay_mta: "FakeMta",
    relay_clock: "HandMovedClock",
    relay_directory: str | None,
    relay_settings: dict[str, dict[str, object]],
) -> "AsyncIterator[RelayHarness]":
    """A running relay with an empty queue."""
    from relay.testing.harness import RelayHarness
    from relay.testing.mistakes import tell_mistakes

    async with AsyncExitStack() as stack:
        with tell_mistakes():
            harness = RelayHarness(
                tmp_path, relay_mta, clock=relay_clock, directory=relay_directory, settings=relay_settings
            )
            await stack.enter_async_context(harness)
        yield harness
