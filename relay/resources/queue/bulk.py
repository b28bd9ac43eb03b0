"""A verb done to all the mail that a filter means: in slices, watched and stopped by people."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from relay.domain.errors import OverCapacity, RelayError
from relay.domain.ids import AccountId, IpAddress
from relay.domain.message import Message, State
from relay.ports.ambient import Clock, Entropy
from relay.ports.queue import MailFilter
from relay.ports.report import ReportStore
from relay.resources.queue.rules import DEEDS, Operator, Verb

SLICE = 500
"""Messages a transaction: arriving mail waits for one of them, not for all."""
COUNTED = 10_000
"""Messages that are looked at for a count where no counts are kept."""
MOST_AT_WORK, MOST_OF_ACCOUNT = 3, 2
"""Runs at a time: no account keeps all others from theirs."""
_KEPT = 50

log = logging.getLogger("relay.bulk")


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """What is to be done, to which mail, and who said so."""

    verb: Verb
    account: AccountId | None
    """Whose: the filter's account is not asked. None, for the shell alone: of all."""
    what: MailFilter
    actor: str
    to: IpAddress | None = None
    """The IP to re-pin to."""

    def means(self, message: Message) -> bool:
        """Whether it would change anything of the message."""
        return DEEDS[self.verb].is_meant(message, self.to)


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages an order would touch."""

    number: int
    is_exact: bool = True
    """False: at least so many, counting ended there."""


class Stage(StrEnum):
    """How far a run is."""

    AT_WORK = "at work"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class BulkRun:
    """One order at work, or what became of it. It lives as long as the process."""

    id: str
    order: BulkOrder
    expected: Count
    started: datetime
    done: int = 0
    """Messages touched so far."""
    stage: Stage = Stage.AT_WORK
    ended: datetime | None = None
    problem: RelayError | None = None
    reference: str = ""
    """Of the log line, when it failed by a bug of ours."""
    is_stopping: bool = False

    def stop(self) -> None:
        """End after the slice in hand. What is done stays done."""
        self.is_stopping = True

    def count(self, touched: int) -> bool:
        """So many more are done; whether to go on."""
        self.done += touched
        return not self.is_stopping


class Bulk:
    """The work of an order: counted, then done slice by slice."""

    def __init__(
        self, reports: ReportStore, operator: Callable[[str], Operator], clock: Clock, size: int = SLICE
    ) -> None:
        """operator: makes one for an actor. size: of a slice."""
        self._reports, self._operator, self._clock, self._size = reports, operator, clock, size

    async def count(self, order: BulkOrder) -> Count:
        """How many messages the order would touch now."""
        what = replace(order.what, account=order.account)
        states = [state for state in DEEDS[order.verb].touches if what.state in (None, state)]
        if what.subaccount is not None or what.transmission is not None:
            return await self._counted(order, what)
        number = await self._number(what, states)
        if order.to is not None and what.ip in (None, order.to):
            number -= await self._number(replace(what, ip=order.to), states)
        return Count(number)

    async def _number(self, what: MailFilter, states: Sequence[State]) -> int:
        counts = (await self._reports.waiting(what, (), 1)).counts
        numbers = {State.QUEUED: counts.queued, State.IN_FLIGHT: counts.in_flight, State.HELD: counts.held}
        return sum(numbers[state] for state in states)

    async def _counted(self, order: BulkOrder, what: MailFilter) -> Count:
        """By looking at the messages, where no counts are kept."""
        number, looked, place = 0, 0, None
        while looked < COUNTED:
            page = await self._reports.messages(what, self._size, place)
            number += sum(order.means(message) for message in page.messages)
            looked, place = looked + max(len(page.messages), self._size), page.next
            if place is None:
                return Count(number)
        return Count(number, is_exact=False)

    async def work(self, order: BulkOrder, done: Callable[[int], bool]) -> bool:
        """Do it; done hears how many each slice touched, and says whether to go on. False: it said no.

        What was accepted after the work began is left alone: so it ends.
        """
        began = self._clock.now()
        for state in DEEDS[order.verb].rounds:
            if order.what.state in (None, state) and not await self._round(order, state, began, done):
                return False
        return True

    async def _round(
        self, order: BulkOrder, state: State, began: datetime, done: Callable[[int], bool]
    ) -> bool:
        """Once through the messages in that state."""
        what = replace(order.what, account=order.account, state=state)
        operator = self._operator(order.actor)
        place: str | None = None
        while done(0):
            page = await self._reports.messages(what, self._size, place)
            ids = tuple(
                message.id for message in page.messages if message.accepted <= began and order.means(message)
            )
            if ids:
                # The state asked for again: what was found a moment ago may have changed it.
                selection = MailFilter(order.account, ids=ids, state=order.what.state)
                done(await operator.do(order.verb, selection, order.to))
            place = page.next
            if place is None:
                return True
        return False


class BulkRuns:
    """The runs of one process."""

    def __init__(
        self,
        reports: ReportStore,
        operator: Callable[[str], Operator],
        clock: Clock,
        entropy: Entropy,
        size: int = SLICE,
    ) -> None:
        """operator: makes one for an actor. size: of a slice."""
        self._bulk = Bulk(reports, operator, clock, size)
        self._clock, self._entropy = clock, entropy
        self._runs: dict[str, BulkRun] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Let runs be started until stopping is set; those at work then end after their slice."""
        async with asyncio.TaskGroup() as self._tasks:
            await stopping.wait()
            self._tasks, ending = None, self._at_work()
            for one in ending:
                one.stop()

    async def start(self, order: BulkOrder) -> BulkRun:
        """Raises OverCapacity while too many are at work, or when the process is about to end."""
        expected = await self._bulk.count(order)
        at_work = self._at_work()
        of_account = sum(one.order.account == order.account for one in at_work)
        if self._tasks is None or len(at_work) >= MOST_AT_WORK or of_account >= MOST_OF_ACCOUNT:
            raise OverCapacity
        one = BulkRun(self._entropy.octets(8).hex(), order, expected, self._clock.now())
        self._runs[one.id] = one
        for old in [old for old in self._runs.values() if old.ended is not None][:-_KEPT]:
            del self._runs[old.id]
        self._tasks.create_task(self._work(one), name=f"{order.verb} in bulk")
        return one

    async def count(self, order: BulkOrder) -> Count:
        """How many messages the order would touch now."""
        return await self._bulk.count(order)

    def of(self, account: AccountId) -> list[BulkRun]:
        """Newest first."""
        return [one for one in reversed(self._runs.values()) if one.order.account == account]

    def get(self, account: AccountId, id_: str) -> BulkRun | None:
        one = self._runs.get(id_)
        return one if one is not None and one.order.account == account else None

    def _at_work(self) -> list[BulkRun]:
        return [one for one in self._runs.values() if one.ended is None]

    async def _work(self, one: BulkRun) -> None:
        order = one.order
        log.info("%s in bulk run=%s account=%d by=%s", order.verb, one.id, order.account or 0, order.actor)
        try:
            is_whole = await self._bulk.work(order, one.count)
            one.stage = Stage.DONE if is_whole else Stage.STOPPED
        except RelayError as error:
            one.stage, one.problem = Stage.FAILED, error
        except Exception:  # The top of a unit of work.
            one.stage, one.reference = Stage.FAILED, self._entropy.octets(6).hex()
            log.exception("reference=%s %s in bulk failed run=%s", one.reference, order.verb, one.id)
        one.ended = self._clock.now()
        log.info("%s in bulk run=%s %s touched=%d", order.verb, one.id, one.stage, one.done)
