"""Hard work does not keep the relay from ending, nor from starting again with that work in its store."""

import asyncio
import math
import os
import signal
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.waiting import eventually
from tests.alone.doors import DIRECTORY, GREETING_S, MEMORY_BYTES, exchange, post
from tests.corpus import transmissions
from tests.support.growth import PAUSE_S, TRIES
from tests.support.oracles import WatchedProcess, spent_by
from tests.support.watched import COLLECTION

ENDS_S, STARTS_S, TOLD_S = 40.0, 5.0, 10.0
"""From SIGTERM to the end; from the start to a greeting; and to what became of the first recipient."""
COLLECTED_MS = 2.0
_COUNT = 2_000
"""Recipients: more than are made before the answer or within the seconds of the test."""

_RULES = "".join(f"[id*=c{number}]~p{{color:red}}" for number in range(100))
HARD: Mapping[str, tuple[dict[str, object], dict[str, Any]]] = {
    "work in a child": (
        {"html": f"<style>{_RULES}</style>" + "<p>x{{ email }}" * 800},
        {"options": {"ip_pool": "marketing", "inline_css": True}},
    ),
    "steps": (
        {"text": "{{each a}}{{each a}}{{end}}{{end}}{{ email }}"},
        {"substitution_data": {"a": [0] * 2_000}},
    ),
    "octets": (
        {"text": "{{each a}}" + "x" * 20_000 + "{{end}}{{ email }}"},
        {"substitution_data": {"a": [0] * 900}},
    ),
}


def _told(store: Path) -> int:
    """Events of messages so far."""
    with closing(sqlite3.connect(store)) as connection:
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


@pytest.mark.parametrize("name", HARD)
async def test_a_hard_transmission_delays_neither_the_end_nor_the_next_start(
    name: str, tmp_path: Path, mta: FakeMta
) -> None:
    content, more = HARD[name]
    async with WatchedProcess(tmp_path, mta.address, directory=DIRECTORY, settings=WITH_API) as relay:
        assert await post(relay, transmissions.body(content, _COUNT, **more)) == 200
        await asyncio.sleep(1)
        began = time.monotonic()
        os.kill(relay.pid, signal.SIGTERM)
        assert await relay.stop(timeout_s=ENDS_S) == 0
        assert time.monotonic() - began <= ENDS_S
        store = relay.config.parent / "relay.db"
        before = _told(store)
        assert before < _COUNT, "the work is not over"
        began = time.monotonic()
        await relay.start()
        assert time.monotonic() - began <= STARTS_S

        async def is_told() -> bool:
            return _told(store) > before

        await eventually(is_told, TOLD_S)
        for _ in range(20):
            async with asyncio.timeout(GREETING_S):
                await exchange((relay.host, relay.port), b"", until=b"220 ")
            assert spent_by(relay.pid).memory_bytes <= MEMORY_BYTES
            await asyncio.sleep(0.2)


async def test_a_look_at_all_objects_is_a_short_one(tmp_path: Path, mta: FakeMta) -> None:
    settings = {**WITH_API, "": {"roles": ["smtp", "api", "web", "egress", "feed"]}}
    async with WatchedProcess(tmp_path, mta.address, settings=settings) as relay:
        spent = [0.0]

        async def is_idle() -> bool:
            # It makes some things ready after its start.
            await asyncio.sleep(1)
            spent.append(spent_by(relay.pid).cpu_s)
            return spent[-1] - spent[-2] < 0.1

        await eventually(is_idle, timeout_s=30)
        took_ms = math.inf
        for number in range(TRIES):
            mark = relay.mark()
            os.kill(relay.pid, signal.SIGUSR2)
            await asyncio.sleep(1)
            (once_ms,) = [cpu_ms for cpu_ms, what in relay.long_turns(mark) if what == COLLECTION]
            took_ms = min(took_ms, once_ms)
            if took_ms <= COLLECTED_MS:
                break
            await asyncio.sleep(PAUSE_S * number)
    assert took_ms <= COLLECTED_MS
