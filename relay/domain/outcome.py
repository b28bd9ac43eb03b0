"""What happened to one message at one attempt."""

import re
from dataclasses import dataclass
from datetime import datetime

from relay.domain.reply import Phase, Reply
from relay.domain.value import value


@dataclass(frozen=True, slots=True)
class Peer:
    """The server that was spoken to, as events tell it."""

    ip_address: str = ""
    """Empty when no connection came about."""
    outbound_tls: int = 0
    """1 used, 0 not offered or not wanted, -1 failed."""


@value
class Delivered:
    """The next hop took the message: not necessarily in the mailbox."""

    reply: Reply
    peer: Peer
    is_reporting: bool = False
    """The next hop offers DSN: what is to be told from here on, it tells (RFC 3461)."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A temporary failure of the next hop, or of the way to it. Counts as an attempt."""

    reply: Reply
    peer: Peer
    is_ambiguous: bool = False
    """The connection was lost after the final dot: the next hop may have it (RFC 5321 §4.2.5)."""


@dataclass(frozen=True, slots=True)
class Bounced:
    """A permanent failure."""

    reply: Reply
    peer: Peer
    is_shared: bool = False
    """The reply was to the content, of which the host had agreed to several recipients."""


@dataclass(frozen=True, slots=True)
class NotTried:
    """Our own fault or choice: the attempt does not count."""

    until: datetime
    reason: str
    """Shown to operators; empty when there is nothing to tell, as at shutdown."""


Outcome = Delivered | Deferred | Bounced | NotTried

_ABOUT_THE_MAIL = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.INTERNAL})
"""Phases in which a refusal is meant for the message; before MAIL it is meant for us."""


def judge(
    reply: Reply, peer: Peer, is_ambiguous: bool = False, is_reporting: bool = False
) -> Delivered | Deferred | Bounced:
    """What the reply that decided a recipient's fate means for its message.

    Delivered only by a positive reply to the final dot. A permanent refusal before MAIL is
    about the host or our credentials and defers; so does any code that no server should send.
    """
    if reply.phase is Phase.BODY and 200 <= reply.code < 300:
        return Delivered(reply, peer, is_reporting)
    if reply.is_permanent and reply.phase in _ABOUT_THE_MAIL:
        return Bounced(reply, peer)
    return Deferred(reply, peer, is_ambiguous)


def backs_off(reply: Reply) -> bool:
    """Whether the reply speaks of the host as a whole, so that its path rests for a while.

    No connection, a refused greeting and 421 do; a 4xx to MAIL, RCPT or DATA never does.
    """
    return reply.code == 421 or reply.phase in {Phase.CONNECT, Phase.GREETING}


_SESSION = re.compile(
    r"\b(session|(re)?connect(ion)?|transaction)s?\b|\btoo many (messages|e?-?mails?|recipients|commands)\b"
    r"|\bmax(imum|\.)? (number of )?(messages|e?-?mails?|recipients|commands)\b"
    r"|\b(message|e?-?mail|recipient|command)s? (limit|exceeded)\b|\blimit (of|on) (messages|e?-?mails?)\b"
    r"|\bnested\b|\bsequence\b|\balready\b|\btwice\b",
    re.IGNORECASE,
)


def is_about_session(reply: Reply, is_lost: bool, is_ambiguous: bool) -> bool:
    """Whether a refusal by a session that was used before may be meant for it, and not for the message.

    Then a new connection may take what this one does not. MAIL is refused for too many messages in
    as many ways as there are servers, and 503 says that an earlier command is remembered, or is not
    (RFC 5321 §4.1.4). is_lost: the connection ended.
    is_ambiguous: after the final dot, and the message may be there.
    """
    if is_ambiguous or reply.is_positive or reply.phase is Phase.INTERNAL:
        return False
    if reply.phase is Phase.MAIL or reply.code == 503 or (is_lost and not reply.is_permanent):
        return True
    return _SESSION.search(reply.text[:2000]) is not None
