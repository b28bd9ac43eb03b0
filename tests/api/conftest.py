"""A relay that answers HTTP, and clients of it."""

import pytest

from relay.testing.lab import WITH_API


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}
