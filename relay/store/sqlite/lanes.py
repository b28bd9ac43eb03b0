"""Who holds which lane: leases by the database's clock, and locks that a dead process cannot keep."""

import fcntl
import os
import time
from pathlib import Path
from urllib.parse import quote, unquote

from relay.domain.ids import Epoch, IpAddress, NodeName, WorkerId
from relay.ports.queue import Lane
from relay.store.codec import to_json
from relay.store.folders import make_private
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.statements import SQL, one

STALLED_AFTER_S = 30
"""A worker that did not renew its lanes for so long is not counted on: others may have them all."""


class Workers:
    """The workers of one store, each of which locks a file of its own for its life.

    All processes of a SQLite store are on one machine, so a lock that can be had tells for
    certain that its worker is gone, well before its leases expire.
    """

    def __init__(self, folder: Path) -> None:
        """folder: beside the store; made when missing."""
        self._folder = folder
        make_private(folder)
        self._held: dict[WorkerId, int] = {}
        for path in folder.iterdir():
            file = _lock_of_the_dead(path)
            if file is not None:
                # Removed under the lock: whoever opened it meanwhile gets the lock after, and looks again.
                path.unlink(missing_ok=True)
                os.close(file)

    def register(self, worker: WorkerId, *, carries: bool = True) -> None:
        """Lock the worker's file, from now until close. Raises OSError.

        carries: it will hold lanes; others are alive and never counted as at work.
        """
        path = self._path(worker)
        while worker not in self._held:
            file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                self._held[worker] = file
                if not carries:
                    os.utime(path, (0, 0))
            else:
                os.close(file)

    def is_alive(self, worker: WorkerId) -> bool:
        """Whether a process holds the worker's lock."""
        path = self._path(worker)
        if worker in self._held:
            return True
        if not path.exists():
            return False
        file = _lock_of_the_dead(path)
        if file is not None:
            os.close(file)
        return file is None and path.exists()

    def beat(self, worker: WorkerId) -> None:
        """The worker is at work: its process does not only exist."""
        os.utime(self._path(worker))

    def count_at_work(self) -> int:
        """How many workers have a process that gave a sign of life lately."""
        oldest_ns = time.time_ns() - STALLED_AFTER_S * 1_000_000_000
        return sum(
            _beat_ns(path) > oldest_ns and self.is_alive(WorkerId(unquote(path.name)))
            for path in self._folder.iterdir()
        )

    def close(self) -> None:
        """This process's workers are gone: their lanes are free at once."""
        for worker, file in self._held.items():
            self._path(worker).unlink(missing_ok=True)
            os.close(file)
        self._held.clear()

    def _path(self, worker: WorkerId) -> Path:
        return self._folder / quote(worker, safe="")


def _beat_ns(path: Path) -> int:
    """When the worker last gave a sign of life; 0 when its file is gone."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _lock_of_the_dead(path: Path) -> int | None:
    """The file with a shared lock on it (two who look at the same time do not take each other for
    the worker), or None when it is locked or not there."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def fair_share(connection: Connection, workers: Workers, node: NodeName) -> int:
    """`QueueStore.fair_share`."""
    lanes = len(connection.execute(SQL["lanes"], {"node": node}).fetchall())
    return max(1, -(-lanes // max(1, workers.count_at_work())))


def hold_lanes(
    connection: Connection, workers: Workers, worker: WorkerId, node: NodeName, ttl_s: float, limit: int
) -> list[Lane]:
    """`QueueStore.hold_lanes`; the worker is registered."""
    workers.beat(worker)
    now_us = int(one(connection, "clock_us"))
    expires_us = now_us + int(ttl_s * 1_000_000)
    lanes = connection.execute(SQL["lanes"], {"node": node}).fetchall()
    held = {IpAddress(ip): Epoch(epoch) for ip, holder, epoch, _ in lanes if holder == worker}
    connection.execute(SQL["drop_lanes"], (worker, to_json(list(held))))
    alive = {holder: workers.is_alive(WorkerId(holder)) for _, holder, _, _ in lanes if holder}
    for ip, holder, epoch, until_us in lanes:
        is_free = not holder or until_us <= now_us or not alive[holder]
        if is_free and ip not in held and len(held) < limit:
            held[IpAddress(ip)] = Epoch(epoch + 1)
    for ip, epoch in held.items():
        connection.execute(SQL["hold_lane"], (worker, epoch, expires_us, ip))
    return [Lane(ip, epoch) for ip, epoch in sorted(held.items())]
