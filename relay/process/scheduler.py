"""The clockwork of transmissions: what is due is made into messages, by one process at a time."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from relay.accept.scheduled import DueTransmissions
from relay.domain.errors import Busy, NoSharedPool, OverCapacity, QueueShareFull, StoreUnavailable
from relay.domain.ids import TransmissionId, mint_transmission_id
from relay.domain.transmission import KEPT_AFTER_END, SET_ASIDE_AFTER
from relay.ports.ambient import Clock
from relay.ports.transmissions import TransmissionStanding, TransmissionStore

LEASE_S = 15.0
"""How long a transmission stays with a process that hangs; that of one that died is free at once."""
_RENEW_EVERY = timedelta(seconds=LEASE_S / 3)
_GRACE_S = 5.0
"""For steps in hand when the relay is to stop."""
_MOST = 8
"""Transmissions side by side; later ones wait until one of these is done."""
_LOOK_EVERY = timedelta(seconds=30)
"""For what other processes left behind."""
_REST = timedelta(seconds=60)
"""After a failure that is not the transmission's own."""
_SOON = timedelta(seconds=10)
_DOUBT = timedelta(seconds=2)
"""So long for each process that ended at work on it a transmission waits in a new one: what ends processes
one after the other, and is not its fault, has ended this one before."""
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
        self._began = clock.now()
        self._forgot: datetime | None = None
        self._running: dict[TransmissionId, asyncio.Task[None]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Until stopping is set; steps in hand have a while to be finished."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wake_at(stopping), name="scheduler's end")
            while not stopping.is_set():
                self._news.clear()
                until = await self._look(tasks, stopping)
                await self._clock.wait(self._news, until)
            if self._running:
                # All or nothing of a step is stored, and the next holder goes on from there.
                _, late = await asyncio.wait(self._running.values(), timeout=_GRACE_S)
                for step in late:
                    step.cancel()
        try:
            await self._store.release(self._holder)
        except StoreUnavailable:
            log.warning(
                "transmissions not released: the store is unavailable; they are free in %s s", LEASE_S
            )

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._news.set()

    async def _look(self, tasks: asyncio.TaskGroup, stopping: asyncio.Event) -> datetime:
        """One round over what is due; when to look again, unless there is news."""
        until = self._clock.now() + _LOOK_EVERY
        try:
            doubts = await self._begin_steps(tasks, stopping)
            cancelling = [await self._due.cancel(one) for one in await self._store.cancellations()]
            if not self._running:
                await self._forget()
            now = self._clock.now()
            start = await self._store.next_start(now)
        except StoreUnavailable:
            log.warning("transmissions not looked at: the store is unavailable")
            return until
        moments = [until, *self._resting.values(), *doubts]
        if start is not None:
            moments.append(start)
        if not all(cancelling):
            moments.append(now + _SOON)
        if self._running:
            moments.append(now + _RENEW_EVERY)
        return min(moments)

    def _may_begin(self, suspect: TransmissionStanding) -> datetime:
        return self._began + suspect.tries * _DOUBT

    async def _begin_steps(self, tasks: asyncio.TaskGroup, stopping: asyncio.Event) -> list[datetime]:
        """One step of each transmission that has none under way, side by side; when others may begin.

        At work on one that a process ended with, nothing else is: so it is known whose fault it is
        when this process ends too.
        """
        moments: list[datetime] = []
        now = self._clock.now()
        # Further away than a rest lasts, the clock was set back meanwhile.
        resting = self._resting.items()
        self._resting = {id_: until for id_, until in resting if now < until <= now + _REST}
        busy = set(self._running)
        held = await self._store.hold_due(self._holder, now, LEASE_S, _MOST + len(self._resting))
        ready: list[TransmissionStanding] = []
        for standing in held:
            if standing.tries >= SET_ASIDE_AFTER:
                await self._set_aside(standing)
            elif standing.transmission.id not in self._resting:
                ready.append(standing)
        suspects = [one for one in ready if one.tries]
        self._began = min(self._began, now)
        if first := [one for one in suspects if now >= self._may_begin(one)][:1]:
            ready = [] if busy else first
        else:
            ready = [one for one in ready if not one.tries]
            moments = [self._may_begin(one) for one in suspects]
        for standing in ready:
            id_ = standing.transmission.id
            if stopping.is_set() or id_ in busy:
                continue
            if not standing.is_begun:
                await self._store.mark(id_, self._holder, is_begun=True)
            step = tasks.create_task(self._step(standing), name=f"transmission {id_}")
            self._running[id_] = step
            step.add_done_callback(partial(self._ended, id_))
        return moments

    def _ended(self, id_: TransmissionId, step: asyncio.Task[None]) -> None:
        del self._running[id_]
        self._news.set()

    async def _set_aside(self, standing: TransmissionStanding) -> None:
        id_ = standing.transmission.id
        if await self._due.set_aside(standing):
            log.error(
                "transmission=%s set aside at position=%d: %d processes ended or hung at work on it; look "
                "at it with `relay transmission show %s`, then `retry` or `cancel` it",
                id_,
                standing.progress.position,
                standing.tries,
                id_,
            )

    async def _step(self, standing: TransmissionStanding) -> None:
        id_ = standing.transmission.id
        try:
            await self._due.step(standing)
        except (Busy, StoreUnavailable) as error:
            log.warning("transmission=%s waits: %s", id_, type(error).__name__)
            await self._rest(id_, _SOON)
        except NoSharedPool:
            log.warning("transmission=%s waits: no shared pool is configured", id_)
            await self._rest(id_, _REST)
        except (OverCapacity, QueueShareFull) as error:
            log.info("transmission=%s waits for room: %s", id_, type(error).__name__)
            await self._rest(id_, _SOON)
        except Exception:
            # The top of a unit of work: other transmissions go on.
            log.exception("transmission=%s failed at position=%d", id_, standing.progress.position)
            await self._rest(id_, _REST)

    async def _rest(self, id_: TransmissionId, length: timedelta) -> None:
        """It is held and not worked on: the end of this process is no fault of its."""
        self._resting[id_] = self._clock.now() + length
        with suppress(StoreUnavailable):
            await self._store.mark(id_, self._holder, is_begun=False)

    async def _forget(self) -> None:
        now = self._clock.now()
        if not self._clock.is_steady():
            return
        if self._forgot is None or now - self._forgot >= _FORGET_EVERY:
            self._forgot = now
            lost_before = mint_transmission_id(now - _FORGET_EVERY, b"\0\0")
            await self._store.forget(now - KEPT_AFTER_END, lost_before)
