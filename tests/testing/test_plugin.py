"""The pytest plugin, as a stranger's suite meets it."""

import subprocess
import sys

import pytest

import relay.testing


def test_every_published_name_can_be_imported() -> None:
    assert all(getattr(relay.testing, name).__name__ == name for name in relay.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = relay.testing.Nothing


def test_loading_the_plugin_loads_nothing_of_the_relay() -> None:
    code = (
        "import sys, relay.testing.plugin; print(*(name for name in sys.modules if name.startswith('relay')))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(printed.split()) == {"relay", "relay.testing", "relay.testing.plugin"}
