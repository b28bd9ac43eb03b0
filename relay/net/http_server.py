"""The listener of `[http]`: uvicorn in the relay's own loop, without its signal handlers."""

import asyncio
import logging
import math
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.domain.clients import ClientAddress, client_address
from relay.domain.shares import Shares
from relay.net.descriptors import for_http
from relay.net.handshake import Handshakes
from relay.net.listening import BACKLOG, by_setting, cannot_listen
from relay.net.tally import LogTally

Application = Callable[..., Awaitable[None]]
"""ASGI 3: called with scope, receive and send."""

_KEEP_ALIVE_S = 60
_MAX_HEADER_BYTES = 32_768
_HANDSHAKE_S = 30.0
_LAST_S = 5.0
"""Beyond the grace, for what was cut off."""
_TICK_S = 1.0
"""The Date field says the second."""
_NO_PLACE = "no place"
_LENGTHS = {b"content-length", b"transfer-encoding"}
"""Two ways to say where a body ends."""
_TURN_LINES = re.compile(rb"(?:[^\n]*+\n){500}")
"""What is read at once: it is lines that cost, of a header section or between chunks, and not octets."""
_LOOK_S = 0.05
"""How often is looked whether the request before is answered, or its body read."""

log = logging.getLogger("relay.http")


class HttpServer:
    """Answers HTTP on one address."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        grace_s: int,
        headers_s: float = 30.0,
        max_connections: int = 1000,
        shares: Shares | None = None,
        setting: str = "http.listen",
    ) -> None:
        """tls: None for clear text. grace_s: how long requests in hand may take once `run` is to end.

        headers_s: how long a client may take for the header section of a request.
        shares: how many connections each client may hold; None: as many as there are.
        setting: which one names the address.
        """
        self._tally = LogTally(log)
        handshakes = None if tls is None else Handshakes(tls, _HANDSHAKE_S, self._tally)
        config = _Config(
            headers_s,
            max_connections,
            handshakes,
            shares or Shares(max_connections),
            self._tally,
            # uvicorn takes what makes a protocol as well as its class.
            http=cast("Any", _Protocol if handshakes is None else handshakes.before(_Protocol)),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            # Its warnings are about what clients send: we count that ourselves.
            log_level="error",
            access_log=False,
            # Else any client on this machine could name the address it comes from (valid_ips).
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=grace_s,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        )
        self._host, self._port, self._config = host, port, config
        self._server = _Server(config)
        self._socket: socket.socket | None = None
        self._over = asyncio.Event()
        self._grace_s, self._setting = grace_s, setting
        self.scheme = "http" if tls is None else "https"

    @property
    def address(self) -> tuple[str, int]:
        """As bound. Raises RuntimeError before `bind`."""
        if self._socket is None:
            raise RuntimeError("not bound")
        host, port = self._bound
        return host, port

    async def bind(self) -> None:
        """Take the address. Raises OSError, which names it."""
        host, port = self._host, self._port
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(BACKLOG)
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            other = by_setting(self._setting, host, port, is_list=self._setting != "http.listen")
            raise cannot_listen(where, error, other) from error
        self._bound: tuple[str, int] = self._socket.getsockname()[:2]

    def unbind(self) -> None:
        """Give the address back, when nothing was answered yet."""
        if self._socket is not None:
            self._socket.close()

    async def run(self, app: Application) -> None:
        """Answer requests with app until `close`."""
        assert self._socket is not None
        self._config.app = app
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._over.set()

    async def close(self, grace_s: float | None = None) -> None:
        """Listen no more; what is being answered is finished, or cut off after the grace.

        grace_s: less than that which it was made with.
        """
        grace_s = self._grace_s if grace_s is None else grace_s
        self._config.timeout_graceful_shutdown = math.ceil(grace_s)
        self._server.stopping.set()
        if self._config.handshakes is not None:
            self._config.handshakes.cancel()
        try:
            async with asyncio.timeout(grace_s + _LAST_S):
                await self._over.wait()
        except TimeoutError:
            log.warning("the HTTP server did not end in time")
        self._tally.sum_up()


class _Config(uvicorn.Config):
    def __init__(
        self,
        headers_s: float,
        max_connections: int,
        handshakes: Handshakes | None,
        shares: Shares,
        tally: LogTally,
        **more: Any,
    ) -> None:
        super().__init__(_nobody, **more)
        self.headers_s, self.max_connections = headers_s, max_connections
        self.handshakes, self.shares, self.tally = handshakes, shares, tally
        self.descriptors = for_http()


async def _nobody(*_: object) -> None:
    """Stands for the application until `run` is given one."""


class _Server(uvicorn.Server):
    """Signals are the process's, and stopping does not wait for a tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not self.stopping.is_set():
            await self.on_tick(0)
            try:
                async with asyncio.timeout(_TICK_S):
                    await self.stopping.wait()
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, which in 0.54 takes a tenth of a second even when nothing is to be waited for."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        # Idle connections are gone after a turn of the loop.
        await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """uvicorn 0.54 waits for ever for the rest of a header section, takes any number of clients, and reads
    all that has come at once, be it a hundred thousand chunks.
    """

    config: _Config

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._served, self.app = self.app, cast("Any", self._serve)
        self._deadline: asyncio.TimerHandle | None = None
        self._client: ClientAddress
        self._share_of: ClientAddress | None = None
        """The client whose share this connection is counted in."""
        self._unread, self._at = b"", 0
        """What came and is still to be read, and how far it is."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # None when the client has gone in the meantime: nobody could say whose request it was.
        if self.client is None or (self.config.handshakes is None and not self.begin(self.client[0])):
            transport.abort()
        else:
            self._await_request()

    def begin(self, host: str) -> bool:
        """Whether there is a place for this client; it is given back when the connection is lost."""
        config, client = self.config, client_address(host)
        self._client = client
        if len(self.connections) + len(config.handshakes or ()) > config.max_connections:
            config.tally.tell(client, _NO_PLACE, "reason=max_connections")
        elif config.descriptors.run_short():
            config.tally.tell(client, _NO_PLACE, "reason=descriptors")
        elif not config.shares.take(client):
            config.tally.tell(client, _NO_PLACE, "reason=max_connections_per_client")
        else:
            self._share_of = client
        return self._share_of is not None

    def fail(self) -> None:
        """No connection, or none any more: its place is free."""
        if self._share_of is not None:
            self.config.shares.give_back(self._share_of)
            self._share_of = None

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(self.config.headers_s, self.transport.close)

    def data_received(self, data: bytes) -> None:
        if self._unread:
            self._unread, self._at = self._unread[self._at :] + data, 0
            self.transport.pause_reading()
        elif _TURN_LINES.match(data):
            self._unread = data
            self.transport.pause_reading()
            self._go_on()
        else:
            self._read(data)

    def _go_on(self) -> None:
        """Read a few lines more; others have their turn in between."""
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.loop.call_later(_LOOK_S, self._go_on)
            return
        found = _TURN_LINES.match(self._unread, self._at)
        end = len(self._unread) if found is None else found.end()
        piece, self._at = self._unread[self._at : end], end
        is_last = end == len(self._unread)
        if is_last:
            self._unread, self._at = b"", 0
        self._read(piece)
        if not is_last:
            self.loop.call_soon(self._go_on)
        elif not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _read(self, data: bytes) -> None:
        super().data_received(data)
        is_between = self.cycle is None or self.cycle.response_complete
        if is_between and self._deadline is None:
            self._await_request()
        elif not is_between:
            self._stop_watch()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """The application, which gives up in the midst of an answer that the client does not take."""
        cycle = self.cycle
        if {name for name, _ in scope["headers"]} >= _LENGTHS:
            # A proxy that goes by Content-Length sees another end of this request: RFC 9112 §6.1.
            scope["headers"].append(CLOSE_HEADER)
        try:
            await self._served(scope, receive, send)
        except TimeoutError:
            if not cycle.response_started:
                raise
            self.config.tally.tell(self._client, "did not take the answer")
            cycle.disconnected = True
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        self.config.tally.tell(self._client, "sent no valid HTTP")
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        self.fail()
        super().connection_lost(exc)
        # Nothing refers to itself any more.
        self.app = self._served

    def _stop_watch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
