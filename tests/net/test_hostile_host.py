"""Hosts that no library would imitate: each writes octets as a test likes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from relay.domain.address import parse_mailbox
from relay.domain.message import Envelope
from relay.domain.reply import Phase
from relay.ports.outbound import Host
from relay.testing.waiting import eventually
from tests.net.conversation import session_with

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Raw = Callable[[Serve], Awaitable[Host]]

ENVELOPE = Envelope("a@acme.test", (parse_mailbox("b@x.test"),))
CONTENT = (b"Subject: hi\r\n\r\nHello.\r\n",)
BIG = (b"x" * 78 + b"\r\n",) * 200_000
OPENING = b"220 raw.test\r\n"
EHLO = b"250-raw.test\r\n250 PIPELINING\r\n"
AGREED = b"250 Ok\r\n250 Ok\r\n354 Go\r\n"


async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Up to the commands of the first transaction, which have been read."""
    writer.write(OPENING)
    await reader.readline()
    writer.write(EHLO)
    await reader.readuntil(b"DATA\r\n")


async def test_replies_that_come_octet_by_octet_are_put_together(raw: Raw) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        for octet in AGREED:
            writer.write(bytes([octet]))
            await asyncio.sleep(0)
        await reader.readuntil(b"\r\n.\r\n")
        for octet in b"250-2.0.0 Ok:\r\n250-2.0.0 queued  \r\n250 2.0.0 as 42\r\n":
            writer.write(bytes([octet]))
            await asyncio.sleep(0)
        await reader.read()

    async with session_with((await raw(serve)).port, quit_s=0.1) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        assert [str(reply) for reply in transcript.replies] == ["250 2.0.0 Ok: 2.0.0 queued 2.0.0 as 42"]
        assert session.is_usable


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(b"250", "250", id="no text"),
        pytest.param(b"250 ", "250", id="empty text"),
        pytest.param(b"250 gr\xc3\xbc\xc3\x9fe", "250 grüße", id="UTF-8"),
        pytest.param(b"250 gr\xfc\xdfe", "250 gr��e", id="not UTF-8"),
        pytest.param(b"250 a\x1b[31m\x07b", "250 a�[31m�b", id="terminal control"),
        pytest.param(b"250 " + b"x" * 2000, "250 " + "x" * 2000, id="long"),
        pytest.param(b"250 " + b"x" * 200_000, "250 " + "x" * 2048, id="very long"),
        pytest.param(b"250-a\r\n" * 10_000 + b"250 b", "250 " + "a " * 64 + "b", id="many lines"),
        pytest.param((b"250-" + b"x" * 9000 + b"\r\n") * 20 + b"250 b", "250 " + "x" * 2048, id="long lines"),
        pytest.param(b"250\tqueued", "250 queued", id="tab"),
        pytest.param(b"250: queued", "250 : queued", id="colon"),
        pytest.param(b"250OK", "250 OK", id="no blank"),
        pytest.param(b"250+queued", "250 +queued", id="plus"),
        pytest.param(b"250-a\r\nas 42\r\n\r\n250 b", "250 a as 42  b", id="lines without a code"),
        pytest.param(b"550-no\r\n250 b", "250 no b", id="codes that differ"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
async def test_odd_but_readable_replies_count(raw: Raw, line: bytes, text: str, end: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(line + end)
        await reader.read()

    async with session_with((await raw(serve)).port, quit_s=0.1) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        assert [str(reply) for reply in transcript.replies] == [text]
        assert session.is_usable


MORE = b"x" * 400_000
LINES = b"250-x\r\n" * 60_000
NO_END = b"250 2.0.0 queued"


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        pytest.param(b"250 " + MORE, 250, id="taken, in a line without end"),
        pytest.param(LINES, 250, id="taken, in lines without end"),
        pytest.param(b"550 5.1.1 " + MORE, 550, id="refused, in a line without end"),
        pytest.param(LINES.replace(b"250", b"550"), 550, id="refused, in lines without end"),
        pytest.param(b"250-" + MORE, 451, id="a line that may go on to say anything"),
        pytest.param(MORE, 451, id="no code"),
    ],
)
async def test_the_code_of_a_reply_without_end_counts_and_ends_the_session(
    raw: Raw, octets: bytes, code: int
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(octets)
        await reader.read()

    async with session_with((await raw(serve)).port) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        (reply,) = transcript.replies
        assert (reply.code, len(reply.text) <= 2048, session.is_usable) == (code, True, False)
        assert transcript.is_ambiguous == (code == 451)


@pytest.mark.parametrize("ends", ["hangs up", "falls silent"])
@pytest.mark.parametrize(
    ("octets", "code"),
    [
        pytest.param(NO_END, 250, id="taken"),
        pytest.param(b"250 ", 250, id="taken without a word"),
        pytest.param(b"250-a\r\n250 b", 250, id="taken in two lines"),
        pytest.param(b"550 5.7.1 no", 550, id="refused"),
        pytest.param(b"250", 451, id="a code that may have gone on"),
        pytest.param(b"250-2.0.0 queued", 451, id="a line that is not the last"),
        pytest.param(b"250-2.0.0 queued\r\n", 451, id="lines without the last"),
    ],
)
async def test_a_reply_whose_end_of_line_never_came_counts_when_its_code_did(
    raw: Raw, octets: bytes, code: int, ends: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(octets)
        if ends == "falls silent":
            await reader.read()

    async with session_with((await raw(serve)).port, body_s=0.3) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        (reply,) = transcript.replies
        assert (reply.code, reply.phase, session.is_usable) == (code, Phase.BODY, False)
        assert transcript.is_ambiguous == (code == 451)


async def test_a_250_without_an_end_amid_the_content_delivers_nothing(raw: Raw) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        await reader.readexactly(1000)
        writer.write(NO_END)
        writer.write_eof()
        await reader.readexactly(1000)

    async with session_with((await raw(serve)).port, quit_s=0.1) as session:
        transcript = await session.transact(ENVELOPE, BIG)
        assert [reply.code for reply in transcript.replies] == [451]


async def test_long_refusals_of_pipelined_commands_are_each_ones_own(raw: Raw) -> None:
    long = b"550-5.1.1 " + b"z" * 3000 + b"\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(
            b"250 Ok\r\n" + long * 60 + b"550 end\r\n" + b"250 Ok\r\n" + b"354 " + b"y" * 9000 + b"\r\n"
        )
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 2.0.0 Ok\r\n")
        await reader.read()

    both = Envelope("a@acme.test", (parse_mailbox("no@x.test"), parse_mailbox("b@x.test")))
    async with session_with((await raw(serve)).port, quit_s=0.1) as session:
        refused, taken = (await session.transact(both, CONTENT)).replies
        assert (refused.code, refused.enhanced, refused.phase) == (550, "5.1.1", Phase.RCPT)
        assert (str(taken), session.is_usable) == ("250 2.0.0 Ok", True)


async def test_a_refused_data_counts_though_the_host_hangs_up_behind_it(raw: Raw) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(b"250 Ok\r\n250 Ok\r\n554 5.7.1 not from you\r\nbye\r\n")
        await reader.read()

    async with session_with((await raw(serve)).port) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        assert [str(reply) for reply in transcript.replies] == ["554 5.7.1 not from you"]


async def test_a_250_before_the_content_delivers_nothing(raw: Raw) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED + b"250 2.0.0 already delivered\r\n")
        await reader.read()

    async with session_with((await raw(serve)).port, quit_s=0.1) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        (reply,) = transcript.replies
        assert (reply.code, transcript.is_lost, session.is_usable) == (451, True, False)


@pytest.mark.parametrize(
    ("early", "code"),
    [
        pytest.param(b"250 2.0.0 that will do\r\n", 451, id="acceptance"),
        pytest.param(b"552 5.3.4 Too big\r\n", 552, id="refusal"),
        pytest.param(b"421 4.3.2 Closing\r\n", 421, id="closing"),
    ],
)
@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_reply_amid_the_content_never_delivers(
    early: bytes, code: int, runner: Callable[[Awaitable[None]], None]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        await reader.readexactly(1000)
        writer.write(early)
        await over.wait()
        writer.transport.abort()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with session_with(server.sockets[0].getsockname()[1], quit_s=0.1) as session:
            transcript = await session.transact(ENVELOPE, BIG)
            (reply,) = transcript.replies
            assert (reply.code, reply.phase) == (code, Phase.BODY)
            assert (transcript.is_lost, transcript.is_ambiguous, session.is_usable) == (True, False, False)
        over.set()
        server.close()

    over = asyncio.Event()
    runner(scenario())


async def test_a_host_that_stops_reading_is_given_up_before_the_dot(raw: Raw) -> None:
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        await over.wait()

    async with session_with((await raw(serve)).port, quit_s=0.1, block_s=0.1) as session:
        transcript = await session.transact(ENVELOPE, BIG)
        (reply,) = transcript.replies
        assert str(reply) == "451 4.4.2 [internal] no reply in time: BODY"
        assert (transcript.is_lost, transcript.is_ambiguous) == (True, False)
    over.set()


async def test_a_slow_reader_has_a_deadline_for_each_block_and_not_for_the_whole(raw: Raw) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        writer.write(AGREED)
        for _ in range(20):
            await reader.readexactly(len(BIG) * len(BIG[0]) // 20)
            await asyncio.sleep(0.02)
        assert await reader.readline() == b".\r\n"
        writer.write(b"250 2.0.0 at last\r\n")
        await reader.read()

    began = asyncio.get_running_loop().time()
    async with session_with((await raw(serve)).port, quit_s=0.1, block_s=0.25) as session:
        transcript = await session.transact(ENVELOPE, BIG)
        assert [str(reply) for reply in transcript.replies] == ["250 2.0.0 at last"]
    assert asyncio.get_running_loop().time() - began > 0.3, "too fast to show anything"


async def test_a_reply_line_every_moment_does_not_put_the_deadline_off(raw: Raw) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await opened(reader, writer)
        while True:
            writer.write(b"250-wait\r\n")
            await asyncio.sleep(0.02)

    async with session_with((await raw(serve)).port, quit_s=0.1, mail_s=0.2) as session:
        transcript = await session.transact(ENVELOPE, CONTENT)
        assert str(transcript.replies[0]) == "451 4.4.2 [internal] no reply in time: MAIL"


@pytest.mark.parametrize("unasked", [b"250 hello?\r\n", b"garbage\r\n", b"421 4.3.2 Closing\r\n"])
async def test_whatever_an_idle_host_says_ends_the_session(raw: Raw, unasked: bytes) -> None:
    speak = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OPENING)
        await reader.readline()
        writer.write(EHLO)
        await speak.wait()
        writer.write(unasked)
        await reader.read()

    async with session_with((await raw(serve)).port, quit_s=0.1) as session:
        assert session.is_usable
        speak.set()

        async def is_over() -> bool:
            return not session.is_usable

        await eventually(is_over)
