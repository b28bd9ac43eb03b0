"""The live directory: what others changed is seen, and what is written is seen at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from relay.domain.changes import Put, Remove
from relay.domain.directory import Account, ApiKey, Plan
from relay.domain.errors import StaleDirectory, StoreUnavailable
from relay.domain.ids import AccountId, Revision
from relay.frames.live import LiveDirectory
from relay.store import Store, open_store
from relay.testing.clock import HandMovedClock
from relay.testing.waiting import eventually

ACME = Account(AccountId(1), "Acme", Plan.SELF_SERVE)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as store:
        yield store


async def _live(store: Store) -> LiveDirectory:
    return LiveDirectory(store.directory, await store.directory.snapshot(), HandMovedClock())


async def test_a_change_is_in_the_snapshot_before_apply_returns(store: Store) -> None:
    live = await _live(store)
    assert (await live.apply([Put(ACME)], "test")).accounts == {ACME.id: ACME}
    assert live.snapshot.revision == Revision(1)


async def test_a_change_of_another_process_is_seen_on_refresh_and_by_watching(store: Store) -> None:
    live, other = await _live(store), await _live(store)
    before = live.snapshot
    assert await live.refresh() is before, "nothing moved, nothing is reloaded"
    await other.apply([Put(ACME)], "test")
    assert live.snapshot is before
    with pytest.raises(StaleDirectory):
        await live.apply([Put(ACME)], "test")
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live.watch(stopping))

        async def seen() -> bool:
            return live.snapshot.revision == Revision(1)

        await eventually(seen)
        stopping.set()
    assert (await live.refresh()).accounts == {ACME.id: ACME}


async def test_the_day_of_a_keys_last_use_is_stored_once_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandMovedClock()
    live = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
    key = ApiKey("a" * 64, "aaaa", ACME.id, "k", frozenset({"smtp/inject"}))
    await live.apply([Put(ACME), Put(key)], "test")
    noted: list[Mapping[str, date]] = []
    note = store.directory.note_key_uses

    async def watched(days: Mapping[str, date]) -> None:
        noted.append(days)
        if len(noted) == 1:
            raise StoreUnavailable
        await note(days)

    monkeypatch.setattr(store.directory, "note_key_uses", watched)
    first = clock.now().date()
    for _ in range(3):
        live.note_key_use(key.sha256)
        live.note_key_use("b" * 64)
        with suppress(StoreUnavailable):
            await live.save_key_uses()
    assert len(noted) == 2, "tried again after a failure, and not written twice"
    assert await store.directory.key_uses() == {key.sha256: first}
    clock.advance(hours=24)
    live.note_key_use(key.sha256)
    await live.save_key_uses()
    assert await store.directory.key_uses() == {key.sha256: clock.now().date()}
    await live.apply([Remove(key)], "test")
    assert await store.directory.key_uses() == {}
