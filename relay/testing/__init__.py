"""For tests: a whole relay in this process, its next hop, and its time. See docs/testing.md.

Names are looked up when they are first used: pytest imports this package for the sake of the
plugin in suites that never ask for a relay.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.sink.fake_mta import FakeMta
    from relay.testing.clock import HandMovedClock
    from relay.testing.harness import Injected, RelayHarness
    from relay.testing.injection import InjectionRefusedError
    from relay.testing.process import RelayProcess
    from relay.testing.threaded import ThreadedRelay

__all__ = [
    "FakeMta",
    "HandMovedClock",
    "Injected",
    "InjectionRefusedError",
    "RelayHarness",
    "RelayProcess",
    "ThreadedRelay",
]

_HOMES = {
    "FakeMta": "relay.sink.fake_mta",
    "HandMovedClock": "relay.testing.clock",
    "Injected": "relay.testing.harness",
    "InjectionRefusedError": "relay.testing.injection",
    "RelayHarness": "relay.testing.harness",
    "RelayProcess": "relay.testing.process",
    "ThreadedRelay": "relay.testing.threaded",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
