"""The published plugin serves our own tests as it serves those of our users."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from relay.testing import FakeMta, HandMovedClock

# How fast values are drawn says something of the machine, not of the code.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("any machine")


@pytest.fixture
def clock() -> HandMovedClock:
    """The time of `relay`."""
    return HandMovedClock()


@pytest.fixture
def relay_clock(clock: HandMovedClock) -> HandMovedClock:
    """The published name; here it goes by a shorter one, which tests may replace."""
    return clock


@pytest.fixture
async def mta() -> AsyncIterator[FakeMta]:
    """The next hop of `relay`."""
    async with FakeMta() as mta:
        yield mta


@pytest.fixture
def relay_mta(mta: FakeMta) -> FakeMta:
    """The published name of `mta`."""
    return mta


def pytest_configure(config: pytest.Config) -> None:
    """Installed, the package brings its plugin along; from a bare tree it is registered here."""
    from relay.testing import plugin

    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "relay")
