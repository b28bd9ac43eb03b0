"""pytest plugin: the fixtures `relay`, `relay_mta`, `relay_clock`, and `relay_server` for clients that block.

Nothing of the relay is imported before a test asks for one of them: a suite that does not
use the plugin pays nothing for it, and needs nothing that it needs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from relay.testing.clock import HandMovedClock
    from relay.testing.threaded import ThreadedRelay

_NEEDS_ASYNCIO = (
    "this fixture needs pytest-asyncio: pip install 'relay-mta[testing]'. "
    "relay_server, for clients that block, does without it."
)


def pytest_configure(config: pytest.Config) -> None:
    """Where pytest-asyncio is not, the fixtures say so; it is not asked for until one is."""
    plugins = config.pluginmanager
    if plugins.has_plugin("asyncio"):
        from relay.testing import async_fixtures

        plugins.register(async_fixtures, "relay_async_fixtures")
    else:
        plugins.register(_WithoutAsyncio(), "relay_async_fixtures")


class _WithoutAsyncio:
    @pytest.fixture
    def relay(self) -> None:
        """A running relay: not without pytest-asyncio."""
        pytest.fail(_NEEDS_ASYNCIO, pytrace=False)

    @pytest.fixture
    def relay_mta(self) -> None:
        """The next hop of `relay`: not without pytest-asyncio."""
        pytest.fail(_NEEDS_ASYNCIO, pytrace=False)


@pytest.fixture
def relay_clock() -> "HandMovedClock":
    """The time of `relay`: it stands still until the test moves it."""
    from relay.testing.clock import HandMovedClock

    return HandMovedClock()


@pytest.fixture
def relay_directory() -> str | None:
    """The text of the directory.toml that a relay starts with; None is the lab. Override it for your own."""
    return None


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    """Sections of relay.toml over the lab's, such as {"queue": {"first_retry": "1m"}}; yours to override."""
    return {}


@pytest.fixture
def relay_server(
    tmp_path: Path, relay_directory: str | None, relay_settings: dict[str, dict[str, object]]
) -> "Iterator[ThreadedRelay]":
    """A running relay in a thread of its own, for clients that block: smtplib, Django, Flask."""
    from relay.testing.mistakes import tell_mistakes
    from relay.testing.threaded import ThreadedRelay

    server = ThreadedRelay(tmp_path, directory=relay_directory, settings=relay_settings)
    with tell_mistakes():
        server.start()
    yield server
    server.stop()
