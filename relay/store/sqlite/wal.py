"""The write-ahead log: how it is written, folded into the file, and what a failed sync leaves in doubt."""

import logging
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

BUSY_TIMEOUT_S = 5.0
"""How long another process may keep the file before the caller hears StoreUnavailable."""
PAGE_BYTES = 16384
_WAL_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_MEND_EVERY_S = 1.0
_FAILED_SYNCS = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}

log = logging.getLogger("relay.store")


def connect_wal(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """A connection for writing: WAL, synced at each commit. Raises sqlite3.Error, OSError."""
    # Readable by its owner alone: it holds mail and credentials. SQLite gives -wal and -shm the same mode.
    # Only ever made, never opened beside SQLite: closing a descriptor of the file would drop all the
    # locks that this process has on it (fcntl(2)), and another process would delete the WAL under us.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = FULL",
            # SQLite would say nothing of a sync that fails while it folds: `Wal` does that.
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {_WAL_BYTES}",
            "cache_size = -32768",
            # Debian's SQLite would otherwise write zeros over every body that leaves, which doubles the log.
            "secure_delete = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class Wal:
    """Used in the writing thread, outside of a transaction; `is_doubtful` from anywhere (ADR 15).

    After a sync of the log failed, the kernel may hold pages of it for clean that are not on the
    disk, and a later sync that succeeds does not cover them: a power failure would then end the
    log before mail that was acknowledged since. So nothing is, until the log is written again.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection) -> None:
        whole = path.resolve()
        self._path, self._writer = whole.with_name(f"{whole.name}-wal"), writer
        # It outlives a process that is killed: the pages do, too.
        self._mark = path.with_name(f"{path.name}-doubt")
        self.is_doubtful = self._mark.exists()
        """Whether something in the log may not be on the disk though it is said to be."""
        self._next_try = float("-inf")

    def heed(self, error: BaseException) -> None:
        """Look whether what failed was a sync."""
        if getattr(error, "sqlite_errorcode", None) in _FAILED_SYNCS and not self.is_doubtful:
            self.is_doubtful = True
            log.error("a sync of the store failed: nothing is acknowledged until its log is written again")
            with suppress(OSError):
                self._mark.touch(0o600)

    def mend(self) -> bool:
        """Whether all that was committed is on the disk; in doubt, write the log again, once a second."""
        if not self.is_doubtful:
            return True
        if time.monotonic() < self._next_try:
            return False
        try:
            self._writer.execute("BEGIN IMMEDIATE")  # so that nobody appends to it
            try:
                self._write_again()
            finally:
                self._writer.execute("ROLLBACK")
            self._mark.unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as error:
            log.error("the log of the store could not be written again: %s", error)
            self._next_try = time.monotonic() + _MEND_EVERY_S
            return False
        self.is_doubtful = False
        log.warning("the log of the store was written again, and is on the disk")
        return True

    def _write_again(self) -> None:
        """The octets that it has, so that the next sync counts them. SQLite holds no locks on this file."""
        file = os.open(self._path, os.O_RDWR)
        try:
            at = 0
            while piece := os.pread(file, _PIECE_BYTES, at):
                at += os.pwrite(file, piece, at)
            os.fsync(file)
        finally:
            os.close(file)

    def fold_if_long(self, wal_bytes: int) -> None:
        """wal_bytes: of the log's file, which does not shrink as it is folded.

        SQLite begins at its start again once all of it is copied, and cuts the file to that size then.
        """
        if wal_bytes > _WAL_BYTES:
            self.fold()

    def fold(self) -> None:
        """Copy it into the file. It keeps its length."""
        if not self.is_doubtful:
            self._checkpoint("PASSIVE")

    def lengthen(self, by_bytes: int) -> None:
        """Take room on the disk for frames to come, as much of it as there is. Raises OSError."""
        disk, size_bytes = os.statvfs(self._path), self._path.stat().st_size
        by_bytes = min(by_bytes, disk.f_bavail * disk.f_frsize, _WAL_BYTES - size_bytes)
        if by_bytes > 0:
            file = os.open(self._path, os.O_RDWR)
            try:
                os.posix_fallocate(file, size_bytes, by_bytes)
            finally:
                os.close(file)

    def empty(self) -> None:
        """Copy it into the file and cut it to nothing."""
        if not self.is_doubtful:
            self._checkpoint("TRUNCATE")

    def _checkpoint(self, mode: str) -> None:
        try:
            self._writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            log.error("the log of the store could not be folded into it: %s", error)
            self.heed(error)
