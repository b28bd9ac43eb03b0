"""Nothing waits for ever: what no attempt ends, its deadline ends, and the bounce names the cause."""

from dataclasses import replace
from datetime import timedelta

from relay.domain.changes import Put
from relay.domain.events import Bounce, Injection, Operated
from relay.domain.ids import IpAddress, MessageId
from relay.domain.message import State
from relay.domain.retry import RetryPolicy
from relay.ports.queue import MailFilter
from relay.resources.queue.rules import Operator
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually

TO = "bob@gmail.example"
LATER = "452 4.2.2 Mailbox full"


def _operator(relay: RelayHarness) -> Operator:
    inside = relay.inside
    store = inside.store
    return Operator(store.queue, store.wakeups, inside.directory, relay.clock, RetryPolicy(), "cli:test")


async def _bounce(relay: RelayHarness, message: MessageId) -> Bounce:
    """The end of the message, once its lane has looked."""

    async def ended() -> list[Bounce]:
        return [one.event for one in await relay.story(message) if isinstance(one.event, Bounce)]

    (bounce,) = await eventually(ended)
    return bounce


async def test_an_ip_that_stays_away_for_72_hours_costs_its_mail_and_the_bounce_says_so(
    relay: RelayHarness, mta: FakeMta
) -> None:
    here = relay.inside.directory.snapshot.ips[IpAddress("127.0.0.13")]
    await relay.apply(Put(replace(here, bind=IpAddress("192.0.2.13"))))
    message = (await relay.inject(TO, ip_pool="receipts")).message_id
    accepted = relay.clock.now()
    await relay.quiet()
    relay.clock.advance(hours=72)

    bounce = await _bounce(relay, message)
    assert bounce.at == accepted + timedelta(hours=72)
    assert bounce.raw_reason == (
        "554 5.4.7 [internal] message timeout (last transfail: 451 4.3.0 [internal] "
        "Sending IP temporarily suspended: 192.0.2.13 is not on this machine)"
    )
    assert bounce.num_retries == 0, "it was never tried"
    assert mta.connections == 0
    assert await relay.queue() == []


async def test_a_hold_ends_after_14_days_and_the_72_hours_do_not_run_meanwhile(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.answer(TO, LATER)
    message = (await relay.inject(TO, ip_pool="receipts")).message_id
    await relay.quiet()
    assert await _operator(relay).hold(MailFilter(None, ids=(message,))) == 1
    held_at = relay.clock.now()

    relay.clock.advance(days=13)
    await relay.clock.settle()
    (waiting,) = await relay.queue()
    assert waiting.state is State.HELD
    assert len(mta.attempts_for(TO)) == 1

    relay.clock.advance(days=1)
    bounce = await _bounce(relay, message)
    assert bounce.at == held_at + timedelta(days=14)
    assert bounce.raw_reason == f"554 5.4.7 [internal] message timeout (last transfail: {LATER})"
    assert bounce.bounce_class == 22
    assert len(mta.attempts_for(TO)) == 1
    assert await relay.queue() == []


async def test_mail_released_late_has_the_rest_of_its_72_hours(relay: RelayHarness, mta: FakeMta) -> None:
    mta.answer(TO, LATER)
    message = (await relay.inject(TO, ip_pool="receipts")).message_id
    expires = relay.clock.now() + timedelta(hours=72)
    await relay.quiet()
    relay.clock.advance(minutes=10)
    await _operator(relay).hold(MailFilter(None, ids=(message,)))
    relay.clock.advance(days=5)
    await _operator(relay).release(MailFilter(None, ids=(message,)))

    (waiting,) = await relay.quiet()
    assert len(mta.attempts_for(TO)) == 2, "due at once"
    assert waiting.expires == expires + timedelta(days=5)
    kinds = [type(one.event) for one in await relay.story(message) if not isinstance(one.event, Operated)]
    assert kinds[0] is Injection
    assert Bounce not in kinds


async def test_the_story_of_mail_that_has_left_is_forgotten_after_ten_days(
    relay: RelayHarness, mta: FakeMta
) -> None:
    message = (await relay.inject(TO, ip_pool="receipts")).message_id
    assert await relay.quiet() == []
    relay.clock.advance(days=9, hours=23)
    await relay.clock.settle()
    assert len(await relay.story(message)) == 2

    async def forgotten() -> bool:
        relay.clock.advance(hours=1)
        return not await relay.story(message)

    await eventually(forgotten)
