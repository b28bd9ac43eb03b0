"""The directory of a store, read without opening the store: nothing is made, migrated or left behind."""

import sqlite3
from contextlib import closing
from pathlib import Path

from relay.domain.directory import Snapshot
from relay.domain.ids import Revision
from relay.store.entries import snapshot
from relay.store.migrate import UnusableStore, migrations, version_of
from relay.store.sqlite.statements import SQL, one


def peek(path: Path) -> Snapshot | None:
    """None when there is no store, or one without a directory. Raises UnusableStore."""
    if not path.exists():
        return None
    whole = path.resolve()
    # Without a WAL nobody writes; SQLite would make one to read.
    alone = "" if whole.with_name(f"{whole.name}-wal").exists() else "&immutable=1"
    try:
        with closing(sqlite3.connect(f"{whole.as_uri()}?mode=ro{alone}", uri=True)) as connection:
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
        raise UnusableStore(f"cannot read the store {path}: {error}") from error
    return found if found.revision > 0 else None
