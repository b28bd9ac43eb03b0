"""What an outcome does to a message of the queue.

           ┌──────────── Requeue (Deferred, NotTried, orphaned) ───────────┐
           ▼                                                               │
 enqueue → queued ── claim ──────────────────────────────────────────► in_flight
           │  ▲                                                            │
      hold │  │ release                     Finish (Delivered, Bounced, expired)
           ▼  │                                                            ▼
           held ── past its hold deadline: Finish ────────────────────► (gone)

Finished messages leave the table; their history is the event log. Every state has a
deadline: `expires` for queued and held, the phase time-outs and the lane's epoch for
in_flight.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from relay.domain.classify import ADMIN_FAILURE, bounce_class
from relay.domain.dsn import Report
from relay.domain.events import Bounce, Delay, Delivery, Event, Injection, Subject
from relay.domain.ids import BodyId, MessageId
from relay.domain.message import Body, Message, Submission
from relay.domain.outcome import Bounced, Deferred, Delivered, NotTried, Outcome, Peer
from relay.domain.reply import Phase, Reply
from relay.domain.retry import RetryPolicy
from relay.domain.suppression import Suppression, after_bounce
from relay.domain.value import value

ORPHAN_DELAYS_S = (0, 1, 4, 16, 60)
LONELY_AFTER = 10
"""An orphan this often over is attempted alone, so that it cannot take others along."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of our own that a settlement gives rise to: a DSN, enqueued in the same transaction."""

    submission: Submission
    body: Body
    message: Message
    event: Injection


@value
class Finish:
    """The message leaves the queue."""

    message: MessageId
    body: BodyId
    event: Event
    notice: Notice | None = None
    suppress: tuple[Suppression, ...] = ()
    """Entries of the suppression list that the end gives rise to."""
    report: Report | None = None
    """What the sender is to be told of it, where the account wants that."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """The message waits again, until due."""

    message: MessageId
    due: datetime
    event: Event | None = None
    last_reply: str | None = None
    """None: keep what is known."""
    uncount: bool = False
    """Take back the attempt that the claim counted."""


Settlement = Finish | Requeue


def settle(message: Message, outcome: Outcome, policy: RetryPolicy, now: datetime) -> Settlement:
    """The settlement of one attempt at a message in flight; its `attempts` includes this one."""
    retries = message.attempts - 1
    match outcome:
        case Delivered(reply, peer, is_reporting):
            event = Delivery(now, Subject.of(message), retries, _queue_ms(message, now), peer, str(reply))
            asked = message.dsn_request
            is_due = asked is not None and asked.wants_success and not is_reporting
            return Finish(message.id, message.body_id, event, report=Report.RELAYED if is_due else None)
        case Bounced(reply, peer, is_shared):
            found = bounce_class(reply, is_shared=is_shared)
            return _bounce(message, reply, peer, found, retries, now)
        case Deferred(reply, peer, is_ambiguous):
            delay = Delay(
                now,
                Subject.of(message),
                retries,
                _queue_ms(message, now),
                peer,
                bounce_class(reply),
                reply.code,
                str(reply),
                is_ambiguous,
            )
            due = policy.next_attempt(message.attempts, message.expires, now)
            return Requeue(message.id, due, delay, str(reply))
        case NotTried(until, reason):
            return Requeue(message.id, min(until, message.expires), None, reason or None, uncount=True)
        case _:
            assert_never(outcome)


def expire(message: Message, now: datetime) -> Finish:
    """The end of a message that waited past its deadline, with the literal reason of docs/rules.md#retries.

    Its class is that of the last temporary failure, which was no word about the mailbox.
    """
    cause = message.last_reply or "no attempt was possible"
    reply = Reply(554, f"5.4.7 [internal] message timeout (last transfail: {cause})", Phase.INTERNAL)
    code, _, text = message.last_reply.partition(" ")
    last = Reply(int(code), text, Phase.CONNECT) if code.isdecimal() else reply
    return _bounce(message, reply, Peer(), bounce_class(last), message.attempts, now)


def discard(message: Message, reason: str, now: datetime, *, is_claimed: bool = False) -> Finish:
    """The end of a message by somebody's wish; reason as `5.7.1 [internal] …`, an admin failure.

    is_claimed: an attempt was counted that is not made.
    """
    reply = Reply(554, reason, Phase.INTERNAL)
    return _bounce(message, reply, Peer(), ADMIN_FAILURE, message.attempts - is_claimed, now)


def settle_orphan(message: Message, now: datetime) -> Requeue:
    """What becomes of a message whose holder died or lost the lane: tried again soon, later each time.

    The attempt stays counted: it may have been made. message.orphaned counts this time too.
    """
    delay_s = ORPHAN_DELAYS_S[min(message.orphaned - 1, len(ORPHAN_DELAYS_S) - 1)]
    return Requeue(message.id, min(now + timedelta(seconds=delay_s), message.expires))


def _bounce(
    message: Message, reply: Reply, peer: Peer, bounce_class: int, num_retries: int, now: datetime
) -> Finish:
    subject, queue_ms = Subject.of(message), _queue_ms(message, now)
    event = Bounce(now, subject, num_retries, queue_ms, peer, bounce_class, reply.code, str(reply))
    # A notice that nobody takes says nothing of whom the account writes to.
    suppress = after_bounce(event) if message.mail_from else ()
    asked = message.dsn_request
    report = Report.FAILED if asked is None or asked.wants_failure else None
    return Finish(message.id, message.body_id, event, suppress=suppress, report=report)


def _queue_ms(message: Message, now: datetime) -> int:
    """Milliseconds since injection."""
    return (now - message.accepted) // timedelta(milliseconds=1)
