"""What can befall the store: no room, no writing, a lock, damage. Clients hear 4xx, and nothing is lost."""

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.support.volumes import MAY_MOUNT, all_arrive, answer, fill, mounted

VOLUME_BYTES = 8 << 20
_LOG_ROOM_BYTES = 256 << 10
_PAGE_BYTES = 16384

Trouble = Callable[[RelayProcess, Path], AbstractContextManager[None]]


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Where the store is: 8 MB of its own where we may mount, else a folder."""
    folder = tmp_path / "volume"
    if MAY_MOUNT:
        with mounted(folder, VOLUME_BYTES):
            yield folder
    else:
        folder.mkdir()
        yield folder


@asynccontextmanager
async def _relay(folder: Path, volume: Path, mta: FakeMta, workers: int = 1) -> AsyncIterator[RelayProcess]:
    settings: dict[str, dict[str, object]] = {
        "": {"store": f"sqlite:///{volume / 'relay.db'}", "workers": workers},
        "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
        # An account's usual share of so small a volume would end before the volume does.
        "limits": {"account_queue_bytes": VOLUME_BYTES},
    }
    async with RelayProcess(folder, mta.address, settings=settings) as relay:
        yield relay


async def _said(relay: RelayProcess, *words: str) -> None:
    """Wait for a line of the log that has all the words, as an error. Fails the test without one."""

    async def is_logged() -> bool:
        lines = relay.log.read_text().splitlines()
        loud = [line for line in lines if " ERROR " in line or line.startswith("relay: ")]
        return any(all(word in line for word in words) for line in loud)

    try:
        await eventually(is_logged, 10)
    except TimeoutError:
        pytest.fail(f"no line about {words}:\n{relay.log_tail()}")


# ── no room, no writing ──────────────────────────────────────────────────────────────────


@contextmanager
def _full(relay: RelayProcess, volume: Path) -> Iterator[None]:
    fill(volume)
    yield
    (volume / "filler").unlink()


@contextmanager
def _not_writable(relay: RelayProcess, volume: Path) -> Iterator[None]:
    """Whatever lies behind the first 256 KiB of any file can be read and not written."""
    before = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (_LOG_ROOM_BYTES, before[1]))
    yield
    resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, before)


TROUBLES = [
    pytest.param(_not_writable, id="not writable"),
    *([pytest.param(_full, id="disk full")] if MAY_MOUNT else []),
]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_store_that_cannot_be_written_is_a_451_until_it_can(
    tmp_path: Path, volume: Path, mta: FakeMta, trouble: Trouble
) -> None:
    async with _relay(tmp_path, volume, mta) as relay:
        # So that the WAL is longer than the part of it that stays writable.
        before = {f"before{number}@gmail.example" for number in range(10)}
        for to in sorted(before):
            assert await answer(relay, to, "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 1000) == 250
        await all_arrive(mta, before)
        # On their way while it happens: their outcomes wait in memory.
        mta.restrict(delay_s=0.3)
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(answer(relay, f"during{number}@gmail.example"))
        during = {f"during{number}@gmail.example" for number in range(5)}
        with trouble(relay, volume):
            mta.restrict()
            if trouble is _full:
                during |= await _until_refused(relay, volume)
            assert await answer(relay, "refused@gmail.example") in {451, 452}
            await _said(relay, " store ")
            await all_arrive(mta, during)
            if trouble is _not_writable:
                # On a full disk they may still find room.
                await _said(relay, "store unavailable", "keeps outcomes")
            if trouble is _full:
                # What left made room, which is filled again.
                during |= await _until_refused(relay, volume)
            assert await answer(relay, "refused@gmail.example") in {451, 452}
        assert await eventually(lambda: _is_taken(relay, "after@gmail.example"), 10)
        arrived = await all_arrive(mta, before | during | {"after@gmail.example"})
        assert "refused@gmail.example" not in arrived
        assert await relay.stop() == 0
        assert "Traceback" not in relay.log.read_text()
    assert set(arrived.values()) == {1}, "nothing was sent twice"


async def _until_refused(relay: RelayProcess, volume: Path) -> set[str]:
    """Fill up what the relay frees by folding its log; who was taken meanwhile."""
    taken: set[str] = set()
    for number in range(20):
        to = f"squeezed{number}@gmail.example"
        if await answer(relay, to) != 250:
            return taken
        taken.add(to)
        await asyncio.to_thread(fill, volume)
    pytest.fail("mail is still taken on a disk that was filled twenty times")


async def _is_taken(relay: RelayProcess, to: str) -> bool:
    return await answer(relay, to) == 250


async def test_a_disk_that_our_own_mail_has_filled_empties_by_itself(
    tmp_path: Path, volume: Path, mta: FakeMta
) -> None:
    """What leaves has to be written too: room is kept for that, and mail refused before it is gone."""
    mta.limit(first=0)
    taken: set[str] = set()
    async with _relay(tmp_path, volume, mta) as relay:
        for number in range(200 if MAY_MOUNT else 20):
            to = f"r{number}@gmail.example"
            code = await answer(relay, to, ("y" * 98 + "\r\n") * 1000)
            if code != 250:
                assert code == 452
                break
            taken.add(to)
        else:
            assert not MAY_MOUNT, "200 messages of 100 kB in 8 MB"
        if MAY_MOUNT:
            await _said(relay, "disk nearly full")
        mta.limit()
        await all_arrive(mta, taken)
        assert await eventually(lambda: _is_taken(relay, "after@gmail.example"), 10)
        await all_arrive(mta, {"after@gmail.example"})


# ── locked ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_store_that_another_process_locks_is_a_451_until_it_lets_go(
    tmp_path: Path, volume: Path, mta: FakeMta, workers: int
) -> None:
    async with _relay(tmp_path, volume, mta, workers) as relay:
        assert await answer(relay, "before@gmail.example") == 250
        await all_arrive(mta, {"before@gmail.example"})
        with closing(sqlite3.connect(volume / "relay.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert await answer(relay, "refused@gmail.example") == 451
            await _said(relay, "database is locked")
            listed = await relay.run_cli("queue", "list", "--json")
            assert listed.status == 0, "reading goes on"
            other.execute("ROLLBACK")
        assert await answer(relay, "after@gmail.example") == 250
        arrived = await all_arrive(mta, {"before@gmail.example", "after@gmail.example"})
        assert set(arrived.values()) == {1}
        assert "refused@gmail.example" not in arrived


async def test_the_first_operators_link_that_could_not_be_written_is_printed_later(
    tmp_path: Path, mta: FakeMta
) -> None:
    settings: dict[str, dict[str, object]] = {"": {"roles": ["smtp", "web"]}}
    arguments = ["--show-link"]
    async with RelayProcess(tmp_path, mta.address, settings=settings, arguments=arguments) as relay:
        await relay.stop()
        with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = relay.log.read_text().count("/sign-in/link/")
            await relay.start()
            await eventually(lambda: asyncio.sleep(0, "no link for the first" in relay.log.read_text()), 20)
            other.execute("ROLLBACK")

        async def is_told() -> bool:
            return relay.log.read_text().count("/sign-in/link/") == before + 1

        await eventually(is_told, 20)
        assert await relay.stop() == 0


# ── read-only at the start ───────────────────────────────────────────────────────────────


@contextmanager
def _read_only(volume: Path) -> Iterator[None]:
    if MAY_MOUNT:
        subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", volume], check=True)
        return
    paths = [path for path in volume.rglob("*") if path.is_file()]
    for path in (*paths, volume):
        path.chmod(0o500)
    yield
    for path in (*paths, volume):
        path.chmod(0o700)


async def test_a_read_only_store_stops_the_start_with_a_word_and_loses_nothing(
    tmp_path: Path, volume: Path, mta: FakeMta
) -> None:
    mta.limit(first=0)
    async with _relay(tmp_path, volume, mta) as relay:
        assert await answer(relay, "waits@gmail.example") == 250
        relay.kill()
        with _read_only(volume):
            printed = await relay.run_cli("run", timeout_s=20)
            assert printed.status == 2
            assert "relay.db: expected" in printed.err
            assert "Traceback" not in printed.err
        mta.limit()
        await relay.start()
        await all_arrive(mta, {"waits@gmail.example"})


# ── damage ───────────────────────────────────────────────────────────────────────────────


def _tear(file: Path) -> None:
    """A write that power loss cut short: half a page of rubbish behind the end."""
    with file.open("ab") as wal:
        wal.write(os.urandom(_PAGE_BYTES // 2))


def _spoil_last_page(file: Path) -> None:
    with file.open("r+b") as wal:
        wal.seek(-_PAGE_BYTES, os.SEEK_END)
        wal.write(os.urandom(_PAGE_BYTES))


@pytest.mark.parametrize("damage", [_tear, _spoil_last_page], ids=["torn", "last page spoilt"])
async def test_a_damaged_end_of_the_wal_costs_what_was_written_last_and_no_mail(
    tmp_path: Path, volume: Path, mta: FakeMta, damage: Callable[[Path], None]
) -> None:
    mta.limit(first=0)
    taken = {f"r{number}@gmail.example" for number in range(20)}
    async with _relay(tmp_path, volume, mta) as relay:
        for to in sorted(taken):
            assert await answer(relay, to) == 250
        # The last that is written is what became of an attempt, and not mail.
        await mta.attempts_reached(len(taken) + 1)
        relay.kill()
        damage(volume / "relay.db-wal")
        mta.limit()
        await relay.start()
        await all_arrive(mta, taken)
        assert await answer(relay, "after@gmail.example") == 250
        await all_arrive(mta, {"after@gmail.example"})


def _put(file: Path, at: int, octets: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(octets)


def _page_of(store: Path, table: str) -> int:
    """Where the first page of a table begins in the file."""
    with closing(sqlite3.connect(store)) as connection:
        (number,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
    return (int(number) - 1) * _PAGE_BYTES


async def test_a_damaged_page_of_the_store_is_said_aloud_and_mended_by_putting_it_back(
    tmp_path: Path, volume: Path, mta: FakeMta
) -> None:
    mta.limit(first=0)
    taken = {f"r{number}@gmail.example" for number in range(20)}
    store = volume / "relay.db"
    async with _relay(tmp_path, volume, mta) as relay:
        for to in sorted(taken):
            assert await answer(relay, to) == 250
        await relay.stop()
        at = _page_of(store, "message")
        sound = store.read_bytes()[at : at + _PAGE_BYTES]
        _put(store, at, os.urandom(_PAGE_BYTES))
        mta.limit()
        with suppress(ChildProcessError):
            # A page that is needed at the start stops it, with the same words.
            await relay.start()
            for number in range(10):
                to = f"damaged{number}@gmail.example"
                code = await answer(relay, to)
                assert code in {250, 451, 454}
                taken.update({to} if code == 250 else ())
        await _said(relay, "malformed")
        with suppress(RuntimeError):
            relay.kill()
        assert "Traceback" not in relay.log.read_text()
        _put(store, at, sound)
        await relay.start()
        await all_arrive(mta, taken)
        assert await answer(relay, "after@gmail.example") == 250
        await all_arrive(mta, taken | {"after@gmail.example"})
