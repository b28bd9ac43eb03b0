"""The conversation, word for word SparkPost's (docs/rules.md#smtp-replies), else RFC 5321."""

import asyncio
import logging
from dataclasses import replace

import pytest

from relay import __version__
from relay.domain.directory import Principal
from relay.domain.ids import SubaccountId
from tests.ingress.conftest import ACCOUNT, INJECT, Serve, Served, build_snapshot, hello, login, send

TRUSTED = ({"network": "127.0.0.0/8", "account": 1},)
MAIL, RCPT = b"MAIL FROM:<alice@acme.test>", b"RCPT TO:<bob@gmail.example>"


async def test_the_dialogue_is_literal(smtp: Served) -> None:
    async with smtp.connect() as wire:
        assert await wire.reply() == (
            f"220 2.0.0 relay.test ESMTP relay/{__version__} Mon, 05 Jan 2026 09:00:00 +0000"
        )
        greeting, *keywords = (await wire.ask(b"EHLO client.example")).split("\n")
        assert greeting.startswith("250-relay.test says EHLO to 127.0.0.1:")
        assert [keyword[4:] for keyword in keywords] == [
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "DSN",
            "AUTH=LOGIN PLAIN",
            "AUTH LOGIN PLAIN",
            "SIZE 20971520",
        ]
        assert await login(wire) == "235 2.0.0 Authed. Go on."
        assert await wire.ask(MAIL) == "250 2.0.0 MAIL FROM accepted"
        assert await wire.ask(RCPT) == "250 2.0.0 RCPT TO accepted"
        assert await wire.ask(b"DATA") == '354 3.0.0 continue.  finished with "\\r\\n.\\r\\n"'
        assert await wire.ask(b"Subject: x\r\n\r\nHello\r\n.") == "250 2.0.0 OK 1001"
        assert await wire.ask(b"QUIT") == "221 2.3.0 relay.test closing connection"
        assert await wire.reply() == ""


async def test_what_is_handed_in_is_what_was_said(smtp: Served) -> None:
    async with smtp.open() as wire:
        content = b'From: a@acme.test\r\nX-MSYS-API: {"campaign_id":\r\n "c"}\r\n\r\n..x\r\n\r\n'
        await send(wire, content, b"bob@gmail.example", b"eve@gmail.example", b"bob@gmail.example")
    (handed,) = smtp.core.handed
    assert handed.principal == Principal(ACCOUNT, None, INJECT)
    assert handed.envelope.mail_from == "alice@acme.test"
    recipients = [mailbox.text for mailbox in handed.envelope.recipients]
    assert recipients == ["bob@gmail.example", "eve@gmail.example", "bob@gmail.example"]
    assert (handed.envelope.eight_bit, handed.envelope.smtputf8) == (False, False)
    assert [field.name for field in handed.fields] == ["from", "x-msys-api"]
    assert handed.body == b".x\r\n\r\n"
    assert handed.options.campaign_id == "c"
    assert (handed.recv_method, handed.protocol) == ("esmtp", "ESMTPA")
    assert (handed.remote_addr, handed.helo) == ("127.0.0.1", "client.example")


async def test_the_first_of_several_x_msys_api_fields_counts(smtp: Served) -> None:
    async with smtp.open() as wire:
        fields = b'x-msys-api: {"campaign_id": "one"}\r\nX-MSYS-API: {"campaign_id": "two"}\r\n'
        assert (await send(wire, fields + b"\r\n"))[:3] == "250"
    assert smtp.core.handed[0].options.campaign_id == "one"


async def test_a_pipelined_group_is_answered_in_one_piece(smtp: Served) -> None:
    """RFC 2920 §3.2."""
    reader, writer = await asyncio.open_connection(*smtp.address)
    assert (await reader.readline())[:3] == b"220"
    writer.write(b"EHLO c\r\nNOOP\r\nFOO\r\nNOOP\r\n")
    async with asyncio.timeout(5):
        await reader.readuntil(b"250 SIZE")
        rest = await reader.read(1000)
    assert [line[:3] for line in rest.split(b"\r\n")[1:]] == [b"250", b"500", b"250", b""]
    writer.transport.abort()


async def test_everything_may_come_in_one_write(smtp: Served) -> None:
    async with smtp.open() as wire:
        whole = [MAIL, RCPT, b"DATA", b"Subject: 1", b"", b".", MAIL, RCPT, b"DATA", b".", b"NOOP", b"QUIT"]
        await wire.send(*whole)
        codes = [(await wire.reply())[:3] for _ in range(10)]
        assert codes == ["250", "250", "354", "250", "250", "250", "354", "250", "250", "221"]
        assert await wire.reply() == ""
    assert [handed.body for handed in smtp.core.handed] == [b"", b""]


async def test_a_client_that_only_closed_its_half_gets_its_answers(smtp: Served) -> None:
    reader, writer = await asyncio.open_connection(*smtp.address)
    writer.write(b"EHLO c\r\nNOOP\r\nNOOP\r\n")
    writer.write_eof()
    async with asyncio.timeout(5):
        said = await reader.read()
    assert said.endswith(b"250 2.0.0 OK\r\n250 2.0.0 OK\r\n")
    writer.transport.abort()


async def test_thousands_of_pipelined_commands_are_all_answered(smtp: Served) -> None:
    async with smtp.open(MAIL) as wire:
        await wire.send(*[b"RCPT TO:<r%d@gmail.example>" % number for number in range(5000)])
        codes = [(await wire.reply())[:7] for _ in range(5000)]
        assert codes == ["250 2.0"] * 1000 + ["452 4.5"] * 4000
        assert (await wire.ask(b"NOOP"))[:3] == "250"


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        pytest.param(b"MAIL FROM:<a@acme.test>", (False, False), id="neither"),
        pytest.param(b"mail from: <a@acme.test> BODY=8BITMIME", (True, False), id="8BITMIME"),
        pytest.param(b"MAIL FROM:<a@acme.test> smtputf8 body=7bit", (False, True), id="SMTPUTF8"),
    ],
)
async def test_what_was_declared_is_remembered(
    smtp: Served, command: bytes, flags: tuple[bool, bool]
) -> None:
    async with smtp.open(command, RCPT, b"DATA") as wire:
        assert (await wire.ask(b"Subject: x\r\n\r\n."))[:3] == "250"
    (handed,) = smtp.core.handed
    assert (handed.envelope.eight_bit, handed.envelope.smtputf8) == flags
    assert handed.protocol == ("UTF8SMTPA" if flags[1] else "ESMTPA")


async def test_8_bit_content_is_taken_and_known_though_nobody_declared_it(smtp: Served) -> None:
    async with smtp.open() as wire:
        assert (await send(wire, b"Subject: x\r\n\r\n\xfc\xff\r\n"))[:3] == "250"
    assert smtp.core.handed[0].envelope.eight_bit
    assert smtp.core.handed[0].body == b"\xfc\xff\r\n"


async def test_a_utf8_mailbox_needs_smtputf8(smtp: Served) -> None:
    """RFC 6531 §3.5."""
    async with smtp.open(MAIL) as wire:
        assert (await wire.ask("RCPT TO:<bøb@gmail.example>".encode()))[:9] == "553 5.6.7"
        assert (await wire.ask("RCPT TO:<bob@bücher.example>".encode()))[:9] == "553 5.6.7"
        assert (await wire.ask(b"RSET"))[:3] == "250"
        assert (await wire.ask("MAIL FROM:<jürgen@acme.test> SMTPUTF8".encode()))[:3] == "250"
        assert (await wire.ask("RCPT TO:<bøb@bücher.example>".encode()))[:3] == "250"
        assert (await wire.ask(b"DATA"))[:3] == "354"
        assert (await wire.ask(b"."))[:3] == "250"
    (mailbox,) = smtp.core.handed[0].envelope.recipients
    assert (mailbox.text, mailbox.domain) == ("bøb@xn--bcher-kva.example", "xn--bcher-kva.example")


async def test_the_null_reverse_path_is_taken(smtp: Served) -> None:
    async with smtp.open(b"MAIL FROM:<>", RCPT, b"DATA") as wire:
        assert (await wire.ask(b"."))[:3] == "250"
    assert smtp.core.handed[0].envelope.mail_from == ""


async def test_helo_works_without_extensions(serve: Serve) -> None:
    async with serve(trusted=TRUSTED) as smtp, smtp.connect() as wire:
        await wire.reply()
        assert (await wire.ask(b"HELO old.example")).startswith("250 relay.test says HELO to 127.0.0.1:")
        assert (await wire.ask(MAIL + b" SIZE=1"))[:3] == "555"
        assert (await wire.ask(b"AUTH PLAIN"))[:3] == "503"
        assert (await send(wire, b"x\r\n"))[:3] == "250"
        assert smtp.core.handed[0].protocol == "SMTP"


async def test_the_quiet_commands_answer(smtp: Served) -> None:
    async with smtp.connect() as wire:
        await wire.reply()
        assert await wire.ask(b"NOOP") == "250 2.0.0 OK"
        assert await wire.ask(b"noop ignored") == "250 2.0.0 OK"
        assert await wire.ask(b"RSET") == "250 2.0.0 OK"
        assert (await wire.ask(b"VRFY bob"))[:3] == "252"
        assert (await wire.ask(b"HELP"))[:3] == "214"


async def test_rset_and_ehlo_forget_the_transaction_but_not_the_principal(smtp: Served) -> None:
    async with smtp.open(MAIL, RCPT, b"RSET") as wire:
        assert (await wire.ask(b"DATA"))[:3] == "503"
        assert (await wire.ask(MAIL))[:3] == "250"
        assert (await wire.ask(b"EHLO again.example"))[:3] == "250"
        assert (await wire.ask(RCPT))[:3] == "503"
        assert (await wire.ask(MAIL))[:3] == "250"


async def test_a_stranger_may_not_relay(smtp: Served) -> None:
    async with smtp.connect() as wire:
        await hello(wire)
        for command in (MAIL, RCPT, b"DATA"):
            assert await wire.ask(command) == "550 5.7.1 relaying denied"


async def test_a_trusted_network_needs_no_key(serve: Serve) -> None:
    trusted = ({"network": "127.0.0.0/8", "account": 1, "subaccount": 123},)
    async with serve(trusted=trusted) as smtp:
        async with smtp.connect() as wire:
            await hello(wire)
            assert (await send(wire, b"x\r\n"))[:3] == "250"
        (handed,) = smtp.core.handed
        assert (handed.principal, handed.protocol) == (Principal(ACCOUNT, SubaccountId(123), INJECT), "ESMTP")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        pytest.param({"network": "10.0.0.0/8", "account": 1}, "no_login", id="another network"),
        pytest.param(
            {"network": "127.0.0.0/8", "account": 2},
            "account_suspended account=2",
            id="a suspended account",
        ),
        pytest.param(
            {"network": "127.0.0.0/8", "account": 9}, "account_unknown account=9", id="no such account"
        ),
        pytest.param(
            {"network": "127.0.0.0/8", "account": 1, "subaccount": 9},
            "subaccount_unknown account=1",
            id="no such subaccount",
        ),
        pytest.param({"network": "::/0", "account": 1}, "no_login", id="another family"),
    ],
)
async def test_trust_goes_no_further_than_its_entry_and_the_log_says_why(
    serve: Serve, caplog: pytest.LogCaptureFixture, entry: dict[str, object], reason: str
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(trusted=(entry,)) as smtp, smtp.connect() as wire:
        await hello(wire)
        for _ in range(3):
            assert await wire.ask(MAIL) == "550 5.7.1 relaying denied"
    told = [record.getMessage() for record in caplog.records if record.name == "relay.ingress"]
    denied = "client=127.0.0.1 relaying denied"
    assert told == [f"{denied} reason={reason}", f"{denied} more=2"]


async def test_a_key_that_is_revoked_sends_no_further_message(smtp: Served) -> None:
    async with smtp.open() as wire:
        assert (await send(wire, b"x\r\n"))[:3] == "250"
        smtp.directory.snapshot = build_snapshot(2, "rest-key")
        assert await wire.ask(MAIL) == "550 5.7.1 relaying denied"
        (told,) = smtp.core.rejections
        assert (told.account, told.error_code) == (ACCOUNT, 550), "whoever had the key may know"
        smtp.directory.snapshot = build_snapshot(3)
        assert (await wire.ask(MAIL))[:3] == "250"


@pytest.mark.parametrize(
    ("command", "reply", "mail_from"),
    [
        pytest.param(
            b"MAIL FROM:<a@-.test>", "501 5.5.2 syntax error MAIL FROM", "a@-.test", id="no address"
        ),
        pytest.param(b"MAIL FROM:a@acme.test", "501 5.5.2 syntax error MAIL FROM", "a@acme.test", id="bare"),
        pytest.param(
            "MAIL FROM:<é@acme.test>".encode(),
            "553 5.6.7 A non-ASCII address needs SMTPUTF8",
            "?@acme.test",
            id="without SMTPUTF8",
        ),
        pytest.param(
            b"MAIL FROM:<a@acme.test> SIZE=999999999",
            "552 5.3.4 Message size exceeds fixed limit",
            "a@acme.test",
            id="too large",
        ),
    ],
)
async def test_a_refused_sender_is_told_to_its_account_and_no_strangers_is(
    smtp: Served, command: bytes, reply: str, mail_from: str
) -> None:
    async with smtp.connect() as stranger:
        await hello(stranger)
        assert (await stranger.ask(command))[:3] == "550"
        assert smtp.core.rejections == []
    async with smtp.open() as wire:
        assert await wire.ask(command) == reply
    (told,) = smtp.core.rejections
    assert (told.raw_reason, told.mail_from, told.rcpt_to) == (reply, mail_from, "")


async def test_trust_follows_the_directory(serve: Serve) -> None:
    async with serve(trusted=TRUSTED) as smtp, smtp.connect() as wire:
        await hello(wire)
        known = smtp.directory.snapshot
        smtp.directory.snapshot = replace(known, accounts={})
        assert await wire.ask(MAIL) == "550 5.7.1 relaying denied"
        smtp.directory.snapshot = known
        assert (await wire.ask(MAIL))[:3] == "250"
