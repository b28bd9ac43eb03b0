"""The one module that knows concrete adapters: it builds them and runs the chosen roles."""

import asyncio
import os
from contextlib import AsyncExitStack
from itertools import chain
from types import TracebackType
from typing import Self

from starlette.types import ASGIApp

from relay.accept.budget import BodyBudget
from relay.accept.door import Injector
from relay.accept.ids import Ids
from relay.accept.notice import Notifier
from relay.accept.rejections import Rejections
from relay.accept.scheduled import DueTransmissions
from relay.accept.transmit import Transmitter
from relay.accept.turns import Turns
from relay.accept.workshop import Workshop
from relay.config.config import Config
from relay.domain.ids import WorkerId
from relay.domain.shares import Shares
from relay.egress.conversation import DeliveryMeans
from relay.egress.path import PathLimits
from relay.egress.seven_bit import Converter
from relay.egress.solitude import Solitude
from relay.egress.worker import Egress
from relay.frames.live import LiveDirectory
from relay.frames.retention import keep_trim
from relay.frames.services import Entrance
from relay.ingress.server import SmtpServer
from relay.net.ambient import SystemClock, SystemEntropy
from relay.net.dns import DnsResolver
from relay.net.own import Listener, addresses_of, is_own
from relay.net.smtp_session import SmtpDialer
from relay.net.tally import tally_refusals
from relay.net.timeouts import Timeouts
from relay.net.tls import LivePair
from relay.ports.ambient import Clock
from relay.ports.domains import DomainRecords
from relay.ports.outbound import Departures, Host, MxResolver
from relay.process.children.pool import ChildPool
from relay.process.preparation import first_directory, smtp_pair
from relay.process.reception import Means as HttpMeans
from relay.process.reception import Reception, exempt_networks
from relay.process.scheduler import Scheduler
from relay.process.summaries import keep_summaries
from relay.process.upkeep import keep_up
from relay.process.wakeups import Everybody, NoDepartures
from relay.store import Store, open_store

GRACE_S = 30.0
"""How long what is in hand may take to end once we are asked to stop."""
_LEAST_GRACE_S = 5.0
"""Of that, for requests by HTTP, which are listened to until SMTP has ended."""


class Relay:
    """One relay process: store, SMTP in, egress, as far as its roles go. Use it with `async with`."""

    store: Store
    directory: LiveDirectory

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        resolver: MxResolver | None = None,
        records: DomainRecords | None = None,
        timeouts: Timeouts | None = None,
        workers: int = 1,
        shares: Shares | None = None,
    ) -> None:
        """clock, resolver and records (of sending domains): others than the machine's.

        timeouts: for next hops, others than the RFC's.

        workers: so many processes share the listeners and the cores of the machine. shares: what SMTP
        clients hold of all of them.
        """
        self._config, self._clock, self._resolver = config, clock or SystemClock(), resolver
        self._timeouts, self._records = timeouts, records
        self._workers = workers
        self._shares = shares or smtp_shares(config)
        self._entropy = SystemEntropy()
        self._ids, self._policy = Ids(self._clock, self._entropy), config.retry_policy
        self._sandbox = ChildPool(max(1, (os.cpu_count() or 1) // workers))
        self._refusals = tally_refusals()
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self._ends_at: float | None = None
        """By the loop's clock: when the grace is over; None before we are asked to stop."""
        self._server: SmtpServer | None = None
        self._http: Reception | None = None
        self._smtp_pair: LivePair | None = None
        self._listeners: list[Listener] = []

    @property
    def smtp_address(self) -> tuple[str, int]:
        """Host and port of the first listener."""
        return self.smtp_addresses[0]

    @property
    def smtp_addresses(self) -> list[tuple[str, int]]:
        """As bound; empty without the role."""
        return self._server.addresses if self._server is not None else []

    @property
    def http(self) -> Reception:
        """What answers HTTP. Raises RuntimeError without the roles api and web."""
        if self._http is None:
            raise RuntimeError("the relay has neither role api nor web")
        return self._http

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of API and console. Raises RuntimeError without the roles."""
        return self.http.address

    @property
    def http_app(self) -> ASGIApp:
        """The API itself. Raises RuntimeError without the roles."""
        return self.http.api

    @property
    def http_url(self) -> str | None:
        """Where API and console are, without a path; None without the roles."""
        return None if self._http is None else self._http.url

    @property
    def pairs(self) -> list[LivePair]:
        """Certificates of the listeners."""
        listed = (self._smtp_pair, None if self._http is None else self._http.pair)
        return [pair for pair in listed if pair is not None]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def _start(self, stack: AsyncExitStack) -> None:
        """Listeners first: an address that is taken ends the start before anything runs."""
        stack.callback(self._refusals.sum_up)
        config = self._config
        worker = WorkerId(f"{config.node}-{os.getpid()}-{self._entropy.octets(4).hex()}")
        carries = "egress" in config.roles
        store = await open_store(
            config.store,
            worker=worker if carries else None,
            account_queue_bytes=config.limits.account_queue_bytes,
        )
        self.store = await stack.enter_async_context(store)
        await first_directory(store, config, self._clock)
        self.directory = LiveDirectory(store.directory, await store.directory.snapshot(), self._clock)
        # One each: hosts that take their time with large mail must not keep us from accepting more.
        share = max(config.smtp.max_message_bytes, config.smtp.body_budget_bytes // 2)
        budget = BodyBudget(share)
        egress = self._egress(worker, BodyBudget(share)) if carries else None
        departures = egress or NoDepartures(store.wakeups)
        turns = Turns()
        injector = self._injector(departures, turns)
        rejections = Rejections(store.events, self._workers)
        transmitter, scheduler = self._transmissions(departures, turns, worker, budget)
        if "smtp" in config.roles:
            self._server = await self._listen(injector, rejections, budget)
        if {"api", "web"} & set(config.roles):
            means = HttpMeans(
                store,
                self._clock,
                self._ids,
                self.directory,
                self._policy,
                rejections,
                transmitter,
                self._sandbox,
                budget,
                self._records,
                store.wakeups if egress is None else Everybody(store.wakeups, egress),
                self._refusals,
                self._trouble,
            )
            try:
                self._http = await Reception.bind(config, means, self._entrance(), GRACE_S)
            except OSError:
                if self._server is not None:
                    await self._server.close(0)
                raise
        self._listeners = await asyncio.to_thread(self._own_listeners)
        # After all that may still ask it for something has ended.
        stack.push_async_callback(self._sandbox.close)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(self.directory.watch(self._stopping), name="directory")
        forget_users = None if self._http is None else self._http.sign_ins.forget_old
        trim = keep_trim(
            store.events, store.idempotency, store.directory, self._clock, self._stopping, forget_users
        )
        tasks.create_task(trim, name="retention")
        upkeep = keep_up(self.directory, store.directory, self._clock, self._stopping)
        tasks.create_task(upkeep, name="upkeep")
        if {"api", "feed"} & set(config.roles):
            tasks.create_task(scheduler.run(self._stopping), name="scheduler")
        if egress is not None:
            tasks.create_task(egress.run(self._stopping, GRACE_S), name="egress")
        tasks.create_task(rejections.run(), name="rejections")
        stack.callback(rejections.close)
        stack.callback(self._stopping.set)
        if self._http is not None:
            summaries = keep_summaries(store.events, self._clock, self._stopping)
            tasks.create_task(summaries, name="summaries")
            tasks.create_task(self._http.run(), name="http")
            stack.push_async_callback(self._close_http, self._http)
        if self._server is not None:
            # Before anything else stops: clients inside a transaction still get their answer.
            stack.push_async_callback(self._server.close, GRACE_S)
        stack.callback(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        self._ends_at = asyncio.get_running_loop().time() + GRACE_S

    async def _close_http(self, http: Reception) -> None:
        """After SMTP: `/readyz` says why no more mail is taken while the last of it comes in."""
        now = asyncio.get_running_loop().time()
        await http.close(max((self._ends_at or now) - now, _LEAST_GRACE_S))

    def _trouble(self) -> str | None:
        if self._ends_at is not None:
            return "the relay is stopping"
        if (trouble := self.store.trouble) is not None:
            return trouble
        if self._server is not None:
            return self._server.trouble
        if "api" not in self._config.roles:
            return "this process takes no mail: it has neither role smtp nor api"
        return None

    def _own_listeners(self) -> list[Listener]:
        if self._http is not None:
            return [*self.smtp_addresses, *self._http.addresses]
        if self._workers == 1:
            return self.smtp_addresses
        # One of the other workers answers HTTP.
        http = self._config.http
        others = (addresses_of(where.host, where.port) for where in (http.listen, *http.listen_tls))
        return [*self.smtp_addresses, *chain.from_iterable(others)]

    def _entrance(self) -> Entrance:
        smtp, addresses = self._config.smtp, self.smtp_addresses
        clear = len(smtp.listen)
        return Entrance(
            self._config.hostname,
            tuple(addresses[:clear]),
            tuple(addresses[clear:]),
            smtp.auth_without_tls,
        )

    def _transmissions(
        self, departures: Departures, turns: Turns, worker: WorkerId, budget: BodyBudget
    ) -> tuple[Transmitter, Scheduler]:
        store, news = self.store, asyncio.Event()
        workshop = Workshop(
            self._sandbox,
            store.suppressions,
            self._clock,
            self._ids,
            budget,
            self._config.smtp.max_message_bytes,
        )
        transmitter = Transmitter(
            store.transmissions,
            store.queue,
            self.directory,
            departures,
            self._clock,
            self._ids,
            self._policy,
            self._config.hostname,
            turns,
            news,
            workshop,
        )
        due = DueTransmissions(
            store.transmissions,
            store.queue,
            self.directory,
            transmitter,
            self._clock,
            self._policy,
            worker,
        )
        return transmitter, Scheduler(due, store.transmissions, self._clock, worker, news)

    def _egress(self, worker: WorkerId, budget: BodyBudget) -> Egress:
        config, store, limits = self._config, self.store, self._config.limits
        means = DeliveryMeans(
            SmtpDialer(timeouts=self._timeouts, connect_timeout_s=limits.connect_timeout_s),
            self._resolver or DnsResolver(),
            self._clock,
            PathLimits(
                limits.connections, limits.deliveries_per_connection, limits.recipients_per_transaction
            ),
            self._policy.first_retry,
            Solitude(),
            self.directory,
            Converter(self._sandbox, budget),
            self._is_ours,
            config.sink.domains,
        )
        notifier = Notifier(
            store.queue, store.events, self.directory, self._clock, self._ids, self._policy, config.hostname
        )
        return Egress(
            store.queue,
            store.wakeups,
            self.directory,
            notifier,
            means,
            self._policy,
            budget,
            worker,
            config.node,
        )

    def _injector(self, departures: Departures, turns: Turns) -> Injector:
        return Injector(
            self.store.queue,
            self.directory,
            departures,
            self._clock,
            self._ids,
            self._policy,
            self._config.hostname,
            turns,
        )

    async def _listen(self, injector: Injector, rejections: Rejections, budget: BodyBudget) -> SmtpServer:
        config = self._config
        pair = LivePair(*await asyncio.to_thread(smtp_pair, config))
        self._smtp_pair = pair
        server = SmtpServer(
            config.smtp,
            self.directory,
            injector,
            rejections,
            self._sandbox,
            budget,
            self._clock,
            pair.context,
            config.hostname,
            self._workers > 1,
            shares=self._shares,
            refused=self._refusals,
            refuses_tracking=config.tracking.when_off == "refuse",
        )
        await server.start()
        return server

    def _is_ours(self, host: Host) -> bool:
        """Whether a listener of this relay would answer there, mail's or HTTP's."""
        return is_own(host.address, host.port, self._listeners)


def smtp_shares(config: Config, memory: memoryview | None = None, worker: int = 0) -> Shares:
    """What each client may hold of the SMTP listeners; memory: that of all workers."""
    return Shares(config.smtp.max_connections_per_client, exempt_networks(config), memory, worker)
