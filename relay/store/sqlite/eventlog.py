"""The event log on SQLite."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from relay.domain.errors import OverCapacity
from relay.domain.events import Event
from relay.domain.ids import MessageId, TransmissionId, to_us
from relay.ports.eventlog import EventPage, EventPlace, EventQuery, FoundEvents, Told
from relay.store.codec import read_told, to_json
from relay.store.sqlite.event_blocks import blocks_to_note, forget, keep, may_note, note
from relay.store.sqlite.eventsearch import BUDGET_S, find, search
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.statements import SQL, one, one_list
from relay.store.sqlite.tallies import TalliedEvents, trim_tallies

_SLICE = 2000
"""Events a transaction when trimming: a long one would keep arriving mail waiting."""
_BLOCKS_AT_ONCE = 4
_LEASE_US = 60_000_000
"""How long others leave the noting of blocks to the process that did it last."""


class SqliteEventLog:
    """`EventLog`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # A search may look at all events of an account: it gets one reading thread, the lanes the other.
        self._searching = asyncio.Lock()
        self._holder = uuid4().hex

    async def append(self, events: Sequence[Event]) -> None:
        tallied = TalliedEvents()
        tallied.add(events)

        def unit(connection: Connection) -> None:
            # What is left is for mail on its way out.
            if not self._executor.has_room:
                raise OverCapacity
            tallied.store(connection)

        await self._executor.write(unit)

    async def story(self, message: MessageId) -> list[Told]:
        return await self._told("story", message)

    async def of_transmission(self, transmission: TransmissionId) -> list[Told]:
        return await self._told("of_transmission", transmission)

    async def recent(self, limit: int) -> list[Told]:
        return await self._told("recent", limit)

    async def find(
        self, query: EventQuery, limit: int, after: int | None = None, budget_s: float = BUDGET_S
    ) -> FoundEvents:
        """budget_s: how long it goes on looking; then the page is cut."""
        async with self._executor.watching:
            return await self._executor.read(
                lambda connection: find(connection, query, limit, after, budget_s)
            )

    async def summarise(self) -> int:
        def may_we(connection: Connection) -> bool:
            now_us = int(one(connection, "clock_us"))
            return may_note(connection, self._holder, now_us, now_us + _LEASE_US)

        missing = await self._executor.read(lambda connection: blocks_to_note(connection, _BLOCKS_AT_ONCE))
        if not missing or not await self._executor.write(may_we, is_durable=False):
            return 0
        for number in missing:
            await self._note(number)
        return len(missing)

    async def _note(self, number: int) -> None:
        block = await self._executor.read(lambda connection: note(connection, number))
        await self._executor.write(lambda connection: keep(connection, block), is_durable=False)

    async def search(self, query: EventQuery, limit: int, after: EventPlace | None = None) -> EventPage:
        async with self._searching:
            return await self._executor.read(lambda connection: search(connection, query, limit, after))

    async def trim(self, before: datetime) -> int:
        """In slices from the oldest id on, until a slice has nothing old.

        Ids follow time but for the seconds that commits and clocks differ by, so no index over
        times is kept; what such a difference hides goes with the next trim.
        """
        before_us = to_us(before)
        unfinished = await self._executor.read(lambda connection: _transmissions(connection, before_us))
        removed, last, is_done = 0, 0, False
        while not is_done:
            after = last

            def unit(connection: Connection, after: int = after) -> tuple[int, int]:
                return _trim(connection, before_us, after, unfinished)

            number, last = await self._executor.write(unit)
            removed += number
            is_done = number == 0
        await self._executor.write(lambda connection: _trim_read_models(connection, before_us))
        return removed

    async def _told(self, name: str, *values: object) -> list[Told]:
        def query(connection: Connection) -> list[Told]:
            return [read_told(row) for row in connection.execute(SQL[name], values)]

        return await self._executor.read(query)


def _transmissions(connection: Connection, before_us: int) -> frozenset[str]:
    """Those accepted before that still have messages. None can join them: mail is accepted now."""
    return frozenset(row[0] for row in connection.execute(SQL["old_transmissions"], (before_us,)))


def _trim_read_models(connection: Connection, before_us: int) -> None:
    trim_tallies(connection, before_us)
    forget(connection)


def _trim(connection: Connection, before_us: int, after: int, unfinished: frozenset[str]) -> tuple[int, int]:
    """How many of the next events were old, and the last id looked at."""
    rows = one_list(connection, "first_events", (after, _SLICE))
    old = [(id_, transmission) for id_, at_us, transmission in rows if at_us < before_us]
    if not old:
        return 0, after
    connection.execute(SQL["remove_events"], (to_json([id_ for id_, _ in old]),))
    told_of = {transmission for _, transmission in old if transmission} - unfinished
    connection.execute(SQL["remove_submissions"], (to_json(sorted(told_of)),))
    return len(old), rows[-1][0]
