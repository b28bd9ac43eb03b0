"""The store: the queue, the directory and the event log, kept in one database."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.domain.ids import WorkerId
from relay.ports.billing import BillingStore
from relay.ports.directory import DirectoryStore
from relay.ports.eventlog import EventLog
from relay.ports.idempotency import IdempotencyStore
from relay.ports.queue import QueueStore, WakeUps
from relay.ports.report import ReportStore
from relay.ports.suppressions import SuppressionStore
from relay.ports.transmissions import TransmissionStore
from relay.ports.users import UserStore
from relay.store.folders import make_private, open_to_others
from relay.store.migrate import UnusableStore, migrate, migrations
from relay.store.peek import check_is_ours, workers_of
from relay.store.sqlite.billing import SqliteBilling
from relay.store.sqlite.directory import SqliteDirectory
from relay.store.sqlite.eventlog import SqliteEventLog
from relay.store.sqlite.executor import Executor
from relay.store.sqlite.idempotency import SqliteIdempotency
from relay.store.sqlite.lanes import Workers
from relay.store.sqlite.queue import SqliteQueue
from relay.store.sqlite.reports import SqliteReports
from relay.store.sqlite.room import make_room_to_start
from relay.store.sqlite.shares import usual_share_bytes
from relay.store.sqlite.suppressions import SqliteSuppressions
from relay.store.sqlite.transmissions import SqliteTransmissions
from relay.store.sqlite.users import SqliteUsers
from relay.store.sqlite.wakeups import DatagramWakeUps
from relay.store.sqlite.wal import connect_wal

_SCHEME = "sqlite:///"


class Store:
    """One database, open: what the ports offer. Closing it writes what waits and frees the worker's lanes."""

    queue: QueueStore
    directory: DirectoryStore
    events: EventLog
    wakeups: WakeUps
    suppressions: SuppressionStore
    billing: BillingStore
    idempotency: IdempotencyStore
    transmissions: TransmissionStore
    reports: ReportStore
    users: UserStore

    def __init__(
        self, executor: Executor, workers: Workers, wakeups: DatagramWakeUps, share_bytes: int
    ) -> None:
        self._executor, self._workers, self._wakeups = executor, workers, wakeups
        self.wakeups = wakeups
        self.queue = SqliteQueue(executor, workers, share_bytes)
        self.directory = SqliteDirectory(executor)
        self.events = SqliteEventLog(executor)
        self.suppressions = SqliteSuppressions(executor)
        self.billing = SqliteBilling(executor)
        self.idempotency = SqliteIdempotency(executor)
        self.transmissions = SqliteTransmissions(executor, workers, share_bytes)
        self.reports = SqliteReports(executor, share_bytes)
        self.users = SqliteUsers(executor)

    @property
    def trouble(self) -> str | None:
        """Why no mail can be taken, in words that name no path; None: it can."""
        return self._executor.trouble

    async def close(self) -> None:
        await self._executor.close()
        self._wakeups.close()
        self._workers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def open_store(
    url: str, *, worker: WorkerId | None = None, account_queue_bytes: int | None = None
) -> Store:
    """The store at `sqlite:///relative/path` or `sqlite:////absolute/path`, made or migrated where needed.

    worker: whose life this process is; None for one that holds no lanes, or says so when it
    first holds some. account_queue_bytes: what one account may hold; None: a tenth of the volume,
    at most 10 GB. Raises UnusableStore.
    """
    return await asyncio.to_thread(_open, url, worker, asyncio.get_running_loop(), account_queue_bytes)


def migrate_store(url: str) -> tuple[int, int]:
    """Bring the store to this version; its version before (0: it was made) and now. Raises UnusableStore."""
    path = _path(url)
    check_is_ours(path)
    with _failures_named(path), _alone(path), closing(connect_wal(path)) as connection:
        return migrate(connection, migrations("relay.store.sqlite"))


def wide_folders(url: str) -> list[tuple[Path, int]]:
    """Folders of that store into which others on this machine can look, and their modes.

    Raises UnusableStore for what is no URL of a store.
    """
    path = _path(url)
    return list(open_to_others((path.parent, path.resolve().parent, workers_of(path))))


def _open(
    url: str, worker: WorkerId | None, loop: asyncio.AbstractEventLoop, account_queue_bytes: int | None
) -> Store:
    """In a thread: it waits for the disk, and for another process that opens the same store."""
    path = _path(url)
    check_is_ours(path)
    make_room_to_start(path)
    migrate_store(url)
    with _failures_named(path):
        workers = Workers(workers_of(path))
        if worker is not None:
            workers.register(worker)
        share_bytes = account_queue_bytes or usual_share_bytes(path)
        return Store(Executor(path, loop), workers, DatagramWakeUps(workers_of(path), worker), share_bytes)


def _path(url: str) -> Path:
    name = url.removeprefix(_SCHEME)
    if name == url or not name or name.endswith("/"):
        raise UnusableStore(f"store {url!r}: expected sqlite:///relative/path or sqlite:////absolute/path")
    return Path(name)


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise UnusableStore(f"cannot open the store {path}: {error}") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No two processes make or migrate the same store at once. Makes the folders."""
    folder = workers_of(path)
    make_private(folder)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
