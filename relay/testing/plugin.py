"""pytest plugin: the fixtures `relay`, `mta` and `clock`.

Nothing of the relay is imported before a test asks for one of them: a suite that does not
use the plugin pays nothing for it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from relay.testing.clock import HandMovedClock
    from relay.testing.fake_mta import FakeMta
    from relay.testing.harness import RelayHarness


@pytest.fixture
def clock() -> "HandMovedClock":
    """The time of `relay`: it stands still until the test moves it."""
    from relay.testing.clock import HandMovedClock

    return HandMovedClock()


@pytest_asyncio.fixture
async def mta() -> "AsyncIterator[FakeMta]":
    """The next hop of `relay`: takes everything until it is told otherwise, and remembers it."""
    from relay.testing.fake_mta import FakeMta

    async with FakeMta() as mta:
        yield mta


@pytest.fixture
def relay_directory() -> str | None:
    """The text of the directory.toml that `relay` starts with; None is the lab. Override it for your own."""
    return None


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    """Sections of relay.toml over the lab's, such as {"queue": {"first_retry": "1m"}}; yours to override."""
    return {}


@pytest_asyncio.fixture
async def relay(
    tmp_path: Path,
    mta: "FakeMta",
    clock: "HandMovedClock",
    relay_directory: str | None,
    relay_settings: dict[str, dict[str, object]],
) -> "AsyncIterator[RelayHarness]":
    """A running relay with an empty queue."""
    from relay.testing.harness import RelayHarness

    async with RelayHarness(
        tmp_path, mta, clock=clock, directory=relay_directory, settings=relay_settings
    ) as relay:
        yield relay
