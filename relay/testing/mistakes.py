"""What keeps a test's relay from starting, said as `relay check` would say it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relay.domain.errors import RelayError


@contextmanager
def tell_mistakes() -> Iterator[None]:
    """A mistake in relay_settings or relay_directory fails the test by its sentences, without a traceback."""
    try:
        yield
    except (RelayError, OSError) as error:
        text = f"the relay of this test cannot start:\n{error}"
        raise pytest.fail.Exception(text, pytrace=False) from None
