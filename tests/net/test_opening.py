"""From the first packet to the point where MAIL may be said: greeting, EHLO, STARTTLS, AUTH."""

import asyncio
import functools
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from relay.domain.address import parse_mailbox
from relay.domain.errors import SourceUnplumbed
from relay.domain.ids import IpAddress
from relay.domain.message import Envelope
from relay.domain.reply import Phase
from relay.domain.route import TlsPolicy
from relay.net.smtp_session import SmtpDialer
from relay.net.timeouts import Timeouts
from relay.net.tls import client_context, server_context
from relay.ports.outbound import Host, Login, NoSession, SmtpSession
from relay.sink.fake_mta import FakeMta

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Raw = Callable[[Serve], Awaitable[Host]]

BIND = IpAddress("127.0.0.5")
LOGIN = Login("relay", "sésame öffne dich")
SHORT = Timeouts(greeting_s=0.1, ehlo_s=0.1, starttls_s=0.1, auth_s=0.1)


async def connect(
    port: int,
    tls: TlsPolicy = TlsPolicy.OFF,
    login: Login | None = None,
    *,
    name: str = "mx.fake.test",
    cafile: Path | None = None,
    ignored: tuple[str, ...] = (),
    timeouts: Timeouts | None = None,
) -> SmtpSession | NoSession:
    context_for = functools.partial(client_context, cafile=cafile)
    dialer = SmtpDialer(timeouts=timeouts, connect_timeout_s=2, context_for=context_for)
    host = Host(name, IpAddress("127.0.0.1"), port)
    return await dialer.connect(BIND, "mta5.relay.test", host, tls, login, ignored)


async def refused(opened: Awaitable[SmtpSession | NoSession]) -> NoSession:
    failure = await opened
    assert isinstance(failure, NoSession)
    return failure


async def delivers(session: SmtpSession | NoSession) -> SmtpSession:
    """The session, after one transaction has shown that it works; it is closed."""
    assert not isinstance(session, NoSession), session
    transcript = await session.transact(Envelope("a@acme.test", (parse_mailbox("b@x.test"),)), [b"A: b\r\n"])
    assert [reply.code for reply in transcript.replies] == [250]
    await session.close()
    return session


async def test_an_address_that_is_not_on_this_machine_is_our_own_trouble() -> None:
    async with FakeMta() as mta:
        host = Host("mx.fake.test", IpAddress("127.0.0.1"), mta.port)
        with pytest.raises(SourceUnplumbed):
            await SmtpDialer().connect(IpAddress("192.0.2.1"), "me.test", host, TlsPolicy.OFF, None)
        assert mta.connections == 0


async def test_a_closed_port_ends_at_connect() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    failure = await refused(connect(port))
    assert str(failure.reply) == "451 4.4.1 [internal] No valid hosts (unable to make any connections)"
    assert (failure.reply.phase, failure.peer.ip_address) == (Phase.CONNECT, "")


@pytest.mark.parametrize("reply", ["421 4.7.0 Come back later", "554 5.7.1 No service for you"])
async def test_a_refused_greeting_is_told(reply: str) -> None:
    async with FakeMta() as mta:
        mta.say(Phase.GREETING, reply)
        failure = await refused(connect(mta.port))
        assert (str(failure.reply), failure.reply.phase) == (reply, Phase.GREETING)
        assert failure.peer.ip_address == "127.0.0.1"


@pytest.mark.parametrize("reply", ["421 4.7.0 Come back later", "450 4.7.1 Not now", "550 5.7.1 I know you"])
async def test_a_refused_ehlo_is_told(reply: str) -> None:
    async with FakeMta() as mta:
        mta.say(Phase.EHLO, reply)
        failure = await connect(mta.port)
        if reply.startswith("5"):
            # RFC 5321 §3.2: HELO may still do, and without it there are no extensions.
            assert (await delivers(failure)).extensions == frozenset()
        else:
            assert isinstance(failure, NoSession)
            assert (str(failure.reply), failure.reply.phase) == (reply, Phase.EHLO)


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO])
async def test_silence_garbage_and_hanging_up_are_told_with_their_phase(phase: Phase) -> None:
    async with FakeMta() as mta:
        mta.hang(phase, times=1)
        failure = await refused(connect(mta.port, timeouts=SHORT))
        assert (str(failure.reply), failure.reply.phase) == (
            f"451 4.4.2 [internal] no reply in time: {phase.upper()}",
            phase,
        )
        mta.drop(phase, times=1)
        failure = await refused(connect(mta.port))
        assert str(failure.reply) == "451 4.4.2 [internal] connection closed by remote host"
        assert failure.reply.phase is phase
        for garbage in (b"SSH-2.0-OpenSSH\r\n", b"2" * 40_000, b"7 7\r\n", b"100 no\r\n"):
            mta.say(phase, garbage, times=1)
            failure = await refused(connect(mta.port))
            assert (str(failure.reply), failure.reply.phase) == (
                "451 4.5.0 [internal] protocol error: malformed reply",
                phase,
            )
        await delivers(await connect(mta.port))


@pytest.mark.parametrize(
    "greeting",
    [
        pytest.param(b"220 " + b"x" * 40_000, id="a long line"),
        pytest.param(b"220-x\r\n" * 10_000 + b"220 y", id="many lines"),
        pytest.param(b"\r\n\n220 mx", id="behind empty lines"),
        pytest.param(b"220-mx\r\nNo spam here.\r\n\r\n220 ESMTP", id="lines without a code"),
        pytest.param(b"554-mx\r\n220 ESMTP", id="codes that differ"),
        pytest.param(b"220", id="no text"),
        pytest.param(b"220 mx\r\n220 mx", id="twice"),
    ],
)
async def test_an_odd_greeting_is_a_greeting(greeting: bytes) -> None:
    async with FakeMta() as mta:
        mta.say(Phase.GREETING, greeting + b"\r\n")
        await delivers(await connect(mta.port))


ODD_REFUSALS = [
    pytest.param(
        b"454-4.7.1 Go\r\nfar, far\r\n454 away\r\n", "454 4.7.1 Go far, far away", id="a line of text"
    ),
    pytest.param(b"\r\n454 4.7.1 Go away\r\n", "454 4.7.1 Go away", id="an empty line first"),
    pytest.param(b"250-hm\r\n454 4.7.1 Go away\r\n", "454 hm 4.7.1 Go away", id="codes that differ"),
    pytest.param(b"454 " + b"x" * 40_000 + b"\r\n", "454 " + "x" * 2048, id="a long line"),
    pytest.param(b"454 " + b"x" * 400_000, "454 " + "x" * 2048, id="a line without end"),
    pytest.param(b"454-y\r\n" * 60_000, "454 " + "y " * 1000, id="lines without end"),
    pytest.param(b"454 4.7.1 Go away", "454 4.7.1 Go away", id="a line that is not ended"),
]


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.AUTH])
@pytest.mark.parametrize(("octets", "told"), ODD_REFUSALS)
async def test_the_code_of_an_odd_refusal_counts(raw: Raw, phase: Phase, octets: bytes, told: str) -> None:
    replies = {Phase.GREETING: b"220 mx\r\n", Phase.EHLO: b"250-mx\r\n250 AUTH PLAIN\r\n", phase: octets}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in (Phase.GREETING, Phase.EHLO, Phase.AUTH):
            writer.write(replies[step])
            if step is phase:
                break
            await reader.readline()
        await reader.read()

    failure = await refused(connect((await raw(serve)).port, login=LOGIN, timeouts=SHORT))
    assert (str(failure.reply)[:2000], failure.reply.phase) == (told.rstrip()[:2000], phase)


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO])
async def test_a_reply_without_end_that_agrees_is_none(raw: Raw, phase: Phase) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if phase is Phase.EHLO:
            writer.write(b"220 mx\r\n")
            await reader.readline()
        writer.write(b"220 mx")
        if phase is Phase.EHLO:
            await reader.read()

    failure = await refused(connect((await raw(serve)).port, timeouts=SHORT))
    assert failure.reply.code == 451
    assert failure.reply.phase is phase


async def test_a_reply_that_is_too_long_is_called_so() -> None:
    async with FakeMta() as mta:
        mta.say(Phase.GREETING, b"\r\n" * 200_000)
        failure = await refused(connect(mta.port))
        assert str(failure.reply) == "451 4.5.0 [internal] protocol error: overlong reply"


@pytest.mark.parametrize(
    "ehlo",
    [
        pytest.param(b"250-\r\n250-STARTTLS\r\n250 SIZE", id="the name is missing"),
        pytest.param(b"250-mx\r\nhello\r\n250-starttls\r\n250 SIZE", id="a line of text"),
        pytest.param(b"250-mx\r\n" + b"250-X\r\n" * 500 + b"250 STARTTLS", id="many lines"),
        pytest.param(b"250-mx " + b"x" * 20_000 + b"\r\n250-STARTTLS\r\n250 SIZE", id="a long line"),
        pytest.param(b"250-mx\r\n250-SIZE \r\n250-STARTTLS \r\n250", id="blanks, and an empty line"),
    ],
)
async def test_what_is_offered_in_an_odd_way_is_offered(certificate: tuple[Path, Path], ehlo: bytes) -> None:
    async with FakeMta(tls=server_context(*certificate)) as mta:
        mta.say(Phase.EHLO, ehlo + b"\r\n", times=1)
        session = await delivers(await connect(mta.port, TlsPolicy.OPPORTUNISTIC))
        assert session.peer.outbound_tls == 1


# ── STARTTLS ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("policy", [TlsPolicy.OPPORTUNISTIC, TlsPolicy.REQUIRED])
def test_tls_is_used_when_it_is_offered(
    certificate: tuple[Path, Path], policy: TlsPolicy, runner: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def scenario() -> None:
        async with FakeMta(tls=server_context(*certificate)) as mta:
            opened = await connect(mta.port, policy, cafile=certificate[0])
            assert opened.peer.outbound_tls == 1
            content = b"x" * 78 + b"\r\n"
            assert not isinstance(opened, NoSession)
            await opened.transact(Envelope("", (parse_mailbox("big@x.test"),)), [content * 40_000])
            await delivers(opened)
            assert [len(attempt.content) for attempt in mta.attempts] == [80 * 40_000, 6]
            assert all(attempt.tls and attempt.ehlo == "mta5.relay.test" for attempt in mta.attempts)
            assert all(attempt.peer_ip == BIND for attempt in mta.attempts)

    runner(scenario())


async def test_opportunistic_tls_takes_any_certificate(certificate: tuple[Path, Path]) -> None:
    async with FakeMta(tls=server_context(*certificate)) as mta:
        session = await delivers(await connect(mta.port, TlsPolicy.OPPORTUNISTIC, name="other.test"))
        assert session.peer.outbound_tls == 1


async def test_without_an_offer_opportunistic_mail_goes_in_clear_text() -> None:
    async with FakeMta() as mta:
        session = await delivers(await connect(mta.port, TlsPolicy.OPPORTUNISTIC))
        assert (session.peer.outbound_tls, mta.attempts[0].tls) == (0, False)


async def test_an_offer_is_ignored_when_tls_is_off(certificate: tuple[Path, Path]) -> None:
    async with FakeMta(tls=server_context(*certificate)) as mta:
        session = await delivers(await connect(mta.port, TlsPolicy.OFF))
        assert (session.peer.outbound_tls, mta.attempts[0].tls) == (0, False)


@pytest.mark.parametrize(
    "trouble", ["454 4.7.0 TLS not available", b"220 Go\r\nthis is no TLS\r\n", b"what?\r\n", "drop", "hang"]
)
async def test_opportunistic_tls_that_fails_is_followed_by_clear_text(
    certificate: tuple[Path, Path], trouble: str | bytes
) -> None:
    async with FakeMta(tls=server_context(*certificate)) as mta:
        misbehave(mta, trouble)
        session = await delivers(await connect(mta.port, TlsPolicy.OPPORTUNISTIC, timeouts=SHORT))
        assert (session.peer.outbound_tls, mta.attempts[0].tls, mta.connections) == (-1, False, 2)
        assert mta.attempts[0].peer_ip == BIND


@pytest.mark.parametrize(
    "trouble", ["454 4.7.0 TLS not available", b"220 Go\r\nthis is no TLS\r\n", b"what?\r\n", "drop", "hang"]
)
async def test_required_tls_that_fails_is_no_session(
    certificate: tuple[Path, Path], trouble: str | bytes
) -> None:
    async with FakeMta(tls=server_context(*certificate)) as mta:
        misbehave(mta, trouble)
        failure = await refused(connect(mta.port, TlsPolicy.REQUIRED, cafile=certificate[0], timeouts=SHORT))
        assert (failure.reply.code, failure.reply.enhanced) == (454, "4.7.5")
        assert (failure.reply.phase, failure.peer.outbound_tls) == (Phase.STARTTLS, -1)
        assert mta.connections == 1


def misbehave(mta: FakeMta, trouble: str | bytes) -> None:
    match trouble:
        case "drop":
            mta.drop(Phase.STARTTLS)
        case "hang":
            mta.hang(Phase.STARTTLS)
        case _:
            mta.say(Phase.STARTTLS, trouble)


async def test_required_tls_that_is_not_offered_is_no_session() -> None:
    async with FakeMta() as mta:
        failure = await refused(connect(mta.port, TlsPolicy.REQUIRED))
        assert (failure.reply.code, failure.reply.enhanced) == (454, "4.7.4")
        assert failure.reply.phase is Phase.STARTTLS


@pytest.mark.parametrize(
    ("name", "is_trusted"),
    [
        pytest.param("other.test", True, id="another name"),
        pytest.param("mx.fake.test", False, id="an unknown authority"),
        pytest.param("127.0.0.1", True, id="an address"),
        pytest.param(".", True, id="no name"),
    ],
)
async def test_required_tls_is_verified_for_the_hosts_name(
    certificate: tuple[Path, Path], name: str, is_trusted: bool
) -> None:
    async with FakeMta(tls=server_context(*certificate)) as mta:
        cafile = certificate[0] if is_trusted else None
        failure = await refused(connect(mta.port, TlsPolicy.REQUIRED, name=name, cafile=cafile))
        assert (failure.reply.code, failure.reply.enhanced) == (454, "4.7.5")
        assert mta.attempts == []


async def test_what_was_said_in_clear_text_does_not_count_after_the_handshake(
    certificate: tuple[Path, Path],
) -> None:
    """RFC 3207 §4.2."""
    async with FakeMta(tls=server_context(*certificate), extensions=("PIPELINING",)) as mta:
        clear = b"250-mx.fake.test\r\n250-SMTPUTF8\r\n250-SIZE 1\r\n250 STARTTLS\r\n"
        mta.say(Phase.EHLO, clear, times=1)
        opened = await connect(mta.port, TlsPolicy.OPPORTUNISTIC)
        assert (await delivers(opened)).extensions == {"PIPELINING"}


async def test_what_is_to_be_ignored_counts_as_not_offered(certificate: tuple[Path, Path]) -> None:
    ignored = ("PIPELINING", "8BITMIME", "SIZE", "X-NEVER")
    async with FakeMta(tls=server_context(*certificate)) as mta:
        session = await delivers(await connect(mta.port, TlsPolicy.OPPORTUNISTIC, ignored=ignored))
        assert session.extensions == {"SMTPUTF8", "ENHANCEDSTATUSCODES"}
        assert (session.peer.outbound_tls, mta.pipelined, mta.attempts[0].parameters) == (1, 0, "")


async def test_starttls_and_auth_may_be_ignored(certificate: tuple[Path, Path]) -> None:
    credentials = {LOGIN.username: LOGIN.password}
    async with FakeMta(tls=server_context(*certificate), credentials=credentials) as mta:
        failure = await refused(connect(mta.port, TlsPolicy.REQUIRED, ignored=("STARTTLS",)))
        assert str(failure.reply) == "454 4.7.4 [internal] TLS required, not offered"
        failure = await refused(connect(mta.port, login=LOGIN, ignored=("AUTH",)))
        assert str(failure.reply) == "454 4.7.0 [internal] the host offers no AUTH that we know"
        assert mta.logins == []


# ── AUTH ─────────────────────────────────────────────────────────────────────────────────


async def test_a_login_is_used(certificate: tuple[Path, Path]) -> None:
    credentials = {LOGIN.username: LOGIN.password}
    async with FakeMta(tls=server_context(*certificate), credentials=credentials) as mta:
        await delivers(await connect(mta.port, TlsPolicy.OPPORTUNISTIC, LOGIN))
        assert mta.logins == [(LOGIN.username, LOGIN.password)]
        assert mta.attempts[0].username == LOGIN.username


async def test_a_wrong_password_ends_at_auth_and_is_tried_once() -> None:
    async with FakeMta(credentials={LOGIN.username: "other"}) as mta:
        failure = await refused(connect(mta.port, login=LOGIN))
        assert (str(failure.reply), failure.reply.phase) == ("535 5.7.8 Wrong credentials", Phase.AUTH)
        assert len(mta.logins) == 1


async def test_421_at_auth_is_told() -> None:
    async with FakeMta(credentials={LOGIN.username: LOGIN.password}) as mta:
        mta.say(Phase.AUTH, "421 4.7.0 Too many tries")
        failure = await refused(connect(mta.port, login=LOGIN))
        assert (str(failure.reply), failure.reply.phase) == ("421 4.7.0 Too many tries", Phase.AUTH)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_the_way_to_log_in_is_one_that_is_offered(mechanism: str) -> None:
    async with FakeMta(credentials={LOGIN.username: LOGIN.password}) as mta:
        mta.say(Phase.EHLO, f"250-mx.fake.test\r\n250 AUTH GSSAPI {mechanism}")
        await delivers(await connect(mta.port, login=LOGIN))
        assert mta.logins == [(LOGIN.username, LOGIN.password)]


USER, PASS = (b64encode(word).decode() for word in (LOGIN.username.encode(), LOGIN.password.encode()))


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [
        ((b"Username:", b"Password:"), [USER, PASS]),
        ((b"Password:", b"Username:"), [PASS, USER]),
        ((b"User Name\0", b"Password\0"), [USER, PASS]),
        ((b"Benutzer", b"Kennwort"), [USER, PASS]),
        ((b"", b""), [USER, PASS]),
        ((b"Password:", b"Password:"), [PASS, USER]),
    ],
)
async def test_prompts_of_auth_login_get_what_they_ask_for(
    prompts: tuple[bytes, ...], answers: list[str]
) -> None:
    said, outcome = await _prompted([b"334 " + b64encode(prompt) for prompt in prompts])
    assert said == ["AUTH LOGIN", *answers]
    assert not isinstance(outcome, NoSession)


async def test_a_prompt_that_is_no_base64_is_answered_in_the_usual_order() -> None:
    said, _ = await _prompted([b"334 user?", b"334 ==="])
    assert said == ["AUTH LOGIN", USER, PASS]


async def test_nothing_more_is_told_to_a_third_prompt() -> None:
    said, outcome = await _prompted([b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6", b"334 UGFzc3dvcmQ6"])
    assert said == ["AUTH LOGIN", USER, PASS]
    assert isinstance(outcome, NoSession)
    assert str(outcome.reply) == "451 4.5.0 [internal] protocol error: a third prompt"


async def _prompted(replies: list[bytes]) -> tuple[list[str], object]:
    """What a server that offers LOGIN alone, and asks like this, hears; and what becomes of it."""
    heard: list[str] = []
    left = [*replies, b"235 2.7.0 in"]
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        while line := await reader.readline():
            text = line.decode().strip()
            if text.startswith("EHLO"):
                writer.write(b"250-mx\r\n250 AUTH LOGIN\r\n")
            elif text.startswith("QUIT"):
                break
            else:
                heard.append(text)
                writer.write(left.pop(0) + b"\r\n")
        writer.transport.abort()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        opened = await connect(server.sockets[0].getsockname()[1], login=LOGIN)
        if not isinstance(opened, NoSession):
            await opened.close()
        await over.wait()
    return heard, opened


async def test_a_host_that_offers_no_auth_gets_no_credentials() -> None:
    async with FakeMta() as mta:
        failure = await refused(connect(mta.port, login=LOGIN))
        assert (failure.reply.code, failure.reply.enhanced) == (454, "4.7.0")
        assert (failure.reply.phase, mta.logins) == (Phase.AUTH, [])


@pytest.mark.parametrize(
    "echo",
    [
        LOGIN.password,
        b64encode(LOGIN.password.encode()).decode(),
        b64encode(f"\0{LOGIN.username}\0{LOGIN.password}".encode()).decode(),
    ],
)
async def test_a_password_that_the_host_repeats_is_not_told(echo: str) -> None:
    async with FakeMta(credentials={LOGIN.username: "other"}) as mta:
        mta.say(Phase.AUTH, f"535 5.7.8 no such login: {echo}")
        failure = await refused(connect(mta.port, login=LOGIN))
        assert (failure.reply.code, failure.reply.phase) == (535, Phase.AUTH)
        assert echo not in failure.reply.text


async def test_silence_at_auth_is_told() -> None:
    async with FakeMta(credentials={LOGIN.username: LOGIN.password}) as mta:
        mta.hang(Phase.AUTH)
        failure = await refused(connect(mta.port, login=LOGIN, timeouts=SHORT))
        assert str(failure.reply) == "451 4.4.2 [internal] no reply in time: AUTH"
