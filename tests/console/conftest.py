"""What tests of the web console share: one Chromium, a relay that serves the console, a visitor."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from relay.sink.fake_mta import FakeMta
from relay.testing.clock import HandMovedClock
from relay.testing.harness import RelayHarness
from tests.console.browser import open_chromium, visitor
from tests.console.site import WITH_CONSOLE, Console

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder share a loop: the connection to the browser lives in it.

    Starting a browser, or only playwright's driver, for each test takes longer than most of them.
    """
    for item in items:
        if FOLDER in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of the whole session; `visitor` opens a window of one's own in it."""
    async with open_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def mta() -> AsyncIterator[FakeMta]:
    """The plugin's, in the loop of this folder."""
    async with FakeMta() as mta:
        yield mta


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    """Everything in one process; yours to override."""
    return {section: dict(values) for section, values in WITH_CONSOLE.items()}


@pytest_asyncio.fixture(loop_scope="session")
async def relay(
    tmp_path: Path,
    mta: FakeMta,
    clock: HandMovedClock,
    relay_directory: str | None,
    relay_settings: dict[str, dict[str, object]],
) -> AsyncIterator[RelayHarness]:
    """The plugin's, in the loop of this folder."""
    async with RelayHarness(
        tmp_path, mta, clock=clock, directory=relay_directory, settings=relay_settings
    ) as relay:
        yield relay


@pytest.fixture
def console(relay: RelayHarness) -> Console:
    """The console of `relay`."""
    return Console(relay)


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Browser, console: Console) -> AsyncIterator[Page]:
    """Somebody at the console who has not signed in: light colours, 1280×800, scripts run. See `visitor`."""
    async with visitor(chromium, console.url) as page:
        yield page
