"""`relay` under watch: what its event loop spends on single callbacks goes into a file.

    LOOP_WATCH=FILE python -m tests.support.watched run --config …

The loop is asyncio's own, in whose Python a callback can be timed; the relay is the same. CPU time
of the thread counts, so that neither a busy machine nor another thread is taken for the callback.
SIGUSR2 makes Python look at all objects for cycles, which it also does at times of its own choice: in any
thread, while all others wait.
"""

import asyncio
import gc
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import uvloop

from relay.process.main import main

COLLECTION = "collection"
LEAST_NS = 2_000_000
"""Shorter callbacks are not worth a line."""


def watch(path: str) -> None:
    """Append a line of JSON to the file for each callback of any loop that takes longer than the least."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    handle: Any = asyncio.events.Handle
    run: Callable[[asyncio.Handle], None] = handle._run  # noqa: SLF001 - as below

    def timed(self: asyncio.Handle) -> None:
        named = _named(self)
        began = time.thread_time_ns()
        run(self)
        spent = time.thread_time_ns() - began
        if spent >= LEAST_NS:
            line = {"cpu_ms": spent / 1e6, "what": named}
            os.write(descriptor, json.dumps(line).encode() + b"\n")

    handle._run = timed  # noqa: SLF001 - where a loop calls back

    def collect(*_: object) -> None:
        began = time.thread_time_ns()
        gc.collect()
        line = {"cpu_ms": (time.thread_time_ns() - began) / 1e6, "what": COLLECTION}
        os.write(descriptor, json.dumps(line).encode() + b"\n")

    signal.signal(signal.SIGUSR2, collect)
    # `relay run` takes the loop from there.
    uvloop.new_event_loop = asyncio.new_event_loop  # type: ignore[assignment]


def _named(handle: asyncio.Handle) -> str:
    """What is about to run; of a request its path too."""
    callback: Any = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return getattr(callback, "__qualname__", repr(callback))
    coroutine: Any = owner.get_coro()
    name = getattr(coroutine, "__qualname__", "")
    frame = getattr(coroutine, "cr_frame", None)
    if name.endswith(".run_asgi") and frame is not None:
        scope = frame.f_locals["self"].scope
        return f"{scope['method']} {scope['path']}"
    return f"task {owner.get_name()}: {name}"


if __name__ == "__main__":
    watch(os.environ["LOOP_WATCH"])
    main()
