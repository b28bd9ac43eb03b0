"""Refusals told as events: so many a minute, with what is over counted, and never at a reply's cost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from relay.accept import rejections as subject
from relay.accept.rejections import A_MINUTE, Rejections, slip_of
from relay.domain.errors import NoSharedPool, OverCapacity, PoolEmpty, StoreUnavailable
from relay.domain.events import Event, PolicyRejection
from relay.domain.ids import AccountId
from relay.ports.eventlog import EventLog
from relay.store import open_store
from relay.testing.waiting import eventually

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ACME, BIRCH = AccountId(1), AccountId(2)


class Log:
    """An event log that takes what it is given, unless told otherwise."""

    def __init__(self) -> None:
        self.batches: list[Sequence[PolicyRejection]] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def told(self) -> list[PolicyRejection]:
        return [one for batch in self.batches for one in batch]

    async def append(self, events: Sequence[Event]) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.batches.append(cast(Sequence[PolicyRejection], list(events)))


@asynccontextmanager
async def running(log: Log, processes: int = 1) -> AsyncIterator[Rejections]:
    rejections = Rejections(cast(EventLog, log), processes)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rejections.run())
        try:
            yield rejections
        finally:
            log.gate.set()
            rejections.close()


def refusal(
    number: int = 0, account: AccountId = ACME, reason: str = "452 4.5.3 Too many"
) -> PolicyRejection:
    return PolicyRejection(NOW, account, None, "192.0.2.1", "a@b.test", f"r{number}@c.test", 25, 452, reason)


async def test_what_is_told_is_written_before_a_reply_that_waits_for_it() -> None:
    log = Log()
    async with running(log) as rejections:
        rejections.tell(refusal(1), "few")
        assert log.told == []
        await rejections.told()
        assert log.told == [refusal(1)]


async def test_of_an_account_and_kind_so_many_are_written_and_the_rest_is_counted_in_one() -> None:
    log = Log()
    async with running(log) as rejections:
        for number in range(A_MINUTE + 7):
            rejections.tell(refusal(number), "recipients")
        rejections.tell(refusal(account=BIRCH), "recipients")
        rejections.tell(refusal(reason="451 4.3.0 No shared IP pool"), "pool")
        await rejections.told()
        assert len(log.told) == A_MINUTE + 2, "others have counts of their own"
        assert len(log.batches) < 10, "many a transaction"
    last = log.told[-1]
    assert len(log.told) == A_MINUTE + 3
    assert (last.account, last.error_code, last.rcpt_to) == (ACME, 452, "")
    assert last.raw_reason == "452 4.5.3 Too many (7 more within a minute)"


async def test_processes_share_what_may_be_written() -> None:
    log = Log()
    async with running(log, processes=4) as rejections:
        for number in range(A_MINUTE):
            rejections.tell(refusal(number), "recipients")
        await rejections.told()
        assert len(log.told) == A_MINUTE // 4


async def test_a_minute_ends_by_itself_and_the_next_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_PERIOD_S", 0.2)
    log = Log()
    async with running(log) as rejections:
        for number in range(A_MINUTE + 1):
            rejections.tell(refusal(number), "recipients")

        async def is_summed_up() -> bool:
            return len(log.told) == A_MINUTE + 1

        await eventually(is_summed_up)
        rejections.tell(refusal(), "recipients")
        await rejections.told()
        assert len(log.told) == A_MINUTE + 2
    assert len(log.told) == A_MINUTE + 2, "nothing was left to count"


async def test_a_store_that_hangs_delays_one_reply_by_a_second_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "_PATIENCE_S", 0.2)
    log, loop = Log(), asyncio.get_running_loop()
    log.gate.clear()
    async with running(log) as rejections:
        began = loop.time()
        for number in range(50):
            rejections.tell(refusal(number), "recipients")
            await rejections.told()
        assert loop.time() - began < 0.2 * 5
        assert log.told == []
        log.gate.set()

        async def is_written() -> bool:
            return len(log.told) == 50

        await eventually(is_written)
        rejections.tell(refusal(), "recipients")
        await rejections.told()
        assert len(log.told) == 51, "the store is well again"


@pytest.mark.parametrize("failure", [StoreUnavailable(), OverCapacity()])
async def test_a_store_that_refuses_delays_nobody_and_gets_them_later(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(subject, "_AGAIN_S", 0.1)
    log = Log()
    log.failure = failure
    async with running(log) as rejections:
        for number in range(A_MINUTE * 2):
            rejections.tell(refusal(number), "recipients")
        async with asyncio.timeout(0.9):
            await rejections.told()
        assert log.told == []
        log.failure = None

        async def is_written() -> bool:
            return len(log.told) == A_MINUTE

        await eventually(is_written)


async def test_what_the_store_never_takes_is_bounded_and_the_log_counts_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subject, "_MOST_WAITING", 10)
    monkeypatch.setattr(subject, "_MOST_KINDS", 20)
    log = Log()
    log.failure = StoreUnavailable()
    async with running(log) as rejections:
        for number in range(100):
            rejections.tell(refusal(number), f"kind {number}")
        await rejections.told()
    lines = [record.getMessage().partition("more=") for record in caplog.records]
    assert {line for line, _, _ in lines} == {"refusals that no event tells of: "}
    assert sum(int(number) for _, _, number in lines) == 100


async def test_a_bug_loses_what_it_was_about_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    log.failure = RuntimeError("bug")
    async with running(log) as rejections:
        rejections.tell(refusal(1), "few")
        await rejections.told()
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.exc_info is not None
        log.failure = None
        rejections.tell(refusal(2), "few")
        await rejections.told()
    assert log.told == [refusal(2)]


async def test_they_end_in_the_store(tmp_path: Path) -> None:
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as store:
        async with asyncio.TaskGroup() as tasks:
            rejections = Rejections(store.events)
            tasks.create_task(rejections.run())
            for number in range(3):
                rejections.tell(refusal(number), "few")
            rejections.close()
        told = await store.events.recent(10)
    assert [one.event for one in reversed(told)] == [refusal(number) for number in range(3)]


async def test_an_operators_slip_is_told_to_the_log_once_a_minute_for_each_account(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(Log()) as rejections:
        for account in (ACME, ACME, BIRCH, ACME):
            rejections.tell(refusal(account=account), "smtp 451", slip_of(NoSharedPool()))
        rejections.tell(refusal(), "smtp 550", slip_of(PoolEmpty("default")))
        rejections.tell(refusal(), "smtp 550", slip_of(PoolEmpty("news")))
    shared = "no shared sending IP is configured, and it has none in its default pool"
    assert caplog.messages == [
        f"account=1 mail is refused: {shared}",
        f"account=2 mail is refused: {shared}",
        "account=1 mail is refused: it has no sending IP in its default pool, and no shared pool on its plan",
    ]
