"""What the event log tells of a message: SparkPost's fields, written with what they tell."""

from datetime import timedelta

import pytest

from relay.domain.events import Bounce, Delay, Delivery, Event, Injection, PolicyRejection
from relay.domain.ids import MessageId
from relay.ports.eventlog import Told
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.waiting import eventually

TO = "Bob@GMail.example"
MSYS = {
    "campaign_id": "spring",
    "metadata": {"order": 7},
    "tags": ["a", "b"],
    "options": {"ip_pool": "Receipts", "transactional": True},
}


async def _story(relay: RelayHarness, message: MessageId) -> list[Told]:
    """The story so far, every event with the submission that it belongs to."""
    told = await relay.story(message)
    assert len({one.id for one in told}) == len(told)
    for one in told:
        assert one.submission is not None
        assert not isinstance(one.event, PolicyRejection)
        assert one.event.about.message_id == message
        assert one.event.about.sending_ip == "127.0.0.13"
        assert one.event.about.ip_pool == "receipts"
    return told


async def test_an_injection_tells_envelope_pool_and_what_was_asked_for(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.answer(TO, "451 4.2.1 later")
    injected = await relay.inject(
        TO,
        subaccount=124,
        msys=MSYS,
        mail_from="news@acme.test",
        headers={"From": "Acme News <News@Acme.test>", "Subject": "=?utf-8?q?Fr=C3=BChling?="},
    )
    await relay.quiet()
    first = (await _story(relay, injected.message_id))[0]
    assert isinstance(first.event, Injection)
    about, submission = first.event.about, first.submission
    assert submission is not None
    assert first.event.at == relay.clock.now()
    assert (about.account, about.subaccount) == (1, 124)
    assert about.transmission_id == submission.id == injected.transmission_id
    assert len(about.message_id) == 20
    assert int(about.message_id, 16) > 0
    assert about.rcpt_to == TO
    assert about.domain == "gmail.example"
    assert about.rcpt_type == ""
    (waiting,) = await relay.queue()
    assert about.size_bytes == waiting.size_bytes
    assert submission.recv_method == "esmtp"
    assert submission.remote_addr == "127.0.0.1"
    assert submission.mail_from == "news@acme.test"
    assert submission.friendly_from == "Acme News <News@Acme.test>"
    assert submission.sending_domain == "acme.test"
    assert submission.subject == "Frühling"
    assert submission.options.ip_pool == "Receipts", "ip_pool_raw: verbatim"
    assert submission.options.campaign_id == "spring"
    assert submission.options.metadata == {"order": 7}
    assert submission.options.tags == ("a", "b")
    assert submission.options.transactional is True
    assert submission.decision.pool == "receipts"
    assert submission.decision.steps


async def test_each_failed_attempt_is_a_delay_and_the_delivery_counts_them(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.answer(TO, "452 4.2.2 Mailbox full", then="250 2.0.0 Ok queued as 42")
    injected = await relay.inject(TO, msys=MSYS)
    await relay.quiet()
    relay.clock.advance(minutes=20)
    assert await relay.quiet() == []
    injection, delay, delivery = [one.event for one in await _story(relay, injected.message_id)]
    assert isinstance(injection, Injection)
    assert isinstance(delay, Delay)
    assert delay.at == injection.at
    assert (delay.num_retries, delay.queue_time_ms) == (0, 0)
    assert (delay.error_code, delay.bounce_class) == (452, 22)
    assert delay.raw_reason == "452 4.2.2 Mailbox full"
    assert (delay.peer.ip_address, delay.peer.outbound_tls) == (mta.address.partition(":")[0], 0)
    assert not delay.is_ambiguous
    assert isinstance(delivery, Delivery)
    assert delivery.at == injection.at + timedelta(minutes=20)
    assert delivery.num_retries == 1
    assert delivery.queue_time_ms == 20 * 60 * 1000
    assert delivery.reply == "250 2.0.0 Ok queued as 42"
    assert (delivery.peer.ip_address, delivery.peer.outbound_tls) == (mta.address.partition(":")[0], 0)


async def test_a_permanent_refusal_is_a_bounce_with_its_class(relay: RelayHarness, mta: FakeMta) -> None:
    mta.answer(TO, "550 5.1.1 No such user here")
    injected = await relay.inject(TO, msys=MSYS)
    assert await relay.quiet() == []
    assert len(mta.attempts_for(TO)) == 1
    _, bounce = [one.event for one in await _story(relay, injected.message_id)]
    assert isinstance(bounce, Bounce)
    assert (bounce.num_retries, bounce.queue_time_ms) == (0, 0)
    assert (bounce.error_code, bounce.bounce_class) == (550, 10)
    assert bounce.raw_reason == "550 5.1.1 No such user here"


async def test_mail_that_nobody_takes_for_72_hours_bounces_with_the_last_reason(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.answer(TO, "452 4.2.2 Mailbox full")
    injected = await relay.inject(TO, msys=MSYS)
    while waiting := await relay.quiet():
        relay.clock.advance_to(waiting[0].due)
        await relay.clock.settle()
    events: list[Event] = [one.event for one in await _story(relay, injected.message_id)]
    assert [type(event) for event in events] == [Injection, *[Delay] * 8, Bounce]
    assert [event.num_retries for event in events if isinstance(event, Delay)] == list(range(8))
    last = events[-1]
    assert isinstance(last, Bounce)
    assert last.at == events[0].at + timedelta(hours=72)
    assert (last.error_code, last.bounce_class) == (554, 22)
    assert last.raw_reason == "554 5.4.7 [internal] message timeout (last transfail: 452 4.2.2 Mailbox full)"
    assert last.num_retries == 8
    assert last.queue_time_ms == 72 * 3600 * 1000


async def test_a_refused_injection_is_a_policy_rejection_and_nothing_else(relay: RelayHarness) -> None:
    with pytest.raises(InjectionRefusedError) as refused:
        await relay.inject(TO, ip_pool="Nowhere", mail_from="news@acme.test")
    (told,) = await relay.inside.store.events.recent(10)
    assert told.submission is None
    assert isinstance(told.event, PolicyRejection)
    assert (told.event.account, told.event.subaccount) == (1, None)
    assert told.event.at == relay.clock.now()
    assert told.event.remote_addr == "127.0.0.1"
    assert told.event.mail_from == "news@acme.test"
    assert told.event.rcpt_to == TO
    assert told.event.bounce_class == 25
    assert told.event.error_code == 550
    assert told.event.raw_reason == str(refused.value)
    assert told.event.ip_pool_raw == "Nowhere"


async def test_a_malformed_recipient_is_a_policy_rejection_of_class_25(relay: RelayHarness) -> None:
    with pytest.raises(InjectionRefusedError, match=r"^501 5\.5\.2 RCPT TO syntax error"):
        await relay.inject("bob@-@gmail.example")

    async def is_told() -> bool:
        return len(await relay.inside.store.events.recent(10)) == 1

    await eventually(is_told)
    (told,) = await relay.inside.store.events.recent(10)
    assert isinstance(told.event, PolicyRejection)
    assert (told.event.error_code, told.event.bounce_class) == (501, 25)
