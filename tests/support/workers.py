"""The processes of a relay with several: which there are, and stopping one at the worst moment."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from relay.testing.process import RelayProcess


class Impatient(RelayProcess):
    """Its parent takes a worker for hung after five seconds, or HUNG_AFTER_S of its environment."""

    module = "tests.support.impatient"


def workers(relay: RelayProcess) -> set[int]:
    """Their process ids."""
    path = Path(f"/proc/{relay.pid}/task/{relay.pid}/children")
    return set(map(int, path.read_text().split()))


async def stop_in_a_transaction(relay: RelayProcess) -> int:
    """A worker with the store's write lock in its hands, stopped there; its process id.

    There must be mail coming in. Raises TimeoutError.
    """
    store = relay.config.parent / "relay.db"
    async with asyncio.timeout(60):
        while True:
            for pid in workers(relay):
                os.kill(pid, signal.SIGSTOP)
                if await asyncio.to_thread(_is_locked, store):
                    return pid
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.02)


def _is_locked(store: Path) -> bool:
    """Whether somebody is in a write transaction, for as long as a few looks."""
    with closing(sqlite3.connect(store, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False
