"""What answers HTTP in this process: REST under /api and the console everywhere else, behind one listener."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from starlette.types import ASGIApp, Receive, Scope, Send

from relay.accept.budget import BodyBudget
from relay.accept.ids import Ids
from relay.accept.rejections import Rejections
from relay.accept.transmit import Transmitter
from relay.config.config import Config
from relay.config.values import Endpoint, Network
from relay.domain.retry import RetryPolicy
from relay.domain.shares import Shares
from relay.frames.caps import Caps
from relay.frames.console.app import build_console
from relay.frames.console.templating import load_templates
from relay.frames.live import LiveDirectory
from relay.frames.rest.app import build_app
from relay.frames.services import Entrance, Services
from relay.frames.sign_in import LINK_PATH, SignIns
from relay.frames.use_cases import UseCases
from relay.net.ambient import SystemEntropy
from relay.net.http_server import HttpServer
from relay.net.passwords import Argon2Hasher
from relay.net.records import DnsRecords, RsaKeys
from relay.net.tally import LogTally
from relay.net.tls import LivePair
from relay.ports.ambient import Clock
from relay.ports.domains import DomainRecords
from relay.ports.queue import WakeUps
from relay.ports.sandbox import Sandbox
from relay.process.mount import ROUTERS, VIEWS
from relay.process.preparation import http_pair
from relay.resources.audit.rules import AuditLog
from relay.resources.billing.rules import Billing
from relay.resources.queue.bulk import BulkRuns
from relay.resources.queue.rules import MailDesk, Operator
from relay.resources.sending_domains.rules import SendingDomains
from relay.resources.suppression_list.rules import SuppressionList
from relay.resources.transmissions.rejections import tell_rejection
from relay.resources.transmissions.rules import ScheduledMail
from relay.store import Store

_KEY = re.compile(rb"[0-9A-Fa-f]{40}")
_HEALTH = frozenset({"/healthz", "/readyz"})


@dataclass(frozen=True)
class Means:
    """What REST and console share with the rest of the process."""

    store: Store
    clock: Clock
    ids: Ids
    directory: LiveDirectory
    policy: RetryPolicy
    rejections: Rejections
    transmitter: Transmitter
    sandbox: Sandbox
    budget: BodyBudget
    records: DomainRecords | None
    """None: DNS as it is."""
    wakeups: WakeUps
    """Of all processes, this one among them."""
    refusals: LogTally
    """Of credentials, by all doors."""
    trouble: Callable[[], str | None]
    """Why this process can take no mail, in words that name no path; None: it can."""


class Reception:
    """The listeners of `[http]` with their applications."""

    def __init__(
        self,
        config: Config,
        servers: Sequence[HttpServer],
        pair: LivePair | None,
        means: Means,
        sign_ins: SignIns,
        entrance: Entrance,
    ) -> None:
        """servers: that of `listen`, and those of `listen_tls`. pair: what they show; None in clear text."""
        self._config, self._servers, self._means, self._sign_ins = config, servers, means, sign_ins
        self.pair = pair
        self.bulk = BulkRuns(means.store.reports, self._operator, means.clock, SystemEntropy())
        services = self._services(entrance)
        self.api = build_app(services, ROUTERS if "api" in config.roles else (), tell_rejection)
        self._front: ASGIApp = self.api
        if "web" in config.roles:
            self._front = Front(self.api, build_console(services, VIEWS))

    @classmethod
    async def bind(cls, config: Config, means: Means, entrance: Entrance, grace_s: float) -> Self:
        """Take the addresses. Raises OSError, which names the one that could not be had."""
        http, files = config.http, await asyncio.to_thread(http_pair, config)
        pair = None if files is None else await asyncio.to_thread(LivePair, *files)
        shares = Shares(http.max_connections_per_client, exempt_networks(config))
        is_clear = http.certificate is None
        servers: list[HttpServer] = []
        try:
            for endpoint in (http.listen, *http.listen_tls):
                tls = None if pair is None or (is_clear and not servers) else pair.context
                key = "http.listen_tls" if servers else "http.listen"
                host, port = endpoint.host, endpoint.port
                servers.append(HttpServer(host, port, tls, int(grace_s), shares=shares, setting=key))
                await servers[-1].bind()
        except OSError:
            for server in servers:
                server.unbind()
            raise
        users, passwords = means.store.users, Argon2Hasher()
        sign_ins = SignIns(users, passwords, means.clock, SystemEntropy(), means.directory)
        return cls(config, servers, pair, means, sign_ins, entrance)

    @property
    def address(self) -> tuple[str, int]:
        """As bound, of `listen`."""
        return self._servers[0].address

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of all listeners."""
        return [server.address for server in self._servers]

    @property
    def tls_url(self) -> str | None:
        """Where the first of `listen_tls` is, without a path; None without one."""
        return f"https://{Endpoint(*self._servers[1].address)}" if len(self._servers) > 1 else None

    @property
    def sign_ins(self) -> SignIns:
        """Of the console's people."""
        return self._sign_ins

    @property
    def url(self) -> str:
        """As people reach it, without a path."""
        if self._config.http.public_url:
            return self._config.http.public_url
        return f"{self._servers[0].scheme}://{Endpoint(*self.address)}"

    async def first_link(self) -> str | None:
        """Where the first operator comes in, while nobody has signed in yet.

        Raises StoreUnavailable, OverCapacity.
        """
        made = await self._sign_ins.first_link("start")
        return None if made is None else f"{self.url}{LINK_PATH}{made[1]}"

    def warm_up(self) -> None:
        """Make what else the first to ask would wait for: a second's work, for a thread."""
        self.api.openapi()
        if "web" in self._config.roles:
            load_templates()

    async def run(self) -> None:
        """Answer until `close`."""
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bulk.run(stopping), name="bulk runs")
            try:
                async with asyncio.TaskGroup() as serving:
                    for server in self._servers:
                        serving.create_task(server.run(self._front), name="http listener")
            finally:
                stopping.set()

    async def close(self, grace_s: float) -> None:
        """Listen no more; what is being answered has grace_s to end."""
        async with asyncio.TaskGroup() as closing:
            for server in self._servers:
                closing.create_task(server.close(grace_s), name="http listener closes")

    def _operator(self, actor: str) -> Operator:
        means, store = self._means, self._means.store
        return Operator(store.queue, means.wakeups, means.directory, means.clock, means.policy, actor)

    def _services(self, entrance: Entrance) -> Services:
        config, means, store = self._config, self._means, self._means.store
        limits = config.limits
        return Services(
            clock=means.clock,
            directory=means.directory,
            events=store.events,
            reports=store.reports,
            idempotency=store.idempotency,
            sandbox=means.sandbox,
            budget=means.budget,
            use_cases=self._use_cases(),
            sign_ins=self._sign_ins,
            caps=Caps(
                limits.account_keys,
                limits.account_pools,
                limits.account_subaccounts,
                limits.account_domains,
                limits.account_users,
            ),
            trouble=means.trouble,
            trusted_proxies=config.http.trusted_proxies,
            refusals=means.refusals,
            refuses_tracking=config.tracking.when_off == "refuse",
            requests_per_second=config.http.requests_per_second,
            entrance=entrance,
            base_url=self.url,
        )

    def _use_cases(self) -> UseCases:
        means = self._means
        records = means.records or DnsRecords()
        domains = SendingDomains(means.directory, records, RsaKeys(), means.clock, self._config.hostname)
        billing = Billing(means.directory, means.store.billing, means.clock)
        store = means.store
        return UseCases(
            domains,
            billing,
            self.bulk,
            means.transmitter,
            means.rejections,
            MailDesk(store.queue, store.events, self._operator),
            SuppressionList(store.suppressions, means.directory, means.clock),
            AuditLog(store.directory),
            ScheduledMail(store.transmissions),
        )


def exempt_networks(config: Config) -> tuple[Network, ...]:
    """Whose clients may hold any number of connections."""
    return (*(entry.network for entry in config.smtp.trusted), *config.http.trusted_proxies)


class Front:
    """An ASGI application that hands each request to the one it is meant for.

    A program that looks for the API at a wrong path is answered by the API: its user reads that, and no page.
    """

    def __init__(self, api: ASGIApp, console: ASGIApp) -> None:
        self._api, self._console = api, console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).rstrip("/")
        is_of_programs = path == "/api" or path.startswith("/api/") or path in _HEALTH
        is_first_page = not path and scope.get("method") in ("GET", "HEAD")
        is_for_programs = is_of_programs or (not is_first_page and _is_by_program(scope))
        await (self._api if is_for_programs else self._console)(scope, receive, send)


def _is_by_program(scope: Scope) -> bool:
    """Whether it speaks JSON or shows an API key, as no browser does."""
    # Of a field that is there several times, the last.
    fields = {name.lower(): value.strip() for name, value in scope.get("headers", ())}
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    accepted = fields.get(b"accept", b"").lower()
    wants_json = b"application/json" in accepted and b"text/html" not in accepted
    return kind == b"application/json" or wants_json or _is_key(fields.get(b"authorization", b""))


def _is_key(shown: bytes) -> bool:
    """Whether it has the shape of a key: by itself, behind a scheme, or as the user of HTTP Basic."""
    scheme, _, rest = shown.rpartition(b" ")
    if scheme.strip().lower() != b"basic":
        return _KEY.fullmatch(rest) is not None
    try:
        return _KEY.fullmatch(base64.b64decode(rest, validate=True).partition(b":")[0]) is not None
    except binascii.Error:
        return False
