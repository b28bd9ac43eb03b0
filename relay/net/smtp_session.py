"""Opening a conversation from a given source address: aiosmtplib greets, ours carries on (ADR 4).

aiosmtplib's exceptions are translated here and nowhere else.
"""

import asyncio
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection
from typing import cast

import aiosmtplib
import aiosmtplib.smtp

from relay.domain.errors import OverCapacity, PeerUnreachable
from relay.domain.ids import IpAddress
from relay.domain.outcome import Peer
from relay.domain.reply import Phase, Reply
from relay.domain.route import TlsPolicy
from relay.net.descriptors import Descriptors, for_connections_out
from relay.net.dial import dial
from relay.net.opening import Opening
from relay.net.pipeline import LOST, Pipeline
from relay.net.timeouts import Timeouts
from relay.net.tls import client_context
from relay.net.transaction import PipelinedSession
from relay.ports.outbound import Host, Login, NoSession, SmtpSession

# The one place where aiosmtplib 5 makes its connection takes the class from here.
vars(aiosmtplib.smtp)["SMTPProtocol"] = Opening

_CONTINUE, _AUTHENTICATED = 334, 235
_UNREACHABLE = Reply(451, "4.4.1 [internal] No valid hosts (unable to make any connections)", Phase.CONNECT)


class SmtpDialer:
    """`Dialer`."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        connect_timeout_s: float = 60,
        context_for: Callable[[TlsPolicy], ssl.SSLContext] = client_context,
        descriptors: Descriptors | None = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._connect_timeout_s = connect_timeout_s
        self._context_for = context_for
        self._descriptors = descriptors or for_connections_out()

    async def connect(
        self,
        bind: IpAddress,
        ehlo: str,
        host: Host,
        tls: TlsPolicy,
        login: Login | None,
        ignored: Collection[str] = (),
    ) -> SmtpSession | NoSession:
        """A session ready for MAIL, or why there is none; see `Dialer`. Raises SourceUnplumbed, OverCapacity.

        Opportunistic TLS that fails is followed by one more connection, in clear text, but not
        with a login.
        """
        try:
            return await self._open(bind, ehlo, host, tls, login, ignored, 0)
        except _TlsFailed as failure:
            if tls is TlsPolicy.REQUIRED or login is not None:
                return NoSession(failure.reply, Peer(host.address, -1))
        try:
            return await self._open(bind, ehlo, host, TlsPolicy.OFF, login, ignored, -1)
        except _TlsFailed as failure:
            return NoSession(failure.reply, Peer(host.address, -1))

    async def _open(
        self,
        bind: IpAddress,
        ehlo: str,
        host: Host,
        tls: TlsPolicy,
        login: Login | None,
        ignored: Collection[str],
        outbound_tls: int,
    ) -> SmtpSession | NoSession:
        """Raises SourceUnplumbed, OverCapacity and _TlsFailed."""
        if self._descriptors.run_short():
            raise OverCapacity
        try:
            sock = await dial(bind, host.address, host.port, self._connect_timeout_s)
        except PeerUnreachable:
            return NoSession(_UNREACHABLE, Peer(outbound_tls=outbound_tls))
        client = aiosmtplib.SMTP(sock=sock, local_hostname=ehlo, start_tls=False)
        peer = Peer(host.address, outbound_tls)
        phase = Phase.GREETING
        connection: asyncio.BaseTransport | None = None
        is_open = False
        try:
            await client.connect(timeout=self._timeouts.greeting_s)
            connection = client.transport
            phase = Phase.EHLO
            await self._say_hello(client, ignored)
            if login is not None and tls is not TlsPolicy.OFF and not client.supports_extension("STARTTLS"):
                raise _TlsFailed(Reply(454, "4.7.0 [internal] a login needs TLS", Phase.STARTTLS))
            if tls is not TlsPolicy.OFF and await self._start_tls(client, host, tls):
                peer = Peer(host.address, 1)
                await self._say_hello(client, ignored)
            if login is not None:
                phase = Phase.AUTH
                await self._log_in(client, login)
            session = self._take_over(client, peer)
            is_open = True
        except (aiosmtplib.SMTPException, OSError) as error:
            reply = _reply_for(error, phase)
            if login is not None and isinstance(error, aiosmtplib.SMTPResponseException):
                reply = _without(login, reply)
            return NoSession(reply, peer)
        finally:
            if not is_open:
                client.close()
                if connection is None:
                    sock.close()
                else:
                    # Not by the socket, whose number may serve another connection at once; nor by the
                    # end of TLS, for which this host might let us wait.
                    cast(asyncio.Transport, connection).abort()
        return session

    async def _say_hello(self, client: aiosmtplib.SMTP, ignored: Collection[str]) -> None:
        """EHLO, or HELO with a server that does not know it (RFC 5321 §3.2)."""
        try:
            await client.ehlo(timeout=self._timeouts.ehlo_s)
        except aiosmtplib.SMTPHeloError as refusal:
            if not 500 <= refusal.code < 600 or not client.is_connected:
                raise
            await client.helo(timeout=self._timeouts.ehlo_s)
        for keyword in ignored:
            client.esmtp_extensions.pop(keyword.lower(), None)
        if "AUTH" in ignored:
            client.server_auth_methods.clear()

    async def _start_tls(self, client: aiosmtplib.SMTP, host: Host, tls: TlsPolicy) -> bool:
        """Whether the conversation is encrypted now. Raises _TlsFailed."""
        if not client.supports_extension("STARTTLS"):
            if tls is TlsPolicy.REQUIRED:
                raise _TlsFailed(Reply(454, "4.7.4 [internal] TLS required, not offered", Phase.STARTTLS))
            return False
        name = host.name.strip("[]").rstrip(".")
        if not name and tls is TlsPolicy.REQUIRED:
            # asyncio takes an empty name for none, and then verifies the chain alone.
            raise _TlsFailed(Reply(454, "4.7.5 [internal] TLS failed: the host has no name", Phase.STARTTLS))
        try:
            await client.starttls(
                server_hostname=name,
                # In a thread: the first that verifies loads the system's trust.
                tls_context=await asyncio.to_thread(self._context_for, tls),
                timeout=self._timeouts.starttls_s,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _TlsFailed(
                Reply(454, f"4.7.5 [internal] TLS failed: {_why(error)}", Phase.STARTTLS)
            ) from error
        return True

    async def _log_in(self, client: aiosmtplib.SMTP, login: Login) -> None:
        """By the first way that is offered, and no other: a second refusal would hide the first."""
        offered, wait_s = client.server_auth_methods, self._timeouts.auth_s
        if "plain" in offered:
            await client.auth_plain(login.username, login.password, timeout=wait_s)
        elif "login" in offered:
            await self._answer_prompts(client, login)
        elif "cram-md5" in offered:
            await client.auth_crammd5(login.username, login.password, timeout=wait_s)
        else:
            raise aiosmtplib.SMTPNotSupported("no AUTH that we know")

    async def _answer_prompts(self, client: aiosmtplib.SMTP, login: Login) -> None:
        """AUTH LOGIN (draft-murchison-sasl-login): each of the two is given once, as it is asked for."""
        answers = {"username": login.username, "password": login.password}
        asked = await client.execute_command(b"AUTH", b"LOGIN", timeout=self._timeouts.auth_s)
        while asked.code == _CONTINUE and answers:
            wanted = _wanted(asked.message)
            # A prompt of other words, or of other tongues, comes in the usual order.
            answer = answers.pop(wanted if wanted in answers else next(iter(answers)))
            asked = await client.execute_command(b64encode(answer.encode()), timeout=self._timeouts.auth_s)
        if asked.code == _CONTINUE:
            raise aiosmtplib.SMTPResponseException(0, "a third prompt")
        if asked.code != _AUTHENTICATED:
            raise aiosmtplib.SMTPAuthenticationError(asked.code, asked.message)

    def _take_over(self, client: aiosmtplib.SMTP, peer: Peer) -> PipelinedSession:
        """The live connection changes hands. Raises SMTPServerDisconnected."""
        if client.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        pipeline = Pipeline(self._timeouts)
        pipeline.take_over(cast(asyncio.Transport, client.transport))
        extensions = {name.upper(): parameters for name, parameters in client.esmtp_extensions.items()}
        return PipelinedSession(pipeline, peer, extensions)


def _wanted(challenge: str) -> str:
    """What a prompt of AUTH LOGIN asks for, by its decoded words; empty when they do not say."""
    try:
        words = b64decode(challenge, validate=True).lower()
    except ValueError:
        return ""
    return "password" if b"pass" in words else "username" if b"user" in words or b"name" in words else ""


class _TlsFailed(Exception):
    """No encryption with this host."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


def _reply_for(error: Exception, phase: Phase) -> Reply:
    """What a failure to open comes to: the server's reply, or one of ours."""
    match error:
        case aiosmtplib.SMTPResponseException(code=code, message=message) if 200 <= code <= 599:
            return Reply(code, _on_one_line(message), phase)
        case aiosmtplib.SMTPResponseException(message=why):
            return Reply(451, f"4.5.0 [internal] protocol error: {why}", phase)
        case TimeoutError():
            return Reply(451, f"4.4.2 [internal] no reply in time: {phase.upper()}", phase)
        case OSError():
            return Reply(451, LOST, phase)
        case aiosmtplib.SMTPNotSupported():
            return Reply(454, "4.7.0 [internal] the host offers no AUTH that we know", phase)
        case _:
            return Reply(451, "4.5.0 [internal] protocol error", phase)


def _why(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message or "certificate not valid for this host"
        case ssl.SSLError():
            return (error.reason or "handshake").lower().replace("_", " ")
        case aiosmtplib.SMTPResponseException(code=code, message=message) if 200 <= code <= 599:
            return _on_one_line(f"{code} {message}")
        case aiosmtplib.SMTPResponseException(message=why):
            return why
        case TimeoutError():
            return "no answer in time"
        case _:
            return "connection closed by remote host"


def _without(login: Login, reply: Reply) -> Reply:
    """A server that repeats what it was told must not get our password into events and logs."""
    blob = f"\0{login.username}\0{login.password}".encode()
    secrets = (login.password, b64encode(login.password.encode()).decode(), b64encode(blob).decode())
    if any(secret and secret in reply.text for secret in secrets):
        return Reply(reply.code, "[internal] the reply repeats the credentials", reply.phase)
    return reply


def _on_one_line(message: str) -> str:
    line = " ".join(message.encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)[:2048]
