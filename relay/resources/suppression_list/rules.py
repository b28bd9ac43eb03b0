"""The suppression list: whom an account must not write to (docs/rules.md)."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from relay.domain.suppression import Kind, Source, Suppression, WantedEntry
from relay.frames.actor import Caller
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.suppressions import SuppressionPage, SuppressionQuery, SuppressionStore


class SuppressionList:
    """Read by whoever sees it; changed by whoever still may when the body has come."""

    def __init__(self, store: SuppressionStore, directory: Directory, clock: Clock) -> None:
        self._store, self._directory, self._clock = store, directory, clock

    async def find(
        self, query: SuppressionQuery, limit: int, offset: int = 0, after: Suppression | None = None
    ) -> SuppressionPage:
        return await self._store.find(query, limit, offset, after)

    async def count(self, query: SuppressionQuery) -> Mapping[Source, int]:
        return await self._store.count(query)

    async def add(self, caller: Caller, wanted: Sequence[WantedEntry]) -> None:
        """Raises NotGranted."""
        caller.check(await self._directory.refresh())
        now = self._clock.now()

        def entry(one: WantedEntry) -> Suppression:
            whose = (caller.account, caller.subaccount)
            source = Source.MANUALLY_ADDED
            return Suppression(
                *whose, one.recipient, one.kind, source, one.description, now, now, one.list_id
            )

        # Ten thousand are more than a turn of the loop.
        await self._store.put(await asyncio.to_thread(lambda: list(map(entry, wanted))))

    async def remove(
        self, caller: Caller, recipient: str, kinds: Collection[Kind], list_id: str | None
    ) -> bool:
        """Whether anything was there. Raises NotGranted, ComplianceEntry."""
        caller.check(await self._directory.refresh())
        return await self._store.remove(caller.account, caller.subaccount, recipient, kinds, list_id)
