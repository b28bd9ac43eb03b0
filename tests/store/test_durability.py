"""What SQLite in particular must do: sync, migrate, refuse what it cannot open, survive being killed."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.domain.errors import StoreUnavailable
from relay.domain.ids import MessageId
from relay.store import migrate_store, open_store, wide_folders
from relay.store.migrate import UnusableStore, migrations
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.wal import connect_wal
from tests.store.conftest import EVERYTHING, kinds, seed, stored, stray_bodies

CHILD = """
import asyncio, sys
from relay.store import open_store, wide_folders
from tests.store.conftest import build_batch, stray_bodies

async def main():
    store = await open_store(sys.argv[1])
    async def inject():
        while True:
            batch = build_batch()
            await store.queue.enqueue(batch)
            print(batch.messages[0].id, flush=True)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(inject())

asyncio.run(main())
"""
"""Enqueues without end and prints what was acknowledged."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def executor(path: Path, url: str) -> AsyncIterator[Executor]:
    """Gives up on a locked file after 20 ms."""
    migrate_store(url)
    executor = Executor(path, asyncio.get_running_loop(), busy_timeout_s=0.02)
    yield executor
    await executor.close()


async def test_commits_are_synced_to_the_disk(executor: Executor) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "page_size")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    full = 2
    assert await executor.write(pragmas) == [full, "wal", 16384]


async def test_mail_is_there_after_its_process_was_killed(url: str) -> None:
    async with await open_store(url) as store:
        await seed(store)
    root = Path(__file__).parents[2]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, url, stdout=PIPE, cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    assert child.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(50):
            await child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        rest, _ = await child.communicate()
    # The last line may be cut short.
    acknowledged = {MessageId(line.decode()) for line in rest.split(b"\n")[:-1]}
    async with await open_store(url) as store:
        found = await stored(store)
        assert len(found) >= 50
        assert acknowledged <= {message.id for message in found}
        assert stray_bodies(url) == 0
        assert await kinds(store, found[-1]) == ["Injection"]


async def test_the_folder_is_made_and_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where" / "relay.db"
    async with await open_store(f"sqlite:///{path}") as store:
        assert await store.queue.count(EVERYTHING) == 0
        for name in (path, path.with_name("relay.db-wal")):
            assert stat.S_IMODE(name.stat().st_mode) == 0o600
        made = (tmp_path / "some", path.parent, path.with_name("relay.db.workers"))
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in made} == {0o700}
    assert wide_folders(f"sqlite:///{path}") == []


async def test_a_folder_that_is_there_keeps_its_mode_and_is_told_when_others_can_look_in(
    tmp_path: Path,
) -> None:
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir(0o700)
    elsewhere.mkdir(0o700)
    (elsewhere / "relay.db").touch(0o600)
    (there / "relay.db").symlink_to(elsewhere / "relay.db")
    url = f"sqlite:///{there / 'relay.db'}"
    assert wide_folders(url) == []
    async with await open_store(url):
        pass
    assert wide_folders(url) == []
    for mode in (0o755, 0o750, 0o701):
        there.chmod(mode)
        assert wide_folders(url) == [(there, mode)]
    elsewhere.chmod(0o770)
    (there / "relay.db.workers").chmod(0o711)
    async with await open_store(url):
        assert dict(wide_folders(url)) == {
            there: 0o701,
            elsewhere: 0o770,
            there / "relay.db.workers": 0o711,
        }


async def test_a_relative_path_has_three_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with await open_store("sqlite:///var/relay.db"):
        assert (tmp_path / "var" / "relay.db").exists()


@pytest.mark.parametrize(
    "url", ["", "relay.db", "sqlite:///", "sqlite:relay.db", "sqlite:///folder/", "postgresql://u@h/db"]
)
async def test_another_url_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(UnusableStore, match="expected sqlite:///relative/path"):
        await open_store(url)


async def test_a_file_that_is_no_store_is_refused_by_name(path: Path, url: str) -> None:
    await asyncio.to_thread(path.write_bytes, b"no database, but long enough to be read as one" * 100)
    with pytest.raises(UnusableStore, match=r"relay\.db"):
        await open_store(url)


def test_a_file_that_is_no_store_does_not_stay_open(path: Path) -> None:
    path.write_bytes(b"no database, but long enough to be read as one" * 100)
    with pytest.raises(sqlite3.DatabaseError) as failed:
        connect_wal(path)
    assert path not in [one.resolve() for one in Path("/proc/self/fd").iterdir()], failed


def test_a_store_is_made_once_and_migrated_to_the_version_of_the_code(url: str) -> None:
    newest = max(migrations("relay.store.sqlite"))
    assert migrate_store(url) == (0, newest)
    assert migrate_store(url) == (newest, newest)


async def test_a_store_newer_than_the_code_is_refused(path: Path, url: str) -> None:
    migrate_store(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (999)")
    with pytest.raises(UnusableStore, match="schema version 999"):
        await open_store(url)


async def test_a_store_that_stays_locked_is_unavailable_and_recovers(path: Path, executor: Executor) -> None:
    def unit(connection: Connection) -> int:
        return connection.execute("UPDATE directory_revision SET revision = revision + 1").rowcount

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await executor.write(unit)
        other.execute("ROLLBACK")
    assert await executor.write(unit) == 1


async def test_a_unit_that_fails_is_undone_and_its_neighbours_are_not(executor: Executor) -> None:
    def good(connection: Connection) -> None:
        connection.execute("UPDATE directory_revision SET revision = revision + 1")

    def bad(connection: Connection) -> None:
        connection.execute("UPDATE directory_revision SET revision = revision + 1000")
        raise LookupError("a bug")

    failed: list[str] = []

    async def run_bad() -> None:
        try:
            await executor.write(bad)
        except LookupError as error:
            failed.append(str(error))

    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(run_bad() if number % 10 == 5 else executor.write(good))
    assert failed == ["a bug"] * 3

    def revision(connection: Connection) -> int:
        return int(connection.execute("SELECT revision FROM directory_revision").fetchone()[0])

    assert await executor.read(revision) == 27


async def test_reading_connections_cannot_write(executor: Executor) -> None:
    with pytest.raises(StoreUnavailable):
        await executor.read(lambda connection: connection.execute("DELETE FROM lane"))


async def test_the_log_is_folded_when_it_has_grown_long_and_stays_at_that_length(
    executor: Executor, path: Path
) -> None:
    def make(connection: Connection) -> None:
        connection.execute("CREATE TABLE big (octets BLOB)")

    def write(connection: Connection) -> None:
        connection.execute("DELETE FROM big")
        connection.execute("INSERT INTO big VALUES (zeroblob(3000000))")

    await executor.write(make)
    wal, lengths = path.with_name(f"{path.name}-wal"), []
    for _ in range(60):
        await executor.write(write)
        lengths.append(wal.stat().st_size)
    assert 64 << 20 <= max(lengths) < 72 << 20
    assert lengths[-1] <= 64 << 20


async def test_a_second_process_may_open_and_close_the_store_meanwhile(url: str) -> None:
    """SQLite's own locks must survive what we do to the file: else the second one deletes the WAL."""
    async with await open_store(url) as store:
        opener = f"from relay.store import migrate_store; migrate_store({url!r})"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", opener, cwd=Path(__file__).parents[2]
        )
        assert await child.wait() == 0
        await seed(store)
        async with await open_store(url) as other:
            assert await other.directory.revision() == 1
