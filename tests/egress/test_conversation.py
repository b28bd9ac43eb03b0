"""What one attempt comes to: host after host, reply by reply, and on which connection."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.errors import Busy, OverCapacity, SourceUnplumbed
from relay.domain.ids import IpAddress
from relay.domain.message import Message
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.egress.path import PathLimits
from relay.egress.worker import Egress
from relay.mail.seven_bit import Unconvertible
from relay.net.dns import NO_SUCH_DOMAIN
from relay.ports.outbound import NoSession
from relay.ports.suppressions import SuppressionQuery
from relay.testing.waiting import eventually
from tests.store.conftest import build_batch, copies, put
from tests.support.mail import IP, NOW, build_message
from tests.support.outbound import BY_MX, HOST, Outbound, Script, Turn, refused, said, turn
from tests.support.sandbox import Here

TAKEN = "delivery 250 2.0.0 Ok"
ASCII_ONLY = frozenset({"SIZE"})
HEAD = b"From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
A, B = "192.0.2.1", "192.0.2.2"
TWO_HOSTS = {"a.mx.test": [A], "b.mx.test": [B]}


async def put_together(outbound: Outbound, number: int) -> list[Message]:
    """Copies of one submission, which may share a transaction."""
    mail = copies(number)
    await outbound.store.queue.enqueue(build_batch(*mail))
    return mail


async def follow(outbound: Outbound, egress: Egress, message: Message | None = None) -> Message:
    """Further mail, of which egress is told."""
    (mail,) = await put(outbound.store, message or build_message())
    egress.queued(mail.pin.ip, mail.domain, mail.due)
    return mail


# ── one host ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        pytest.param(Script(), TAKEN, id="taken"),
        pytest.param(Script(turn("RCPT 550 5.1.1 unknown")), "bounce 550 5.1.1 unknown", id="rcpt-5yz"),
        pytest.param(Script(turn("MAIL 553 5.7.1 no")), "bounce 553 5.7.1 no", id="mail-5yz"),
        pytest.param(Script(turn("BODY 554 5.7.1 spam")), "bounce 554 5.7.1 spam", id="dot-5yz"),
    ],
)
async def test_a_final_reply_ends_the_message(outbound: Outbound, answer: Script, fate: str) -> None:
    outbound.hosts.play(answer)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        assert await outbound.ended(mail) == [[fate]]


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        pytest.param(Script(turn("RCPT 451 4.2.1 later")), "delay 451 4.2.1 later", id="rcpt-4yz"),
        pytest.param(Script(turn("MAIL 451 4.3.2 busy")), "delay 451 4.3.2 busy", id="mail-4yz"),
        pytest.param(Script(turn("BODY 421 4.3.2 bye", ends=True)), "delay 421 4.3.2 bye", id="421"),
        pytest.param(
            Script(turn("BODY 451 4.4.2 lost", lost=True, ambiguous=True)),
            "delay 451 4.4.2 lost",
            id="lost-after-the-dot",
        ),
        pytest.param(refused("CONNECT 451 4.4.1 refused"), "delay 451 4.4.1 refused", id="no-connection"),
        pytest.param(refused("GREETING 554 5.7.1 go away"), "delay 554 5.7.1 go away", id="greeting-5yz"),
        pytest.param(refused("AUTH 535 5.7.8 wrong"), "delay 535 5.7.8 wrong", id="login-refused"),
    ],
)
async def test_what_may_pass_puts_the_message_off_for_the_first_retry(
    outbound: Outbound, answer: Script | NoSession, fate: str
) -> None:
    outbound.hosts.play(answer)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        found = await outbound.deferred(mail)
        assert (found.attempts, found.due) == (1, NOW + timedelta(minutes=20))
        assert await outbound.fate(mail) == [fate]
        outbound.clock.advance(minutes=20)
        assert await outbound.ended(mail) == [[fate, TAKEN]]


@pytest.mark.parametrize(
    ("answer", "seconds", "reason"),
    [
        pytest.param(SourceUnplumbed(IP), 60, f"{IP} is not on this machine", id="ip-not-here"),
        pytest.param(OverCapacity(), 10, "No file descriptor is left", id="no-descriptor"),
        pytest.param(Script(RuntimeError("ours")), 60, "[internal] error, reference", id="bug-of-ours"),
    ],
)
async def test_what_is_our_fault_does_not_count_as_an_attempt(
    outbound: Outbound, answer: Script | Exception, seconds: int, reason: str
) -> None:
    outbound.hosts.play(answer)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        found = await outbound.deferred(mail)
        assert (found.attempts, found.due) == (0, NOW + timedelta(seconds=seconds))
        assert reason in found.last_reply
        assert await outbound.fate(mail) == []
        outbound.clock.advance(seconds=seconds)
        assert await outbound.ended(mail) == [[TAKEN]]


async def test_a_smarthost_gets_the_login_of_its_route(outbound: Outbound) -> None:
    outbound.route(Route(("*",), SmarthostRoute(HOST, 587, TlsPolicy.REQUIRED, "relay", "secret")))
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        await outbound.ended(mail)
    (login,) = outbound.hosts.logins
    assert login is not None
    assert (login.username, login.password) == ("relay", "secret")


async def test_mail_for_a_sink_is_delivered_to_nobody(outbound: Outbound) -> None:
    outbound.sinks = ("sink.test",)
    (mail,) = await put(outbound.store, build_message("bob@deep.sink.test"))
    async with outbound.running():
        ((fate,),) = await outbound.ended(mail)
    assert fate == "delivery 250 2.0.0 [internal] taken by the sink: nothing was sent"
    assert outbound.hosts.calls == []


# ── several recipients ───────────────────────────────────────────────────────────────────


async def test_each_recipient_has_the_reply_that_was_its_own(outbound: Outbound) -> None:
    outbound.hosts.play(Script(turn("BODY 250 2.0.0 Ok", "RCPT 550 5.1.1 unknown")))
    mail = await put_together(outbound, 2)
    async with outbound.running():
        assert await outbound.ended(*mail) == [[TAKEN], ["bounce 550 5.1.1 unknown"]]


async def test_a_recipient_too_many_goes_in_the_next_transaction(outbound: Outbound) -> None:
    session = Script(turn("BODY 250 2.0.0 Ok", "RCPT 452 4.5.3 too many", "RCPT 452 4.5.3 too many"))
    outbound.hosts.play(session)
    mail = await put_together(outbound, 3)
    async with outbound.running():
        assert await outbound.ended(*mail) == [[TAKEN]] * 3
    assert [len(envelope.recipients) for envelope, _ in session.taken] == [3, 2]
    assert outbound.budget.taken_bytes == 0


async def test_a_refusal_of_content_that_recipients_share_is_no_word_about_any_mailbox(
    outbound: Outbound,
) -> None:
    outbound.hosts.play(Script(turn("BODY 554 5.1.1 unknown")))
    mail = await put_together(outbound, 2)
    async with outbound.running():
        assert await outbound.ended(*mail) == [["bounce 554 5.1.1 unknown"]] * 2
    assert not await outbound.store.suppressions.count(SuppressionQuery(mail[0].account))


# ── host after host ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("at_a", "at_b", "fate", "asked"),
    [
        pytest.param([], [], TAKEN, [A], id="the-best-takes-it"),
        pytest.param([refused("CONNECT 451 4.4.1 x", A)], [], TAKEN, [A, B], id="the-best-is-down"),
        pytest.param([refused("STARTTLS 454 4.7.0 x", A)], [], TAKEN, [A, B], id="the-best-has-no-tls"),
        pytest.param([Script(turn("RCPT 451 4.2.1 later"))], [], TAKEN, [A, B], id="the-best-says-later"),
        pytest.param([Script(turn("RCPT 550 5.1.1 no"))], [], "bounce 550 5.1.1 no", [A], id="final-word"),
        pytest.param(
            [Script(turn("INTERNAL 552 5.3.4 too big"))], [], TAKEN, [A, B], id="the-best-takes-less"
        ),
        pytest.param(
            [Script(turn("INTERNAL 552 5.3.4 too big"))],
            [Script(turn("INTERNAL 552 5.3.4 too big"))],
            "bounce 552 5.3.4 too big",
            [A, B],
            id="all-take-less",
        ),
    ],
)
async def test_hosts_are_asked_best_first_until_one_has_the_last_word(
    outbound: Outbound,
    at_a: Sequence[Script | NoSession],
    at_b: Sequence[Script | NoSession],
    fate: str,
    asked: list[str],
) -> None:
    outbound.route(*BY_MX)
    outbound.dns.mx_hosts["b.example"] = ["a.mx.test", "b.mx.test"]
    outbound.dns.host_addresses.update(TWO_HOSTS)
    outbound.hosts.play(*at_a, at=A)
    outbound.hosts.play(*at_b, at=B)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        assert await outbound.ended(mail) == [[fate]]
    assert await outbound.calls(len(asked)) == asked


@pytest.mark.parametrize(
    ("at_a", "at_b", "fate"),
    [
        pytest.param(
            [Script(turn("INTERNAL 552 5.3.4 too big"))],
            [refused("CONNECT 451 4.4.1 down", B)],
            "delay 451 4.4.1 down",
            id="who-could-take-it-is-down",
        ),
        pytest.param(
            [Script(turn("RCPT 451 4.2.1 first"))],
            [Script(turn("RCPT 452 4.2.2 second"))],
            "delay 452 4.2.2 second",
            id="the-last-to-be-asked-is-quoted",
        ),
        pytest.param(
            [Script(turn("RCPT 451 4.2.1 first"))],
            [refused("CONNECT 451 4.4.1 down", B)],
            "delay 451 4.2.1 first",
            id="who-spoke-of-the-mail-is-quoted",
        ),
    ],
)
async def test_when_no_host_takes_it_the_message_waits(
    outbound: Outbound,
    at_a: Sequence[Script | NoSession],
    at_b: Sequence[Script | NoSession],
    fate: str,
) -> None:
    outbound.route(*BY_MX)
    outbound.dns.mx_hosts["b.example"] = ["a.mx.test", "b.mx.test"]
    outbound.dns.host_addresses.update(TWO_HOSTS)
    outbound.hosts.play(*at_a, at=A)
    outbound.hosts.play(*at_b, at=B)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        await outbound.deferred(mail)
        assert await outbound.fate(mail) == [fate]


SILENT = said("INTERNAL 451 4.4.3 [internal] DNS does not answer")


@pytest.mark.parametrize(
    ("addresses", "allow_private", "fate"),
    [
        pytest.param({}, True, f"delay {NO_SUCH_DOMAIN}", id="no-such-host"),
        pytest.param({"a.mx.test": SILENT}, True, f"delay {SILENT}", id="dns-is-silent"),
        pytest.param(
            {"a.mx.test": ["10.0.0.1"]},
            False,
            "bounce 550 5.4.4 [internal] a.mx.test is 10.0.0.1: private (route setting allow_private)",
            id="private",
        ),
        pytest.param(
            {"a.mx.test": ["2001:4860::1"]},
            False,
            f"delay 451 4.4.1 [internal] No valid hosts (a.mx.test has no address of the family of {IP})",
            id="other-family",
        ),
    ],
)
async def test_a_host_without_a_usable_address_is_not_connected_to(
    outbound: Outbound, addresses: Mapping[str, list[str]], allow_private: bool, fate: str
) -> None:
    outbound.route(Route(("*",), MxRoute(TlsPolicy.OFF, allow_private=allow_private)))
    outbound.dns.mx_hosts["b.example"] = ["a.mx.test"]
    outbound.dns.host_addresses.update(addresses)
    (mail,) = await put(outbound.store, build_message())

    async def told() -> list[str]:
        return await outbound.fate(mail)

    async with outbound.running():
        assert await eventually(told) == [fate]
    assert outbound.hosts.calls == []


@pytest.mark.parametrize(
    ("ours", "fate", "asked"),
    [
        pytest.param({A}, "bounce 554 5.4.6 mail loop detected", [], id="we-are-the-best"),
        pytest.param({B}, TAKEN, [A], id="a-better-one-takes-it"),
    ],
)
async def test_mail_never_comes_back_to_ourselves(
    outbound: Outbound, ours: set[str], fate: str, asked: list[str]
) -> None:
    outbound.route(*BY_MX)
    outbound.ours = ours
    outbound.dns.mx_hosts["b.example"] = ["a.mx.test", "b.mx.test"]
    outbound.dns.host_addresses.update(TWO_HOSTS)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        assert await outbound.ended(mail) == [[fate]]
    assert [address for address, _, _ in outbound.hosts.calls] == asked


async def test_of_many_hosts_five_are_tried(outbound: Outbound) -> None:
    outbound.route(*BY_MX)
    names = [f"mx{number}.test" for number in range(9)]
    outbound.dns.mx_hosts["b.example"] = list(names)
    for number, name in enumerate(names):
        addresses = [f"192.0.2.{10 * number + at}" for at in range(3)]
        outbound.dns.host_addresses[name] = addresses
        for address in addresses:
            outbound.hosts.play(refused("CONNECT 451 4.4.1 down", address), at=address)
    (mail,) = await put(outbound.store, build_message())
    async with outbound.running():
        await outbound.deferred(mail)
    tried = [address for address, _, _ in outbound.hosts.calls]
    assert len(tried) == 10
    assert {int(address.rpartition(".")[2]) // 10 for address in tried[:8]} == {0, 1, 2, 3}


# ── one connection, several transactions ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("second", "fate", "connections"),
    [
        pytest.param(turn("BODY 250 2.0.0 Ok"), [TAKEN], 1, id="taken-on-the-same"),
        pytest.param(turn("MAIL 452 4.5.3 too many messages"), [TAKEN], 2, id="had-too-many"),
        pytest.param(turn("RCPT 503 5.5.1 out of sequence"), [TAKEN], 2, id="remembers-too-much"),
        pytest.param(turn("MAIL 451 4.4.2 gone", lost=True), [TAKEN], 2, id="lost-before-the-dot"),
        pytest.param(turn("RCPT 550 5.1.1 no"), ["bounce 550 5.1.1 no"], 1, id="final-word"),
    ],
)
async def test_a_used_connection_is_not_the_messages_fault(
    outbound: Outbound, second: Turn, fate: list[str], connections: int
) -> None:
    outbound.limits = PathLimits(connections=1)
    outbound.hosts.play(Script(turn("BODY 250 2.0.0 Ok"), second))
    (first,) = await put(outbound.store, build_message())
    async with outbound.running() as egress:
        await outbound.ended(first)
        mail = await follow(outbound, egress)
        assert await outbound.ended(mail) == [fate]
    assert len(outbound.hosts.calls) == connections


async def test_a_connection_carries_no_more_than_its_limit(outbound: Outbound) -> None:
    outbound.limits = PathLimits(connections=1, deliveries_per_connection=2)
    mail = await put(outbound.store, *(build_message() for _ in range(5)))
    async with outbound.running():
        await outbound.ended(*mail)
    assert len(outbound.hosts.calls) == 3


async def test_a_connection_from_another_address_is_not_used(outbound: Outbound) -> None:
    (first,) = await put(outbound.store, build_message())
    async with outbound.running() as egress:
        await outbound.ended(first)
        ips = dict(outbound.directory.snapshot.ips)
        ips[IP] = replace(ips[IP], bind=IpAddress("127.0.0.77"))
        outbound.directory.snapshot = replace(outbound.directory.snapshot, ips=ips)
        await outbound.ended(await follow(outbound, egress))
    assert [bind for _, bind, _ in outbound.hosts.calls] == [IP, "127.0.0.77"]


async def test_mail_of_a_host_that_wants_no_further_connection_goes_by_those_it_has(
    outbound: Outbound,
) -> None:
    outbound.limits = PathLimits(connections=2)
    goes_on = asyncio.Event()
    session = Script(until=goes_on)
    outbound.hosts.play(session, refused("GREETING 421 4.7.0 too many connections"))
    (first,) = await put(outbound.store, build_message())
    async with outbound.running() as egress:
        await outbound.calls(1)
        second = await follow(outbound, egress)
        await outbound.calls(2)
        goes_on.set()
        assert await outbound.ended(first, second) == [[TAKEN], [TAKEN]]
    assert len(session.taken) == 2


# ── hosts that take 7 bits ───────────────────────────────────────────────────────────────


async def put_eight_bit(outbound: Outbound, text: str = "café\r\n", times: int = 1) -> Message:
    mail = replace(build_message(), eight_bit=True)
    content = HEAD + (text * times).encode()
    await outbound.store.queue.enqueue(build_batch(mail, content=content))
    return mail


async def test_what_a_host_cannot_take_is_converted_for_it(outbound: Outbound) -> None:
    session = Script(extensions=ASCII_ONLY)
    outbound.hosts.play(session)
    mail = await put_eight_bit(outbound)
    async with outbound.running():
        assert await outbound.ended(mail) == [[TAKEN]]
    ((_, content),) = session.taken
    assert content.isascii()


class Sandbox(Here):
    """Raises what it is told to, or ends that session first."""

    def __init__(self, error: Exception | None = None, session: Script | None = None) -> None:
        self.error, self.session = error, session

    async def run(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
        if self.session is not None:
            self.session.is_usable = False
        if self.error is not None:
            raise self.error
        return await super().run(*arguments, **named)  # type: ignore[arg-type]


async def test_mail_that_cannot_be_converted_bounces(outbound: Outbound) -> None:
    outbound.sandbox = Sandbox(Unconvertible())
    outbound.hosts.play(Script(extensions=ASCII_ONLY))
    mail = await put_eight_bit(outbound, times=1000)
    async with outbound.running():
        ((fate,),) = await outbound.ended(mail)
    assert fate.startswith("bounce 554 5.6.3 [internal] the host takes no 8-bit content")


async def test_mail_that_has_no_place_to_be_converted_waits_ten_seconds(outbound: Outbound) -> None:
    outbound.sandbox = Sandbox(Busy())
    outbound.hosts.play(Script(extensions=ASCII_ONLY))
    mail = await put_eight_bit(outbound, times=1000)
    async with outbound.running():
        found = await outbound.deferred(mail)
    assert (found.attempts, found.due) == (0, NOW + timedelta(seconds=10))
    assert found.last_reply.startswith("451 4.3.1 [internal] No place")


async def test_a_connection_that_ends_while_mail_is_converted_is_opened_anew(outbound: Outbound) -> None:
    first = Script(extensions=ASCII_ONLY)
    outbound.limits = PathLimits(connections=1)
    outbound.hosts.play(first)
    (early,) = await put(outbound.store, build_message())
    outbound.sandbox = Sandbox(session=first)
    async with outbound.running() as egress:
        await outbound.ended(early)
        mail = await put_eight_bit(outbound, times=1000)
        egress.queued(mail.pin.ip, mail.domain, mail.due)
        assert await outbound.ended(mail) == [[TAKEN]]
    assert len(outbound.hosts.calls) == 2
