"""The statements of this database: those of queries.sql by name, and inserts of many rows at a time."""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from relay.store.codec import (
    EVENT_COLUMNS,
    MESSAGE_COLUMNS,
    STORED_MESSAGE_COLUMNS,
    SUBMISSION_COLUMNS,
    TOLD_COLUMNS,
    Row,
    from_json,
)
from relay.store.sql import load_queries

SQL: Mapping[str, str] = load_queries(
    "relay.store.sqlite",
    "queries.sql",
    {"message": ", ".join(MESSAGE_COLUMNS), "event": ", ".join(TOLD_COLUMNS)},
)


class Insert:
    """Inserts rows of one table, up to 32 a step, so that few steps contend for Python's lock."""

    _SIZES = (32, 8, 1)

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        row = f"({', '.join('?' * len(columns))})"
        self._texts = {
            # FAIL, not the usual ABORT, for which SQLite copies each page before it writes it: whatever goes
            # wrong undoes the whole transaction.
            size: f"INSERT OR FAIL INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}"
            for size in self._SIZES
        }

    def __call__(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        start = 0
        for size, text in self._texts.items():
            while len(rows) - start >= size:
                values = tuple(chain.from_iterable(rows[start : start + size]))
                connection.execute(text, values)
                start += size


insert_submissions = Insert("submission", SUBMISSION_COLUMNS)
insert_bodies = Insert("body", ("row_id", "content"))
insert_messages = Insert("message", STORED_MESSAGE_COLUMNS)
insert_events = Insert("event", EVENT_COLUMNS)


def one(
    connection: sqlite3.Connection, name: str, values: Sequence[object] | Mapping[str, object] = ()
) -> Any:
    """The single value that the query gives."""
    return connection.execute(SQL[name], values).fetchone()[0]


def one_list(
    connection: sqlite3.Connection, name: str, values: Sequence[object] | Mapping[str, object] = ()
) -> list[list[Any]]:
    """The rows of a query that packs them into one JSON array."""
    rows: list[list[Any]] = from_json(one(connection, name, values))
    return rows
