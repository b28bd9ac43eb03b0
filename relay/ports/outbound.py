"""The way out: fresh mail's short way, conversations with next hops, and DNS."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from relay.domain.ids import Epoch, IpAddress
from relay.domain.message import Envelope
from relay.domain.outcome import Peer
from relay.domain.reply import Reply
from relay.domain.route import TlsPolicy
from relay.domain.value import value
from relay.ports.queue import Claimed


class Departures(Protocol):
    """What egress offers to mail that is being accepted: the short way. Without egress, nothing."""

    def reserve(self, ip: IpAddress, domain: str, size_bytes: int) -> Epoch | None:
        """A place for one transaction to this domain, if the lane is ours and its path has room."""

    def depart(self, ip: IpAddress, domain: str, mail: Sequence[Claimed]) -> None:
        """Use the place: the mail is in flight. Once for each reservation; without mail to give it back."""

    def queued(self, ip: IpAddress, domain: str, due: datetime) -> None:
        """Mail waits in the lane: look at it."""


class SmtpSession(Protocol):
    """One conversation with one host, ready for MAIL."""

    @property
    def peer(self) -> Peer: ...

    @property
    def extensions(self) -> frozenset[str]:
        """Upper-case EHLO keywords, `SIZE` and `8BITMIME` among them."""

    @property
    def is_usable(self) -> bool:
        """Whether another transaction may begin."""

    async def transact(self, envelope: Envelope, chunks: Sequence[bytes]) -> "Transcript":
        """MAIL, RCPT…, DATA; chunks joined are the content: CRLF lines, not dot-stuffed.

        Never raises for what the peer does.
        """

    async def close(self) -> None:
        """QUIT, briefly, then hang up."""


@value
class Transcript:
    """What one transaction came to."""

    replies: tuple[Reply, ...]
    """One for each recipient, in their order: the reply that decided its fate."""
    is_lost: bool = False
    """The connection ended."""
    is_ambiguous: bool = False
    """Lost after the final dot."""


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for a smarthost."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoSession:
    """A conversation that never got as far as MAIL; reply.phase says where it ended.

    CONNECT and GREETING speak about the host as a whole and back its path off.
    """

    reply: Reply
    peer: Peer


class Dialer(Protocol):
    """Conversations from a given source address."""

    async def connect(
        self,
        bind: IpAddress,
        ehlo: str,
        host: "Host",
        tls: TlsPolicy,
        login: Login | None,
        ignored: Collection[str] = (),
    ) -> SmtpSession | NoSession:
        """A session ready for MAIL: connected from bind, greeted, EHLO said, TLS and AUTH done as asked.

        ignored: upper-case EHLO keywords that count as not offered.
        Raises SourceUnplumbed when bind is not on this machine, before any packet leaves, and OverCapacity
        when this process may open no more connections.
        """


@dataclass(frozen=True, slots=True)
class Host:
    """A server to connect to."""

    name: str
    """For TLS and for people; equal to the address when configured so."""
    address: IpAddress
    port: int


class MxResolver(Protocol):
    """DNS as routes need it."""

    async def mx(self, domain: str) -> "Mx":
        """MX hosts in order, or the domain itself when it has none (RFC 5321 §5.1)."""

    async def addresses(self, name: str) -> "Addresses":
        """A and AAAA of a host name; an address literal is its own answer."""


@dataclass(frozen=True, slots=True)
class Mx:
    """Exchangers by rising preference. Empty with a reply when mail cannot go there."""

    hosts: tuple[tuple[int, str], ...] = ()
    """(preference, name)."""
    failure: Reply | None = None
    """Null MX (RFC 7505), no such domain, or a resolver that does not answer."""
    lasts_s: float = field(default=math.inf, compare=False)
    """For how long the answer still holds, by the TTLs of what it was made of."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of one host, or why there are none."""

    addresses: tuple[IpAddress, ...] = ()
    failure: Reply | None = None
