"""What an operator does to queued mail, and asks of the routing decision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from relay.domain.directory import SendingIp, Snapshot, in_order
from relay.domain.errors import UnknownObject
from relay.domain.events import Delivery, Event, Failure, Injection, Operated, PolicyRejection, Subject
from relay.domain.ids import AccountId, IpAddress, MessageId
from relay.domain.message import Message, State, Submission, Wish
from relay.domain.outcome import Peer
from relay.domain.retry import RetryPolicy
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.eventlog import EventLog, Told
from relay.ports.queue import MailFilter, QueueStore, WakeUps


class Verb(StrEnum):
    """What can be done to unfinished mail."""

    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    CANCEL = "cancel"
    REPIN = "repin"


@dataclass(frozen=True, slots=True)
class Deed:
    """What a verb is: to mail, to people."""

    touches: tuple[State, ...]
    """States of mail that it means something to."""
    rounds: tuple[State, ...]
    """In which much mail is gone through. In flight first and last: what was claimed meanwhile, or came back,
    is not missed."""
    is_meant: Callable[[Message, IpAddress | None], bool]
    """Whether it would change anything of the message; the IP is the one to re-pin to."""
    button: str
    title: str
    meaning: str
    example: str
    """In the shell, behind `relay queue`."""
    for_operators: bool = False


DEEDS: Mapping[Verb, Deed] = {
    Verb.HOLD: Deed(
        (State.QUEUED, State.IN_FLIGHT),
        (State.IN_FLIGHT, State.QUEUED, State.IN_FLIGHT, State.QUEUED),
        lambda message, to: message.state is not State.HELD and message.wish is Wish.NONE,
        "Hold",
        "Hold messages",
        "No further attempt is made until the mail is released. Its expiry waits meanwhile, but a hold has "
        "an end of its own. Mail in flight finishes its conversation first and is held if it comes back.",
        "hold --domain gmail.com --yes",
    ),
    Verb.RELEASE: Deed(
        (State.HELD,),
        (State.IN_FLIGHT, State.HELD),
        lambda message, to: message.state is State.HELD or message.wish is Wish.HOLD,
        "Release",
        "Release messages",
        "The hold ends: the mail is due at once, and the time it was held is added to its expiry.",
        "release --account 1 --yes",
    ),
    Verb.RETRY: Deed(
        (State.QUEUED,),
        (State.QUEUED,),
        lambda message, to: message.state is State.QUEUED,
        "Retry now",
        "Retry messages now",
        "Waiting mail becomes due now instead of when its turn would come.",
        "retry --ip 192.0.2.11 --yes",
    ),
    Verb.CANCEL: Deed(
        (State.QUEUED, State.HELD, State.IN_FLIGHT),
        (State.IN_FLIGHT, State.QUEUED, State.HELD, State.IN_FLIGHT, State.QUEUED),
        lambda message, to: message.wish is not Wish.CANCEL,
        "Cancel",
        "Cancel messages",
        "The mail ends without delivery: each message becomes a bounce of class 25, Admin Failure. "
        "This cannot be undone. Mail in flight is only stopped if it comes back.",
        "cancel 000646d2a1b3c4d5e6f7",
    ),
    Verb.REPIN: Deed(
        (State.QUEUED, State.HELD),
        (State.QUEUED, State.HELD, State.QUEUED),
        lambda message, to: message.state is not State.IN_FLIGHT and message.pin.ip != to,
        "Re-pin…",
        "Re-pin messages",
        "Waiting mail gets another sending IP, for all attempts to come. It is the only way in which a pin "
        "ever changes, and each message remembers who did it. Mail in flight is left alone.",
        "repin --ip 192.0.2.11 --to 192.0.2.12 --yes",
        for_operators=True,
    ),
}
"""A row for each verb: pages, shell and bulk runs go by it."""


def repin_targets(snapshot: Snapshot, account: AccountId) -> tuple[SendingIp, ...]:
    """The IPs that waiting mail of the account can be given: its own and shared ones that take pins."""
    return in_order(
        ip for ip in snapshot.ips.values() if ip.takes_pins and (ip.shared or ip.account == account)
    )


class Operator:
    """The verbs on unfinished mail. Each leaves an event with the actor's name on every message it touched.

    Messages in flight are not torn from their conversation: hold and cancel become a wish
    that is obeyed when they come back to the queue; repin leaves them alone.
    """

    def __init__(
        self,
        queue: QueueStore,
        wakeups: WakeUps,
        directory: Directory,
        clock: Clock,
        policy: RetryPolicy,
        actor: str,
    ) -> None:
        self._queue, self._wakeups, self._directory, self._clock = queue, wakeups, directory, clock
        self._policy, self._actor = policy, actor

    async def do(self, verb: Verb, what: MailFilter, to: IpAddress | None = None) -> int:
        """The method of that name; to: for repin, which needs it. Returns how many messages were touched."""
        match verb:
            case Verb.HOLD:
                return await self.hold(what)
            case Verb.RELEASE:
                return await self.release(what)
            case Verb.RETRY:
                return await self.retry(what)
            case Verb.CANCEL:
                return await self.cancel(what)
            case Verb.REPIN:
                if to is None:
                    raise UnknownObject("sending IP", "")
                return await self.repin(what, to)
            case _:
                assert_never(verb)

    async def hold(self, what: MailFilter) -> int:
        """Stop attempts; the expiry clock stops too, but a hold has a deadline of its own."""
        now = self._clock.now()
        return await self._queue.hold(what, now, now + self._policy.hold_expire_after, self._actor)

    async def release(self, what: MailFilter) -> int:
        """End a hold: due at once, with the time held added to the expiry."""
        return self._told(await self._queue.release(what, self._clock.now(), self._actor))

    async def retry(self, what: MailFilter) -> int:
        """Make queued mail due now."""
        return self._told(await self._queue.retry(what, self._clock.now(), self._actor))

    async def cancel(self, what: MailFilter) -> int:
        """End messages without delivery; each becomes a bounce of class 25."""
        return self._told(await self._queue.cancel(what, self._clock.now(), self._actor))

    async def repin(self, what: MailFilter, to: IpAddress) -> int:
        """Give queued and held mail another sending IP: the one audited way to change a pin.

        Raises UnknownObject when `to` is no sending IP of the directory, Conflict when it is
        neither shared nor of the account whose mail it would carry.
        """
        ip = (await self._directory.refresh()).ips.get(to)
        if ip is None or ip.is_retired:
            raise UnknownObject("sending IP", to)
        return self._told(await self._queue.repin(what, to, self._clock.now(), self._actor))

    def _told(self, touched: int) -> int:
        """What is due now need not wait until its lane looks by itself."""
        if touched:
            self._wakeups.tell()
        return touched


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
    waiting = await queue.select(MailFilter(None, ids=(id_,)), 1)
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


class MailDesk:
    """Single messages, for people: their stories, and what is done to them."""

    def __init__(self, queue: QueueStore, events: EventLog, operator: Callable[[str], Operator]) -> None:
        """operator: makes one for an actor."""
        self._queue, self._events, self._operator = queue, events, operator

    async def story(self, id_: MessageId) -> Story:
        """Raises UnknownObject."""
        return await story_of(self._queue, self._events, id_)

    async def do(
        self, actor: str, verb: Verb, account: AccountId, id_: MessageId, to: IpAddress | None
    ) -> bool:
        """Whether the message was touched; to: for re-pinning."""
        return bool(await self._operator(actor).do(verb, MailFilter(account, ids=(id_,)), to))
