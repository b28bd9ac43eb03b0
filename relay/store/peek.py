"""The directory of a store, read without opening the store: nothing is made, migrated or left behind."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from relay.domain.directory import Snapshot
from relay.domain.ids import Revision
from relay.store.entries import snapshot
from relay.store.migrate import UnusableStore, migrations, version_of
from relay.store.sqlite.statements import SQL, one

_OURS = frozenset(("schema_version", "directory_revision", "directory_entry"))
_MOST_NAMED = 5


class UnreadableForNow(UnusableStore):
    """SQLite cannot read it at this moment; perhaps it is busy."""


def peek(path: Path) -> Snapshot | None:
    """None when there is no store, or one without a directory. Raises UnusableStore, OSError."""
    if not _is_there(path):
        return None
    try:
        with closing(_read_only(path)) as connection:
            _check_is_ours(connection, path)
            before, known = version_of(connection), max(migrations("relay.store.sqlite"))
            if before > known:
                raise UnusableStore(
                    f"the store has schema version {before}, this relay knows versions up to {known}"
                )
            if before == 0:
                return None
            revision = Revision(one(connection, "revision"))
            found = snapshot(revision, connection.execute(SQL["entries"]).fetchall())
    except sqlite3.Error as error:
        kind = UnreadableForNow if isinstance(error, sqlite3.OperationalError) else UnusableStore
        raise kind(f"cannot read the store {path}: {error}") from error
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
