"""All of egress over a real store, with scripts for next hops: no socket, no process, time moved by hand."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from relay.accept.budget import BodyBudget
from relay.accept.ids import Ids
from relay.accept.notice import Notifier
from relay.domain.events import Bounce, Delay, Delivery
from relay.domain.ids import IpAddress, MessageId, NodeName, WorkerId
from relay.domain.message import Envelope, Message, State
from relay.domain.outcome import Peer
from relay.domain.reply import Phase, Reply
from relay.domain.retry import RetryPolicy
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.egress.conversation import DeliveryMeans
from relay.egress.path import PathLimits
from relay.egress.seven_bit import Converter
from relay.egress.solitude import Solitude
from relay.egress.worker import Egress
from relay.net.ambient import SystemEntropy
from relay.ports.outbound import Host, Login, NoSession, Transcript
from relay.ports.queue import MailFilter, QueueStore
from relay.store import Store
from relay.testing.clock import HandMovedClock
from relay.testing.fake_dns import FakeDns
from relay.testing.waiting import eventually
from tests.ingress.conftest import HandMadeDirectory
from tests.support.mail import NOW
from tests.support.sandbox import Here

WORKER, NODE = WorkerId("w1"), NodeName("n1")
HOST = "192.0.2.25"
POLICY = RetryPolicy()
TO_ONE_HOST = (Route(("*",), SmarthostRoute(HOST, 25, TlsPolicy.OFF)),)
BY_MX = (Route(("*",), MxRoute(TlsPolicy.OFF, allow_private=True)),)
ALL = frozenset({"8BITMIME", "SMTPUTF8"})


def said(line: str) -> Reply:
    """A reply as `PHASE CODE TEXT`."""
    phase, code, text = line.split(" ", 2)
    return Reply(int(code), text, Phase(phase.lower()))


def refused(line: str, address: str = HOST) -> NoSession:
    """What a dialer has instead of a session."""
    return NoSession(said(line), Peer(address))


@dataclass(frozen=True, slots=True)
class Turn:
    """One transaction of a script: a line for each recipient, or one for all."""

    lines: tuple[str, ...]
    is_lost: bool = False
    is_ambiguous: bool = False
    ends: bool = False
    """The host takes no further transaction."""


TAKEN = Turn(("BODY 250 2.0.0 Ok",))


def turn(*lines: str, lost: bool = False, ambiguous: bool = False, ends: bool = False) -> Turn:
    return Turn(lines, lost, ambiguous, ends or lost)


class Script:
    """`SmtpSession` that says what it was given, turn by turn, and takes all after that."""

    def __init__(
        self,
        *turns: Turn | Exception,
        extensions: frozenset[str] = ALL,
        address: str = HOST,
        until: asyncio.Event | None = None,
    ) -> None:
        """until: its turns take so long."""
        self.peer, self.extensions, self.is_usable = Peer(address), extensions, True
        self._turns, self._until = deque(turns), until
        self.taken: list[tuple[Envelope, bytes]] = []
        self.is_closed = False

    async def transact(self, envelope: Envelope, chunks: Sequence[bytes]) -> Transcript:
        self.taken.append((envelope, b"".join(chunks)))
        if self._until is not None:
            await self._until.wait()
        now = self._turns.popleft() if self._turns else TAKEN
        if isinstance(now, Exception):
            raise now
        many = len(envelope.recipients)
        replies = tuple(map(said, now.lines)) if len(now.lines) > 1 else (said(now.lines[0]),) * many
        self.is_usable = not now.ends
        return Transcript(replies[:many], now.is_lost, now.is_ambiguous)

    async def close(self) -> None:
        self.is_closed = True
        self.is_usable = False


class Scripts:
    """`Dialer`: what is played next when that address is connected to; then a session that takes all."""

    def __init__(self) -> None:
        self.plan: dict[str, deque[Script | NoSession | Exception]] = {}
        self.calls: list[tuple[str, str, str]] = []
        """(address, bound to, EHLO name)."""
        self.sessions: list[Script] = []
        self.logins: list[Login | None] = []

    def play(self, *parts: Script | NoSession | Exception, at: str = HOST) -> None:
        self.plan.setdefault(at, deque()).extend(parts)

    async def connect(
        self,
        bind: IpAddress,
        ehlo: str,
        host: Host,
        tls: TlsPolicy,
        login: Login | None,
        ignored: Collection[str] = (),
    ) -> Script | NoSession:
        self.calls.append((host.address, bind, ehlo))
        self.logins.append(login)
        planned = self.plan.get(host.address)
        part = planned.popleft() if planned else Script(address=host.address)
        if isinstance(part, Exception):
            raise part
        if isinstance(part, Script):
            self.sessions.append(part)
        return part


class Failing:
    """The queue of a store, some of whose calls fail first: `fail("claim", StoreUnavailable())`.

    What stands in `then` is done once, between such a call and whoever asked for it.
    """

    def __init__(self, queue: QueueStore) -> None:
        self._queue = queue
        self._failures: dict[str, deque[Exception]] = {}
        self.calls: list[str] = []
        self.then: dict[str, Callable[[], Awaitable[object]]] = {}

    def fail(self, name: str, *errors: Exception) -> None:
        self._failures.setdefault(name, deque()).extend(errors)

    @property
    def left(self) -> int:
        """Failures that nobody met yet."""
        return sum(map(len, self._failures.values()))

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: object, **named: object) -> object:
            self.calls.append(name)
            if self._failures.get(name):
                raise self._failures[name].popleft()
            answer = await getattr(self._queue, name)(*arguments, **named)
            if name in self.then:
                await self.then.pop(name)()
            return answer

        return call


class Outbound:
    """Egress at work. `settings` apply from `running` on."""

    def __init__(self, store: Store, directory: HandMadeDirectory, clock: HandMovedClock) -> None:
        self.store, self.directory, self.clock = store, directory, clock
        self.queue, self.hosts, self.dns = Failing(store.queue), Scripts(), FakeDns()
        self.budget = BodyBudget(1 << 30)
        self.limits = PathLimits()
        self.sinks: tuple[str, ...] = ()
        self.ours: set[str] = set()
        """Addresses at which this relay listens."""
        self.sandbox: Any = Here()
        self.stopping = asyncio.Event()
        self.grace_s = 5.0

    @asynccontextmanager
    async def running(self, *, worker: WorkerId = WORKER) -> AsyncIterator[Egress]:
        """Egress, until the block ends: then it stops in good order."""
        egress = self.made(worker)
        self.stopping = stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(egress.run(stopping, self.grace_s), name="egress under test")
            try:
                yield egress
            finally:
                stopping.set()

    def made(self, worker: WorkerId = WORKER) -> Egress:
        queue = cast("QueueStore", self.queue)
        means = DeliveryMeans(
            self.hosts,
            self.dns,
            self.clock,
            self.limits,
            POLICY.first_retry,
            Solitude(),
            self.directory,
            Converter(self.sandbox, self.budget),
            lambda host: host.address in self.ours,
            self.sinks,
        )
        notifier = Notifier(
            queue,
            self.store.events,
            self.directory,
            self.clock,
            Ids(self.clock, SystemEntropy()),
            POLICY,
            "relay.test",
        )
        return Egress(
            queue, self.store.wakeups, self.directory, notifier, means, POLICY, self.budget, worker, NODE
        )

    def route(self, *routes: Route) -> None:
        self.directory.snapshot = replace(self.directory.snapshot, routes=routes)

    # ── what became of mail ──────────────────────────────────────────────────────────────

    async def fate(self, message: Message) -> list[str]:
        """What attempts came to, oldest first: `delivery 250 2.0.0 Ok`, `delay …`, `bounce …`."""
        found = []
        for told in await self.store.events.story(message.id):
            match told.event:
                case Delivery():
                    found.append(f"delivery {told.event.reply}")
                case Delay() | Bounce():
                    found.append(f"{type(told.event).__name__.lower()} {told.event.raw_reason}")
        return found

    async def waiting(self, message: Message) -> Message | None:
        """The message, once it waits in the queue."""
        found = await self.store.queue.select(MailFilter(None, ids=(message.id,)), 1)
        return found[0] if found and found[0].state is State.QUEUED else None

    async def ended(self, *messages: Message) -> list[list[str]]:
        """Their fates, once none of them is in the queue."""

        async def look() -> bool:
            ids: tuple[MessageId, ...] = tuple(message.id for message in messages)
            return not await self.store.queue.select(MailFilter(None, ids=ids), 1)

        await eventually(look)
        return [await self.fate(message) for message in messages]

    async def deferred(self, message: Message, after: datetime = NOW) -> Message:
        """The message, once it waits for later than that."""

        async def look() -> Message | None:
            found = await self.waiting(message)
            return found if found is not None and found.due > after else None

        return cast("Message", await eventually(look))

    async def calls(self, number: int) -> list[str]:
        """Addresses that were connected to, once there are so many."""

        async def look() -> bool:
            return len(self.hosts.calls) >= number

        await eventually(look)
        return [address for address, _, _ in self.hosts.calls]
