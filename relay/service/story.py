"""One message's whole story, from injection to its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from relay.domain.errors import UnknownObject
from relay.domain.events import Delivery, Event, Failure, Injection, Operated, PolicyRejection, Subject
from relay.domain.ids import MessageId
from relay.domain.message import Message, Submission
from relay.domain.outcome import Peer
from relay.ports import EventLog, QueueStore, Selection, Told

_TLS = {1: "TLS", 0: "clear text", -1: "TLS failed"}


@dataclass(frozen=True, slots=True)
class Story:
    """What queue and event log know of one message."""

    message: Message | None
    """None: it has left the queue, or never came to be one."""
    subject: Subject
    """As it is now: a re-pin changes it."""
    submission: Submission | None
    """None: nobody remembers it."""
    told: tuple[Told, ...]
    """Oldest first."""


async def story_of(queue: QueueStore, events: EventLog, id_: MessageId) -> Story:
    """Raises UnknownObject when neither queue nor event log knows the message."""
    waiting = await queue.select(Selection(ids=(id_,)), 1)
    message = waiting[0] if waiting else None
    told = await events.story(id_)
    subject = Subject.of(message) if message else _subject(told)
    if subject is None:
        raise UnknownObject("message", id_)
    return Story(
        message, subject, next((one.submission for one in told if one.submission), None), tuple(told)
    )


def _subject(told: Sequence[Told]) -> Subject | None:
    """As the newest event has it."""
    events = [one.event for one in told if not isinstance(one.event, PolicyRejection)]
    return events[-1].about if events else None


def reply_of(event: Event) -> str:
    """What the next hop said, why it failed, or who did it; empty where nothing was said."""
    match event:
        case Injection():
            return ""
        case Delivery(reply=reply):
            return reply
        case Operated(actor=actor, detail=detail):
            return f"by {actor}" + (f", {detail}" if detail else "")
        case _ if isinstance(event, Failure):
            return event.raw_reason
        case _:
            assert_never(event)


def peer_words(peer: Peer) -> str:
    """Who was spoken to and how: `192.0.2.1, TLS`."""
    return f"{peer.ip_address}, {_TLS[peer.outbound_tls]}" if peer.ip_address else "no connection"
