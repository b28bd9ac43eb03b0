"""One client's connection: octets in, replies out, TLS, time-outs. What is said on it is `session`'s."""

import asyncio
import logging
import secrets
from abc import abstractmethod
from collections import deque
from typing import cast

from aiosmtpd.smtp import SMTP

from relay.domain.clients import ClientAddress, client_address
from relay.ingress.proxy import PROXY_V2, parse_proxy
from relay.ingress.replies import FOREIGN_PROTOCOL, internal_reply
from relay.ingress.surroundings import Surroundings
from relay.net.handshake import tell_failure

MAX_LINE_OCTETS = 12_288
"""The longest command line there is: AUTH with an initial response (RFC 4954 §4)."""

_MAX_UNREAD_BYTES = 64 * 1024
"""What waits to be read; over it the transport rests. One more piece of the transport's may come on top."""
_TURN_LINES = 200
"""Lines read from one batch before the other connections get their turn."""
_NOT_LINES = (b"\x16\x03", PROXY_V2)
"""A TLS handshake record of any version (RFC 8446 §5.1), which may hold no LF, and a PROXY header."""
HANDSHAKE_S = 30.0
_STRANGER_S = 300.0
"""How long a client may stay that does not say who it is."""
_CROWDED_S = 15.0
"""The same while strangers hold most of their places."""
_LOOK_EVERY_S = 5.0
_LINGER_S = 5.0
"""For a client to read our last words and hang up."""

log = logging.getLogger("relay.ingress")

FOREIGN = "does not speak SMTP"
_NO_PLACE = "no place"
_FULL = b"421 4.4.5 Service unavailable, concurrency limit reached.\r\n"
_CLOSING = b"421 4.3.2 Service shutting down\r\n"


class Connection(SMTP):
    """The transport's side of a conversation: aiosmtpd's life cycle with a reader of our own."""

    def __init__(self, around: Surroundings, is_encrypted: bool) -> None:
        self.loop = asyncio.get_running_loop()
        # aiosmtpd 1.4.6 looks for hooks and AUTH methods by introspection, 150 µs a connection,
        # and shares one table of command sizes between all. We use neither: its __init__ is
        # left out, and what its connection_made and connection_lost need stands here.
        asyncio.StreamReaderProtocol.__init__(
            self, asyncio.StreamReader(loop=self.loop), self._cb_client_connected, self.loop
        )
        self.transport = self.session = self.envelope = None
        self._original_transport = self._timeout_handle = self._handler_coroutine = None
        self._timeout_duration = min(around.settings.idle_timeout_s, _LOOK_EVERY_S)

        self._around = around
        self._is_encrypted = is_encrypted
        self._is_known = False
        """Whether the client has said who it is, and may take its time."""
        self._client: ClientAddress
        self._share_of: ClientAddress | None = None
        """The client whose share this connection is counted in."""
        self._out: list[bytes] = []
        self._pieces: deque[bytes] = deque()
        self._unread_bytes = 0
        self._rest, self._at = b"", 0
        """The piece being read line by line, and how far."""
        self._lines = 0
        self._waiter: asyncio.Future[None] | None = None
        self._awaits_command = self._is_overlong = False
        self._is_open = self._has_ended = self._is_hung_up = self._is_stopping = self._is_surplus = False
        self._made_at = self._last_octet_at = self.loop.time()
        self._data_since: float | None = None
        self._client_waits = False
        """For us: it is not idle."""

    @abstractmethod
    async def converse(self) -> None:
        """Greet and obey until the connection is hung up."""

    # ── what asyncio calls ───────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        # None when the client has gone in the meantime.
        peer = transport.get_extra_info("peername") or ("::", 0)
        self._client = client_address(peer[0])
        self._client_port: int = peer[1]
        if self._is_encrypted or self._is_let_in():
            self._around.enter(self)
            super().connection_made(transport)
        else:
            # The least that can be done for it: no task, no timer, nothing read.
            self._is_surplus = self._is_hung_up = True
            self._wire.write(_CLOSING if self._around.is_closing else _FULL)
            self._wire.close()

    def begin(self, host: str) -> bool:
        """Whether there is a place for this client, whose handshake is still to come."""
        self._client = client_address(host)
        is_let_in = self._is_let_in()
        if is_let_in:
            self._around.encrypting.add(self)
        return is_let_in

    def fail(self) -> None:
        """The handshake before it did."""
        self._around.encrypting.discard(self)
        self._leave()

    def _is_let_in(self) -> bool:
        """Whether there is a place. A proxy still has to say for whom."""
        around = self._around
        if (lacking := around.lacking()) is not None:
            around.tally.tell(self._client, _NO_PLACE, f"reason={lacking}")
            return False
        return around.is_proxy(self._client) or self._takes_place()

    def _takes_place(self, counted: int = 0) -> bool:
        """Whether this client may have a place; it is given back when the connection is lost.

        counted: 1 when this connection has one already, as a proxy's.
        """
        around = self._around
        if not (around.is_trusted(self._client) or around.has_place_for_strangers(counted)):
            around.tally.tell(self._client, _NO_PLACE, "reason=strangers")
        elif not around.shares.take(self._client):
            around.tally.tell(self._client, _NO_PLACE, "reason=max_connections_per_client")
        else:
            self._share_of = self._client
        return self._share_of is not None

    def _leave(self) -> None:
        """Its place is free. More than once does no harm."""
        self._around.leave(self, is_gone=True)
        if self._share_of is not None:
            self._around.shares.give_back(self._share_of)
            self._share_of = None

    def know(self, is_known: bool) -> None:
        """The client has said who it is, or does not count as known any more."""
        self._is_known = is_known
        if is_known:
            self._around.known.add(self)
        else:
            self._around.known.discard(self)

    def data_received(self, data: bytes) -> None:
        self._last_octet_at = self.loop.time()
        if self._is_hung_up:
            return
        self._pieces.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= _MAX_UNREAD_BYTES:
            self._wire.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """A client that has said all may still read: what it asked is answered first, but not under TLS."""
        self._has_ended = True
        self._wake()
        return not (self._is_encrypted or self._is_hung_up)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()
        if not self._is_surplus:
            super().connection_lost(error)

    def _timeout_cb(self) -> None:
        """aiosmtpd starts this timer; it runs on and looks how long ago the last octet came."""
        if self._is_hung_up:
            self._wire.abort()
            return
        now = self.loop.time()
        ends_at = self._ends_at(now)
        if now < ends_at:
            # A stranger's time grows shorter when it gets crowded.
            self._reset_timeout(ends_at - now if self._is_known else min(ends_at - now, _LOOK_EVERY_S))
        elif not self._is_open:
            self._wire.abort()
        else:
            self.cut_off("421 4.4.2 Timeout, closing connection")

    def _ends_at(self, now: float) -> float:
        idle_s = self._around.settings.idle_timeout_s
        if self._client_waits:
            return now + idle_s
        ends_at = self._last_octet_at + idle_s
        if self._data_since is not None:
            ends_at = min(ends_at, self._data_since + self._around.data_timeout_s)
        if not self._is_known:
            stranger_s = min(_CROWDED_S, idle_s) if self._around.is_crowded else _STRANGER_S
            ends_at = min(ends_at, self._made_at + stranger_s)
        return ends_at

    async def _handle_client(self) -> None:
        try:
            if await self._open():
                self._is_open = True
                await self.converse()
                self.hang_up()
        except OSError as error:
            log.debug("client=%s connection lost: %s", self._client, error)
            self._wire.abort()
        except Exception:  # noqa: BLE001 - top of a connection
            self.hang_up(self.internal_error())

    async def _open(self) -> bool:
        """Whether there is a place for one more; PROXY says for whom."""
        if self._around.is_proxy(self._client):
            peer = self._client
            if not await self._read_proxy_header():
                self._wire.abort()
                return False
            if self._client is not peer and not self._takes_place(counted=1):
                self._wire.write(_FULL)
                self._wire.close()
                return False
        return True

    async def _read_proxy_header(self) -> bool:
        octets = b""
        while True:
            try:
                proxied = parse_proxy(octets)
            except ValueError:
                # One of ours is not set up well: all who come through it are refused.
                self._around.tally.tell(self._client, "sent no valid PROXY header", level=logging.WARNING)
                return False
            if proxied is not None:
                break
            piece = await self.piece()
            if not piece:
                return False
            octets += piece
        if proxied.client is not None:
            self._client, self._client_port = client_address(proxied.client[0]), proxied.client[1]
        self.put_back(octets[proxied.length :])
        return True

    # ── reading ──────────────────────────────────────────────────────────────────────────

    async def line(self) -> bytes | None:
        """The next line up to its LF; empty for one over MAX_LINE_OCTETS; None when no more is to come.

        Replies said so far are sent before it waits: those to a pipelined group in one piece.
        """
        while True:
            if self._is_hung_up:
                return None
            if self._rest.startswith(_NOT_LINES, self._at):
                self._around.tally.tell(self._client, FOREIGN)
                self.hang_up(FOREIGN_PROTOCOL)
                return None
            end = self._rest.find(b"\n", self._at)
            if end >= 0:
                line, self._at = self._rest[self._at : end + 1], end + 1
                self._lines += 1
                if self._lines >= _TURN_LINES:
                    await self._let_others_go_on()
                was_overlong, self._is_overlong = self._is_overlong, False
                return b"" if was_overlong or len(line) > MAX_LINE_OCTETS else line
            rest, self._rest, self._at = self._rest[self._at :], b"", 0
            if len(rest) > MAX_LINE_OCTETS:
                rest, self._is_overlong = b"", True
            if self._is_stopping and not self._pieces:
                self.hang_up("421 4.3.2 Service shutting down")
                return None
            await self.flush()
            self._awaits_command = True
            piece = await self.piece()
            self._awaits_command = False
            if not piece:
                return None
            self._rest = rest + piece

    async def piece(self) -> bytes:
        """What came next, in the size that it came; empty when no more is to come."""
        if not self._pieces and not self._has_ended:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        was_full = self._unread_bytes >= _MAX_UNREAD_BYTES
        self._unread_bytes -= len(piece)
        if was_full and self._unread_bytes < _MAX_UNREAD_BYTES and not self._wire.is_closing():
            self._wire.resume_reading()
        return piece

    def unread_rest(self) -> bytes:
        """What stands behind the last line that was read; it counts as read now."""
        rest, self._rest, self._at = self._rest[self._at :], b"", 0
        return rest

    def put_back(self, rest: bytes) -> None:
        """To be read by the next `line`."""
        self._rest, self._at = rest, 0

    async def _let_others_go_on(self) -> None:
        await self.flush()
        await asyncio.sleep(0)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ── answering ────────────────────────────────────────────────────────────────────────

    def say(self, reply: str) -> None:
        """Keep a reply for the next flush."""
        self._out.append(reply.encode("ascii", "replace") + b"\r\n")

    async def flush(self) -> None:
        """Send what was said. Waits while the client does not read."""
        self._lines = 0
        if self._out:
            self._write_out()
            if self._wire.get_write_buffer_size():
                await self._writer.drain()

    def _write_out(self) -> None:
        self._wire.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()

    async def encrypt(self) -> None:
        """TLS from here on; what came in clear and is unread is forgotten (RFC 3207 §5). Raises OSError."""
        self.unread_rest()
        self._pieces.clear()
        self._unread_bytes = 0
        self._is_open = False
        try:
            await self._writer.start_tls(self._around.tls, ssl_handshake_timeout=HANDSHAKE_S)
            self._is_open = True
        except OSError as error:
            tell_failure(self._around.tally, self._client, error)
            raise
        finally:
            if not self._is_open:
                # uvloop 0.23 calls no connection_lost for one that is reset meanwhile.
                self._leave()
        self._wire = cast("asyncio.Transport", self._writer.transport)
        self.transport = self._wire
        self._is_encrypted = True
        self._last_octet_at = self.loop.time()

    def hang_up(self, reply: str = "", at_once: bool = False) -> None:
        """Last words, then the end, with time to read them: closed at once, unread input would reset all.

        at_once: the client wants no more and sends no more.
        """
        if self._is_hung_up or self.transport is None:
            return
        self._is_hung_up = True
        self._around.leave(self, is_gone=False)
        if reply:
            self.say(reply)
        if self._out:
            self._write_out()
        self._pieces.clear()
        if self._unread_bytes >= _MAX_UNREAD_BYTES:
            self._wire.resume_reading()
        if at_once or self._has_ended or not self._wire.can_write_eof():
            self._wire.close()
        else:
            try:
                self._wire.write_eof()
            except OSError:
                # asyncio's own transport (3.11) raises when the client has reset the connection.
                self._wire.abort()
        self._reset_timeout(_LINGER_S)

    def cut_off(self, reply: str) -> None:
        """Hang up on a conversation that is under way elsewhere."""
        self.hang_up(reply)
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    def stop(self) -> None:
        """The server closes: hang up now if the client has nothing in hand, else after it."""
        self._is_stopping = True
        if not self._is_open:
            self.abort()
        elif self._awaits_command and self._waiter is not None:
            self.cut_off("421 4.3.2 Service shutting down")

    def abort(self) -> None:
        self._wire.abort()

    def internal_error(self) -> str:
        """The reply for the exception being handled, which goes to the log under the same reference."""
        reference = secrets.token_hex(4)
        log.exception("reference=%s client=%s", reference, self._client)
        return internal_reply(reference)
