"""The directory of a store, read without opening the store: nothing is made, migrated or left behind."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from relay.domain.directory import Snapshot
from relay.domain.ids import Revision
from relay.store.entries import snapshot
from relay.store.migrate import UnusableStore, migrations, newer, table_names, tables_of, version_of
from relay.store.sqlite.statements import SQL

_OURS = frozenset(("schema_version", "directory_revision", "directory_entry"))
_MOST_NAMED = 5


_FILES = ("-wal", "-shm", "-doubt", "-reserve")
"""What stands beside the store; the first two beside the file that a link leads to."""
_REMEDY = "use the relay that wrote it, or a copy of the store from before"


class UnreadableForNow(UnusableStore):
    """SQLite cannot read it at this moment; perhaps it is busy."""


def peek(path: Path) -> Snapshot | None:
    """None when there is no store, or one without a directory. Raises UnusableStore, OSError."""
    _check_beside(path)
    if not _is_there(path):
        return None
    try:
        with closing(_read_only(path)) as connection:
            _check_is_ours(connection, path)
            _check_is_whole(connection, path)
            if version_of(connection) == 0:
                return None
            row = connection.execute(SQL["revision"]).fetchone()
            entries = connection.execute(SQL["entries"]).fetchall()
    except sqlite3.Error as error:
        kind = UnreadableForNow if isinstance(error, sqlite3.OperationalError) else UnusableStore
        raise kind(f"cannot read the store {path}: {error}") from error
    try:
        if row is None:
            raise ValueError("no revision")
        found = snapshot(Revision(row[0]), entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UnusableStore(
            f"{path} has a directory that this relay cannot read ({why}): {_REMEDY}"
        ) from error
    return found if found.revision > 0 else None


def check_is_ours(path: Path) -> None:
    """Before anything is written to it. Raises UnusableStore for what the relay did not make."""
    if _is_there(path):
        # What cannot be read is told by whoever opens it.
        with suppress(sqlite3.Error), closing(_read_only(path)) as connection:
            _check_is_ours(connection, path)


def _is_there(path: Path) -> bool:
    """Raises UnusableStore for what is no file; a pipe would keep SQLite waiting."""
    if path.is_symlink() and not path.exists():
        raise UnusableStore(
            f"{path} leads to {path.readlink()}, which is not there: bring that back, or remove the link"
        )
    if path.exists() and not path.is_file():
        raise UnusableStore(
            f"{path} is no file: expected one that the relay made, or a path where nothing is"
        )
    return path.exists()


def _check_beside(path: Path) -> None:
    """Raises UnusableStore for what keeps the store from being opened, beside it."""
    whole = path.resolve()
    for name in _FILES:
        for file in {place.with_name(f"{place.name}{name}") for place in (path, whole)}:
            if file.exists() and not (file.is_file() and os.access(file, os.R_OK | os.W_OK)):
                raise UnusableStore(f"{file}: expected a file that this user may read and write, or none")
    folder = workers_of(path)
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        raise UnusableStore(f"{folder}: expected a folder that this user may read and write, or none")


def workers_of(path: Path) -> Path:
    """Where the workers' locks are: beside the store."""
    return path.with_name(f"{path.name}.workers")


def _check_is_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Of a version that we know, with the tables of that version. Raises UnusableStore."""
    version, steps, names = version_of(connection), migrations("relay.store.sqlite"), table_names(connection)
    if version > max(steps):
        raise newer(version, max(steps))
    if version == 0 and names:
        raise UnusableStore(f"{path} does not say which schema version it has: {_REMEDY}")
    if lacking := sorted(tables_of(steps, version) - names if names else ()):
        told = ", ".join(lacking[:_MOST_NAMED]) + (" …" if len(lacking) > _MOST_NAMED else "")
        raise UnusableStore(f"{path} lacks tables of schema version {version} ({told}): {_REMEDY}")


def _read_only(path: Path) -> sqlite3.Connection:
    whole = path.resolve()
    # Without a WAL nobody writes; SQLite would make one to read.
    alone = "" if whole.with_name(f"{whole.name}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{whole.as_uri()}?mode=ro{alone}", uri=True)


def _check_is_ours(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute(r"SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'")
    names = sorted(name for (name,) in found)
    if names and not _OURS.issubset(names):
        told = ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
        raise UnusableStore(
            f"{path} is the database of another program ({told}): expected the relay's own, or a path where"
            " there is no file yet"
        )
