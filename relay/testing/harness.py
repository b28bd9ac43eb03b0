"""A whole relay inside a test: real SMTP in, real SQLite, real source addresses out, time moved by hand."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from relay.config.config import load_config
from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import GRANTS, Account, ApiKey, Origin, SendingIp, pool_id_of
from relay.domain.directory import Pool as DirectoryPool
from relay.domain.events import Injection
from relay.domain.ids import (
    SHARED_POOL,
    AccountId,
    IpAddress,
    MessageId,
    PoolId,
    SubaccountId,
    TransmissionId,
)
from relay.domain.message import Message, State
from relay.net.timeouts import Timeouts
from relay.ports.domains import DomainRecords
from relay.ports.eventlog import Told
from relay.ports.outbound import MxResolver
from relay.ports.queue import MailFilter
from relay.process.runtime import Relay
from relay.resources.api_keys.rules import hash_key
from relay.sink.fake_mta import FakeMta
from relay.testing.clock import HandMovedClock
from relay.testing.injection import compose_mail, inject_by_smtp
from relay.testing.lab import lab_directory, lab_key_of, rest_key_of, write_files
from relay.testing.waiting import eventually

if TYPE_CHECKING:
    import httpx

_ACTOR = "test"


@dataclass(frozen=True, slots=True)
class Injected:
    """What became of an injection that was answered 250."""

    transmission_id: TransmissionId
    messages: tuple[MessageId, ...]
    """One for each copy: RCPT TO first, then cc, bcc, archive."""

    @property
    def message_id(self) -> MessageId:
        """Of the only copy. Raises ValueError when there are several."""
        (message,) = self.messages
        return message


class RelayHarness:
    """One relay in this process and loop, with `mta` as the next hop of all its mail.

    Use it with `async with`, or take the `relay` fixture. It listens on an ephemeral port of
    127.0.0.1; its store lives in folder and survives `restart`.
    """

    def __init__(
        self,
        folder: Path,
        mta: FakeMta,
        *,
        clock: HandMovedClock | None = None,
        directory: str | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        resolver: MxResolver | None = None,
        records: DomainRecords | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """directory: the text of a directory.toml, the lab's when None. settings: sections of relay.toml.

        resolver answers for routes by MX; the lab has none. records answers when a sending domain is
        verified. timeouts: how long the next hop may
        take, in real seconds; None: as long as the RFC says.
        """
        self.mta = mta
        self.clock = clock or HandMovedClock()
        self._directory = lab_directory() if directory is None else directory
        self._resolver, self._records, self._timeouts = resolver, records, timeouts
        self._config = write_files(folder, self._directory, mta.address, "127.0.0.1:0", settings or {})
        self._outer = AsyncExitStack()
        self._relay: Relay | None = None
        self._stopping, self._stopped = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = await self._outer.enter_async_context(asyncio.TaskGroup())
        try:
            await self._start()
        except BaseException:
            await self._outer.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._stopping.set()
        return await self._outer.__aexit__(kind, error, trace)

    @property
    def inside(self) -> Relay:
        """The relay itself, with its store and live directory. Raises RuntimeError while it is stopped."""
        if self._relay is None:
            raise RuntimeError("the relay is not running")
        return self._relay

    @property
    def smtp_address(self) -> tuple[str, int]:
        """Host and port to inject at; another port after each restart."""
        return self.inside.smtp_address

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of the API; another port after each restart. Raises RuntimeError without the role."""
        return self.inside.http_address

    def api(
        self,
        account: int = 1,
        *,
        key: str | None = None,
        subaccount: int | None = None,
        over_socket: bool = False,
    ) -> "httpx.AsyncClient":
        """A client of /api/v1, for `async with`. key: another than the account's with all grants.

        subaccount: what X-MSYS-SUBACCOUNT says. over_socket: by TCP; else straight into the application.
        The relay must have the role `api` (`relay.testing.lab.WITH_API`).
        """
        from relay.testing.rest import rest_client_of

        text = rest_key_of(self._directory, account) if key is None else key
        return rest_client_of(self.inside, text, subaccount, over_socket=over_socket)

    async def make_key(
        self,
        account: int = 1,
        grants: Iterable[str] = GRANTS,
        *,
        subaccount: int | None = None,
        valid_ips: Sequence[str] = (),
        is_operator: bool = False,
    ) -> str:
        """The text of a new API key."""
        text = secrets.token_hex(20)
        part = SubaccountId(subaccount) if subaccount else None
        key = ApiKey(
            hash_key(text),
            text[:4],
            AccountId(account),
            "made by a test",
            frozenset(grants),
            part,
            tuple(valid_ips),
            is_operator,
            Origin.LIVE,
        )
        await self.apply(Put(key))
        return text

    async def restart(self) -> None:
        """Stop in good order and start again on the same store."""
        await self.stop()
        await self._start()

    async def stop(self) -> None:
        """Stop in good order; `restart` starts it again."""
        self._stopping.set()
        await self._stopped.wait()

    # ── injecting ────────────────────────────────────────────────────────────────────────

    async def inject(
        self,
        to: str | Sequence[str],
        *,
        ip_pool: str | None = None,
        account: int = 1,
        subaccount: int | None = None,
        msys: Mapping[str, object] | str | None = None,
        mail_from: str = "sender@acme.test",
        headers: Mapping[str, str] | None = None,
        text: str = "Hello.\r\n",
        message: bytes | None = None,
        login: tuple[str, str] | None = None,
    ) -> Injected:
        """Hand in one message by SMTP, with AUTH, as that account or subaccount.

        msys: the X-MSYS-API object, or the value of the field verbatim; ip_pool goes into its
        options. message: the whole content, instead of one made of headers and text. login: user
        name and password, instead of the account's key. Raises InjectionRefusedError.
        """
        recipients = [to] if isinstance(to, str) else list(to)
        content = message or compose_mail(
            recipients[0], mail_from, ip_pool=ip_pool, msys=msys, headers=headers, text=text
        )
        reply = await inject_by_smtp(
            self.smtp_address, login or self.login(account, subaccount), mail_from, recipients, content
        )
        transmission = TransmissionId(reply.split()[-1])
        told = await self.inside.store.events.of_transmission(transmission)
        copies = [one.event.about.message_id for one in told if isinstance(one.event, Injection)]
        return Injected(transmission, tuple(copies))

    def login(self, account: int = 1, subaccount: int | None = None) -> tuple[str, str]:
        """User name and password for SMTP AUTH, as docs/rules.md#mail-by-smtp has them."""
        if subaccount is None:
            return "SMTP_Injection", lab_key_of(self._directory, account)
        return f"SMTP_Injection:X-MSYS-SUBACCOUNT={subaccount}", lab_key_of(self._directory, account)

    # ── the directory ────────────────────────────────────────────────────────────────────

    def pools(self, account: int = 1) -> dict[str, frozenset[str]]:
        """The account's pools and their IPs; empty ones too."""
        snapshot = self.inside.directory.snapshot
        owned = [pool for owner, pool in snapshot.pools if owner == account]
        return {pool: self.ips_of(pool, account) for pool in owned}

    def ips_of(self, pool: str, account: int = 1) -> frozenset[str]:
        """The addresses in a pool; `sp_shared` is the shared pool."""
        snapshot = self.inside.directory.snapshot
        if pool == SHARED_POOL:
            return frozenset(ip.address for ip in snapshot.shared)
        members = snapshot.members.get((AccountId(account), PoolId(pool)), ())
        return frozenset(ip.address for ip in members)

    async def move_ip(self, address: str, pool: str) -> None:
        """Move a dedicated IP to another pool of its account (R17)."""
        await self.apply(Put(replace(self._ip(address), pool=PoolId(pool))))

    async def unassign_ip(self, address: str) -> None:
        """Take the IP from its account; it becomes free inventory (R27)."""
        await self.apply(Put(replace(self._ip(address), account=None, pool=None, shared=False)))

    async def create_pool(self, name: str, account: int = 1) -> str:
        """Returns the id that the name gives (R9)."""
        pool = DirectoryPool(AccountId(account), pool_id_of(name), name)
        await self.apply(Put(pool))
        return pool.id

    async def delete_pool(self, pool: str, account: int = 1) -> None:
        """Delete a pool; its IPs go to `default` (A31)."""
        await self.apply(Remove(self.inside.directory.snapshot.pools[AccountId(account), PoolId(pool)]))

    async def assign_pool(self, subaccount: int, pool: str | None, account: int = 1) -> None:
        """Bind a subaccount to a pool (R23), or to none."""
        entry = self.inside.directory.snapshot.subaccounts[AccountId(account), SubaccountId(subaccount)]
        await self.apply(Put(replace(entry, ip_pool=PoolId(pool) if pool else None)))

    async def change_account(self, account: int, change: Callable[[Account], Account]) -> None:
        """Set an account to what change makes of it."""
        await self.apply(Put(change(self.inside.directory.snapshot.accounts[AccountId(account)])))

    async def apply(self, *changes: Change) -> None:
        """Write changes to the directory; they hold for the next message."""
        await self.inside.directory.apply(changes, _ACTOR)

    def _ip(self, address: str) -> SendingIp:
        return self.inside.directory.snapshot.ips[IpAddress(address)]

    # ── the queue ────────────────────────────────────────────────────────────────────────

    async def queue(self, state: State | None = None) -> list[Message]:
        """The unfinished messages, oldest first."""
        return await self.inside.store.queue.select(MailFilter(None, state=state), 100_000)

    async def story(self, message: MessageId) -> list[Told]:
        """Everything that happened to a message, oldest first."""
        return await self.inside.store.events.story(message)

    async def quiet(self, timeout_s: float = 20) -> list[Message]:
        """Wait until no message is on its way or due, and return what waits in the queue.

        Do so before moving the clock: an attempt's outcome is written a moment after the next
        hop's reply, and the wait for the next one counts from there. Raises TimeoutError.
        """
        (waiting,) = await eventually(self._look, timeout_s)
        return waiting

    async def _look(self) -> list[list[Message]]:
        """The queue in a list, or nothing while some of it is busy."""
        waiting = await self.queue()
        return [] if any(self._is_busy(message) for message in waiting) else [waiting]

    def _is_busy(self, message: Message) -> bool:
        if message.state is State.HELD:
            return False
        return message.state is State.IN_FLIGHT or message.due <= self.clock.now()

    # ── running ──────────────────────────────────────────────────────────────────────────

    async def _start(self) -> None:
        self._stopping, self._stopped = asyncio.Event(), asyncio.Event()
        started = asyncio.Event()
        failed: list[BaseException] = []
        self._tasks.create_task(self._run(started, failed), name="relay under test")
        await started.wait()
        if failed:
            raise failed[0]

    async def _run(self, started: asyncio.Event, failed: list[BaseException]) -> None:
        """One life of the relay. In a task of its own: a fixture's two halves do not share one."""
        try:
            async with Relay(
                load_config(self._config, {}),
                clock=self.clock,
                resolver=self._resolver,
                records=self._records,
                timeouts=self._timeouts,
            ) as self._relay:
                started.set()
                await self._stopping.wait()
        except BaseException as error:
            if started.is_set():
                raise
            failed.append(error)
        finally:
            self._relay = None
            started.set()
            self._stopped.set()
