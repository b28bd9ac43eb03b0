"""Room on the disk: for more mail, and what is kept back so that mail on its way out can still be settled."""

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from relay.store.sqlite.wal import Wal

_RESERVE_BYTES = 64 << 20
"""Free space that is kept for what mail on its way out writes; an eighth of a small disk."""
_KEPT_BYTES = 16 << 20
"""What a file keeps back from other programs; a sixteenth of a small disk."""
_START_BYTES = 256 << 10
"""What of it is kept to the last: a start makes the index of the WAL."""

log = logging.getLogger("relay.store")


class Room:
    """Used in the writing thread; `has_room` from anywhere."""

    def __init__(self, path: Path, writer: sqlite3.Connection, wal: Wal, page_bytes: int) -> None:
        self._folder, self._wal_path = path.parent, path.with_name(f"{path.name}-wal")
        self._kept, self._writer, self._wal, self._page_bytes = _kept(path), writer, wal, page_bytes
        self._is_keeping = False
        self.has_room = True
        """Whether the disk has room for more mail than there is."""
        # On a full disk, too: what the log of the process before had, others would take.
        self.keep()
        self.look()

    def look(self) -> None:
        """On a disk that is nearly full, fold the WAL into the file, whose free pages then serve again."""
        with suppress(OSError, sqlite3.Error):
            free_bytes, reserve_bytes = self._free_bytes()
            wal_bytes = self._wal_path.stat().st_size
            is_full = free_bytes < reserve_bytes // 8
            if is_full:
                # The log keeps its blocks, which somebody else would take.
                self._give_up()
                self._wal.fold()
            elif free_bytes < wal_bytes + reserve_bytes and wal_bytes > reserve_bytes // 4:
                self._wal.empty()
            free_bytes, reserve_bytes = self._free_bytes()
            # What was given up is not room for more mail.
            room_bytes = free_bytes - (0 if self._is_keeping else _kept_bytes(reserve_bytes))
            # A little more to say yes again than to say no, so that it is not said by turns.
            wanted_bytes = reserve_bytes if self.has_room else reserve_bytes * 5 // 4
            if reserve_bytes // 2 <= room_bytes < wanted_bytes:
                (pages,) = self._writer.execute("PRAGMA freelist_count").fetchone()
                room_bytes += pages * self._page_bytes
            had_room, self.has_room = self.has_room, room_bytes >= wanted_bytes
            if had_room and not self.has_room:
                log.error("disk nearly full: free_bytes=%d; incoming mail is refused for now", free_bytes)
            elif self.has_room and not had_room:
                log.warning("there is room again: room_bytes=%d", room_bytes)
            if not self._is_keeping and free_bytes >= reserve_bytes + reserve_bytes // 2:
                self.keep()

    def keep(self) -> None:
        """Take from the disk what is to be kept back, as far as it is there."""
        with suppress(OSError):
            free_bytes, reserve_bytes = self._free_bytes()
            size_bytes = min(_kept_bytes(reserve_bytes), free_bytes)
            file = os.open(self._kept, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                if size_bytes > os.fstat(file).st_size:
                    os.posix_fallocate(file, 0, size_bytes)
            finally:
                os.close(file)
            self._is_keeping = True

    def _give_up(self) -> None:
        """Let go of it, but for what a start needs; at once the log takes what the file does not."""
        with suppress(FileNotFoundError):
            if (size_bytes := self._kept.stat().st_size) > _START_BYTES:
                log.warning("the disk is full: the room kept back for mail on its way out is used now")
                os.truncate(self._kept, _START_BYTES)
                self._wal.fold()
                self._wal.lengthen(size_bytes - _START_BYTES)
        self._is_keeping = False

    def _free_bytes(self) -> tuple[int, int]:
        """Free on the disk of the store, and how much of that is kept. Raises OSError."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize, min(_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 8)


def _kept_bytes(reserve_bytes: int) -> int:
    return min(_KEPT_BYTES, reserve_bytes // 2)


def make_room_to_start(path: Path) -> None:
    """Before the store is opened: on a full disk, what was kept back is let go."""
    with suppress(OSError):
        disk = os.statvfs(path.parent)
        if disk.f_bavail * disk.f_frsize < _START_BYTES:
            _kept(path).unlink(missing_ok=True)


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}-reserve")
