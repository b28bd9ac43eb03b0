"""Whatever befalls relay and directory: mail leaves from its pin alone, and none of it is ever in limbo."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import aiosmtplib
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import Pool, Snapshot
from relay.domain.events import Bounce, Injection
from relay.domain.ids import AccountId, IpAddress, PoolId, TransmissionId
from relay.domain.message import Message, State
from relay.ports.queue import MailFilter
from relay.sink.fake_mta import FakeMta
from relay.store import Store, open_store
from relay.testing.clock import HandMovedClock
from relay.testing.injection import InjectionRefusedError, compose_mail, inject_by_smtp
from relay.testing.lab import lab_directory, lab_key_of, write_files
from relay.testing.process import free_port
from relay.testing.waiting import eventually
from relay.testing.wire import connect_wire

T = TypeVar("T")

ACME = AccountId(1)
IPS = [IpAddress(f"127.0.0.{number}") for number in (11, 12, 13, 14)]
POOLS = [PoolId(name) for name in ("marketing", "receipts", "quiet", "default")]
SETTINGS: dict[str, dict[str, object]] = {"queue": {"first_retry": "100ms", "max_retry_gap": "200ms"}}
"""Time is real here, because the relay is a process that can be killed; so its waits are short."""

NURSERY = """
import os, signal, sys
import relay.process.main
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.argv = ["relay", *line.split()]
        relay.process.main.main()
        os._exit(0)
    print(child, flush=True)
"""
"""A process with the program loaded, which forks one relay a line: real to kill, and there in no time."""


class World:
    """One loop in a thread of its own, with the next hop in it; Hypothesis drives it from outside."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="world")
        self._thread.start()
        self._ready.wait(10)

    def do(self, step: Coroutine[None, None, T]) -> T:
        """What step returns or raises, run in the world's loop."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(60)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with FakeMta() as self.mta:
            self._ready.set()
            await self._over.wait()


class Nursery:
    """Starts relays by forking a process that has everything imported."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, config: Path) -> int:
        """The process id of a new relay."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"run --config {config}\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def end(self) -> None:
        self._parent.communicate()


@pytest.fixture(scope="module")
def _nursery() -> Iterator[None]:
    Relaying.nursery = Nursery()
    yield
    Relaying.nursery.end()


class Relaying(RuleBasedStateMachine):
    """One relay's life, and what its clients and its next hop saw of it."""

    nursery: Nursery

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.mta = self.world.mta
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.port = free_port()
        directory = lab_directory()
        self.login = ("SMTP_Injection", lab_key_of(directory, ACME))
        self.config = write_files(folder, directory, self.mta.address, f"127.0.0.1:{self.port}", SETTINGS)
        self.url = f"sqlite:///{folder / 'relay.db'}"
        self.clock = HandMovedClock()
        self.accepted: dict[str, TransmissionId] = {}
        """Recipient of each acknowledged message."""
        self.unanswered: set[str] = set()
        """Recipients whose injection died with the relay: they may arrive or not."""
        self.number = 0
        self.pid = 0
        self.world.do(self._start())
        self.store = self.world.do(self._open())

    # ── what happens ─────────────────────────────────────────────────────────────────────

    @rule(
        pool=st.sampled_from([*POOLS, None]),
        fate=st.sampled_from(["250 2.0.0 Ok", "451 4.2.1 later", "550 5.1.1 no such user"]),
    )
    def inject(self, pool: PoolId | None, fate: str) -> None:
        self.world.do(self._inject(pool, fate))

    @rule()
    def accept(self) -> None:
        """The next hop gives in: whoever was deferred is accepted from now on."""
        self.world.do(self._accept())

    @rule(ip=st.sampled_from(IPS), pool=st.sampled_from(POOLS))
    def move(self, ip: IpAddress, pool: PoolId) -> None:
        self.world.do(self._move(ip, pool))

    @rule(ip=st.sampled_from(IPS))
    def unassign(self, ip: IpAddress) -> None:
        self.world.do(self._unassign(ip))

    @rule(pool=st.sampled_from(POOLS[:-1]))
    def delete(self, pool: PoolId) -> None:
        self.world.do(self._delete(pool))

    @rule()
    def hold(self) -> None:
        self.world.do(self._hold())

    @rule()
    def release(self) -> None:
        self.world.do(self.store.queue.release(MailFilter(None), self.clock.now(), "test"))

    @rule()
    def restart(self) -> None:
        self.world.do(self._end(signal.SIGTERM))
        self.world.do(self._start())

    @rule(burst=st.integers(0, 4))
    def kill(self, burst: int) -> None:
        """kill -9 with mail in every stage of its way."""
        self.world.do(self._kill(burst))
        self.world.do(self._start())

    def teardown(self) -> None:
        try:
            self.world.do(self._judge())
        finally:
            self.world.do(self._end(signal.SIGKILL))
            self.world.do(self._close())
            self.world.end()
            self.stack.close()

    # ── how ──────────────────────────────────────────────────────────────────────────────

    async def _inject(self, pool: PoolId | None, fate: str) -> None:
        """Hand in one message: it is taken, from an IP that the directory names now, or refused."""
        self.number += 1
        to = f"r{self.number}@domain{self.number % 3}.example"
        self.mta.answer(to, fate)
        candidates = _candidates(await self.store.directory.snapshot(), pool)
        content = compose_mail(to, ip_pool=pool)
        try:
            reply = await inject_by_smtp(
                ("127.0.0.1", self.port), self.login, "sender@acme.test", [to], content
            )
        except InjectionRefusedError as refused:
            if candidates:
                raise AssertionError(f"{pool} has IPs, and yet: {refused}") from None
            return
        except (OSError, aiosmtplib.SMTPException):
            self.unanswered.add(to)
            return
        self.accepted[to] = TransmissionId(reply.split()[-1])
        told = await self.store.events.of_transmission(self.accepted[to])
        assert {one.event.about.sending_ip for one in told if isinstance(one.event, Injection)} <= candidates

    async def _accept(self) -> None:
        for to in [*self.accepted, *self.unanswered]:
            if any(attempt.reply.startswith("451") for attempt in self.mta.attempts_for(to)):
                self.mta.answer(to, "250 2.0.0 Ok")

    async def _move(self, ip: IpAddress, pool: PoolId) -> None:
        snapshot = await self.store.directory.snapshot()
        changes: list[Change] = []
        if (ACME, pool) not in snapshot.pools:
            changes.append(Put(Pool(ACME, pool, pool.title())))
        changes.append(Put(replace(snapshot.ips[ip], account=ACME, pool=pool)))
        await self._apply(snapshot, changes)

    async def _unassign(self, ip: IpAddress) -> None:
        snapshot = await self.store.directory.snapshot()
        await self._apply(snapshot, [Put(replace(snapshot.ips[ip], account=None, pool=None))])

    async def _delete(self, pool: PoolId) -> None:
        snapshot = await self.store.directory.snapshot()
        if entry := snapshot.pools.get((ACME, pool)):
            await self._apply(snapshot, [Remove(entry)])

    async def _apply(self, snapshot: Snapshot, changes: list[Change]) -> None:
        await self.store.directory.apply(changes, snapshot.revision, "test", self.clock.now())

    async def _hold(self) -> None:
        now = self.clock.now()
        await self.store.queue.hold(MailFilter(None), now, now + timedelta(days=10_000), "test")

    async def _kill(self, burst: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(burst):
                tasks.create_task(self._inject(POOLS[number % 4], "250 2.0.0 Ok"), name=f"burst {number}")
            await asyncio.sleep(0.005 * burst)
            await self._end(signal.SIGKILL)

    async def _start(self) -> None:
        self.pid = self.nursery.start(self.config)
        await eventually(self._greets, 20)

    async def _greets(self) -> bool:
        try:
            async with connect_wire(("127.0.0.1", self.port)) as wire:
                return (await wire.reply()).startswith("220")
        except OSError:
            return False

    async def _end(self, how: signal.Signals) -> None:
        """Send the signal and wait until the process is no more."""
        os.kill(self.pid, how)

        async def gone() -> bool:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            return False

        await eventually(gone, 20)

    async def _open(self) -> Store:
        return await open_store(self.url)

    async def _close(self) -> None:
        await self.store.close()

    # ── what must be true ────────────────────────────────────────────────────────────────

    async def _judge(self) -> None:
        """Let everything run to its end; then account for every message."""
        for to in [*self.accepted, *self.unanswered]:
            if not any(attempt.reply.startswith("550") for attempt in self.mta.attempts_for(to)):
                self.mta.answer(to, "250 2.0.0 Ok")
        await self._end(signal.SIGTERM)
        await self._start()
        # What was in flight through many kills waits up to a minute; it need not do so here.
        await self.store.queue.retry(MailFilter(None), self.clock.now(), "test")
        self.store.wakeups.tell()
        try:
            await eventually(self._nothing_moves, 20)
        except TimeoutError:
            moving = [message for message in await self._waiting() if message.state is not State.HELD]
            raise AssertionError(f"in limbo: {moving}") from None
        held = {message.rcpt_to for message in await self._waiting()}
        told = [one.event for one in await self.store.events.recent(100_000)]
        pins = {event.about.rcpt_to: event.about.sending_ip for event in told if isinstance(event, Injection)}
        bounced = {event.about.rcpt_to for event in told if isinstance(event, Bounce)}
        delivered = {attempt.recipient for attempt in self.mta.accepted}
        for to in self.accepted:
            assert to in delivered | bounced | held, f"{to} was acknowledged and is in limbo"
        for attempt in self.mta.attempts:
            assert attempt.peer_ip == pins[attempt.recipient], f"{attempt.recipient} left its pin"

    async def _nothing_moves(self) -> bool:
        return all(message.state is State.HELD for message in await self._waiting())

    async def _waiting(self) -> list[Message]:
        return await self.store.queue.select(MailFilter(None), 100_000)


def _candidates(snapshot: Snapshot, pool: PoolId | None) -> frozenset[str]:
    """Where the rules send the mail of Acme, told apart from the code under test; empty: it is refused."""
    members = {
        ip.address for ip in snapshot.ips.values() if ip.account == ACME and ip.pool == (pool or "default")
    }
    if pool in {None, "default"} and not members:
        members = {ip.address for ip in snapshot.ips.values() if ip.shared}
    return frozenset(members)


TestPins = Relaying.TestCase
TestPins.settings = settings(
    max_examples=15,
    stateful_step_count=15,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPins = pytest.mark.usefixtures("_nursery")(pytest.mark.timeout(240)(TestPins))
