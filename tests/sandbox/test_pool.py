"""Children for hard work: what bounds them, who waits for whom, and that none outlives the relay."""

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from relay.domain.errors import Busy, TooMuchWork
from relay.domain.ids import AccountId
from relay.domain.transmission import InlineContent
from relay.frames.rest.fault import Fault
from relay.mail.compose import BadPart, Blueprint, Filled
from relay.ports.sandbox import Output
from relay.process.children.pool import ChildPool
from relay.process.children.wire import pack, unpack
from relay.resources.transmissions.body import parse_transmission
from relay.testing.waiting import eventually
from tests.corpus import transmissions
from tests.support.sandboxes import are_gone, children

ONE, TWO = AccountId(1), AccountId(2)
NOW = datetime(2026, 1, 5, tzinfo=UTC)
SPREAD = (
    "<style>b{"
    + "".join(f"--p{one}:red;" for one in range(500))
    + "}</style><p>"
    + "".join(f"<b id=i{number}>" for number in range(300))
    + "<p>x" * 300
)
"""Elements that HTML opens again in each paragraph: 9 kB become half a gigabyte."""
LONG = "<style>" + "".join(f"[id*=c{n}]~p{{color:red}}" for n in range(230)) + "</style>" + "<p>x" * 2_990
"""Selectors that each element is held against all its siblings for."""


@pytest.fixture
async def pool() -> AsyncIterator[ChildPool]:
    await are_gone()
    pool = ChildPool(2, cpu_s=1)
    yield pool
    await pool.close()


async def compose(
    pool: ChildPool, account: AccountId = ONE, text: str = "t", html: str | None = None
) -> Output:
    content = InlineContent("a@b.test", "s", text=text, html=html)
    return await pool.run(account, "compose", (content, "b", True, html is not None))


def open_files(pid: int) -> set[str]:
    return set(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def of_process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text()


def exists(path: str) -> bool:
    return Path(path).exists()


async def test_a_job_gives_what_it_gives_here(pool: ChildPool) -> None:
    output = await compose(pool)
    assert output.error is None
    (piece,) = output.pieces
    blueprint: Blueprint = pool.read(piece)
    assert blueprint.is_whole
    assert blueprint.shared is not None
    assert b"\r\n\r\nt\r\n" in blueprint.shared
    body = transmissions.body(count=1200)
    output = await pool.run(ONE, "read transmission", (NOW, False), (body,))
    asked, counts = pool.read(output.pieces[0])
    assert counts == [500, 500, 200]
    recipients = [one for piece in output.pieces[1:] for one in pool.read(piece)]
    assert recipients == parse_transmission(body, NOW).recipients
    assert asked.recipients == []


async def test_what_the_job_raises_is_told(pool: ChildPool) -> None:
    output = await compose(pool, text="{{if", html="{{")
    assert isinstance(output.error, BadPart)
    assert [bad.part for bad in output.error.all] == ["text", "html"]
    output = await pool.run(ONE, "read transmission", (NOW, False), (b"{}",))
    assert isinstance(output.error, Fault)
    assert [fault.code for fault in output.error.all] == [1400, 1400]
    assert (await compose(pool)).error is None


async def test_children_are_started_when_they_are_needed_and_kept(pool: ChildPool) -> None:
    assert children() == set()
    await compose(pool)
    (first,) = children()
    await compose(pool)
    assert children() == {first}
    await pool.close()
    assert children() == set()


@pytest.mark.parametrize(
    ("html", "cpu_s", "limit"),
    [(SPREAD, 20, TooMuchWork("memory", 384)), (LONG, 1, TooMuchWork("CPU time", 1))],
    ids=["memory", "time"],
)
async def test_time_and_memory_are_bounded_for_each_piece(html: str, cpu_s: int, limit: TooMuchWork) -> None:
    pool = ChildPool(1, cpu_s=cpu_s, deadline_s=60)
    composing = (InlineContent("a@b.test", "s", html="{{{css}}}"), "b", True, True)
    ingredients = [({"css": "<b>a</b>"}, None), ({"css": html}, None), ({"css": "<b>c</b>"}, None)]
    output = await pool.run(ONE, "fill", (composing, ingredients, 20 << 20))
    (first,) = output.pieces
    filled: Filled = pool.read(first)
    assert filled.body is not None
    assert output.error == limit
    assert (await compose(pool)).error is None
    await pool.close()


async def test_a_child_that_is_killed_costs_its_own_job(pool: ChildPool) -> None:
    await compose(pool)
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    task = asyncio.ensure_future(compose(pool))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    assert isinstance((await task).error, TooMuchWork)
    assert (await compose(pool)).error is None
    assert pid not in children()


async def test_a_child_that_hangs_is_ended() -> None:
    pool = ChildPool(1, deadline_s=5)
    try:
        await compose(pool)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        assert (await compose(pool)).error == TooMuchWork("time", 5)
        assert (await compose(pool)).error is None
    finally:
        await pool.close()


async def test_accounts_take_turns_however_much_one_of_them_asks_for() -> None:
    pool = ChildPool(1)
    done: list[AccountId] = []

    async def work(account: AccountId) -> None:
        await compose(pool, account)
        done.append(account)

    try:
        async with asyncio.TaskGroup() as tasks:
            for account in (ONE, ONE, ONE, ONE, TWO, TWO):
                tasks.create_task(work(account), name="work")
    finally:
        await pool.close()
    assert done == [ONE, ONE, TWO, ONE, TWO, ONE]


async def test_one_account_never_has_all_places() -> None:
    pool = ChildPool(2)
    try:
        await compose(pool)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.TaskGroup() as tasks:
            greedy = [tasks.create_task(compose(pool), name="greedy") for _ in range(3)]
            await asyncio.sleep(0)
            assert (await compose(pool, TWO)).error is None
            assert not any(task.done() for task in greedy)
            os.kill(pid, signal.SIGCONT)
        assert [task.result().error for task in greedy] == [None] * 3
    finally:
        await pool.close()


async def test_nobody_waits_for_a_place_for_ever_and_who_gives_up_leaves_none_taken() -> None:
    pool = ChildPool(1, patience_s=0.2)
    try:
        await compose(pool)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(compose(pool), name="first")
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await compose(pool, TWO)
            second = tasks.create_task(compose(pool, TWO), name="second")
            await asyncio.sleep(0.05)
            second.cancel()
            await asyncio.sleep(0)
            first.cancel()
        assert (await compose(pool)).error is None
        assert pid not in children(), "nobody wanted its answer any more"
    finally:
        await pool.close()


async def test_a_child_has_nothing_of_the_relays(pool: ChildPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SMTP__KEY", "secret")
    with socket() as listener:
        listener.set_inheritable(True)
        await compose(pool)
        (pid,) = children()
        assert open_files(pid) == {"0", "1", "2"}
    assert "secret" not in of_process(pid, "environ")
    assert os.getsid(pid) == os.getsid(0)
    assert f"Max address space         {384 << 20}" in of_process(pid, "limits")
    assert "Max core file size        0" in of_process(pid, "limits")


async def test_children_end_with_the_relay_even_when_it_is_killed() -> None:
    program = (
        "import asyncio\n"
        "from relay.process.children.pool import ChildPool\n"
        "from relay.domain.transmission import InlineContent\n"
        "async def main():\n"
        "    content = InlineContent('a@b.test', 's', text='t')\n"
        "    await ChildPool().run(1, 'compose', (content, 'b', True, False))\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    (child,) = of_process(parent.pid, f"task/{parent.pid}/children").split()
    parent.kill()
    await parent.communicate()

    async def is_gone() -> bool:
        return not exists(f"/proc/{child}")

    assert await eventually(is_gone)


class Evil:
    """What a child that was taken over might send."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


class EvilFunction:
    """One of our own functions is no value either."""

    def __reduce__(self) -> Any:
        return parse_transmission, (b"{}", NOW)


@pytest.mark.parametrize("value", [Evil(), [Evil()], {"a": Evil()}, EvilFunction()])
def test_of_objects_only_our_own_values_are_made(value: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="not for exchange"):
        unpack(pickle.dumps(value))
    assert unpack(pack((NOW, InlineContent("a", "b"), TooMuchWork("time", 1.0))))[0] == NOW
