"""Whether what this process has open is still what lies at the store's path."""

import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("relay.store")

_SUFFIXES = ("-wal", "-shm")
_WAL = 1
"""Where it stands among the files."""

_Identity = tuple[int, int]
"""Device and inode."""


class StoreFiles:
    """The file, its WAL and the WAL's index. Looked at by `stat` alone.

    A descriptor of them that is opened and closed beside SQLite would drop its locks (fcntl(2)).
    """

    def __init__(self, path: Path, least_bytes: int) -> None:
        """path: of a store that a connection of this process has open and has read from.

        least_bytes: shorter, it is no store. Raises OSError.
        """
        # Beside a symbolic link's target SQLite keeps the others; the link itself may be changed too.
        whole = path.resolve()
        self._paths = [path.absolute(), *(whole.with_name(whole.name + suffix) for suffix in _SUFFIXES)]
        # What we have open, not what lies there by now: another may have put a file there since.
        mine = _open_files()
        self._known = [mine.get(name.resolve()) or _identity(name.stat()) for name in self._paths]
        # A VACUUM makes it smaller, and is no fault; without its first page it is no store.
        self._least_bytes = min(path.stat().st_size, least_bytes)
        self.trouble: str | None = None
        """What is wrong, in words that name no path; None: nothing."""
        self.wal_bytes = 0
        """How long the WAL's file was when it was last looked at."""

    def look(self) -> bool:
        """Whether all of them lie where they were opened; says in the log when that changes."""
        fault = self._fault()
        if fault is None:
            if self.trouble is not None:
                log.warning("the store's files are back where they were: mail is taken again")
                self.trouble = None
            return True
        name, what = fault
        trouble = f"a file of the store {what}"
        if trouble != self.trouble:
            log.error(
                "%s %s while it was in use: incoming mail is refused, and what waits is delivered from the"
                " file that is still open. Put that very file back, or stop the relay, put a whole store"
                " (with its -wal) there and start it",
                name,
                what,
            )
            self.trouble = trouble
        return False

    def _fault(self) -> tuple[Path, str] | None:
        for name, known in zip(self._paths, self._known, strict=True):
            try:
                found = name.stat()
            except FileNotFoundError:
                return name, "is gone"
            except OSError as error:
                return name, f"cannot be looked at ({error.strerror})"
            if _identity(found) != known:
                return name, "was replaced"
            if name is self._paths[_WAL]:
                self.wal_bytes = found.st_size
            if name is self._paths[0] and found.st_size < self._least_bytes:
                return name, "was truncated"
        return None


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _open_files() -> dict[Path, _Identity]:
    """By path, as the kernel names what this process has open; empty where it does not tell."""
    found: dict[Path, _Identity] = {}
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            # One of them is that of the folder itself, gone by now.
            with suppress(OSError):
                found[Path(str(link.readlink()).removesuffix(" (deleted)"))] = _identity(link.stat())
    return found
