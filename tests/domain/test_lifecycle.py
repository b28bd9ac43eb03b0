"""What an outcome does to a message (docs/rules.md#retries)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.domain.events import Bounce, Delay, Delivery
from relay.domain.ids import AccountId, BodyId, IpAddress, MessageId, PoolId, TransmissionId
from relay.domain.lifecycle import ORPHAN_DELAYS_S, Finish, Requeue, discard, expire, settle, settle_orphan
from relay.domain.message import Message, Pin, RcptType, State
from relay.domain.outcome import Bounced, Deferred, Delivered, NotTried, Peer
from relay.domain.reply import Phase, Reply
from relay.domain.retry import RetryPolicy

T0 = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy()
PEER = Peer("127.0.0.99", 1)
PIN = Pin(PoolId("news"), IpAddress("127.0.0.11"), "mta11.test", IpAddress("127.0.0.11"))
MESSAGE = Message(
    id=MessageId("0" * 20),
    transmission_id=TransmissionId("1"),
    account=AccountId(1),
    subaccount=None,
    body_id=BodyId("1"),
    prefix=b"",
    mail_from="a@src.test",
    rcpt_to="b@dst.test",
    domain="dst.test",
    rcpt_type=RcptType.TO,
    size_bytes=100,
    smtputf8=False,
    eight_bit=False,
    pin=PIN,
    accepted=T0,
    expires=T0 + POLICY.expire_after,
    due=T0,
    state=State.IN_FLIGHT,
    attempts=1,
)
LATER = Reply(451, "4.2.1 try later", Phase.RCPT)


def test_a_delivery_finishes_the_message_and_counts_only_failed_attempts() -> None:
    message = replace(MESSAGE, attempts=3)
    settled = settle(message, Delivered(Reply(250, "ok", Phase.BODY), PEER), POLICY, T0 + timedelta(hours=1))
    assert isinstance(settled, Finish)
    assert isinstance(settled.event, Delivery)
    assert (settled.event.num_retries, settled.event.queue_time_ms) == (2, 3_600_000)
    assert (settled.event.about.sending_ip, settled.event.about.ip_pool) == ("127.0.0.11", "news")


def test_a_permanent_reply_bounces_at_once() -> None:
    reply = Reply(550, "5.1.1 no such user", Phase.RCPT)
    settled = settle(MESSAGE, Bounced(reply, PEER), POLICY, T0)
    assert isinstance(settled, Finish)
    assert isinstance(settled.event, Bounce)
    assert (settled.event.error_code, settled.event.bounce_class) == (550, 10)
    assert settled.event.raw_reason == "550 5.1.1 no such user"


def test_retries_fall_at_the_minutes_that_sparkpost_names() -> None:
    """0, 20, 60, 140, 300, 620, 1260, 2540 minutes; then the message fails at 4320."""
    now, message, minutes = T0, MESSAGE, []
    while now < message.expires:
        minutes.append((now - T0) // timedelta(minutes=1))
        settled = settle(message, Deferred(LATER, PEER), POLICY, now)
        assert isinstance(settled, Requeue)
        now, message = settled.due, replace(message, attempts=message.attempts + 1)
    assert minutes == [0, 20, 60, 140, 300, 620, 1260, 2540]
    assert now == T0 + timedelta(minutes=4320)


def test_a_deferral_is_told_as_a_delay_and_remembered() -> None:
    settled = settle(MESSAGE, Deferred(LATER, PEER, is_ambiguous=True), POLICY, T0)
    assert isinstance(settled, Requeue)
    assert isinstance(settled.event, Delay)
    assert settled.event.is_ambiguous
    assert (settled.last_reply, settled.uncount) == ("451 4.2.1 try later", False)


def test_a_cap_bounds_the_gap() -> None:
    policy = RetryPolicy(max_gap=timedelta(hours=12))
    gaps = [policy.gap(attempts) for attempts in range(1, 9)]
    assert gaps[-2:] == [timedelta(hours=12)] * 2
    assert RetryPolicy().gap(10_000) > timedelta(days=365)


def test_what_we_could_not_try_does_not_count() -> None:
    settled = settle(MESSAGE, NotTried(T0 + timedelta(seconds=30), "not plumbed"), POLICY, T0)
    assert settled == Requeue(MESSAGE.id, T0 + timedelta(seconds=30), None, "not plumbed", uncount=True)
    silent = settle(MESSAGE, NotTried(T0 + timedelta(days=30), ""), POLICY, T0)
    assert silent == Requeue(MESSAGE.id, MESSAGE.expires, None, None, uncount=True)


def test_expiry_has_the_literal_reason_and_the_class_of_the_last_failure() -> None:
    waited = replace(MESSAGE, attempts=8, last_reply="452 4.2.2 mailbox full")
    event = expire(waited, waited.expires).event
    assert isinstance(event, Bounce)
    assert event.raw_reason == (
        "554 5.4.7 [internal] message timeout (last transfail: 452 4.2.2 mailbox full)"
    )
    assert (event.error_code, event.bounce_class, event.num_retries) == (554, 22, 8)


@pytest.mark.parametrize(
    ("last", "told"),
    [("", "no attempt was possible"), ("sending IP is not plumbed", "sending IP is not plumbed")],
)
def test_expiry_without_a_reply_names_the_cause(last: str, told: str) -> None:
    event = expire(replace(MESSAGE, last_reply=last), T0).event
    assert isinstance(event, Bounce)
    assert event.raw_reason.endswith(f"(last transfail: {told})")


def test_a_cancelled_message_is_an_admin_bounce() -> None:
    event = discard(MESSAGE, "5.7.1 [internal] discarded by policy", T0).event
    assert isinstance(event, Bounce)
    assert (event.raw_reason, event.bounce_class) == ("554 5.7.1 [internal] discarded by policy", 25)


@pytest.mark.parametrize(("is_claimed", "retries"), [(False, 4), (True, 3)])
def test_an_attempt_that_was_counted_but_not_made_is_no_retry(is_claimed: bool, retries: int) -> None:
    event = discard(replace(MESSAGE, attempts=4), "5.7.1 …", T0, is_claimed=is_claimed).event
    assert isinstance(event, Bounce)
    assert event.num_retries == retries


def test_an_orphan_waits_longer_each_time_but_never_past_its_expiry() -> None:
    delays = [settle_orphan(replace(MESSAGE, orphaned=n), T0).due - T0 for n in range(1, 8)]
    assert delays == [timedelta(seconds=s) for s in (*ORPHAN_DELAYS_S, 60, 60)]
    late = replace(MESSAGE, orphaned=5, expires=T0 + timedelta(seconds=3))
    assert settle_orphan(late, T0).due == late.expires
