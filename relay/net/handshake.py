"""TLS on connections just accepted, which count for their listener from the first octet on.

asyncio tells a protocol of a connection once the handshake is over: whoever never begins one is not seen.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from relay.domain.clients import ClientAddress, client_address
from relay.net.tally import LogTally


class Beginning(Protocol):
    """An asyncio protocol that is asked before the handshake."""

    def begin(self, host: str) -> bool:
        """Whether there is a place for this client."""
        ...

    def fail(self) -> None:
        """It has begun, but no connection was made: the handshake failed."""
        ...


class Handshakes:
    """Those of one server."""

    def __init__(self, tls: ssl.SSLContext, timeout_s: float, tally: LogTally) -> None:
        self._tls, self._timeout_s, self._tally = tls, timeout_s, tally
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Those that are under way."""
        return len(self._tasks)

    def before(self, make: Callable[..., Beginning]) -> Callable[..., asyncio.Protocol]:
        """A factory for a listener in clear: TLS comes first, then the protocol that make makes."""
        return lambda *arguments, **more: _Accepted(self, make(*arguments, **more))

    def start(self, protocol: Beginning, accepted: socket.socket, host: str) -> None:
        task = asyncio.get_running_loop().create_task(self._encrypt(protocol, accepted, host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Hang up on all of them."""
        for task in self._tasks:
            task.cancel()

    async def _encrypt(self, protocol: Beginning, accepted: socket.socket, host: str) -> None:
        is_over = False
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: cast("asyncio.Protocol", protocol),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._timeout_s,
            )
            is_over = True
        except OSError as error:
            # Whatever strangers say instead: the log is not theirs to fill.
            tell_failure(self._tally, client_address(host), error)
        finally:
            if not is_over:
                accepted.close()
                protocol.fail()


def tell_failure(tally: LogTally, client: ClientAddress, error: OSError) -> None:
    """A handshake was not completed; OpenSSL has a word for why, if anything was said at all."""
    reason = getattr(error, "reason", None) or type(error).__name__
    tally.tell(client, "TLS handshake failed", f"reason={reason}")


class _Accepted(asyncio.Protocol):
    def __init__(self, handshakes: Handshakes, protocol: Beginning) -> None:
        self._handshakes, self._protocol = handshakes, protocol

    def connection_made(self, transport: Any) -> None:
        """The socket goes on in another transport: this one has read nothing yet, and closes its copy."""
        # None when the client has gone in the meantime.
        peer = transport.get_extra_info("peername")
        if peer is not None and self._protocol.begin(peer[0]):
            try:
                copy = os.dup(transport.get_extra_info("socket").fileno())
            except OSError:
                # No descriptor is left.
                self._protocol.fail()
            else:
                self._handshakes.start(self._protocol, socket.socket(fileno=copy), peer[0])
        transport.abort()
