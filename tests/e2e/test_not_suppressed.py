"""Which refusals of a next hop make the relay write to somebody no more, and which are not about him."""

from collections.abc import Callable

import pytest

from relay.domain.events import Bounce
from relay.domain.reply import Phase
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness

TO = "good@gmail.example"
SUPPRESSED = "554 5.7.1 recipient address was suppressed due to customer policy"


async def _last(relay: RelayHarness, to: str | list[str] = TO) -> Bounce:
    injected = await relay.inject(to, ip_pool="receipts")
    await relay.quiet()
    event = (await relay.story(injected.messages[0]))[-1].event
    assert isinstance(event, Bounce)
    return event


@pytest.mark.parametrize(
    ("phase", "reply", "found"),
    [
        (Phase.MAIL, "553 5.1.8 <s@x.test>... Domain of sender address s@x.test does not exist", 50),
        (Phase.MAIL, "501 5.1.7 Invalid address", 50),
        (Phase.MAIL, "550 5.1.0 <s@x.test>: unknown user", 50),
        (Phase.DATA, "550 5.1.1 no such user", 40),
        (Phase.RCPT, "550 5.1.1 <s@x.test>: Sender address rejected: user unknown", 50),
        (Phase.RCPT, "550 5.7.1 Your account has been suspended for sending abuse", 50),
        (Phase.RCPT, "535 5.7.8 user account disabled", 50),
        (Phase.RCPT, "550 5.1.8 Domain of address does not exist", 50),
    ],
)
async def test_a_refusal_that_is_not_about_the_mailbox_does_not_suppress_it(
    relay: RelayHarness, mta: FakeMta, phase: Phase, reply: str, found: int
) -> None:
    mta.say(phase, reply)
    for _ in range(2):
        event = await _last(relay)
        assert (event.bounce_class, event.raw_reason) == (found, reply)


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.BODY])
async def test_a_refusal_of_the_mailbox_does(relay: RelayHarness, mta: FakeMta, phase: Phase) -> None:
    mta.say(phase, "550 5.1.1 no such user")
    assert (await _last(relay)).bounce_class == 10
    assert (await _last(relay)).raw_reason == SUPPRESSED


async def test_a_refusal_of_the_content_that_two_share_suppresses_neither(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.say(Phase.BODY, "550 5.1.1 no such user")
    for _ in range(2):
        assert (await _last(relay, [TO, "other@gmail.example"])).bounce_class == 40


async def _expires(relay: RelayHarness, act: Callable[[], None]) -> Bounce:
    act()
    injected = await relay.inject(TO, ip_pool="receipts")
    await relay.quiet()
    relay.clock.advance(hours=73)
    await relay.quiet()
    event = (await relay.story(injected.message_id))[-1].event
    assert isinstance(event, Bounce)
    return event


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.MAIL])
async def test_mail_that_expires_suppresses_nobody_whatever_was_said_last(
    relay: RelayHarness, mta: FakeMta, phase: Phase
) -> None:
    code = 550 if phase is Phase.GREETING else 450
    event = await _expires(relay, lambda: mta.say(phase, f"{code} 5.1.1 no such user"))
    assert event.raw_reason.startswith("554 5.4.7 [internal] message timeout")
    assert event.bounce_class == (50 if phase is Phase.GREETING else 20)
    mta.behave()
    await relay.inject(TO, ip_pool="receipts")
    assert await relay.quiet() == []
    assert [attempt.recipient for attempt in mta.accepted] == [TO]
