"""The listeners of `[smtp]`, and closing them in good order."""

import asyncio
import logging
import ssl

from relay.accept.budget import BodyBudget
from relay.accept.door import Accepting
from relay.accept.rejections import Rejecting
from relay.config.config import SmtpSettings
from relay.config.values import Endpoint
from relay.domain.shares import Shares
from relay.ingress.connection import HANDSHAKE_S
from relay.ingress.session import IngressSession
from relay.ingress.surroundings import Surroundings
from relay.net.handshake import Handshakes
from relay.net.listening import BACKLOG, by_setting, cannot_listen
from relay.net.tally import LogTally, tally_refusals
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.sandbox import Sandbox

_LAST_WORDS_S = 0.1
"""For the last replies to get out."""
_CUT_S = 1.0
"""For the loop to tell connections that they were cut."""

log = logging.getLogger("relay.ingress")


class SmtpServer:
    """Takes mail in by SMTP on all addresses of the settings."""

    def __init__(
        self,
        settings: SmtpSettings,
        directory: Directory,
        injector: Accepting,
        rejections: Rejecting,
        sandbox: Sandbox,
        budget: BodyBudget,
        clock: Clock,
        tls: ssl.SSLContext,
        hostname: str,
        reuse_port: bool = False,
        data_timeout_s: float = 600.0,
        shares: Shares | None = None,
        refused: LogTally | None = None,
        refuses_tracking: bool = False,
    ) -> None:
        """reuse_port: other processes listen on the same addresses. data_timeout_s: DATA as a whole.

        shares: of clients, counted with those processes; None: by this server alone.
        refused: tells of credentials; None: of this server's alone.
        refuses_tracking: mail that asks for opens or clicks to be tracked is refused, else sent without.
        """
        self._around = Surroundings(
            settings,
            directory,
            injector,
            rejections,
            sandbox,
            budget,
            clock,
            tls,
            hostname,
            data_timeout_s,
            refuses_tracking,
            shares or Shares(settings.max_connections_per_client),
            refused or tally_refusals(),
            LogTally(log),
        )
        self._handshakes = Handshakes(tls, HANDSHAKE_S, self._around.tally)
        self._reuse_port = reuse_port
        self._servers: list[asyncio.Server] = []
        self.addresses: list[tuple[str, int]] = []
        """As bound: those of `listen`, then those of `listen_tls`."""

    @property
    def connections(self) -> int:
        """Clients being served, or about to be."""
        return len(self._around.connections) + len(self._handshakes)

    @property
    def trouble(self) -> str | None:
        """Why clients that come now are not served, in words for the public; None: they are."""
        if not (self._servers and all(server.is_serving() for server in self._servers)):
            return "no listener takes mail by SMTP"
        if self._around.descriptors.ran_short():
            return "almost all file descriptors are in use"
        return None

    async def start(self) -> None:
        """Listen everywhere or nowhere. Raises OSError, which names the address."""
        settings = self._around.settings
        try:
            for endpoint in settings.listen:
                await self._listen(endpoint, implicit_tls=False)
            for endpoint in settings.listen_tls:
                await self._listen(endpoint, implicit_tls=True)
        except OSError:
            await self.close(0)
            raise

    async def close(self, grace_s: float) -> None:
        """Listen no more. Idle clients are told and hung up on; mail being handed in has grace_s to end."""
        self._around.is_closing = True
        for server in self._servers:
            server.close()
        self._handshakes.cancel()
        self._servers.clear()
        around = self._around
        for connection in tuple(around.connections):
            connection.stop()
        if not await _happens(around.empty, grace_s):
            log.warning("cut off connections=%d after %s s", len(around.connections), grace_s)
        await _happens(around.gone, _LAST_WORDS_S)
        for connection in (*around.connections, *around.leaving):
            connection.abort()
        await _happens(around.gone, _CUT_S)
        around.tally.sum_up()

    async def _listen(self, endpoint: Endpoint, implicit_tls: bool) -> None:
        def make() -> IngressSession:
            return IngressSession(self._around, implicit_tls)

        try:
            server = await asyncio.get_running_loop().create_server(
                self._handshakes.before(make) if implicit_tls else make,
                endpoint.host,
                endpoint.port,
                backlog=BACKLOG,
                reuse_port=self._reuse_port or None,
            )
        except OSError as error:
            key = "smtp.listen_tls" if implicit_tls else "smtp.listen"
            other = by_setting(key, endpoint.host, endpoint.port, is_list=True)
            raise cannot_listen(str(endpoint), error, other) from error
        self._servers.append(server)
        bound = server.sockets[0].getsockname()
        self.addresses.append((bound[0], bound[1]))


async def _happens(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
