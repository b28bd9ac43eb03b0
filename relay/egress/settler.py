"""Writes what became of messages, in batches, with the events that tell it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from relay.accept.notice import Notifier
from relay.domain.errors import IdTaken, StoreUnavailable
from relay.domain.ids import IpAddress
from relay.domain.lifecycle import Finish, Requeue, Settlement
from relay.domain.message import Message
from relay.domain.value import value
from relay.ports.queue import Lane, QueueStore

_BATCH = 500
_STORE_PAUSE_S = 1.0

log = logging.getLogger("relay.egress")

Noted = Callable[[IpAddress, str, datetime], None]
"""Mail of that lane and domain waits in the queue, due then."""


@value
class _Item:
    lane: Lane
    message: Message
    settlement: Settlement


class Settler:
    """Attempts hand over synchronously, so that cancelling one cannot lose a 250.

    What the store does not take stays here and is offered again until it does.
    """

    def __init__(self, queue: QueueStore, notifier: Notifier, noted: Noted) -> None:
        self._queue, self._notifier, self._noted = queue, notifier, noted
        self._inbox: list[_Item] = []
        self._news = asyncio.Event()
        self._put = self._written = 0
        self._progress = asyncio.Event()
        self._is_closing = False

    def put(self, lane: Lane, message: Message, settlement: Settlement) -> None:
        """Never blocks; written within moments."""
        self._inbox.append(_Item(lane, message, settlement))
        self._put += 1
        self._news.set()

    async def written(self) -> None:
        """Wait until all that was put before is in the store."""
        mark = self._put
        while self._written < mark:
            self._progress.clear()
            await self._progress.wait()

    def close(self) -> None:
        """No more will be put; `run` ends when all is written."""
        self._is_closing = True
        self._news.set()

    async def run(self) -> None:
        """Until close(); what was put before it is written first."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._inbox:
                batch, self._inbox = self._inbox[:_BATCH], self._inbox[_BATCH:]
                await self._write(batch)
                self._written += len(batch)
                self._progress.set()
            if self._is_closing:
                return

    async def _write(self, batch: Sequence[_Item]) -> None:
        by_lane: dict[Lane, list[_Item]] = {}
        for item in batch:
            by_lane.setdefault(item.lane, []).append(item)
        if len(by_lane) == 1:
            for lane, items in by_lane.items():
                await self._settle(lane, items)
            return
        # At once, so that the store writes them in one commit.
        async with asyncio.TaskGroup() as tasks:
            for lane, items in by_lane.items():
                tasks.create_task(self._settle(lane, items), name=f"settle {lane.ip}")

    async def _with_notice(self, item: _Item) -> _Item:
        """The item; where there is something to report and the account wants to be told, with the DSN."""
        finish = item.settlement
        if not isinstance(finish, Finish) or finish.report is None:
            return item
        notice = await self._notifier.compose(item.message, finish)
        return replace(item, settlement=replace(finish, notice=notice)) if notice else item

    async def _settle_singly(self, lane: Lane, items: Sequence[_Item]) -> None:
        """One of them met a bug of ours: it stays in flight for the next holder, and hurts no other."""
        for item in items if len(items) > 1 else ():
            await self._settle(lane, [item])

    async def _settle(self, lane: Lane, items: Sequence[_Item]) -> None:
        while True:
            try:
                told = [await self._with_notice(item) for item in items]
                stale = set(await self._queue.settle(lane, [item.settlement for item in told]))
                break
            except (IdTaken, StoreUnavailable):
                # IdTaken: of a notice; it is composed again.
                log.error(
                    "store unavailable: lane=%s keeps outcomes=%d, next try in 1 s", lane.ip, len(items)
                )
                await asyncio.sleep(_STORE_PAUSE_S)
            except Exception:  # The top of a unit of work.
                log.exception("lane=%s outcomes=%d not written, for a reason of our own", lane.ip, len(items))
                await self._settle_singly(lane, items)
                return
        for item in told:
            if item.message.id in stale:
                log.warning(
                    "message=%s lane=%s outcome came late: the lane had moved on", item.message.id, lane.ip
                )
            elif isinstance(item.settlement, Requeue):
                self._noted(lane.ip, item.message.domain, item.settlement.due)
            elif item.settlement.notice is not None:
                notice = item.settlement.notice.message
                self._noted(notice.pin.ip, notice.domain, notice.due)
