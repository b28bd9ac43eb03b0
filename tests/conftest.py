"""The published plugin serves our own tests as it serves those of our users."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Installed, the package brings its plugin along; from a bare tree it is registered here."""
    if not config.pluginmanager.has_plugin("relay"):
        from relay.testing import plugin

        config.pluginmanager.register(plugin, "relay")
