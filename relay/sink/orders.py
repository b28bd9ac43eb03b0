"""What the fake next hop was told to do, and what it tells: the state that all its connections share."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from relay.domain.reply import Phase

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recipient of one transaction, as the next hop saw it."""

    peer_ip: str
    ehlo: str
    tls: bool
    username: str
    """Who logged in; empty: nobody."""
    mail_from: str
    parameters: str
    """Of MAIL, such as `SIZE=5 BODY=8BITMIME`."""
    recipient: str
    """Empty when MAIL was refused and none was named."""
    reply: str
    """The reply that decided; empty when the connection ended, or hangs, before one was given."""
    content: bytes
    """As received, without dot-stuffing; empty when it did not come to that."""
    connection: int
    """Counted from 1; equal for transactions of one connection."""
    rcpt_parameters: str = ""
    """Of RCPT, such as `NOTIFY=NEVER`."""

    @property
    def is_accepted(self) -> bool:
        return self.reply.startswith("2")


class Act(Enum):
    HANG = "hang"
    DROP = "drop"


@dataclass(slots=True)
class Reaction:
    """What is said the first time, and from then on."""

    reply: str
    then: str | None

    def next(self) -> str:
        reply = self.reply
        if self.then is not None:
            self.reply = self.then
        return reply


@dataclass(slots=True)
class Rate:
    """Mail beyond so many in all, or so many a second, gets reply."""

    reply: str
    left: float
    per_second: float | None
    at: float

    def is_exceeded(self, now: float) -> bool:
        if self.per_second is not None:
            self.left = min(max(self.per_second, 1.0), self.left + (now - self.at) * self.per_second)
            self.at = now
        if self.left < 1:
            return True
        self.left -= 1
        return False


@dataclass(slots=True)
class Orders:
    """What all connections of one server go by, and what they report."""

    hostname: str
    extensions: tuple[str, ...]
    tls: ssl.SSLContext | None
    credentials: Mapping[str, str] | None
    decide: Callable[[str, str], str | None] | None
    taken: Callable[[Attempt], None]
    acts: dict[Phase, list[tuple[Act | bytes | str, float]]] = field(default_factory=dict)
    by_recipient: dict[str, Reaction] = field(default_factory=dict)
    by_ip: dict[str, Reaction] = field(default_factory=dict)
    rate: Rate | None = None
    drop_in_body: int | None = None
    closes_after: int | None = None
    max_connections: int | None = None
    max_recipients: int | None = None
    max_size: int = 0
    delay_s: float = 0
    connections: int = 0
    tasks: asyncio.TaskGroup | None = None
    pipelined: int = 0

    def act_at(self, phase: Phase) -> Act | bytes | str | None:
        acts = self.acts.get(phase)
        if not acts:
            return None
        act, times = acts[0]
        acts[0] = act, times - 1
        if times <= 1:
            del acts[0]
        return act

    def reply_to(self, peer_ip: str, recipient: str) -> str | None:
        """The scripted reply for this recipient; None: nothing was said about it."""
        answer = self.by_recipient.get(recipient.lower())
        reply = answer.next() if answer else None
        if reply is None and self.decide is not None:
            reply = self.decide(peer_ip, recipient)
        if self.rate and (reply is None or reply.startswith("2")):
            return self.rate.reply if self.rate.is_exceeded(asyncio.get_running_loop().time()) else reply
        return reply
