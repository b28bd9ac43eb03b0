"""The clockwork of transmissions: what is due is made into messages, by one process at a time (C §5.4)."""

import asyncio
import logging
from datetime import datetime, timedelta

from relay.domain.errors import NoSharedPool, StoreUnavailable
from relay.domain.ids import TransmissionId, mint_transmission_id
from relay.domain.transmission import KEPT_AFTER_END
from relay.ports import Clock, TransmissionStanding, TransmissionStore
from relay.service.due import DueTransmissions

LEASE_S = 15.0
"""How long a transmission stays with a process that hangs; that of one that died is free at once."""
_MOST = 8
"""Transmissions that take turns; later ones wait until one of these is done."""
_LOOK_EVERY = timedelta(seconds=30)
"""For what other processes left behind."""
_REST = timedelta(seconds=60)
"""After a failure that is not the transmission's own."""
_CANCEL_AGAIN = timedelta(seconds=10)
_FORGET_EVERY = timedelta(hours=1)

log = logging.getLogger("relay.scheduler")


class Scheduler:
    """One process's share in the transmissions of its store."""

    def __init__(
        self,
        due: DueTransmissions,
        store: TransmissionStore,
        clock: Clock,
        holder: str,
        news: asyncio.Event,
    ) -> None:
        """news: set when there is something new to look at."""
        self._due, self._store, self._clock = due, store, clock
        self._holder, self._news = holder, news
        self._resting: dict[TransmissionId, datetime] = {}
        self._forgot: datetime | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopping is set; the step in hand is finished."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wake_at(stopping), name="scheduler's end")
            while not stopping.is_set():
                self._news.clear()
                until = await self._look(stopping)
                if until is not None:
                    await self._clock.wait(self._news, until)
        try:
            await self._store.release(self._holder)
        except StoreUnavailable:
            log.warning(
                "transmissions not released: the store is unavailable; they are free in %s s", LEASE_S
            )

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._news.set()

    async def _look(self, stopping: asyncio.Event) -> datetime | None:
        """One round over what is due; when to look again, None: at once."""
        until = self._clock.now() + _LOOK_EVERY
        try:
            is_busy = await self._take_turns(stopping)
            cancelling = [await self._due.cancel(one) for one in await self._store.cancellations()]
            if is_busy:
                return None
            await self._forget()
            now = self._clock.now()
            start = await self._store.next_start(now)
        except StoreUnavailable:
            log.warning("transmissions not looked at: the store is unavailable")
            return until
        moments = [until, *self._resting.values()]
        if start is not None:
            moments.append(start)
        if not all(cancelling):
            moments.append(now + _CANCEL_AGAIN)
        return min(moments)

    async def _take_turns(self, stopping: asyncio.Event) -> bool:
        """One step of each transmission; whether there was any."""
        now = self._clock.now()
        self._resting = {id_: until for id_, until in self._resting.items() if until > now}
        held = await self._store.hold_due(self._holder, now, LEASE_S, _MOST + len(self._resting))
        ready = [one for one in held if one.transmission.id not in self._resting]
        for standing in ready:
            if stopping.is_set():
                return False
            await self._step(standing)
        return bool(ready)

    async def _step(self, standing: TransmissionStanding) -> None:
        id_ = standing.transmission.id
        try:
            await self._due.step(standing)
        except StoreUnavailable:
            raise
        except NoSharedPool:
            log.warning("transmission=%s waits: no shared pool is configured", id_)
            self._resting[id_] = self._clock.now() + _REST
        except Exception:
            # The top of a unit of work: other transmissions go on.
            log.exception("transmission=%s failed at position=%d", id_, standing.progress.position)
            self._resting[id_] = self._clock.now() + _REST

    async def _forget(self) -> None:
        now = self._clock.now()
        if not self._clock.is_steady():
            return
        if self._forgot is None or now - self._forgot >= _FORGET_EVERY:
            self._forgot = now
            lost_before = mint_transmission_id(now - _FORGET_EVERY, b"\0\0")
            await self._store.forget(now - KEPT_AFTER_END, lost_before)
