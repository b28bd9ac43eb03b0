"""Each input of the corpus against a running relay: what it costs, what others notice, what leaves."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import pytest
import pytest_asyncio

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.waiting import eventually
from tests.alone.doors import (
    DIRECTORY,
    LONGEST_TURN_MS,
    MEMORY_BYTES,
    REST_S,
    TURN_MS,
    Meanwhile,
    TooLongError,
    all_complaints,
    exchange,
    hand_in,
    judge_times,
    others_served,
    post,
    settled,
)
from tests.corpus import Case, conversations, messages, requests, transmissions
from tests.support.growth import MOST, PAUSE_S, SLACK_S, TRIES
from tests.support.oracles import WatchedProcess, spent_by

IN_CHILDREN = {
    *("boundaries in one line", "one long line before an expression", "nested parts", "deep elements"),
    *("braces that never close", "parameters of a type", "comments in a field of mailboxes"),
}

Test = Callable[[Case, WatchedProcess, FakeMta], Awaitable[None]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mta() -> AsyncIterator[FakeMta]:
    async with FakeMta() as mta:
        yield mta


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory, mta: FakeMta) -> AsyncIterator[WatchedProcess]:
    folder: Path = tmp_path_factory.mktemp("corpus")
    async with WatchedProcess(folder, mta.address, directory=DIRECTORY, settings=WITH_API) as relay:
        # What is made once, at first need, is not the input's.
        assert await post(relay, transmissions.body()) == 200
        await settled(relay)
        yield relay


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the log and the list of long turns stood when a test began."""

    turns: int
    log: int


def _mark(relay: WatchedProcess) -> Mark:
    return Mark(relay.mark(), relay.log.stat().st_size)


def _till_undisturbed(test: Test) -> Test:
    """Whoever shares the core makes one turn longer, for some seconds, and not at each try."""

    @wraps(test)
    async def tried(case: Case, relay: WatchedProcess, mta: FakeMta) -> None:
        for number in range(TRIES - 1):
            try:
                await test(case, relay, mta)
            except TooLongError:
                mta.attempts.clear()
                await asyncio.sleep(PAUSE_S * number)
            else:
                return
        await test(case, relay, mta)

    return tried


def _cases(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@_cases(*transmissions.CASES)
@_till_undisturbed
async def test_a_transmission(case: Case, relay: WatchedProcess, mta: FakeMta) -> None:
    mark = _mark(relay)
    octets, before, came = case.make(case.size), spent_by(relay.pid).cpu_s, len(mta.attempts)
    async with others_served(relay) as met:
        status = await post(relay, octets)
        await _settle(relay, mta, came, case.leaves)
    _judge(case, status, relay, mta, met, mark, len(octets), before)


@_cases(*messages.CASES)
@_till_undisturbed
async def test_a_message(case: Case, relay: WatchedProcess, mta: FakeMta) -> None:
    mark = _mark(relay)
    octets, before, came = case.make(case.size), spent_by(relay.pid).cpu_s, len(mta.attempts)
    async with others_served(relay) as met:
        code = await hand_in(relay, octets)
        await _settle(relay, mta, came, code == 250)
    _judge(case, code, relay, mta, met, mark, len(octets), before, is_composed=False)


@_cases(*conversations.CASES)
@_till_undisturbed
async def test_a_conversation(case: Case, relay: WatchedProcess, mta: FakeMta) -> None:
    mark = _mark(relay)
    octets, before = case.make(case.size), spent_by(relay.pid).cpu_s
    async with others_served(relay) as met:
        said = await exchange(
            (relay.host, relay.port), octets + b"\r\nQUIT\r\n", until=rb"(?m)^221|^421|^554"
        )
    assert b"451" not in said
    assert b"235" not in said
    _judge(case, 0, relay, mta, met, mark, len(octets), before)


@_cases(*requests.CASES)
@_till_undisturbed
async def test_a_request(case: Case, relay: WatchedProcess, mta: FakeMta) -> None:
    mark = _mark(relay)
    octets, before = case.make(case.size), spent_by(relay.pid).cpu_s
    async with others_served(relay) as met:
        said = await exchange(relay.http_address, octets, until=rb"\r\n\r\n")
    status = int(said[9:12]) if said.startswith(b"HTTP/1.1 ") else 0
    assert status < 500
    _judge(case, status, relay, mta, met, mark, len(octets), before)


@_cases(*(case for case in transmissions.CASES if case.name in IN_CHILDREN))
async def test_twice_as_much_takes_children_about_twice_as_long(
    case: Case, relay: WatchedProcess, mta: FakeMta
) -> None:
    async def spend(size: int) -> float:
        octets, before = case.make(size), spent_by(relay.pid).cpu_s
        await post(relay, octets)
        await settled(relay)
        return spent_by(relay.pid).cpu_s - before

    once = twice = math.inf
    for number in range(TRIES):
        once = min(once, await spend(case.size // 2))
        twice = min(twice, await spend(case.size))
        if twice <= MOST * once + SLACK_S:
            break
        await asyncio.sleep(PAUSE_S * number)
    mta.attempts.clear()
    assert twice <= MOST * once + SLACK_S


async def test_a_body_of_100_kb_is_taken_beside_hard_ones(relay: WatchedProcess, mta: FakeMta) -> None:
    hard = [
        case.make(case.size)
        for case in transmissions.CASES
        if case.name in {"sibling selectors", "boundaries in one line"}
    ]
    async with asyncio.TaskGroup() as tasks:
        for octets in hard:
            tasks.create_task(post(relay, octets), name="hard")
        await asyncio.sleep(0.2)
        async with asyncio.timeout(REST_S):
            assert await post(relay, transmissions.body({"text": "x" * 100_000})) == 200


# ── the oracles ──────────────────────────────────────────────────────────────────────────


async def _settle(relay: WatchedProcess, mta: FakeMta, came: int, leaves: bool) -> None:
    if leaves:

        async def arrived() -> bool:
            return any(attempt.recipient != "other@good.example" for attempt in mta.attempts[came:])

        await eventually(arrived, 30)


def _judge(
    case: Case,
    answer: int,
    relay: WatchedProcess,
    mta: FakeMta,
    met: Meanwhile,
    mark: Mark,
    size_bytes: int,
    cpu_before_s: float,
    *,
    is_composed: bool = True,
) -> None:
    if case.answers:
        assert answer in case.answers
    assert met.memory_bytes <= MEMORY_BYTES
    longest_ms = TURN_MS if size_bytes <= 1_000_000 else LONGEST_TURN_MS
    assert b"Traceback" not in relay.log.read_bytes()[mark.log :]
    if is_composed:
        assert all_complaints(mta) == []
    mta.attempts.clear()
    judge_times(relay, mark.turns, longest_ms, met, spent_by(relay.pid).cpu_s - cpu_before_s)
