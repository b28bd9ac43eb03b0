"""Transactions of one conversation: replies, phases, and what is left of the session."""

import asyncio
from collections.abc import Sequence

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.address import Mailbox
from relay.domain.message import Envelope
from relay.domain.reply import Phase
from relay.ports.outbound import SmtpSession
from relay.sink.fake_mta import FakeMta
from relay.sink.orders import EXTENSIONS
from relay.testing.waiting import eventually
from tests.net.conversation import BIND, CONTENT, WITHOUT_PIPELINING, said, session_with, to

LOST = "4.4.2 [internal] connection closed by remote host"
PHASES = [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY]

both_ways = pytest.mark.parametrize(
    "extensions",
    [pytest.param(EXTENSIONS, id="pipelining"), pytest.param(WITHOUT_PIPELINING, id="command by command")],
)


async def is_left_usable(session: SmtpSession, mta: FakeMta) -> bool:
    """Whether the next transaction goes through on the same connection."""
    transcript = await session.transact(to("next@x.test"), CONTENT)
    (attempt,) = mta.attempts_for("next@x.test")
    return said(transcript) == [("250 2.0.0 Ok", Phase.BODY)] and attempt.connection == 1 == mta.connections


# ── what is said ─────────────────────────────────────────────────────────────────────────


@both_ways
async def test_a_message_arrives_as_it_was_from_the_bound_address(extensions: Sequence[str]) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.answer("b@x.test", "250 2.0.0 Ok queued as 42")
        transcript = await session.transact(to("b@x.test"), CONTENT)
        assert said(transcript) == [("250 2.0.0 Ok queued as 42", Phase.BODY)]
        assert (transcript.is_lost, transcript.is_ambiguous) == (False, False)
        (attempt,) = mta.attempts
        assert (attempt.peer_ip, attempt.ehlo, attempt.mail_from) == (BIND, "mta5.relay.test", "a@acme.test")
        assert attempt.content == b"".join(CONTENT)
        assert attempt.parameters == f"SIZE={len(attempt.content)}"
        assert (session.peer.ip_address, session.peer.outbound_tls) == ("127.0.0.1", 0)


async def test_commands_are_pipelined_only_when_the_host_offers_it() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        await session.transact(to("b@x.test", "c@x.test"), CONTENT)
        assert mta.pipelined == 3
    async with FakeMta(extensions=WITHOUT_PIPELINING) as mta, session_with(mta.port) as session:
        mta.answer("no@x.test", "550 5.1.1 No")
        for recipients in (["b@x.test", "no@x.test"], ["no@x.test"], ["b@x.test"]):
            await session.transact(to(*recipients), CONTENT)
        mta.say(Phase.DATA, "354 Go", times=1)
        await session.transact(to("b@x.test"), CONTENT)
        assert mta.pipelined == 0


@both_ways
async def test_each_recipient_gets_the_reply_that_decided(extensions: Sequence[str]) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.answer("no@x.test", "550 5.1.1 No such user")
        mta.answer("later@x.test", "451 4.2.1 later")
        transcript = await session.transact(to("no@x.test", "b@x.test", "later@x.test", "c@x.test"), CONTENT)
        assert said(transcript) == [
            ("550 5.1.1 No such user", Phase.RCPT),
            ("250 2.0.0 Ok", Phase.BODY),
            ("451 4.2.1 later", Phase.RCPT),
            ("250 2.0.0 Ok", Phase.BODY),
        ]
        assert {attempt.recipient for attempt in mta.accepted} == {"b@x.test", "c@x.test"}
        assert await is_left_usable(session, mta)


@both_ways
@pytest.mark.parametrize("reply", ["450 4.7.1 Not now", "550 5.7.1 Not you"])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_refusal_leaves_the_session_usable(
    extensions: Sequence[str], phase: Phase, reply: str
) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.say(phase, reply, times=2 if phase is Phase.RCPT else 1)
        transcript = await session.transact(to("b@x.test", "c@x.test"), CONTENT)
        assert said(transcript) == [(reply, phase)] * 2
        assert not transcript.is_lost
        assert await is_left_usable(session, mta)


@both_ways
async def test_a_host_that_wants_content_for_nobody_gets_a_lone_dot(extensions: Sequence[str]) -> None:
    """RFC 2920 §3.1."""
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.answer("no@x.test", "550 5.1.1 No")
        mta.say(Phase.DATA, "354 Go", times=1)
        transcript = await session.transact(to("no@x.test"), CONTENT)
        assert said(transcript) == [("550 5.1.1 No", Phase.RCPT)]
        assert await is_left_usable(session, mta)
        assert [attempt.content for attempt in mta.attempts_for("no@x.test")] == [b""]


async def test_the_null_reverse_path_is_sent_as_such() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        await session.transact(to("b@x.test", mail_from=""), CONTENT)
        assert mta.attempts[0].mail_from == ""


NO_PATHS = [
    pytest.param("a@acme.test>\r\nRCPT TO:<eve@x.test", id="CRLF"),
    pytest.param("a@acme.test>\nDATA", id="LF"),
    pytest.param("a@acme.test\r", id="CR at the end"),
    pytest.param("a\0@acme.test", id="NUL"),
    pytest.param("a@acme.test> SIZE=1 X=<y", id="parameters"),
    pytest.param('"a" SIZE=1@acme.test', id="behind quotes"),
    pytest.param('"a@acme.test', id="quotes left open"),
    pytest.param("a b@acme.test", id="space"),
    pytest.param("a\u2028b@acme.test", id="line separator"),
    pytest.param("a\x85b@acme.test", id="next line"),
    pytest.param("a\ud800b@acme.test", id="half a pair"),
    pytest.param("a@b@acme.test", id="two at signs"),
    pytest.param("acme.test", id="no at sign"),
]


@both_ways
@pytest.mark.parametrize("path", NO_PATHS)
async def test_what_is_no_address_never_reaches_the_wire(path: str, extensions: Sequence[str]) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        sender = await session.transact(to("b@x.test", "c@x.test", mail_from=path), CONTENT)
        assert said(sender) == [("553 5.1.7 [internal] the return path is no address", Phase.INTERNAL)] * 2
        refused = ("553 5.1.3 [internal] the recipient is no address", Phase.INTERNAL)
        alone = await session.transact(Envelope("a@acme.test", (Mailbox(path, "x.test"),)), CONTENT)
        assert said(alone) == [refused]
        others = (Mailbox("b@x.test", "x.test"), Mailbox(path, "x.test"), Mailbox("c@x.test", "x.test"))
        among = await session.transact(Envelope("a@acme.test", others), CONTENT)
        taken = ("250 2.0.0 Ok", Phase.BODY)
        assert said(among) == [taken, refused, taken]
        assert [attempt.recipient for attempt in mta.attempts] == ["b@x.test", "c@x.test"]
        parameters = f"SIZE={len(b''.join(CONTENT))}" + " SMTPUTF8" * (not path.isascii())
        assert {attempt.parameters for attempt in mta.attempts} == {parameters}
        assert await is_left_usable(session, mta)


async def test_no_recipient_is_the_null_path() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        transcript = await session.transact(Envelope("a@acme.test", (Mailbox("", "x.test"),)), CONTENT)
        assert said(transcript) == [("553 5.1.3 [internal] the recipient is no address", Phase.INTERNAL)]
        assert mta.attempts == []


async def test_spaces_and_brackets_in_quotes_are_part_of_an_address() -> None:
    """RFC 5321 §4.1.2."""
    async with FakeMta() as mta, session_with(mta.port) as session:
        path = '"a b> SIZE=1 \\"<"@x.test'
        assert [reply.code for reply in (await session.transact(to(path), CONTENT)).replies] == [250]
        assert mta.attempts[0].recipient == path


async def test_a_session_says_quit_when_it_closes() -> None:
    async with FakeMta() as mta:
        async with session_with(mta.port) as session:
            await session.transact(to("b@x.test"), CONTENT)
        assert not session.is_usable
        await eventually(lambda: _is_true(mta.open_connections == 0))
        await session.close()


async def test_taking_leave_of_a_host_that_is_silent_is_brief() -> None:
    async with FakeMta() as mta, session_with(mta.port, quit_s=0.05) as session:
        mta.restrict(delay_s=60)
        began = asyncio.get_running_loop().time()
        await session.close()
        assert asyncio.get_running_loop().time() - began < 2


# ── what goes wrong ──────────────────────────────────────────────────────────────────────


@both_ways
@pytest.mark.parametrize("phase", PHASES)
async def test_a_host_that_falls_silent_is_given_up_at_that_phase(
    extensions: Sequence[str], phase: Phase
) -> None:
    async with FakeMta(extensions=extensions) as mta:
        short = {f"{phase}_s": 0.05}
        async with session_with(mta.port, **short) as session:
            mta.hang(phase)
            transcript = await session.transact(to("b@x.test", "c@x.test"), CONTENT)
            assert (
                said(transcript) == [(f"451 4.4.2 [internal] no reply in time: {phase.upper()}", phase)] * 2
            )
            assert transcript.is_lost
            assert transcript.is_ambiguous == (phase is Phase.BODY)
            assert not session.is_usable


@both_ways
@pytest.mark.parametrize("phase", PHASES)
async def test_a_connection_that_ends_is_told_with_its_phase(extensions: Sequence[str], phase: Phase) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.drop(phase)
        transcript = await session.transact(to("b@x.test", "c@x.test"), CONTENT)
        assert said(transcript) == [(f"451 {LOST}", phase)] * 2
        assert transcript.is_lost
        assert transcript.is_ambiguous == (phase is Phase.BODY)
        assert not session.is_usable


@both_ways
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"what?\r\n", id="words"),
        pytest.param(b"25\r\n", id="two digits"),
        pytest.param(b"150 1\r\n", id="1yz"),
        pytest.param(b"999 9\r\n", id="9yz"),
        pytest.param(b"\x00\xff\xfe\r\n", id="octets"),
        pytest.param(b"\r\n", id="empty line"),
        pytest.param(b"x" * 3000 + b"\r\n", id="long line"),
        pytest.param(b"2" * 300_000, id="long line without end"),
    ],
)
async def test_garbage_is_a_protocol_error_and_ends_the_session(
    extensions: Sequence[str], phase: Phase, garbage: bytes
) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.say(phase, garbage)
        transcript = await session.transact(to("b@x.test"), CONTENT)
        (reply,) = transcript.replies
        assert (reply.code, reply.phase) == (451, phase)
        assert reply.text.startswith("4.5.0 [internal] protocol error: ")
        assert transcript.is_lost
        assert transcript.is_ambiguous == (phase is Phase.BODY)
        assert not session.is_usable


@both_ways
@pytest.mark.parametrize("phase", PHASES)
async def test_421_ends_the_session_and_is_the_reply(extensions: Sequence[str], phase: Phase) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.say(phase, "421 4.3.2 Closing")
        transcript = await session.transact(to("b@x.test", "c@x.test"), CONTENT)
        assert said(transcript) == [("421 4.3.2 Closing", phase)] * 2
        assert (transcript.is_lost, transcript.is_ambiguous) == (True, False)
        assert not session.is_usable


@both_ways
async def test_recipients_decided_before_the_connection_ended_keep_their_replies(
    extensions: Sequence[str],
) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        mta.answer("no@x.test", "550 5.1.1 No")
        mta.drop(Phase.DATA)
        transcript = await session.transact(to("no@x.test", "b@x.test"), CONTENT)
        assert said(transcript) == [("550 5.1.1 No", Phase.RCPT), (f"451 {LOST}", Phase.DATA)]


async def test_a_host_that_closes_after_each_message_has_still_taken_it() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        mta.restrict(messages_per_connection=1)
        transcript = await session.transact(to("b@x.test"), CONTENT)
        assert said(transcript) == [("250 2.0.0 Ok", Phase.BODY)]
        assert not transcript.is_ambiguous
        await eventually(lambda: _is_true(not session.is_usable))


@pytest.mark.parametrize("farewell", ["", "421 4.4.2 Idle too long"])
async def test_an_idle_session_notices_at_once_that_it_is_over(farewell: str) -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        await session.transact(to("b@x.test"), CONTENT)
        assert session.is_usable
        mta.say_all(farewell) if farewell else mta.drop_all()
        await eventually(lambda: _is_true(not session.is_usable))
        transcript = await session.transact(to("b@x.test"), CONTENT)
        assert transcript.is_lost
        assert transcript.replies[0].code == (421 if farewell else 451)
        assert len(mta.attempts) == 1


async def test_a_session_that_died_unnoticed_is_dead_and_not_deferred_mail() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        await session.transact(to("b@x.test"), CONTENT)
        mta.drop_all()
        # Not a turn of the loop in between: the end of the connection is not known yet.
        transcript = await session.transact(to("c@x.test"), CONTENT)
        assert transcript.is_lost


async def test_cancelling_a_transaction_closes_the_connection() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        mta.hang(Phase.BODY)
        async with asyncio.TaskGroup() as tasks:
            attempt = tasks.create_task(session.transact(to("b@x.test"), CONTENT))
            await mta.attempts_reached(1)
            attempt.cancel()
        assert attempt.cancelled()
        assert not session.is_usable
        await eventually(lambda: _is_true(mta.open_connections == 0))


# ── content on the wire ──────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"", b".", b"..", b".x", b"a\rb", b"\xff" * 9]) | st.binary(max_size=30), max_size=9
    )
)
def test_content_arrives_octet_for_octet(lines: Sequence[bytes]) -> None:
    content = b"".join(line + b"\r\n" for line in lines if b"\r\n" not in line)

    async def scenario() -> None:
        async with FakeMta() as mta, session_with(mta.port) as session:
            for _ in range(2):
                assert (await session.transact(to("b@x.test"), [b"A: b\r\n", content])).replies[0].code == 250
            assert [attempt.content for attempt in mta.attempts] == [b"A: b\r\n" + content] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_big_content_arrives_whole_and_the_session_goes_on(runner: object) -> None:
    content = b"".join(b".%06d and some more text\r\n" % number for number in range(120_000))

    async def scenario() -> None:
        async with FakeMta() as mta, session_with(mta.port) as session:
            transcript = await session.transact(to("b@x.test"), [b"A: b\r\n", content])
            assert said(transcript) == [("250 2.0.0 Ok", Phase.BODY)]
            assert mta.attempts[0].content == b"A: b\r\n" + content
            assert await is_left_usable(session, mta)

    assert callable(runner)
    runner(scenario())


async def test_a_connection_that_ends_amid_big_content_is_not_ambiguous() -> None:
    async with FakeMta() as mta, session_with(mta.port) as session:
        mta.drop_in_body(10_000)
        transcript = await session.transact(to("b@x.test"), [b"x" * 78 + b"\r\n"] * 400_000)
        assert said(transcript) == [(f"451 {LOST}", Phase.BODY)]
        assert (transcript.is_lost, transcript.is_ambiguous) == (True, False)


async def _is_true(value: bool) -> bool:
    return value
