"""A store that is not well: files that went, a log that may not be on the disk. Nothing is promised then."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.domain.errors import StoreUnavailable
from relay.store import migrate_store
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.wal import Wal, connect_wal
from relay.testing.waiting import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "relay.db"
    migrate_store(f"sqlite:///{path}")
    return path


@pytest.fixture
async def executor(path: Path) -> AsyncIterator[Executor]:
    executor = Executor(path, asyncio.get_running_loop())
    await executor.write(make)
    yield executor
    await executor.close()


def make(connection: Connection) -> None:
    connection.execute("CREATE TABLE note (text)")


def note(connection: Connection) -> None:
    connection.execute("INSERT INTO note VALUES ('x')")


def count(connection: Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM note").fetchone()[0])


# ── files ────────────────────────────────────────────────────────────────────────────────


def moved(file: Path, aside: Path) -> None:
    file.rename(aside)


def replaced(file: Path, aside: Path) -> None:
    file.rename(aside)
    shutil.copy(aside, file)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize(
    ("harm", "trouble"),
    [
        pytest.param(moved, "a file of the store is gone", id="moved"),
        pytest.param(replaced, "a file of the store was replaced", id="replaced"),
    ],
)
async def test_nothing_is_acknowledged_while_a_file_of_the_store_is_not_where_it_was(
    executor: Executor, path: Path, suffix: str, harm: Callable[[Path, Path], None], trouble: str
) -> None:
    file, aside = path.with_name(path.name + suffix), path.with_name("aside")
    harm(file, aside)
    with pytest.raises(StoreUnavailable):
        await executor.write(note)
    assert executor.trouble == trouble
    await executor.write(note, acknowledges=False)
    aside.rename(file)
    await executor.write(note)
    assert executor.trouble is None
    assert await executor.read(count) == 2


async def test_a_file_that_went_is_noticed_though_nothing_is_written(executor: Executor, path: Path) -> None:
    aside = path.with_name("aside")
    moved(path, aside)

    async def look() -> bool:
        return executor.trouble == "a file of the store is gone"

    await eventually(look)
    moved(aside, path)

    async def is_well() -> bool:
        return executor.trouble is None

    await eventually(is_well)


def cut(file: Path, at: int) -> bytes:
    """What is cut off."""
    octets = file.read_bytes()
    os.truncate(file, at)
    return octets[at:]


def append(file: Path, octets: bytes) -> None:
    with file.open("ab") as end:
        end.write(octets)


async def test_a_store_cut_to_nothing_is_no_store(executor: Executor, path: Path) -> None:
    rest = cut(path, 100)
    with pytest.raises(StoreUnavailable):
        await executor.write(note)
    assert executor.trouble == "a file of the store was truncated"
    append(path, rest)
    await executor.write(note)
    assert executor.trouble is None


async def test_a_store_that_was_locked_is_well_again_though_nothing_is_written(path: Path) -> None:
    executor = Executor(path, asyncio.get_running_loop(), busy_timeout_s=0.02)
    try:
        with closing(connect_wal(path)) as another:
            another.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await executor.write(make)
            assert executor.trouble == "the store cannot be written"

        async def is_well() -> bool:
            return executor.trouble is None

        await eventually(is_well)
    finally:
        await executor.close()


async def test_a_closed_store_says_so(path: Path) -> None:
    executor = Executor(path, asyncio.get_running_loop())
    await executor.close()
    assert executor.trouble == "the store is closed"
    with pytest.raises(StoreUnavailable):
        await executor.read(count)
    with pytest.raises(StoreUnavailable):
        await executor.write(note)


# ── the log after a failed sync (ADR 15) ─────────────────────────────────────────────────


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_wal(path)) as connection:
        make(connection)
        yield connection


def failed_sync() -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    return error


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def test_after_a_failed_sync_the_log_is_in_doubt_for_this_process_and_the_next(
    path: Path, writer: sqlite3.Connection
) -> None:
    wal = Wal(path, writer)
    assert wal.mend()
    wal.heed(sqlite3.OperationalError("another fault"))
    assert not wal.is_doubtful
    wal.heed(failed_sync())
    assert wal.is_doubtful
    next_one = Wal(path, writer)
    assert next_one.is_doubtful
    assert next_one.mend()
    assert not next_one.is_doubtful
    assert not Wal(path, writer).is_doubtful
    assert count(writer) == 0


def test_a_log_in_doubt_is_not_folded_into_the_file(path: Path, writer: sqlite3.Connection) -> None:
    wal, length = Wal(path, writer), log_bytes(path)
    wal.heed(failed_sync())
    wal.fold()
    wal.empty()
    assert log_bytes(path) == length > 0
    assert wal.mend()
    wal.empty()
    assert log_bytes(path) == 0


def test_a_log_that_cannot_be_written_again_stays_in_doubt(path: Path, writer: sqlite3.Connection) -> None:
    wal = Wal(path, writer)
    wal.heed(failed_sync())
    log, aside = path.with_name(f"{path.name}-wal"), path.with_name("aside")
    log.rename(aside)
    assert not wal.mend()
    aside.rename(log)
    assert not wal.mend(), "tried again in a second, not at once"
    assert wal.is_doubtful
    assert Wal(path, writer).mend()


async def test_a_store_in_doubt_is_mended_before_it_acknowledges(path: Path) -> None:
    mark = path.with_name(f"{path.name}-doubt")
    mark.touch()
    executor = Executor(path, asyncio.get_running_loop())
    try:
        assert executor.trouble == "the store cannot be written"
        await executor.write(make)
        assert executor.trouble is None
        assert not mark.exists()
    finally:
        await executor.close()


def test_the_log_takes_room_for_frames_to_come(path: Path, writer: sqlite3.Connection) -> None:
    wal, length = Wal(path, writer), log_bytes(path)
    wal.lengthen(100_000)
    assert log_bytes(path) == length + 100_000
    note(writer)
    assert count(writer) == 1


def test_a_log_that_cannot_be_folded_is_told(
    path: Path, writer: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wal = Wal(path, writer)
    writer.close()
    wal.fold()
    assert "could not be folded" in caplog.text
    assert not wal.is_doubtful
