"""The server as a whole: TLS, time-outs, limits, memory, what it says of its own failures, and its end."""

import asyncio
import contextlib
import logging
import re
import smtplib
import socket
import struct
from contextlib import AsyncExitStack, suppress

import pytest

from relay.domain.errors import (
    Busy,
    NoFreeId,
    NoSharedPool,
    OverCapacity,
    PoolEmpty,
    QueueShareFull,
    StaleDirectory,
    StoreUnavailable,
    UnknownPool,
)
from relay.testing.waiting import eventually
from relay.testing.wire import Wire, connect_wire
from tests.ingress.conftest import Serve, Served, hello, login, plain, send, unverified

MAIL, RCPT = b"MAIL FROM:<alice@acme.test>", b"RCPT TO:<bob@gmail.example>"
CHUNK = b"x" * 998 + b"\r\n"


async def nothing_taken(smtp: Served) -> None:
    async def is_given_back() -> bool:
        return smtp.budget.taken_bytes == 0

    await eventually(is_given_back)


class TestTls:
    async def _upgraded(self, smtp: Served, stack: AsyncExitStack) -> tuple[Wire, str]:
        """A connection after STARTTLS, and the EHLO reply before it."""
        reader, writer = await asyncio.open_connection(*smtp.address)
        stack.callback(writer.transport.abort)
        wire = Wire(reader, writer)
        clear = await hello(wire)
        assert await wire.ask(b"STARTTLS") == "220 2.0.0 continue"
        await writer.start_tls(unverified(), server_hostname="relay.test")
        return wire, clear

    async def test_after_starttls_keys_are_asked_for(self, serve: Serve) -> None:
        async with serve(auth_without_tls=False) as smtp, AsyncExitStack() as stack:
            wire, clear = await self._upgraded(smtp, stack)
            assert "STARTTLS" in clear
            assert "AUTH" not in clear
            secure = await wire.ask(b"EHLO client.example")
            assert "STARTTLS" not in secure
            assert "250-AUTH=LOGIN PLAIN\n250-AUTH LOGIN PLAIN" in secure
            assert await login(wire) == "235 2.0.0 Authed. Go on."
            assert (await send(wire, b"x\r\n"))[:3] == "250"
            assert smtp.core.handed[0].protocol == "ESMTPSA"
            assert (await wire.ask(b"QUIT"))[:3] == "221"
            assert await wire.reply() == ""

    async def test_starttls_forgets_all_that_was_said(self, smtp: Served) -> None:
        """RFC 3207 §4.2."""
        async with AsyncExitStack() as stack:
            wire, _ = await self._upgraded(smtp, stack)
            assert (await wire.ask(MAIL))[:3] == "503"
            await wire.ask(b"EHLO client.example")
            assert (await wire.ask(MAIL))[:3] == "550"
            assert (await wire.ask(b"STARTTLS"))[:3] == "503"

    async def test_a_handshake_that_fails_ends_the_connection_alone(
        self, smtp: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with smtp.connect() as wire:
            await hello(wire)
            assert (await wire.ask(b"STARTTLS"))[:3] == "220"
            await wire.send(b"EHLO in clear")
            assert await wire.reply() != "250"
        await smtp.assert_serving()
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

    async def test_a_large_message_comes_through_tls(self, smtp: Served) -> None:
        async with AsyncExitStack() as stack:
            wire, _ = await self._upgraded(smtp, stack)
            await wire.ask(b"EHLO client.example")
            await login(wire)
            assert (await send(wire, b"Subject: x\r\n\r\n" + CHUNK * 3000))[:3] == "250"
        assert smtp.core.handed[0].body == CHUNK * 3000

    async def test_implicit_tls_listens_beside(self, serve: Serve) -> None:
        async with serve(listen_tls=("127.0.0.1:0",), auth_without_tls=False) as smtp:
            (_, clear_port), (host, port) = smtp.server.addresses
            assert clear_port != port

            def talk() -> None:
                with smtplib.SMTP_SSL(host, port, timeout=5, context=unverified()) as client:
                    assert not client.has_extn("STARTTLS")
                    client.login("SMTP_Injection", "account-key")
                    client.sendmail("a@acme.test", ["b@gmail.example"], "Subject: x\r\n\r\nHello\r\n")

            await asyncio.to_thread(talk)
            assert smtp.core.handed[0].protocol == "ESMTPSA"

    async def test_clear_text_on_an_implicit_tls_port_gets_nothing(self, serve: Serve) -> None:
        async with serve(listen_tls=("127.0.0.1:0",)) as smtp, connect_wire(smtp.server.addresses[1]) as wire:
            await wire.send(b"EHLO client.example")
            assert not (await wire.reply())[:3].isdigit()


class TestLimits:
    async def test_a_connection_too_many_is_told_so(self, serve: Serve) -> None:
        async with serve(max_connections=2) as smtp, AsyncExitStack() as stack:
            kept = [await stack.enter_async_context(way) for way in (smtp.open(), smtp.connect())]
            assert (await kept[1].reply())[:3] == "220"
            async with smtp.connect() as wire:
                assert await wire.reply() == "421 4.4.5 Service unavailable, concurrency limit reached."
                assert await wire.reply() == ""
            assert smtp.server.connections == 2
            assert (await kept[1].ask(b"QUIT"))[:3] == "221"
            assert await kept[1].reply() == ""

            async def is_let_in() -> bool:
                async with smtp.connect() as wire:
                    return (await wire.reply())[:3] == "220"

            await eventually(is_let_in)

    async def test_over_the_budget_mail_waits_outside(self, serve: Serve) -> None:
        async with serve(max_message_bytes=100_000, body_budget_bytes=150_000) as smtp:
            async with smtp.open(MAIL, RCPT, b"DATA") as one, smtp.open() as two:
                await one.write(CHUNK * 90)

                async def has_taken() -> bool:
                    return smtp.budget.taken_bytes == 90_000

                await eventually(has_taken)
                assert (await two.ask(MAIL + b" SIZE=90000"))[:9] == "452 4.3.1", "declared"
                assert (await send(two, CHUNK * 90))[:9] == "452 4.3.1", "and met"
                assert (await send(two, CHUNK * 10))[:3] == "250", "there was room for less"
                await one.write(b".\r\n")
                assert (await one.reply())[:3] == "250"
            await nothing_taken(smtp)
            assert [told.error_code for told in smtp.core.rejections] == [452, 452]
            assert {told.mail_from for told in smtp.core.rejections} == {"alice@acme.test"}

    @pytest.mark.parametrize("failure", [None, PoolEmpty("default"), StoreUnavailable(), RuntimeError("bug")])
    async def test_the_budget_comes_back_whatever_became_of_the_mail(
        self, smtp: Served, failure: Exception | None
    ) -> None:
        smtp.core.failure = failure
        async with smtp.open() as wire:
            await send(wire, CHUNK * 100)
            assert smtp.budget.taken_bytes == 0
            assert (await wire.ask(b"NOOP"))[:3] == "250"

    async def test_a_client_that_hangs_up_while_its_mail_is_stored_gives_it_back(self, smtp: Served) -> None:
        smtp.core.gate.clear()
        async with smtp.open(MAIL, RCPT, b"DATA") as wire:
            await wire.write(CHUNK * 100 + b".\r\n")
            await smtp.core.entered.wait()
            assert smtp.budget.taken_bytes > 100_000
        smtp.core.gate.set()
        await nothing_taken(smtp)
        assert len(smtp.core.handed) == 1, "it may be gone, or have closed its half only: the mail is taken"

    async def test_a_client_that_resets_the_connection_gives_it_back_at_once(self, smtp: Served) -> None:
        smtp.core.gate.clear()
        with socket.create_connection(smtp.address) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            lines = [b"EHLO c", b"AUTH PLAIN " + plain("account-key"), MAIL, RCPT, b"DATA", b"x", b".", b""]
            client.sendall(b"\r\n".join(lines))
            await smtp.core.entered.wait()
            assert smtp.budget.taken_bytes > 0
        await nothing_taken(smtp)
        assert smtp.core.handed == []

    async def test_a_client_that_reads_no_replies_does_not_fill_our_memory(self, serve: Serve) -> None:
        async with serve(idle_timeout_s=0.3) as smtp:
            with socket.create_connection(smtp.address) as client:
                client.sendall(b"EHLO c\r\nAUTH PLAIN " + plain("account-key") + b"\r\n")
                client.setblocking(False)

                async def is_gone() -> bool:
                    with suppress(BlockingIOError):
                        client.send(b"HELP\r\n" * 10_000)
                    return smtp.server.connections == 0

                await eventually(is_gone, timeout_s=10)
            await smtp.assert_serving()


class TestTimeouts:
    async def test_an_idle_client_is_told_goodbye(self, serve: Serve) -> None:
        async with serve(idle_timeout_s=0.1) as smtp, smtp.connect() as wire:
            assert (await wire.reply())[:3] == "220"
            assert await wire.reply() == "421 4.4.2 Timeout, closing connection"
            assert await wire.reply() == ""

    async def test_one_that_stops_in_data_loses_its_message(self, serve: Serve) -> None:
        async with serve(idle_timeout_s=0.2) as smtp, smtp.open(MAIL, RCPT, b"DATA") as wire:
            await wire.write(CHUNK * 100)
            assert (await wire.reply())[:9] == "421 4.4.2"
            await nothing_taken(smtp)
            assert smtp.core.handed == []

    async def test_a_slow_but_steady_upload_is_not_idle(self, serve: Serve) -> None:
        """aiosmtpd counts from the last command."""
        async with serve(idle_timeout_s=0.25) as smtp, smtp.open(MAIL, RCPT, b"DATA") as wire:
            for _ in range(10):
                await wire.write(b"x\r\n")
                with pytest.raises(TimeoutError):
                    await wire.reply(timeout_s=0.05)
            await wire.write(b".\r\n")
            assert (await wire.reply())[:3] == "250"
            assert smtp.core.handed[0].body == b"x\r\n" * 10

    async def test_data_as_a_whole_has_its_time(self, serve: Serve) -> None:
        async with serve(data_timeout_s=0.3, idle_timeout_s=0.2) as smtp:
            async with smtp.open(MAIL, RCPT, b"DATA") as wire:
                said = ""
                for _ in range(100):
                    await wire.write(b"x\r\n")
                    try:
                        said = await wire.reply(timeout_s=0.02)
                    except TimeoutError:
                        continue
                    break
                assert said[:9] == "421 4.4.2"
            await nothing_taken(smtp)

    async def test_who_waits_for_us_is_not_idle(self, serve: Serve) -> None:
        async with serve(idle_timeout_s=0.1) as smtp, smtp.open(MAIL, RCPT, b"DATA") as wire:
            smtp.core.gate.clear()
            await wire.write(b"x\r\n.\r\n")
            with pytest.raises(TimeoutError):
                await wire.reply(timeout_s=0.3)
            smtp.core.gate.set()
            assert (await wire.reply())[:3] == "250"


class TestFailures:
    async def test_a_refusal_of_the_core_is_told_to_client_and_log(self, smtp: Served) -> None:
        smtp.core.failure = UnknownPool("Nowhere")
        async with smtp.open() as wire:
            content = b'X-MSYS-API: {"options": {"ip_pool": "Nowhere"}}\r\n\r\n'
            assert await send(wire, content) == "550 5.7.1 IP Pool 'Nowhere' does not exist"
            (told,) = smtp.core.rejections
            assert (told.account, told.subaccount, told.at) == (1, None, smtp.clock.now())
            assert (told.mail_from, told.rcpt_to) == ("alice@acme.test", "bob@gmail.example")
            assert (told.bounce_class, told.error_code, told.ip_pool_raw) == (25, 550, "Nowhere")
            assert told.raw_reason == "550 5.7.1 IP Pool 'Nowhere' does not exist"
            assert told.remote_addr == "127.0.0.1"

    @pytest.mark.parametrize(
        ("failure", "waited_for"),
        [
            pytest.param(NoSharedPool(), 1, id="no shared pool"),
            pytest.param(QueueShareFull(5), 1, id="share of the queue"),
            pytest.param(OverCapacity(), 1, id="disk full"),
            pytest.param(Busy(), 1, id="busy"),
            pytest.param(StoreUnavailable(), 0, id="store"),
        ],
    )
    async def test_what_may_succeed_later_is_told_with_its_reply(
        self, smtp: Served, failure: Exception, waited_for: int
    ) -> None:
        """Where the store itself is in trouble, nobody waits for it twice."""
        smtp.core.failure = failure
        async with smtp.open() as wire:
            reply = await send(wire, b"x\r\n", b"bob@gmail.example", b"eve@gmail.example")
        (told,) = smtp.core.rejections
        assert reply[:1] == "4"
        assert (told.error_code, told.raw_reason) == (int(reply[:3]), f"{reply} (first of 2 recipients)")
        assert (told.rcpt_to, told.recv_method) == ("bob@gmail.example", "esmtp")
        assert smtp.core.waited_for == waited_for

    async def test_without_an_id_the_client_is_told_to_come_again_and_let_go(self, smtp: Served) -> None:
        smtp.core.failure = NoFreeId()
        async with smtp.open() as wire:
            reply = await send(wire, b"x\r\n")
            assert reply == "421 4.3.3 [internal] smtpapi unable to generate unique transmission id"
            assert await wire.reply() == ""
        assert [told.raw_reason for told in smtp.core.rejections] == [reply]

    @pytest.mark.parametrize("failure", [RuntimeError("postgresql://secret@db"), StaleDirectory()])
    async def test_a_bug_is_answered_451_with_a_reference_and_nothing_else(
        self, smtp: Served, failure: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        smtp.core.failure = failure
        async with smtp.open() as wire:
            reply = await send(wire, b"x\r\n")
            text, _, reference = reply.rpartition(" ")
            assert text == "451 4.3.0 Internal error, try again later; reference"
            (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert f"reference={reference}" in record.getMessage()
            assert record.exc_info is not None
            smtp.core.failure = None
            assert (await send(wire, b"x\r\n"))[:3] == "250"
        assert [told.raw_reason for told in smtp.core.rejections] == [reply], "it names the reference"


class TestEnd:
    async def test_idle_clients_are_told_and_who_is_busy_may_finish(self, smtp: Served) -> None:
        async with (
            smtp.open(MAIL) as idle,
            smtp.open(MAIL, RCPT, b"DATA") as busy,
            asyncio.TaskGroup() as tasks,
        ):
            smtp.core.gate.clear()
            await busy.write(b"x\r\n.\r\n")
            await smtp.core.entered.wait()
            closing = tasks.create_task(smtp.server.close(10))
            assert await idle.reply() == "421 4.3.2 Service shutting down"
            assert await idle.reply() == ""
            with pytest.raises(OSError, match=r"[Rr]efused|Connect"):
                await asyncio.open_connection(*smtp.address)
            assert not closing.done()
            smtp.core.gate.set()
            assert (await busy.reply())[:3] == "250"
            assert (await busy.reply())[:9] == "421 4.3.2"
        assert len(smtp.core.handed) == 1

    async def test_a_client_in_data_may_finish_too(self, smtp: Served) -> None:
        async with smtp.open(MAIL, RCPT, b"DATA") as busy, asyncio.TaskGroup() as tasks:
            await busy.write(b"x\r\n")
            tasks.create_task(smtp.server.close(10))
            with pytest.raises(TimeoutError):
                await busy.reply(timeout_s=0.05)
            await busy.write(b".\r\n")
            assert (await busy.reply())[:3] == "250"
            assert (await busy.reply())[:9] == "421 4.3.2"

    async def test_after_the_grace_the_rest_is_cut(self, smtp: Served) -> None:
        async with smtp.open(MAIL, RCPT, b"DATA") as busy:
            await busy.write(b"x\r\n")
            await smtp.server.close(0.05)
            assert smtp.server.connections == 0
            assert await busy.reply() == ""
        await nothing_taken(smtp)

    async def test_closing_twice_is_closing(self, smtp: Served) -> None:
        await smtp.server.close(1)
        await smtp.server.close(1)

    @pytest.mark.parametrize("turns", range(3, 8))
    async def test_who_is_accepted_as_it_closes_is_not_left(self, serve: Serve, turns: int) -> None:
        """turns: of the loop, since the client connected; before the third, asyncio has made no transport."""
        async with serve() as smtp:
            with socket.create_connection(smtp.address, 10) as client:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await smtp.server.close(5)
                said = b""
                with contextlib.suppress(ConnectionError):
                    while piece := await asyncio.to_thread(client.recv, 1000):
                        said += piece
            assert said.splitlines()[1:] in ([], [b"421 4.3.2 Service shutting down"])
            assert smtp.server.connections == 0


class TestListening:
    async def test_addresses_are_as_bound(self, serve: Serve) -> None:
        async with serve(listen=("127.0.0.1:0", "127.0.0.2:0"), listen_tls=("127.0.0.3:0",)) as smtp:
            hosts, ports = zip(*smtp.server.addresses, strict=True)
            assert hosts == ("127.0.0.1", "127.0.0.2", "127.0.0.3")
            assert 0 not in ports

    async def test_an_address_in_use_is_named_and_nothing_is_left_open(
        self, smtp: Served, serve: Serve
    ) -> None:
        taken = "{}:{}".format(*smtp.address)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(OSError, match=_taken("smtp.listen", smtp.address)):
            async with serve(listen=(f"127.0.0.1:{port}", taken)):
                pass
        with socket.create_server(("127.0.0.1", port)):
            pass

    async def test_a_balancer_cannot_speak_for_clients_of_implicit_tls(self, serve: Serve) -> None:
        with pytest.raises(ValueError, match="proxy_protocol"):
            async with serve(proxy_protocol=("127.0.0.0/8",), listen_tls=("127.0.0.1:0",)):
                pass


def _taken(key: str, address: tuple[str, int]) -> str:
    """What is said of a port that is taken, as a pattern."""
    host, port = address
    other = port + 1000 if port <= 64535 else port - 1000
    why = (
        f"cannot listen on {host}:{port}: another program has that port, perhaps a relay: stop it, or choose"
    )
    variable = f"RELAY_{key.upper().replace('.', '__')}"
    return (
        "^"
        + re.escape(f"{why} another ({key}), such as {variable}='[\"{host}:{other}\"]' before the command")
        + "$"
    )
