"""The read models on SQLite: one at a time in a process, so that lanes do not wait for people."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TypeVar

from relay.domain.ids import AccountId
from relay.ports.queue import MailFilter
from relay.ports.report import Facet, MailPage, Tally, WaitingPage
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.mail_pages import LOOKED_AT, messages
from relay.store.sqlite.shares import held_by_all
from relay.store.sqlite.tallies import tallies
from relay.store.sqlite.waiting import waiting

T = TypeVar("T")


class SqliteReports:
    """`ReportStore`."""

    def __init__(self, executor: Executor, share_bytes: int) -> None:
        self._executor, self.share_bytes = executor, share_bytes

    async def tallies(
        self,
        account: AccountId | None,
        since: datetime,
        until: datetime,
        step: timedelta,
        *,
        by_ip: bool = True,
    ) -> list[Tally]:
        return await self._read(lambda connection: tallies(connection, account, since, until, step, by_ip))

    async def waiting(
        self, what: MailFilter, by: Collection[Facet], limit: int, offset: int = 0
    ) -> WaitingPage:
        return await self._read(lambda connection: waiting(connection, what, by, limit, offset))

    async def holdings(self) -> dict[AccountId, int]:
        return await self._read(held_by_all)

    async def messages(
        self, what: MailFilter, limit: int, after: str | None = None, looked_at: int = LOOKED_AT
    ) -> MailPage:
        """looked_at: entries of the indexes, for each page in all."""
        return await self._read(lambda connection: messages(connection, what, limit, after, looked_at))

    async def _read(self, query: Callable[[Connection], T]) -> T:
        async with self._executor.watching:
            return await self._executor.read(query)
