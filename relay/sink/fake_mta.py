"""A next hop that does what it is told: it answers by recipient, by source IP and by rate, or misbehaves."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from relay.domain.reply import Phase
from relay.sink.connection import SinkConnection
from relay.sink.orders import EXTENSIONS, Act, Attempt, Orders, Rate, Reaction


class FakeMta:
    """An SMTP server for tests, on an ephemeral port: `async with FakeMta() as mta`.

    It takes everything until told otherwise, and remembers it in `attempts`. What it is told
    holds from the next command on. It keeps its port when it is entered again.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        hostname: str = "mx.fake.test",
        extensions: Sequence[str] = EXTENSIONS,
        credentials: Mapping[str, str] | None = None,
        decide: Callable[[str, str], str | None] | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
        remembers: bool = True,
    ) -> None:
        """tls: offers STARTTLS with it. credentials: user names and passwords; AUTH is then required.

        decide: asked for the reply to (source IP, recipient); None means acceptance. Without
        remembers `attempts` stays empty, and on_attempt alone is told.
        """
        self.attempts: list[Attempt] = []
        self.logins: list[tuple[str, str]] = []
        """User names and passwords that were offered, right or wrong."""
        self._host, self._port = host, port
        self._on_attempt, self._remembers = on_attempt, remembers
        self._waiters: list[tuple[int, asyncio.Event]] = []
        self._server: asyncio.Server | None = None
        self._open: set[SinkConnection] = set()
        self._orders = Orders(hostname, tuple(extensions), tls, credentials, decide, self._taken)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._orders.tasks = await asyncio.TaskGroup().__aenter__()
        self._server = await loop.create_server(
            lambda: SinkConnection(self._orders, self.logins, self._open), self._host, self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._orders.tasks is not None
        self._server.close()
        self.drop_all()
        await self._orders.tasks.__aexit__(None, None, None)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    @property
    def port(self) -> int:
        return self._port

    # ── what came ────────────────────────────────────────────────────────────────────────

    @property
    def accepted(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.is_accepted]

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._orders.connections

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def open_by_ip(self) -> Counter[str]:
        """Open connections of each source address."""
        return Counter(connection.peer_ip for connection in self._open)

    @property
    def pipelined(self) -> int:
        """How many commands came before the one ahead of them was answered (RFC 2920)."""
        return self._orders.pipelined

    def attempts_for(self, recipient: str) -> list[Attempt]:
        """In the order in which they were decided."""
        wanted = recipient.lower()
        return [attempt for attempt in self.attempts if attempt.recipient.lower() == wanted]

    async def attempts_reached(self, count: int, timeout_s: float = 20) -> list[Attempt]:
        """The attempts, as soon as there are so many. Raises TimeoutError."""
        if len(self.attempts) < count:
            reached = asyncio.Event()
            self._waiters.append((count, reached))
            async with asyncio.timeout(timeout_s):
                await reached.wait()
        return list(self.attempts)

    # ── what it says ─────────────────────────────────────────────────────────────────────

    def answer(self, recipient: str, reply: str, then: str | None = None) -> None:
        """Say reply to this recipient, and then from the second time on. Replaces what was told before.

        A positive reply comes after the final dot, any other at RCPT.
        """
        self._orders.by_recipient[recipient.lower()] = Reaction(reply, then)

    def answer_ip(self, source_ip: str, reply: str, then: str | None = None) -> None:
        """Say reply to MAIL from this source address, and then from the second time on."""
        self._orders.by_ip[source_ip] = Reaction(reply, then)

    def limit(
        self, reply: str = "451 4.7.1 Too fast", *, first: int | None = None, per_second: float | None = None
    ) -> None:
        """Say reply to recipients after the first so many, or above so many a second; neither: no limit."""
        if first is None and per_second is None:
            self._orders.rate = None
            return
        left = first if first is not None else max(per_second or 0.0, 1.0)
        self._orders.rate = Rate(reply, left, per_second, asyncio.get_running_loop().time())

    def say(self, phase: Phase, reply: str | bytes, times: float = float("inf")) -> None:
        """Answer a phase with reply, so many times; octets are written as they are, garbage included.

        After 421, and after a greeting other than 220, the connection is closed.
        """
        self._orders.acts.setdefault(phase, []).append((reply, times))

    def hang(self, phase: Phase, times: float = float("inf")) -> None:
        """Fall silent instead of answering that phase, so many times; the connection stays open."""
        self._orders.acts.setdefault(phase, []).append((Act.HANG, times))

    def drop(self, phase: Phase, times: float = float("inf")) -> None:
        """Close the connection instead of answering that phase, so many times; BODY: after the final dot."""
        self._orders.acts.setdefault(phase, []).append((Act.DROP, times))

    def drop_in_body(self, after_octets: int | None) -> None:
        """Close the connection when so many octets of content came, before the final dot."""
        self._orders.drop_in_body = after_octets

    def behave(self) -> None:
        """End what say, hang, drop and drop_in_body began."""
        self._orders.acts.clear()
        self._orders.drop_in_body = None

    def restrict(
        self,
        *,
        messages_per_connection: int | None = None,
        connections: int | None = None,
        recipients: int | None = None,
        size_bytes: int = 0,
        delay_s: float = 0,
    ) -> None:
        """Close after so many messages; 421 beyond so many connections; 452 beyond so many recipients.

        size_bytes: 552 for more; 0: any. delay_s: each reply comes so much later.
        """
        self._orders.closes_after = messages_per_connection
        self._orders.max_connections = connections
        self._orders.max_recipients = recipients
        self._orders.max_size = size_bytes
        self._orders.delay_s = delay_s

    def drop_all(self) -> None:
        """Close every open connection."""
        for connection in list(self._open):
            connection.close()

    def say_all(self, reply: str) -> None:
        """Say something unasked on every open connection, such as 421, which closes it."""
        for connection in list(self._open):
            connection.say_unasked(reply)

    def _taken(self, attempt: Attempt) -> None:
        if self._remembers:
            self.attempts.append(attempt)
        if self._on_attempt is not None:
            self._on_attempt(attempt)
        if self._waiters:
            for count, reached in self._waiters:
                if len(self.attempts) >= count:
                    reached.set()
            self._waiters = [waiter for waiter in self._waiters if not waiter[1].is_set()]
