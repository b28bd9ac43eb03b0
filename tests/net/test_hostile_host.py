"""Hosts that no library would imitate: each writes octets as a test likes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from relay.domain.address import parse_mailbox
from relay.domain.message import Envelope
from relay.domain.reply import Phase
from relay.ports import Host
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
