"""The fake next hop does what it is told and remembers what came."""

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relay.domain.reply import Phase
from relay.domain.route import TlsPolicy
from relay.net.tls import client_context, ensure_self_signed, server_context
from relay.sink.fake_mta import FakeMta
from relay.testing.wire import Wire, connect_wire

TRANSACTION = (b"MAIL FROM:<a@x.test> SIZE=5", b"RCPT TO:<b@x.test>", b"DATA")


@asynccontextmanager
async def greeted(mta: FakeMta) -> AsyncIterator[Wire]:
    """A connection past EHLO."""
    async with connect_wire(("127.0.0.1", mta.port)) as wire:
        assert (await wire.reply()).startswith("220 ")
        assert (await wire.ask(b"EHLO me.test")).startswith("250-mx.fake.test\n250-PIPELINING\n")
        yield wire


async def sent(wire: Wire, *recipients: str, content: bytes = b"A: b\r\n") -> list[str]:
    """The replies to one transaction, command by command, up to the first that stops it."""
    replies = [await wire.ask(b"MAIL FROM:<a@x.test>")]
    replies += [await wire.ask(f"RCPT TO:<{recipient}>".encode()) for recipient in recipients]
    replies.append(await wire.ask(b"DATA"))
    if replies[-1].startswith("354"):
        await wire.write(content + b".\r\n")
        replies.append(await wire.reply())
    return [reply[:3] for reply in replies]


async def test_it_takes_everything_and_remembers_it(mta: FakeMta) -> None:
    async with greeted(mta) as wire:
        await wire.send(*TRANSACTION)
        assert [(await wire.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        await wire.write(b"A: b\r\n\r\n..dot\r\n...\r\n.\r\n")
        assert await wire.reply() == "250 2.0.0 Ok"
    (attempt,) = mta.attempts
    assert (attempt.peer_ip, attempt.ehlo, attempt.tls, attempt.username) == (
        "127.0.0.1",
        "me.test",
        False,
        "",
    )
    assert (attempt.mail_from, attempt.parameters, attempt.recipient) == ("a@x.test", "SIZE=5", "b@x.test")
    assert (attempt.reply, attempt.is_accepted, attempt.connection) == ("250 2.0.0 Ok", True, 1)
    assert attempt.content == b"A: b\r\n\r\n.dot\r\n..\r\n"
    assert mta.accepted == mta.attempts_for("B@x.test") == [attempt]
    assert mta.pipelined == 2


async def test_replies_go_by_recipient_and_change_the_second_time(mta: FakeMta) -> None:
    mta.answer("b@x.test", "250 never said")
    mta.answer("b@x.test", "451 4.2.1 later", then="250 2.0.0 as 42")
    async with greeted(mta) as wire:
        assert await sent(wire, "b@x.test", "c@x.test") == ["250", "451", "250", "354", "250"]
        assert await sent(wire, "B@x.test") == ["250", "250", "354", "250"]
    assert [(attempt.recipient, attempt.reply) for attempt in mta.attempts] == [
        ("b@x.test", "451 4.2.1 later"),
        ("c@x.test", "250 2.0.0 Ok"),
        ("B@x.test", "250 2.0.0 as 42"),
    ]


async def test_replies_go_by_source_address(mta: FakeMta) -> None:
    mta.answer_ip("127.0.0.1", "450 4.7.1 you again", then="250 2.1.0 Ok")
    async with greeted(mta) as wire:
        await wire.send(*TRANSACTION)
        assert [(await wire.reply())[:3] for _ in range(3)] == ["450", "503", "503"]
        assert await sent(wire, "b@x.test") == ["250", "250", "354", "250"]
    assert [(attempt.recipient, attempt.reply[:3]) for attempt in mta.attempts] == [
        ("b@x.test", "450"),
        ("b@x.test", "250"),
    ]


async def test_a_refused_mail_without_a_recipient_is_an_attempt_too(mta: FakeMta) -> None:
    mta.answer_ip("127.0.0.1", "550 5.7.1 not you")
    async with greeted(mta) as wire:
        assert (await wire.ask(TRANSACTION[0])).startswith("550")
        await wire.ask(b"QUIT")
    assert [(attempt.recipient, attempt.reply) for attempt in mta.attempts] == [("", "550 5.7.1 not you")]


async def test_mail_beyond_a_number_or_a_rate_is_refused(mta: FakeMta) -> None:
    async with greeted(mta) as wire:

        async def taken() -> str:
            await wire.ask(b"RSET")
            return (await sent(wire, "b@x.test"))[1]

        mta.limit("451 4.7.1 enough", first=2)
        assert [await taken() for _ in range(4)] == ["250", "250", "451", "451"]
        mta.limit()
        assert await taken() == "250"
        mta.limit(per_second=0.001)
        assert [await taken() for _ in range(3)] == ["250", "451", "451"]
    assert {attempt.reply for attempt in mta.attempts if not attempt.is_accepted} == {
        "451 4.7.1 enough",
        "451 4.7.1 Too fast",
    }


@pytest.mark.parametrize(
    "phase", [Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY]
)
@pytest.mark.parametrize(
    ("misbehave", "heard"),
    [
        pytest.param(lambda mta, phase: mta.say(phase, "450 4.3.0 no", times=1), "450 4.3.0 no", id="reply"),
        pytest.param(lambda mta, phase: mta.say(phase, "421 4.3.2 bye", times=1), "421 4.3.2 bye", id="421"),
        pytest.param(
            lambda mta, phase: mta.say(phase, b"\xffgarbage\r\n", times=1), "�garbage", id="garbage"
        ),
        pytest.param(lambda mta, phase: mta.drop(phase, times=1), "", id="drop"),
        pytest.param(lambda mta, phase: mta.hang(phase, times=1), None, id="hang"),
    ],
)
async def test_it_misbehaves_where_it_is_told(
    mta: FakeMta, phase: Phase, misbehave: Callable[[FakeMta, Phase], None], heard: str | None
) -> None:
    misbehave(mta, phase)
    async with connect_wire(("127.0.0.1", mta.port)) as wire:
        for step in Phase:
            if step is Phase.EHLO:
                await wire.send(b"EHLO me.test")
            elif step in {Phase.MAIL, Phase.RCPT, Phase.DATA}:
                await wire.send(TRANSACTION[[Phase.MAIL, Phase.RCPT, Phase.DATA].index(step)])
            elif step is Phase.BODY:
                await wire.write(b"A: b\r\n.\r\n")
            elif step is not Phase.GREETING:
                continue
            if step is phase and heard is None:
                with pytest.raises(TimeoutError):
                    await wire.reply(timeout_s=0.05)
                break
            reply = await wire.reply()
            if step is phase:
                assert reply == heard
                break
            assert reply[:1] in "23"
    async with greeted(mta) as wire:
        assert (await sent(wire, "next@x.test"))[-1] == "250"
    assert len(mta.attempts_for("b@x.test")) == (phase in {Phase.RCPT, Phase.DATA, Phase.BODY})
    assert not any(attempt.is_accepted for attempt in mta.attempts_for("b@x.test"))


async def test_it_hangs_up_amid_the_content(mta: FakeMta) -> None:
    mta.drop_in_body(100)
    async with greeted(mta) as wire:
        await wire.send(*TRANSACTION)
        for _ in range(3):
            await wire.reply()
        await wire.write(b"x" * 200)
        assert await wire.reply() == ""
    assert [(attempt.reply, attempt.content) for attempt in mta.attempts] == [("", b"")]
    mta.behave()
    async with greeted(mta) as wire:
        assert (await sent(wire, "b@x.test", content=b"x" * 200 + b"\r\n"))[-1] == "250"


async def test_it_keeps_its_limits(mta: FakeMta) -> None:
    mta.restrict(messages_per_connection=1, connections=1, recipients=1, size_bytes=10, delay_s=0.01)
    async with greeted(mta) as wire:
        async with connect_wire(("127.0.0.1", mta.port)) as other:
            assert (await other.reply()).startswith("421 ")
        assert (await wire.ask(b"MAIL FROM:<a@x.test> SIZE=11")).startswith("552")
        assert await sent(wire, "b@x.test", "c@x.test", content=b"x" * 11 + b"\r\n") == [
            *("250", "250", "452", "354", "552")
        ]
        assert await wire.reply() == ""
    assert mta.connections == 2


async def test_it_can_be_waited_for(mta: FakeMta) -> None:
    async with asyncio.TaskGroup() as tasks, greeted(mta) as wire:
        waiting = tasks.create_task(mta.attempts_reached(2))
        await sent(wire, "b@x.test", "c@x.test")
        assert len(await waiting) == 2
    with pytest.raises(TimeoutError):
        await mta.attempts_reached(3, timeout_s=0.01)


async def test_a_real_client_logs_in_over_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate, key = ensure_self_signed(tmp_path_factory.mktemp("tls"), "mx.fake.test")
    context = server_context(certificate, key)
    async with FakeMta(tls=context, credentials={"relay": "secret"}) as mta:
        await asyncio.to_thread(_send_by_smtplib, mta.port, client_context(TlsPolicy.OPPORTUNISTIC))
        assert mta.logins == [("relay", "secret")]
        (attempt,) = mta.attempts
        assert (attempt.tls, attempt.username, attempt.is_accepted) == (True, "relay", True)


def _send_by_smtplib(port: int, context: ssl.SSLContext) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.starttls(context=context)
        client.login("relay", "secret")
        client.sendmail("a@x.test", ["b@x.test"], b"A: b\r\n\r\nHello.\r\n")


async def test_without_a_login_mail_is_refused_when_one_is_needed() -> None:
    async with FakeMta(credentials={"relay": "secret"}) as mta:
        async with connect_wire(("127.0.0.1", mta.port)) as wire:
            await wire.reply()
            assert (await wire.ask(b"EHLO me.test")).endswith("AUTH PLAIN LOGIN")
            assert (await wire.ask(b"AUTH PLAIN AHJlbGF5AHdyb25n")).startswith("535")
            assert (await wire.ask(b"AUTH PLAIN nonsense")).startswith("501")
            assert (await wire.ask(TRANSACTION[0])).startswith("530")
        assert mta.logins == [("relay", "wrong")]


async def test_it_keeps_its_port_when_it_is_entered_again() -> None:
    mta = FakeMta()
    async with mta:
        port = mta.port
    async with mta, greeted(mta):
        assert mta.port == port


@pytest.mark.parametrize(
    "line", [b"", b"\xff", b"MAIL", b"MAIL FROM:a@x.test", b"RCPT TO:<b@x.test>", b"DATA", b"VRFY x"]
)
async def test_nonsense_gets_a_5yz(mta: FakeMta, line: bytes) -> None:
    async with greeted(mta) as wire:
        assert (await wire.ask(line)).startswith("5")
        assert (await sent(wire, "b@x.test"))[-1] == "250"
