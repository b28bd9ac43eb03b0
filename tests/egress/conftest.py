"""Egress over a store in a temporary folder, with scripts for next hops."""

from dataclasses import replace

import pytest

from relay.store import Store
from relay.testing import HandMovedClock
from tests.ingress.conftest import HandMadeDirectory
from tests.store.conftest import open_another, store, store_url
from tests.support.mail import NOW
from tests.support.outbound import TO_ONE_HOST, Outbound

__all__ = ["open_another", "store", "store_url"]


@pytest.fixture
async def outbound(store: Store) -> Outbound:
    """Not running yet. All mail goes to one host."""
    directory = HandMadeDirectory()
    directory.snapshot = replace(await store.directory.snapshot(), routes=TO_ONE_HOST)
    return Outbound(store, directory, HandMovedClock(NOW))
