"""A store is looked into without being opened: nothing is made, and what is not ours stays as it is."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from relay.store import migrate_store, open_store
from relay.store.migrate import UnusableStore, migrations
from relay.store.peek import peek
from tests.store.conftest import seed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def nothing(path: Path) -> None:
    """There is no file."""


def no_tables(path: Path) -> None:
    execute(path, "PRAGMA user_version = 0")


def no_directory(path: Path) -> None:
    migrate_store(f"sqlite:///{path}")


@pytest.mark.parametrize("make", [nothing, no_tables, no_directory])
def test_where_there_is_no_directory_none_is_found_and_nothing_is_made(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = sorted(path.parent.iterdir())
    assert peek(path) is None
    assert sorted(path.parent.iterdir()) == before


async def test_the_directory_is_found_as_the_store_has_it(path: Path) -> None:
    async with await open_store(f"sqlite:///{path}") as store:
        await seed(store)
        assert peek(path) == await store.directory.snapshot(), "while it is open"
        expected = await store.directory.snapshot()
    assert peek(path) == expected, "and when nobody has it open"


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("away.db"))


def of_another(path: Path) -> None:
    execute(path, "CREATE TABLE posts (x)", "CREATE TABLE users (x)")


def of_another_with_many(path: Path) -> None:
    execute(path, *(f"CREATE TABLE t{number} (x)" for number in range(6)))


def newer(path: Path) -> None:
    no_directory(path)
    execute(path, f"UPDATE schema_version SET version = {max(migrations('relay.store.sqlite')) + 1}")


def text(path: Path) -> None:
    path.write_text("no database at all, but long enough to be looked at as if it were one\n" * 20)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(a_folder, "is no file: expected one that the relay made", id="folder"),
        pytest.param(a_link_to_nowhere, "leads to .*away.db, which is not there", id="link"),
        pytest.param(of_another, r"is the database of another program \(posts, users\)", id="another's"),
        pytest.param(of_another_with_many, r"another program \(t0, t1, t2, t3, t4 …\)", id="many-tables"),
        pytest.param(newer, r"has schema version \d+, this relay knows versions up to", id="newer"),
        pytest.param(text, "cannot read the store .*: file is not a database", id="no-database"),
    ],
)
def test_what_is_no_store_of_ours_is_refused_by_name(
    path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(path)
    with pytest.raises(UnusableStore, match=reason):
        peek(path)
