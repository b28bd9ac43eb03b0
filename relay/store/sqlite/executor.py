"""How a process uses the file: one writing thread that commits in groups, and a few reading connections."""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from relay.domain.errors import IdTaken, RelayError, StoreUnavailable
from relay.domain.value import value
from relay.store.sqlite.files import StoreFiles
from relay.store.sqlite.room import Room
from relay.store.sqlite.wal import BUSY_TIMEOUT_S, PAGE_BYTES, Wal, connect_wal

A = TypeVar("A")
T = TypeVar("T")

Connection = sqlite3.Connection
Together = Callable[[Connection, Sequence[A]], Sequence[T | RelayError]]
"""Does several callers' units of one kind at once: one result for each argument, in their order.

A RelayError among the results is raised to that caller; its unit has written nothing.
"""

_SLOW_S = 2.0
"""A transaction that is under way for longer is in trouble."""
_GROUP_LIMIT = 256
_READERS = 3
_LOOK_EVERY_S = 1.0
"""How often an idle writer looks at files and disk."""

log = logging.getLogger("relay.store")


@value
class _Order(Generic[A, T]):
    """One unit of work that waits for the writer, and who is to be told."""

    run: Together[A, T]
    argument: A
    answer: asyncio.Future[T]
    then: Callable[[T | None], None] | None
    is_durable: bool = True
    acknowledges: bool = True


_Any = _Order[Any, Any]
_Settled = tuple[_Any, object]


class _StoreDown(Exception):
    """No transaction could begin or be committed: no unit is to blame."""


class Executor:
    """Writes in groups and reads beside them. Used in one event loop."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        """Opens the connections, which may block; the store exists and has its schema.

        loop: that of all callers. Raises sqlite3.Error.
        """
        self._loop = loop
        self._inbox: queue.SimpleQueue[_Any | None] = queue.SimpleQueue()
        self._is_closed = False
        self._is_synced = True
        self._writer = connect_wal(path, busy_timeout_s)
        # Now the WAL and its index are there.
        self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._files = StoreFiles(path, PAGE_BYTES)
        self._wal = Wal(path, self._writer)
        self._room = Room(path, self._writer, self._wal, PAGE_BYTES)
        self._failed_at: float | None = None
        """Since when no transaction succeeded, monotonic; None: the last one did."""
        self._began_at: float | None = None
        """When the transaction that is under way began."""
        self.watching = asyncio.Lock()
        """Who looks at the mail for people holds it: lanes always find a reading thread."""
        self._idle_readers: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for _ in range(_READERS):
            reader = connect_wal(path)
            reader.execute("PRAGMA query_only = ON")
            reader.execute("PRAGMA cache_size = -4096")
            self._idle_readers.put(reader)
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        # A daemon: a process that ends without close() must not wait for it. What is committed is safe.
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether the disk has room for more mail than there is."""
        return self._room.has_room

    @property
    def trouble(self) -> str | None:
        """Why no mail can be taken, in words that name no path; None: it can."""
        if self._is_closed:
            return "the store is closed"
        if self._files.trouble is not None:
            return self._files.trouble
        if not self._room.has_room:
            return "the disk of the store is nearly full"
        if self._failed_at is not None or self._wal.is_doubtful:
            return "the store cannot be written"
        # A transaction that waits for another process's lock, or for the disk.
        began = self._began_at
        if began is not None and time.monotonic() - began > _SLOW_S:
            return "the store does not answer"
        return None

    async def write(
        self, unit: Callable[[Connection], T], *, is_durable: bool = True, acknowledges: bool = True
    ) -> T:
        """Run unit in a transaction of the writer; back when it is on disk.

        is_durable: whether it must survive power loss. A group without such a unit is not synced.
        acknowledges: whether somebody is promised that it is kept. Such a unit is refused when the
        store's files are not where they were; the others, of mail on its way out, go on.

        It is run again, alone, when the group it was in failed. Cancelling the caller neither
        interrupts nor undoes it. Raises what the unit raises, IdTaken for a row whose key is taken,
        and StoreUnavailable.
        """
        run = cast("Together[Callable[[Connection], T], T]", _each)
        return await self.write_together(run, unit, is_durable=is_durable, acknowledges=acknowledges)

    def write_together(
        self,
        run: Together[A, T],
        argument: A,
        then: Callable[[T | None], None] | None = None,
        *,
        is_durable: bool = True,
        acknowledges: bool = True,
    ) -> asyncio.Future[T]:
        """Like write, for a hot kind of unit: run gets the arguments of all callers of one group.

        then is called once, in the loop and before the future is done: with the result, or
        None when there is none.
        """
        answer: asyncio.Future[T] = self._loop.create_future()
        order = _Order(run, argument, answer, then, is_durable, acknowledges)
        if self._is_closed:
            # Not at once: then comes before the caller goes on, here too.
            self._loop.call_soon(_tell, [(order, StoreUnavailable())])
        else:
            self._inbox.put(order)
        return answer

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run query in a transaction of a reading connection. Raises StoreUnavailable."""
        if self._is_closed:
            raise StoreUnavailable
        return await self._loop.run_in_executor(self._reading, self._read, query)

    async def close(self) -> None:
        """Write what waits, then close the connections."""
        self._is_closed = True
        self._inbox.put(None)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._thread.join()
        self._reading.shutdown()
        while not self._idle_readers.empty():
            self._idle_readers.get().close()
        self._wal.mend()
        # Last, so that it is the one that folds the WAL into the file.
        self._writer.close()
        self._room.keep()

    # ── in the reading threads ───────────────────────────────────────────────────────────

    def _read(self, query: Callable[[Connection], T]) -> T:
        connection = self._idle_readers.get()
        try:
            connection.execute("BEGIN")
            return query(connection)
        except (sqlite3.Error, OSError) as error:
            log.warning("read failed: %s", error)
            raise StoreUnavailable from error
        finally:
            _roll_back(connection)
            self._idle_readers.put(connection)

    # ── in the writing thread ────────────────────────────────────────────────────────────

    def _work(self) -> None:
        is_open = True
        while is_open:
            try:
                group: list[_Any | None] = [self._inbox.get(timeout=_LOOK_EVERY_S)]
            except queue.Empty:
                self._look()
                continue
            with suppress(queue.Empty):
                while group[-1] is not None and len(group) < _GROUP_LIMIT:
                    group.append(self._inbox.get_nowait())
            is_open = group[-1] is not None
            if orders := [order for order in group if order is not None]:
                self._announce(self._guarded(orders))

    def _look(self) -> None:
        """While nothing is to be written: what would be in the way?"""
        self._files.look()
        self._room.look()
        if self._wal.mend() and self._failed_at is not None:
            with suppress(_StoreDown, sqlite3.Error):
                self._try_to_write()
                self._failed_at = None

    def _try_to_write(self) -> None:
        """A transaction that writes and changes nothing. Raises sqlite3.Error, _StoreDown."""
        self._execute("BEGIN IMMEDIATE")
        try:
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            self._writer.execute(f"PRAGMA user_version = {version}")
            self._execute("COMMIT")
        finally:
            _roll_back(self._writer)

    def _guarded(self, orders: list[_Any]) -> list[_Settled]:
        """Commit; nobody is promised anything that went to a file which is no longer the store's.

        Nor what goes to a log of which something may be lost.
        """
        refused: list[_Settled] = []
        if not self._wal.mend() or not self._files.look():
            refused = _all_unavailable([order for order in orders if order.acknowledges])
            orders = [order for order in orders if not order.acknowledges]
        if not orders:
            return refused
        self._began_at = time.monotonic()
        settled = self._commit(orders)
        if all(isinstance(result, StoreUnavailable) for _, result in settled):
            self._failed_at = self._failed_at or self._began_at
        else:
            self._failed_at = None
        self._began_at = None
        is_where_it_was = self._files.look()
        self._wal.fold_if_long(self._files.wal_bytes)
        if not refused and not is_where_it_was:
            settled = [
                (order, StoreUnavailable() if order.acknowledges else result) for order, result in settled
            ]
        return refused + settled

    def _announce(self, settled: list[_Settled]) -> None:
        try:
            self._loop.call_soon_threadsafe(_tell, settled)
        except RuntimeError:
            log.warning("the event loop ended before %d units were told of their commit", len(settled))

    def _commit(self, orders: list[_Any]) -> list[_Settled]:
        """All in one transaction; when one of them fails, each in its own."""
        try:
            return self._attempt(orders)
        except _StoreDown:
            return _all_unavailable(orders)
        except Exception as error:  # noqa: BLE001 - the top of a unit of work: its caller gets the error
            self._wal.heed(error)
            if len(orders) == 1:
                return [(orders[0], _translated(error))]
        settled: list[_Settled] = []
        for position, order in enumerate(orders):
            try:
                settled += self._attempt([order])
            except _StoreDown:
                # Each further try could wait for the lock as long as this one did.
                return settled + _all_unavailable(orders[position:])
            except Exception as error:  # noqa: BLE001 - as above
                self._wal.heed(error)
                settled.append((order, _translated(error)))
        return settled

    def _attempt(self, orders: list[_Any]) -> list[_Settled]:
        kinds: dict[Together[Any, Any], list[_Any]] = {}
        for order in orders:
            kinds.setdefault(order.run, []).append(order)
        settled: list[_Settled] = []
        self._room.look()
        self._sync(any(order.is_durable for order in orders))
        self._execute("BEGIN IMMEDIATE")
        try:
            for run, alike in kinds.items():
                results = run(self._writer, [order.argument for order in alike])
                settled += zip(alike, results, strict=True)
            self._execute("COMMIT")
        finally:
            _roll_back(self._writer)
        return settled

    def _sync(self, is_durable: bool) -> None:
        """Whether the next commit is synced. The log keeps its order: a later sync covers earlier commits."""
        if is_durable != self._is_synced:
            self._execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            self._is_synced = is_durable

    def _execute(self, statement: str) -> None:
        try:
            self._writer.execute(statement)
        except sqlite3.Error as error:
            log.error("%s failed: %s", statement, error)
            self._wal.heed(error)
            raise _StoreDown from error


def _each(connection: Connection, units: Sequence[Callable[[Connection], T]]) -> Sequence[T]:
    """Units that have nothing in common, one after the other."""
    return [unit(connection) for unit in units]


def _all_unavailable(orders: Sequence[_Any]) -> list[_Settled]:
    return [(order, StoreUnavailable()) for order in orders]


def _translated(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    is_clash = isinstance(error, sqlite3.IntegrityError)
    if not is_clash:
        log.error("write failed: %s", error)
    translated = IdTaken() if is_clash else StoreUnavailable()
    translated.__cause__ = error
    return translated


def _roll_back(connection: Connection) -> None:
    """End the transaction, if one is still open."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _tell(settled: Sequence[_Settled]) -> None:
    """In the loop: give each caller its result, whether it still waits or not."""
    for order, result in settled:
        if order.then is not None:
            # By the loop, before the caller wakes: an error in it is reported there and hurts nobody.
            order.answer.get_loop().call_soon(order.then, None if isinstance(result, Exception) else result)
        if order.answer.done():
            continue
        if isinstance(result, Exception):
            order.answer.set_exception(result)
        else:
            order.answer.set_result(result)
