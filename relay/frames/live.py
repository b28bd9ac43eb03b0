"""The directory as this process knows it: one snapshot, replaced whole when the store's revision moves."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import date

from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.domain.errors import StoreUnavailable
from relay.ports.ambient import Clock
from relay.ports.directory import DirectoryStore
from relay.ports.idempotency import Answered

_LOOK_EVERY_S = 1.0

log = logging.getLogger("relay.directory")


class LiveDirectory:
    """`Directory`."""

    def __init__(self, store: DirectoryStore, snapshot: Snapshot, clock: Clock) -> None:
        self._store, self.snapshot, self._clock = store, snapshot, clock
        self._uses: dict[str, date] = {}
        self._unsaved: dict[str, date] = {}

    async def refresh(self) -> Snapshot:
        """The newest snapshot; reloaded only when the revision moved. Raises StoreUnavailable."""
        if await self._store.revision() != self.snapshot.revision:
            self._take(await self._store.snapshot())
        return self.snapshot

    def note_key_use(self, sha256: str) -> None:
        today = self._clock.now().date()
        if self._uses.get(sha256) != today:
            self._uses[sha256] = self._unsaved[sha256] = today

    async def save_key_uses(self) -> None:
        """Raises StoreUnavailable, and tries them again the next time."""
        if not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, {}
        try:
            # Of keys that are gone nothing is kept.
            known = {key: day for key, day in unsaved.items() if key in self.snapshot.keys}
            await self._store.note_key_uses(known)
        except BaseException:
            self._unsaved = {**unsaved, **self._unsaved}
            raise
        if len(self._uses) > 2 * len(self.snapshot.keys):
            self._uses = {key: day for key, day in self._uses.items() if key in self.snapshot.keys}

    async def was_revoked(self, key_sha256: str) -> bool:
        try:
            lines = await self._store.audit_of(1, about=f"api_key {key_sha256}")
        except StoreUnavailable:
            return False
        return bool(lines) and lines[0].after is None

    async def apply(
        self, changes: Sequence[Change], actor: str, answered: Answered | None = None
    ) -> Snapshot:
        """Write changes computed from the current snapshot. Raises StaleDirectory, Conflict, StaleRequest."""
        await self._store.apply(changes, self.snapshot.revision, actor, self._clock.now(), answered)
        self._take(await self._store.snapshot())
        return self.snapshot

    async def watch(self, stopping: asyncio.Event) -> None:
        """Follow what other processes change, once a second, until stopping is set."""
        while not stopping.is_set():
            try:
                await self.refresh()
                await self.save_key_uses()
            except StoreUnavailable:
                log.warning("directory not looked at: the store is unavailable")
            except Exception:  # The top of a unit of work.
                log.exception("directory not looked at, for a reason of our own")
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await stopping.wait()
            except TimeoutError:
                continue
        with suppress(StoreUnavailable):
            await self.save_key_uses()

    def _take(self, snapshot: Snapshot) -> None:
        """Two reloads may overtake each other; the later revision stays."""
        if snapshot.revision > self.snapshot.revision:
            self.snapshot = snapshot
