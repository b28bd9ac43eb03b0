"""What all connections of one server share: its means, and the places there are for clients."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.accept.budget import BodyBudget
from relay.accept.door import Accepting
from relay.accept.rejections import Rejecting
from relay.config.config import SmtpSettings
from relay.domain.address import Mailbox
from relay.domain.clients import ClientAddress
from relay.domain.shares import Shares
from relay.ingress.auth import Failures
from relay.net.descriptors import Descriptors, for_clients
from relay.net.tally import LogTally
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.sandbox import Sandbox

if TYPE_CHECKING:
    from relay.ingress.connection import Connection


@dataclass
class Surroundings:
    """What all connections of one server share."""

    settings: SmtpSettings
    directory: Directory
    injector: Accepting
    rejections: Rejecting
    sandbox: Sandbox
    budget: BodyBudget
    clock: Clock
    tls: ssl.SSLContext
    hostname: str
    data_timeout_s: float
    refuses_tracking: bool
    """Whether mail that asks for tracking is refused; else it is sent without."""
    shares: Shares
    """Of each client's address."""
    refusals: LogTally
    """Of credentials, by this and the other doors."""
    tally: LogTally
    """Of what else strangers do."""
    descriptors: Descriptors = field(default_factory=for_clients)
    failures: Failures = field(default_factory=Failures)
    connections: set["Connection"] = field(default_factory=set)
    """Those being served."""
    encrypting: set["Connection"] = field(default_factory=set)
    """Those whose handshake of implicit TLS is under way."""
    known: set["Connection"] = field(default_factory=set)
    """Those whose client has said who it is, of both kinds."""
    leaving: set["Connection"] = field(default_factory=set)
    """Those hung up on that have not gone yet."""
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while none is being served."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is none of either."""
    is_closing: bool = False
    """Who was accepted and is not served yet is too late."""

    postmaster: Mailbox = field(init=False)
    """Who is meant by `<postmaster>` without a domain."""

    def __post_init__(self) -> None:
        domain = self.hostname.lower()
        self.postmaster = self.settings.postmaster or Mailbox(f"postmaster@{domain}", domain)
        self.empty.set()
        self.gone.set()

    def lacking(self) -> str | None:
        """What there is too little of for one more connection, whoever it is from."""
        if self.is_closing:
            return "closing"
        if self._held >= self.settings.max_connections:
            return "max_connections"
        return "descriptors" if self.descriptors.run_short() else None

    def has_place_for_strangers(self, counted: int) -> bool:
        """A tenth is kept for those who say who they are. counted: places of the one who asks."""
        return self._strangers - counted < self._most_strangers

    @property
    def is_crowded(self) -> bool:
        """Strangers hold so many places that each gets less time."""
        return self._strangers * 4 >= self._most_strangers * 3

    @property
    def _held(self) -> int:
        return len(self.encrypting) + len(self.connections) + len(self.leaving)

    @property
    def _strangers(self) -> int:
        return self._held - len(self.known)

    @property
    def _most_strangers(self) -> int:
        return max(1, self.settings.max_connections * 9 // 10)

    def is_proxy(self, client: ClientAddress) -> bool:
        """Whether it says by PROXY for whom it speaks."""
        return any(client in network for network in self.settings.proxy_protocol)

    def is_trusted(self, client: ClientAddress) -> bool:
        return any(client in entry.network for entry in self.settings.trusted)

    def enter(self, connection: "Connection") -> None:
        self.encrypting.discard(connection)
        self.connections.add(connection)
        self.empty.clear()
        self.gone.clear()

    def leave(self, connection: "Connection", is_gone: bool) -> None:
        self.connections.discard(connection)
        if is_gone:
            self.leaving.discard(connection)
            self.known.discard(connection)
        else:
            self.leaving.add(connection)
        if not self.connections:
            self.empty.set()
            if not self.leaving:
                self.gone.set()
