"""A real listener with a directory made by hand, in front of something that only records."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from relay.accept.budget import BodyBudget
from relay.accept.copies import Handed
from relay.config.config import SmtpSettings
from relay.domain.directory import Account, ApiKey, Plan, Snapshot, Status, Subaccount
from relay.domain.events import PolicyRejection
from relay.domain.ids import AccountId, Revision, SubaccountId, TransmissionId
from relay.ingress.server import SmtpServer
from relay.net.tally import tally_refusals
from relay.net.tls import ensure_self_signed, server_context
from relay.process.children.pool import ChildPool
from relay.testing.clock import HandMovedClock
from relay.testing.wire import Wire, connect_wire

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOST = "relay.test"
ACCOUNT, SUSPENDED = AccountId(1), AccountId(2)
INJECT = frozenset({"smtp/inject"})


def build_key(text: str, **more: object) -> ApiKey:
    made = ApiKey(sha256(text.encode()).hexdigest(), text[:4], ACCOUNT, text, INJECT)
    return replace(made, **more)  # type: ignore[arg-type]  # fields by name


KEYS = {
    "account-key": build_key("account-key"),
    "subaccount-key": build_key("subaccount-key", subaccount=SubaccountId(123)),
    "rest-key": build_key("rest-key", grants=frozenset({"transmissions/modify"})),
    "suspended-key": build_key("suspended-key", account=SUSPENDED),
    "paused-key": build_key("paused-key", subaccount=SubaccountId(124)),
    "office-key": build_key("office-key", valid_ips=("10.0.0.0/8", "192.0.2.7")),
    "local-key": build_key("local-key", valid_ips=("10.0.0.0/8", "127.0.0.1")),
    "broken-key": build_key("broken-key", valid_ips=("everywhere",)),
    "orphaned-key": build_key("orphaned-key", account=AccountId(9)),
}
"""By their text."""


def build_snapshot(revision: int = 1, *keys: str) -> Snapshot:
    """The directory of these tests; keys: those it has, all when none is named."""
    chosen = [KEYS[text] for text in keys or KEYS]
    return Snapshot(
        Revision(revision),
        accounts={
            ACCOUNT: Account(ACCOUNT, "Acme", Plan.SELF_SERVE),
            SUSPENDED: Account(SUSPENDED, "Birch", Plan.FREE, status=Status.SUSPENDED),
        },
        subaccounts={
            (ACCOUNT, SubaccountId(number)): Subaccount(ACCOUNT, SubaccountId(number), "s", status=status)
            for number, status in ((123, Status.ACTIVE), (124, Status.SUSPENDED), (125, Status.ACTIVE))
        },
        keys={key.sha256: key for key in chosen},
    )


class HandMadeDirectory:
    """A live directory: `snapshot` is what this process knows, `newest` what refresh finds."""

    def __init__(self) -> None:
        self.snapshot = self.newest = build_snapshot()
        self.refreshed = 0
        self.failure: Exception | None = None
        self.revoked: set[str] = set()
        """Texts of keys."""

    def note_key_use(self, sha256: str) -> None:
        """Nobody asks."""

    async def was_revoked(self, key_sha256: str) -> bool:
        return key_sha256 in {sha256(text.encode()).hexdigest() for text in self.revoked}

    async def refresh(self) -> Snapshot:
        self.refreshed += 1
        if self.failure is not None:
            raise self.failure
        self.snapshot = self.newest
        return self.snapshot

    async def apply(self, changes: object, actor: str, answered: object = None) -> Snapshot:
        raise AssertionError("nobody who hands in mail changes the directory")


@dataclass
class Recorder:
    """What stands for the core: takes everything, unless told otherwise."""

    handed: list[Handed] = field(default_factory=list)
    rejections: list[PolicyRejection] = field(default_factory=list)
    failure: Exception | None = None
    """Raised by `accept`."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """`accept` waits for it."""
    waited_for: int = 0
    """Rejections whose writing a reply has waited for."""
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def accept(self, handed: Handed) -> TransmissionId:
        self.entered.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.handed.append(handed)
        return TransmissionId(str(1000 + len(self.handed)))

    def tell(self, rejection: PolicyRejection, kind: str, slip: str = "", more: int = 0) -> None:
        assert kind == f"smtp {rejection.error_code} {rejection.raw_reason.split(' ')[1]}"
        self.rejections.append(rejection)

    async def told(self) -> None:
        self.waited_for = len(self.rejections)


class Served:
    """A running server and what stands around it."""

    def __init__(self, settings: SmtpSettings, tls: ssl.SSLContext, data_timeout_s: float) -> None:
        self.directory, self.core = HandMadeDirectory(), Recorder()
        self.budget = BodyBudget(settings.body_budget_bytes)
        self.clock = HandMovedClock(NOW)
        self.sandbox = ChildPool(1)
        self.refused = tally_refusals()
        self.server = SmtpServer(
            settings,
            self.directory,
            self.core,
            self.core,
            self.sandbox,
            self.budget,
            self.clock,
            tls,
            HOST,
            data_timeout_s=data_timeout_s,
            refused=self.refused,
        )

    @property
    def address(self) -> tuple[str, int]:
        return self.server.addresses[0]

    def connect(self) -> AbstractAsyncContextManager[Wire]:
        """A connection; the greeting is still to be read."""
        return connect_wire(self.address)

    @asynccontextmanager
    async def open(self, *commands: bytes) -> AsyncIterator[Wire]:
        """A connection after EHLO, AUTH with the account's key, and commands, all of them accepted."""
        async with connect_wire(self.address) as wire:
            await hello(wire)
            assert await login(wire) == "235 2.0.0 Authed. Go on."
            for command in commands:
                assert (await wire.ask(command))[:1] in {"2", "3"}, command
            yield wire

    async def assert_serving(self) -> None:
        """A stranger to what happened before still gets through."""
        before = len(self.core.handed)
        async with self.open() as wire:
            assert (await send(wire, b"Subject: still here\r\n\r\nx\r\n"))[:3] == "250"
        assert len(self.core.handed) == before + 1
        self.core.handed.pop()


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    return server_context(*ensure_self_signed(folder, HOST))


@pytest.fixture
def serve(tls: ssl.SSLContext) -> Serve:
    """A function: settings of `[smtp]` over ours → a running server, to be used with `async with`."""

    @asynccontextmanager
    async def start(data_timeout_s: float = 600, **settings: object) -> AsyncIterator[Served]:
        ours: dict[str, object] = {"listen": ("127.0.0.1:0",), "auth_without_tls": True}
        served = Served(SmtpSettings.model_validate({**ours, **settings}), tls, data_timeout_s)
        await served.server.start()
        try:
            yield served
        finally:
            served.core.gate.set()
            await served.server.close(5)

    return start


@pytest.fixture
async def smtp(serve: Serve) -> AsyncIterator[Served]:
    """A server with the usual settings."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(serve())


async def hello(wire: Wire) -> str:
    """The reply to EHLO, after the greeting."""
    assert (await wire.reply())[:3] == "220"
    return await wire.ask(b"EHLO client.example")


def plain(password: str, username: str = "SMTP_Injection", authzid: str = "") -> bytes:
    return base64.b64encode(f"{authzid}\0{username}\0{password}".encode())


async def login(wire: Wire, password: str = "account-key", username: str = "SMTP_Injection") -> str:
    return await wire.ask(b"AUTH PLAIN " + plain(password, username))


async def send(wire: Wire, content: bytes, *recipients: bytes) -> str:
    """One transaction; content without the final dot. The reply to it."""
    assert (await wire.ask(b"MAIL FROM:<alice@acme.test>"))[:3] == "250"
    for recipient in recipients or (b"bob@gmail.example",):
        assert (await wire.ask(b"RCPT TO:<" + recipient + b">"))[:3] == "250"
    assert (await wire.ask(b"DATA"))[:3] == "354"
    await wire.write(content + b".\r\n")
    return await wire.reply()


def unverified() -> ssl.SSLContext:
    """For a client: the server's certificate is nobody's."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
