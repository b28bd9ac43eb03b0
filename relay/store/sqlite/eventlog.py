"""The event log on SQLite."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from relay.domain.events import Event
from relay.domain.ids import MessageId, TransmissionId, to_us
from relay.ports import EventPage, EventPlace, EventQuery, Told
from relay.store.codec import event_row, to_json, told
from relay.store.sqlite.eventsearch import search
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.statements import SQL, insert_events, one_list

_SLICE = 2000
"""Events a transaction when trimming: a long one would keep arriving mail waiting."""


class SqliteEventLog:
    """`EventLog`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # A search may look at all events of an account: it gets one reading thread, the lanes the other.
        self._searching = asyncio.Lock()

    async def append(self, events: Sequence[Event]) -> None:
        rows = [event_row(event) for event in events]
        await self._executor.write(lambda connection: insert_events(connection, rows))

    async def story(self, message: MessageId) -> list[Told]:
        return await self._told("story", message)

    async def of_transmission(self, transmission: TransmissionId) -> list[Told]:
        return await self._told("of_transmission", transmission)

    async def recent(self, limit: int) -> list[Told]:
        return await self._told("recent", limit)

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
        return removed

    async def _told(self, name: str, value: object) -> list[Told]:
        def query(connection: Connection) -> list[Told]:
            return [told(row) for row in connection.execute(SQL[name], (value,))]

        return await self._executor.read(query)


def _transmissions(connection: Connection, before_us: int) -> frozenset[str]:
    """Those accepted before that still have messages. None can join them: mail is accepted now."""
    return frozenset(row[0] for row in connection.execute(SQL["old_transmissions"], (before_us,)))


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
