"""The published plugin serves our own tests as it serves those of our users."""

import pytest
from hypothesis import HealthCheck, settings

# How fast values are drawn says something of the machine, not of the code.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Installed, the package brings its plugin along; from a bare tree it is registered here."""
    if not config.pluginmanager.has_plugin("relay"):
        from relay.testing import plugin

        config.pluginmanager.register(plugin, "relay")
