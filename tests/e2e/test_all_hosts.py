"""Hosts of a domain are taken in order until one has the message (RFC 5321 §5.1); sessions have enough."""

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from relay.domain.events import Bounce, Delay, Delivery, Injection
from relay.domain.ids import TransmissionId
from relay.domain.reply import Phase
from relay.net.timeouts import Timeouts
from relay.sink.fake_mta import FakeMta
from relay.sink.orders import EXTENSIONS
from relay.testing.fake_dns import FakeDns
from relay.testing.harness import Injected, RelayHarness
from relay.testing.lab import lab_directory
from relay.testing.wire import connect_wire

SHORT = Timeouts(greeting_s=0.4, ehlo_s=0.4, mail_s=0.4, rcpt_s=0.4, data_s=0.4, body_s=0.4)
STEP_BY_STEP = tuple(name for name in EXTENSIONS if name != "PIPELINING")
Act = Callable[[FakeMta], None]


@asynccontextmanager
async def _site(
    folder: Path,
    hosts: int = 2,
    *,
    preferences: Sequence[int] = (),
    extensions: Sequence[str] = EXTENSIONS,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> AsyncIterator[tuple[RelayHarness, list[FakeMta]]]:
    """A relay, and the exchangers of all domains, best first."""
    async with AsyncExitStack() as stack:
        mtas: list[FakeMta] = []
        for number in range(hosts):
            port = mtas[0].port if mtas else 0
            mta = FakeMta(f"127.0.3.{number + 1}", port, extensions=extensions)
            mtas.append(await stack.enter_async_context(mta))
        levels = preferences or [10 * number for number in range(1, hosts + 1)]
        names = [f"mx{number}.example" for number in range(1, hosts + 1)]
        dns = FakeDns(
            {domain: list(zip(levels, names, strict=True)) for domain in ("gmail.example", "x.example")},
            {name: [f"127.0.3.{number}"] for number, name in enumerate(names, 1)},
        )
        route = f'\n[[route]]\ndomains = ["*"]\nmx = true\nport = {mtas[0].port}\ntls = "off"\n'
        route += "allow_private = true\n"
        relay = RelayHarness(
            folder,
            mtas[0],
            directory=lab_directory() + route,
            resolver=dns,
            timeouts=SHORT,
            settings=settings,
        )
        await stack.enter_async_context(relay)
        yield relay, mtas


async def _sent(relay: RelayHarness, to: str = "bob@gmail.example") -> Injected:
    injected = await relay.inject(to, ip_pool="receipts")
    await relay.quiet(15)
    return injected


async def _events(relay: RelayHarness, injected: Injected) -> list[type]:
    return [type(told.event) for told in await relay.story(injected.message_id)][1:]


def _says(phase: Phase, reply: str | bytes) -> Act:
    return lambda mta: mta.say(phase, reply)


def _drops(phase: Phase) -> Act:
    return lambda mta: mta.drop(phase)


def _hangs(phase: Phase) -> Act:
    return lambda mta: mta.hang(phase)


_STEPS = (Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY)

FAILURES = [
    *[pytest.param(_says(phase, "451 4.3.0 not now"), id=f"451 to {phase}") for phase in _STEPS],
    *[pytest.param(_says(phase, "421 4.3.2 closing"), id=f"421 to {phase}") for phase in _STEPS],
    *[pytest.param(_drops(phase), id=f"closes at {phase}") for phase in _STEPS],
    *[pytest.param(_hangs(phase), id=f"hangs at {phase}") for phase in (Phase.GREETING, Phase.MAIL)],
    pytest.param(_says(Phase.GREETING, "554 5.7.1 no service here"), id="554 to greeting"),
    pytest.param(_says(Phase.MAIL, b"what?\r\n"), id="garbage to mail"),
    pytest.param(lambda mta: mta.drop_in_body(5), id="closes amid the content"),
]


@pytest.mark.parametrize("act", FAILURES)
async def test_the_next_host_has_the_mail_when_the_best_does_not_take_it(tmp_path: Path, act: Act) -> None:
    async with _site(tmp_path) as (relay, (best, second)):
        act(best)
        injected = await _sent(relay)
        assert await _events(relay, injected) == [Delivery]
        assert (len(best.accepted), len(second.accepted)) == (0, 1)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.BODY])
async def test_without_pipelining_the_next_host_is_asked_too(tmp_path: Path, phase: Phase) -> None:
    async with _site(tmp_path, extensions=STEP_BY_STEP) as (relay, (best, second)):
        best.say(phase, "451 4.3.0 not now")
        assert await _events(relay, await _sent(relay)) == [Delivery]
        assert len(second.accepted) == 1


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY])
async def test_a_permanent_refusal_of_the_mail_is_not_taken_elsewhere(tmp_path: Path, phase: Phase) -> None:
    async with _site(tmp_path) as (relay, (best, second)):
        best.say(phase, "554 5.7.1 no")
        assert await _events(relay, await _sent(relay)) == [Bounce]
        assert second.connections == 0


async def test_mail_that_was_taken_is_asked_of_nobody_else(tmp_path: Path) -> None:
    """Two recipients of one transaction: one taken, the other put off."""
    async with _site(tmp_path) as (relay, (best, second)):
        best.answer("later@gmail.example", "450 4.2.0 greylisted")
        await relay.inject(["now@gmail.example", "later@gmail.example"], ip_pool="receipts")
        assert await relay.quiet() == []
        assert [attempt.recipient for attempt in best.accepted] == ["now@gmail.example"]
        assert [attempt.recipient for attempt in second.attempts] == ["later@gmail.example"]


async def test_mail_that_all_hosts_put_off_waits_once_with_the_reply_of_the_last(tmp_path: Path) -> None:
    async with _site(tmp_path, 3) as (relay, mtas):
        for number, mta in enumerate(mtas):
            mta.say(Phase.RCPT, f"450 4.2.0 greylisted by {number}")
        injected = await _sent(relay)
        assert await _events(relay, injected) == [Delay]
        (waiting,) = await relay.queue()
        assert (waiting.attempts, waiting.last_reply) == (1, "450 4.2.0 greylisted by 2")
        assert [len(mta.attempts) for mta in mtas] == [1, 1, 1]


async def test_the_best_host_is_asked_first_again_when_it_refused_one_message(tmp_path: Path) -> None:
    async with _site(tmp_path) as (relay, (best, second)):
        best.answer("grey@gmail.example", "450 4.2.0 greylisted")
        for name in ("grey", "one", "two"):
            await _sent(relay, f"{name}@gmail.example")
        assert [attempt.recipient for attempt in second.attempts] == ["grey@gmail.example"]
        assert [attempt.recipient for attempt in best.accepted] == ["one@gmail.example", "two@gmail.example"]


async def test_of_many_hosts_any_is_reached_before_long_and_no_attempt_asks_more_than_five(
    tmp_path: Path,
) -> None:
    async with _site(tmp_path, 8) as (relay, mtas):
        for mta in mtas[:-1]:
            mta.say(Phase.MAIL, "451 4.3.0 not now")
        await _sent(relay)
        for _ in range(60):
            asked = [mta.connections for mta in mtas]
            assert sum(asked) <= 5 * (1 + max(asked))
            if mtas[-1].accepted:
                break
            relay.clock.advance(minutes=30)
            await relay.quiet()
            await relay.inject("bob@gmail.example", ip_pool="receipts")
            await relay.quiet()
        assert mtas[-1].accepted


async def test_equal_hosts_share_the_mail(tmp_path: Path) -> None:
    settings = {"limits": {"deliveries_per_connection": 1}}
    async with _site(tmp_path, 3, preferences=(10, 10, 20), settings=settings) as (relay, mtas):
        for number in range(24):
            await _sent(relay, f"r{number}@gmail.example")
        first, second, worse = (len(mta.accepted) for mta in mtas)
        assert first > 0
        assert second > 0
        assert (first + second, worse) == (24, 0)


# ── what a host lacks ────────────────────────────────────────────────────────────────────

PLAIN = b"From: a@acme.test\r\nTo: bob@gmail.example\r\nSubject: t\r\n\r\nx\r\n"
NOT_CONVERTIBLE = b"Content-Type: multipart/mixed\r\n" + PLAIN + "é\r\n".encode()
NEEDS = [
    pytest.param("8BITMIME", "bob@gmail.example", NOT_CONVERTIBLE, "554 5.6.3", id="8BITMIME"),
    pytest.param("SMTPUTF8", "bøb@gmail.example", PLAIN, "553 5.6.7", id="SMTPUTF8"),
    pytest.param("SIZE 50", "bob@gmail.example", PLAIN, "552 5.3.4", id="SIZE"),
]


def _lacks(mta: FakeMta, need: str) -> None:
    left = [need] if need.startswith("SIZE") else [name for name in EXTENSIONS if name != need]
    mta.say(Phase.EHLO, "250-mx\r\n" + "".join(f"250-{name}\r\n" for name in left) + "250 HELP")


async def _needing(relay: RelayHarness, to: str, message: bytes) -> Injected:
    login = b64encode("\0".join(("", *relay.login())).encode())
    utf8 = b"" if to.isascii() else b" SMTPUTF8"
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        mail = b"MAIL FROM:<a@acme.test> BODY=8BITMIME" + utf8
        for line in (b"EHLO c", b"AUTH PLAIN " + login, mail, f"RCPT TO:<{to}>".encode(), b"DATA"):
            await wire.ask(line)
        said = await wire.ask(message + b".")
    transmission = TransmissionId(said.split()[-1])
    told = (await relay.inside.store.events.of_transmission(transmission))[0].event
    assert isinstance(told, Injection)
    await relay.quiet(15)
    return Injected(transmission, (told.about.message_id,))


@pytest.mark.parametrize(("need", "to", "message", "verdict"), NEEDS)
async def test_what_one_host_lacks_another_may_offer(
    tmp_path: Path, need: str, to: str, message: bytes, verdict: str
) -> None:
    async with _site(tmp_path) as (relay, (best, second)):
        _lacks(best, need)
        assert await _events(relay, await _needing(relay, to, message)) == [Delivery]
        assert [attempt.recipient for attempt in second.accepted] == [to]
        assert best.attempts == []


@pytest.mark.parametrize(("need", "to", "message", "verdict"), NEEDS)
async def test_what_all_hosts_lack_is_a_bounce_when_the_last_was_asked(
    tmp_path: Path, need: str, to: str, message: bytes, verdict: str
) -> None:
    async with _site(tmp_path) as (relay, (best, second)):
        _lacks(best, need)
        _lacks(second, need)
        injected = await _needing(relay, to, message)
        event = (await relay.story(injected.message_id))[-1].event
        assert isinstance(event, Bounce), event
        assert event.raw_reason.startswith(verdict)
        assert (best.connections, second.connections) == (1, 1)


@pytest.mark.parametrize("lacking", [0, 1])
@pytest.mark.parametrize(
    "act", [_says(Phase.GREETING, "451 4.3.0 not now"), _says(Phase.MAIL, "451 4.3.0 no")]
)
@pytest.mark.parametrize(("need", "to", "message", "verdict"), NEEDS)
async def test_it_waits_while_another_host_may_yet_take_it(
    tmp_path: Path, need: str, to: str, message: bytes, verdict: str, act: Act, lacking: int
) -> None:
    async with _site(tmp_path) as (relay, mtas):
        _lacks(mtas[lacking], need)
        act(mtas[1 - lacking])
        assert await _events(relay, await _needing(relay, to, message)) == [Delay]
        (waiting,) = await relay.queue()
        assert waiting.last_reply.startswith("451 4.3.0")


# ── sessions that have enough ────────────────────────────────────────────────────────────

ENOUGH = [
    pytest.param("452 4.4.5 Maximum number of messages per session exceeded.", id="452"),
    pytest.param("421 4.4.5 Too many messages, closing", id="421"),
    pytest.param("451 4.7.0 not now", id="451"),
    pytest.param("550 5.7.0 Too many messages in this session", id="550"),
    pytest.param("503 5.5.1 Sender already given", id="503"),
    pytest.param("554 5.7.0 Message limit reached", id="554"),
    pytest.param("550 5.7.1 Maximum number of mails exceeded", id="of mails"),
    pytest.param("550 Sender specified twice", id="twice"),
    pytest.param(None, id="hangs up"),
]


class _Limited:
    """A server that takes two messages in a session, and says so at the given step of the next."""

    def __init__(self, phase: Phase, reply: str | None) -> None:
        self._step, self._reply = phase, reply
        self.taken: Counter[int] = Counter()
        self.sessions = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        number = self.sessions
        writer.write(b"220 mx\r\n")
        while line := await reader.readline():
            verb = line[:4].upper().decode()
            is_full = self.taken[number] >= 2 and verb == self._step.upper()[:4]
            if is_full and self._reply is None:
                break
            if is_full and self._reply is not None:
                writer.write(self._reply.encode() + b"\r\n")
                if self._reply.startswith("421"):
                    break
            elif verb == "DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                self.taken[number] += 1
                writer.write(b"250 2.0.0 Ok\r\n")
            elif verb == "QUIT":
                break
            else:
                writer.write(b"250 Ok\r\n")
        writer.close()


@pytest.mark.parametrize("reply", ENOUGH)
async def test_what_a_session_has_enough_of_goes_by_another_at_once(
    tmp_path: Path, reply: str | None
) -> None:
    host = _Limited(Phase.MAIL, reply)
    await _all_leave(tmp_path, host)


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA])
@pytest.mark.parametrize(
    "reply",
    [
        "452 4.5.3 Too many recipients in this session",
        "421 4.4.5 closing",
        "554 5.7.0 no more transactions on this connection",
        "450 4.7.1 Maximum messages per connect exceeded",
        "503 5.5.1 MAIL first",
        None,
    ],
)
async def test_so_it_does_when_the_session_says_so_later(
    tmp_path: Path, phase: Phase, reply: str | None
) -> None:
    await _all_leave(tmp_path, _Limited(phase, reply))


async def _all_leave(folder: Path, host: _Limited) -> None:
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    async with FakeMta() as mta:
        port = server.sockets[0].getsockname()[1]
        route = f'\n[[route]]\ndomains = ["*"]\nsmarthost = "127.0.0.1:{port}"\ntls = "off"\n'
        async with RelayHarness(folder, mta, directory=lab_directory() + route, timeouts=SHORT) as relay:
            for number in range(7):
                injected = await _sent(relay, f"r{number}@gmail.example")
                assert await _events(relay, injected) == [Delivery]
                (told,) = [told.event for told in await relay.story(injected.message_id)][1:]
                assert isinstance(told, Delivery)
                assert told.num_retries == 0
        assert [host.taken[number] for number in range(1, 5)] == [2, 2, 2, 1]
        server.close()


@pytest.mark.parametrize("reply", ["452 4.4.5 Too many messages", "421 4.4.5 closing", "451 4.7.0 no"])
async def test_a_host_that_refuses_a_fresh_session_too_is_asked_once_and_the_mail_waits(
    tmp_path: Path, reply: str
) -> None:
    async with FakeMta() as mta, RelayHarness(tmp_path, mta) as relay:
        await _sent(relay, "first@gmail.example")
        mta.say(Phase.MAIL, reply)
        injected = await _sent(relay)
        assert await _events(relay, injected) == [Delay]
        (waiting,) = await relay.queue()
        assert (waiting.attempts, waiting.last_reply) == (1, reply)
        assert mta.connections == 2


@pytest.mark.parametrize("reply", ["450 4.2.0 greylisted", "550 5.1.1 no such user"])
async def test_a_refusal_of_the_recipient_needs_no_other_session(tmp_path: Path, reply: str) -> None:
    async with FakeMta() as mta, RelayHarness(tmp_path, mta) as relay:
        await _sent(relay, "first@gmail.example")
        mta.answer("bob@gmail.example", reply)
        assert await _events(relay, await _sent(relay)) == [Delay if reply.startswith("4") else Bounce]
        assert mta.connections == 1


async def test_a_refused_sender_is_asked_for_once_more_and_is_a_bounce(tmp_path: Path) -> None:
    """In a session that had no transaction he is not: that refusal is about him."""
    async with FakeMta() as mta, RelayHarness(tmp_path, mta) as relay:
        await _sent(relay, "first@gmail.example")
        mta.say(Phase.MAIL, "553 5.1.8 Domain of sender address does not exist")
        for number in range(5):
            assert await _events(relay, await _sent(relay, f"r{number}@gmail.example")) == [Bounce]
        assert mta.connections == 2


async def test_a_host_that_puts_off_every_sender_costs_no_connection_a_message(tmp_path: Path) -> None:
    async with FakeMta() as mta, RelayHarness(tmp_path, mta) as relay:
        mta.say(Phase.MAIL, "451 4.7.1 not now")
        for number in range(5):
            assert await _events(relay, await _sent(relay, f"r{number}@gmail.example")) == [Delay]
        assert mta.connections == 1


async def test_a_host_that_puts_off_recipients_keeps_its_connection(tmp_path: Path) -> None:
    async with FakeMta() as mta, RelayHarness(tmp_path, mta) as relay:
        mta.say(Phase.RCPT, "450 4.2.0 greylisted")
        for number in range(5):
            assert await _events(relay, await _sent(relay, f"r{number}@gmail.example")) == [Delay]
        assert mta.connections == 1
