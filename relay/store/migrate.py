"""Ordered migrations: numbered SQL files that bring a store from its version to that of the code."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files

from relay.domain.errors import RelayError

_FILE = re.compile(r"(\d{4})_\w+\.sql")


class UnusableStore(RelayError, ValueError):
    """The store that was named cannot be opened by this program; str() says why, for the operator."""


def migrations(package: str) -> dict[int, str]:
    """Version → SQL text, from the files `NNNN_what.sql` in the package's folder `migrations`."""
    found = {}
    for file in files(package).joinpath("migrations").iterdir():
        if match := _FILE.fullmatch(file.name):
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def migrate(connection: sqlite3.Connection, steps: dict[int, str]) -> tuple[int, int]:
    """Apply what is missing in one transaction; the version before (0: a new store) and now.

    A store that misses nothing is only read: another process may be writing for long. The
    caller sees to it that nobody else migrates meanwhile. Raises UnusableStore when the store
    is newer than the code.
    """
    if version_of(connection) == max(steps):
        return max(steps), max(steps)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT")
        before, now = version_of(connection), max(steps)
        if before > now:
            raise newer(before, now)
        for version, script in steps.items():
            if version > before:
                for statement in statements_of(script):
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_version VALUES (?)", (version,))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return before, now


def newer(version: int, known: int) -> UnusableStore:
    """Of a store that a later version of the code has written."""
    return UnusableStore(
        f"the store has schema version {version}, this relay knows versions up to {known}: "
        "use the newer relay that wrote it, or a copy of the store from before"
    )


def tables_of(steps: dict[int, str], version: int) -> frozenset[str]:
    """The tables that a store of that version has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        for number, script in steps.items():
            if number <= version:
                for statement in statements_of(script):
                    connection.execute(statement)
        return table_names(connection)


def table_names(connection: sqlite3.Connection) -> frozenset[str]:
    """Those that are not SQLite's own."""
    found = connection.execute(
        r"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
    )
    return frozenset(name for (name,) in found)


def version_of(connection: sqlite3.Connection) -> int:
    """0 for a store that was never migrated."""
    known = "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'"
    if connection.execute(known).fetchone() is None:
        return 0
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return int(version)


def statements_of(script: str) -> Iterator[str]:
    """One by one: sqlite3's executescript would commit the transaction they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
