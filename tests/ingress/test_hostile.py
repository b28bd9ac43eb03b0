"""Dialogues and messages that nobody means well: the right code, nothing accepted, the next one served."""

import base64
import logging
from collections.abc import AsyncIterator

import pytest

from relay.testing.waiting import eventually
from relay.testing.wire import Wire
from tests.ingress.conftest import Serve, Served, hello, login, plain, send

FOLDED = b" " + b"x" * 997 + b"\r\n"
B64 = base64.b64encode


@pytest.fixture
async def attacked(smtp: Served, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Served]:
    """A server that must be none the worse for what the test did to it, and that no bug of ours helped."""
    yield smtp
    assert smtp.core.handed == []
    assert smtp.budget.taken_bytes == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    await smtp.assert_serving()


async def replies(wire: Wire, octets: bytes, count: int) -> list[str]:
    await wire.write(octets)
    said = [await wire.reply() for _ in range(count)]
    assert "Traceback" not in "".join(said)
    return said


@pytest.mark.parametrize(
    ("octets", "codes"),
    [
        pytest.param(b"\r\n", ["500"], id="an empty line"),
        pytest.param(b"FOO\r\n", ["500"], id="no command"),
        pytest.param(b" NOOP\r\n", ["500"], id="a leading space"),
        pytest.param(b"NOOP\n", ["500"], id="bare LF"),
        pytest.param(b"NOOP\nNOOP\r\n", ["500", "250"], id="bare LF, then CRLF"),
        pytest.param(b"NO\rOP\r\n", ["500"], id="bare CR"),
        pytest.param(b"NOOP\r\r\n", ["500"], id="CR CRLF"),
        pytest.param(b"NOOP\0\r\n", ["500"], id="NUL"),
        pytest.param(b"NOOP \x1b[2J\r\n", ["500"], id="terminal escape"),
        pytest.param(b"NOOP \xff\xfe\r\n", ["500"], id="not UTF-8"),
        pytest.param("NOOP\r\n".encode("utf-16") + b"\r\n", ["500", "500"], id="UTF-16"),
        pytest.param("ＮＯＯＰ\r\n".encode(), ["500"], id="letters that look like others"),
        pytest.param(b"NOOP " + b"x" * 506 + b"\r\n", ["500"], id="513 octets"),
        pytest.param(b"x" * 20_000 + b"\r\nNOOP\r\n", ["500", "250"], id="20 kB command"),
        pytest.param(b"x" * 3_000_000 + b"\r\nNOOP\r\n", ["500", "250"], id="3 MB command"),
        pytest.param(b"EHLO\r\n", ["501"], id="EHLO without a name"),
        pytest.param(b"HELO  \r\n", ["501"], id="HELO without a name"),
        pytest.param(b"QUIT now\r\n", ["501"], id="QUIT with a parameter"),
        pytest.param(b"RSET x\r\n", ["501"], id="RSET with a parameter"),
        pytest.param(b"VRFY\r\n", ["501"], id="VRFY of nobody"),
        pytest.param(b"STARTTLS x\r\n", ["501"], id="STARTTLS with a parameter"),
        pytest.param(b"EXPN list\r\nETRN x\r\nTURN\r\nBDAT 5 LAST\r\n", ["502"] * 4, id="not implemented"),
        pytest.param(b"MAIL FROM:<a@acme.test>\r\n", ["503"], id="MAIL before EHLO"),
        pytest.param(b"AUTH PLAIN\r\n", ["503"], id="AUTH before EHLO"),
        pytest.param(b"RCPT TO:<a@acme.test>\r\n", ["550"], id="RCPT by a stranger"),
        pytest.param(b"DATA\r\n", ["550"], id="DATA by a stranger"),
        pytest.param(b"EHLO x\r\nMAIL FROM:<>\r\n", ["250", "550"], id="bounce by a stranger"),
    ],
)
async def test_before_anybody_is_known(attacked: Served, octets: bytes, codes: list[str]) -> None:
    async with attacked.connect() as wire:
        await wire.reply()
        assert [reply[:3] for reply in await replies(wire, octets, len(codes))] == codes
        assert (await wire.ask(b"NOOP"))[:3] == "250"


@pytest.mark.parametrize("before", [b"", b"EHLO c\r\n", b"NOOP\r\nFOO\r\n"])
@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n",
        b"post /x HTTP/1.1\n",
        b"PUT /" + b"x" * 2000 + b" HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"BREW /pot HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\n",
    ],
)
async def test_another_protocol_is_hung_up_on(attacked: Served, before: bytes, octets: bytes) -> None:
    async with attacked.connect() as wire:
        await wire.reply()
        await wire.write(before)
        for _ in range(before.count(b"\n")):
            await wire.reply()
        await wire.write(octets + b"\r\nEHLO c\r\nNOOP\r\n")
        assert await wire.reply() == "421 4.7.0 This is an SMTP server, closing connection"
        assert await wire.reply() == ""


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize(
    "method", [b"POST", b"get", b"PROPFIND", b"HELP", b"NOOP", b"DATA", b"EHLO", b"VRFY"]
)
@pytest.mark.parametrize("fields", [b"", b"Host: x\r\nContent-Length: 99\r\n"])
async def test_a_web_page_in_a_trusted_network_sends_nothing(
    serve: Serve, fields: bytes, method: bytes, end: bytes
) -> None:
    """The body of a form, or its address, may be a whole dialogue: nothing in it is obeyed."""
    dialogue = (
        b"EHLO c\r\nMAIL FROM:<a@acme.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
    )
    request = method + b" / HTTP/1.1" + end + fields + end + dialogue
    async with serve(trusted=({"network": "127.0.0.0/8", "account": 1},)) as smtp, smtp.connect() as wire:
        await wire.reply()
        await wire.write(request)
        assert await wire.reply() == "421 4.7.0 This is an SMTP server, closing connection"
        assert await wire.reply() == ""
        assert smtp.core.handed == []


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        pytest.param([b"AUTH"], ["504"], id="no mechanism"),
        pytest.param([b"AUTH CRAM-MD5"], ["504"], id="another mechanism"),
        pytest.param([b"AUTH PLAIN !!!!"], ["501"], id="no base64"),
        pytest.param([b"AUTH PLAIN AGEAYg"], ["501"], id="no padding"),
        pytest.param([b"AUTH PLAIN AGEAYg==AGEAYg=="], ["501"], id="base64 twice"),
        pytest.param([b"AUTH PLAIN =="], ["501"], id="only padding"),
        pytest.param(["AUTH PLAIN ÄÖ".encode()], ["501"], id="not ASCII"),
        pytest.param([b"AUTH PLAIN", b"\xff\xff"], ["334", "501"], id="octets for an answer"),
        pytest.param([b"AUTH PLAIN", b""], ["334", "501"], id="an empty answer"),
        pytest.param([b"AUTH PLAIN ="], ["501"], id="an empty initial response"),
        pytest.param([b"AUTH PLAIN", b"*"], ["334", "501"], id="cancelled"),
        pytest.param([b"AUTH PLAIN", b"*\n"], ["334", "500"], id="cancelled with a bare LF first"),
        pytest.param([b"AUTH PLAIN " + B64(b"account-key")], ["501"], id="no NUL"),
        pytest.param([b"AUTH PLAIN " + B64(b"\0account-key")], ["501"], id="one NUL"),
        pytest.param([b"AUTH PLAIN " + B64(b"\0SMTP_Injection\0account-key\0")], ["501"], id="three NULs"),
        pytest.param([b"AUTH PLAIN " + B64(b"\0\0")], ["535"], id="nobody"),
        pytest.param([b"AUTH PLAIN " + B64(b"\0SMTP_Injection\0\xff\xfe")], ["535"], id="key not UTF-8"),
        pytest.param([b"AUTH PLAIN " + B64(b"\0\xff\0account-key")], ["535"], id="user name not UTF-8"),
        pytest.param([b"AUTH PLAIN " + plain("account-key", authzid="root")], ["501"], id="for another"),
        pytest.param([b"AUTH PLAIN " + B64(b"\0" + b"x" * 9000 + b"\0y")], ["535"], id="12 kB"),
        pytest.param([b"AUTH PLAIN " + B64(b"x" * 20_000)], ["500"], id="27 kB"),
        pytest.param([b"AUTH PLAIN", B64(b"x" * 20_000)], ["334", "500"], id="27 kB for an answer"),
        pytest.param([b"AUTH LOGIN !"], ["501"], id="LOGIN no base64"),
        pytest.param([b"AUTH LOGIN", b"*"], ["334", "501"], id="LOGIN cancelled"),
        pytest.param([b"AUTH LOGIN", B64(b"x"), b"*"], ["334", "334", "501"], id="LOGIN cancelled late"),
        pytest.param([b"AUTH LOGIN", b"", b""], ["334", "334", "535"], id="LOGIN of nobody"),
        pytest.param(
            [b"AUTH LOGIN", B64(b"smtp_injection"), B64(b"account-key")],
            ["334", "334", "535"],
            id="lower case",
        ),
    ],
)
async def test_as_an_answer_to_who_is_there(attacked: Served, lines: list[bytes], codes: list[str]) -> None:
    async with attacked.connect() as wire:
        await hello(wire)
        assert [(await wire.ask(line))[:3] for line in lines] == codes
        await wire.send(b"MAIL FROM:<a@acme.test>")
        while (said := await wire.reply())[:3] == "500":
            pass
        assert said == "550 5.7.1 relaying denied"


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        pytest.param([b"MAIL"], "501 5.5.2 syntax error MAIL FROM", id="MAIL alone"),
        pytest.param([b"MAIL FROM:"], "501 5.5.2 syntax error MAIL FROM", id="no path"),
        pytest.param([b"MAIL FROM:a@acme.test"], "501 5.5.2 syntax error MAIL FROM", id="no brackets"),
        pytest.param([b"MAIL FROM:<a@acme.test"], "501 5.5.2 syntax error MAIL FROM", id="one bracket"),
        pytest.param([b"MAIL FROM:<a@>"], "501 5.5.2 syntax error MAIL FROM", id="no domain"),
        pytest.param([b"MAIL FROM:<a@acme.test>x"], "501 5.5.2 syntax error MAIL FROM", id="text behind"),
        pytest.param(
            [b"MAIL FROM:<" + b"a" * 400 + b"@acme.test>"], "501 5.5.2 syntax error MAIL FROM", id="long"
        ),
        pytest.param(
            [b"MAIL FROM:<a@acme.test> SIZE=20971521"],
            "552 5.3.4 Message size exceeds fixed limit",
            id="SIZE",
        ),
        pytest.param(
            [b"MAIL FROM:<a@acme.test> SIZE=" + b"9" * 20],
            "552 5.3.4 Message size exceeds fixed limit",
            id="SIZE, 20 digits",
        ),
        pytest.param(
            [b"MAIL FROM:<a@acme.test> SIZE=" + b"9" * 900],
            "501 5.5.4 Invalid parameter SIZE",
            id="SIZE, 900 digits",
        ),
        pytest.param(
            [b"MAIL FROM:<a@acme.test> FOO=BAR"], "555 5.5.4 Parameter not recognised", id="unknown parameter"
        ),
        pytest.param(
            [b"MAIL FROM:<a@acme.test> " + b"A" * 1000],
            "500 5.5.6 Command line too long",
            id="long parameter",
        ),
        pytest.param([b"MAIL FROM:<a@acme.test>"] * 2, "503 5.5.1 Bad sequence of commands", id="MAIL twice"),
        pytest.param([b"RCPT TO:<a@acme.test>"], "503 5.5.1 Bad sequence of commands", id="RCPT first"),
        pytest.param([b"DATA"], "503 5.5.1 Bad sequence of commands", id="DATA first"),
        pytest.param([b"MAIL FROM:<>", b"DATA"], "554 5.5.1 No valid recipients", id="DATA without RCPT"),
        pytest.param(
            [b"MAIL FROM:<>", b"DATA now"], "501 5.5.4 DATA takes no parameter", id="DATA with a parameter"
        ),
        pytest.param([b"MAIL FROM:<>", b"RCPT TO:<>"], "501 5.5.2 RCPT TO syntax error", id="RCPT of nobody"),
        pytest.param(
            [b"MAIL FROM:<>", b"RCPT TO:<@@>"], "501 5.5.2 RCPT TO syntax error", id="RCPT of signs"
        ),
        pytest.param(
            [b"MAIL FROM:<>", b"RCPT TO:<@a.test@b.test:b@c.test>"],
            "501 5.5.2 RCPT TO syntax error",
            id="no source route",
        ),
        pytest.param(
            [b"MAIL FROM:<>", b"RCPT FROM:<b@c.test>"], "501 5.5.2 RCPT TO syntax error", id="RCPT FROM"
        ),
        pytest.param(
            [b"MAIL FROM:<>", b"RCPT TO:<b@c.test> NOTIFY=NEVER,SUCCESS"],
            "501 5.5.4 Invalid NOTIFY: NEVER, or SUCCESS, FAILURE, DELAY expected",
            id="DSN",
        ),
        pytest.param(
            [b"MAIL FROM:<>", b'RCPT TO:<"' + b"\\" * 90], "501 5.5.2 RCPT TO syntax error", id="backslashes"
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("account-key")], "503 5.5.1 Bad sequence of commands", id="AUTH twice"
        ),
    ],
)
async def test_from_a_principal(attacked: Served, commands: list[bytes], reply: str) -> None:
    async with attacked.open(*commands[:-1]) as wire:
        assert await wire.ask(commands[-1]) == reply
        assert (await wire.ask(b"NOOP"))[:3] == "250"


def msys(value: bytes) -> bytes:
    return b"From: a@acme.test\r\nX-MSYS-API: " + value + b"\r\n\r\nx\r\n"


JSON_ERROR = "550 5.6.0 JSON parsing error in X-MSYS-API"


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        pytest.param(msys(b'{"options": {"ip_'), JSON_ERROR, id="truncated JSON"),
        pytest.param(msys(b'{"tags": ["a" "b"]}'), JSON_ERROR, id="the documentation's missing comma"),
        pytest.param(msys(b'{"tags": ["a",]}'), JSON_ERROR, id="the documentation's comma too many"),
        pytest.param(msys(b"[" * 10_000), JSON_ERROR, id="nested 10,000 deep"),
        pytest.param(
            msys(b'{"metadata":' + b'{"a":' * 9_000 + b"1" + b"}" * 9_001),
            JSON_ERROR,
            id="objects 9,000 deep",
        ),
        pytest.param(msys(b'{"campaign_id": "\xff"}'), JSON_ERROR, id="invalid UTF-8"),
        pytest.param(msys(b'{"metadata": {"a": ' + b"9" * 6000 + b"}}"), JSON_ERROR, id="a huge integer"),
        pytest.param(msys(b'{"metadata": {"a": 1e999}}'), JSON_ERROR, id="an infinite float"),
        pytest.param(msys(b'{"metadata": {"a": NaN}}'), JSON_ERROR, id="NaN"),
        pytest.param(msys(b'{"campaign_id": "\\ud800"}'), JSON_ERROR, id="a lone surrogate"),
        pytest.param(msys(b"[]"), "550 5.6.0 X-MSYS-API must be of type 'json object'", id="an array"),
        pytest.param(
            msys(b'{"metadata": "a"}'),
            "550 5.6.0 X-MSYS-API 'metadata' must be of type 'json object'",
            id="metadata a string",
        ),
        pytest.param(
            msys(b'{"options": {"ip_pool": 1}}'),
            "550 5.6.0 X-MSYS-API 'options.ip_pool' must be of type 'json string'",
            id="ip_pool a number",
        ),
        pytest.param(
            msys(b'{"campaign_id": "' + b"x" * 65 + b'"}'),
            "550 5.6.0 smtpapi_campaign_id context is limited to 64 bytes",
            id="a long campaign",
        ),
        pytest.param(
            msys(b'{"cc": ["not an address"]}'), "550 5.6.0 X-MSYS-API 'cc[0]'", id="a copy to nobody"
        ),
        pytest.param(
            msys(b'{"bcc": [' + b",".join([b'"a@b"'] * 1001) + b"]}"),
            "550 5.6.0 X-MSYS-API 'cc', 'bcc'",
            id="1001 copies",
        ),
        pytest.param(
            b"X-MSYS-API: {\r\n" + msys(b"{}"), JSON_ERROR, id="the second field cannot mend the first"
        ),
        pytest.param(
            b"no field\r\n" + msys(b'{"bcc": ["a@b.example"]}'),
            "550 5.6.0 X-MSYS-API stands below a line that is no header field",
            id="a line that would end the header before it",
        ),
        pytest.param(b"x-Msys-Api\t: {\r\n\r\n", JSON_ERROR, id="white space before the colon hides nothing"),
        pytest.param(msys(b'"' + b" " * 300_000), "5", id="300 kB of X-MSYS-API in one line"),
        pytest.param(b"Subject: x\r\n\r\na\0b\r\n", "550 5.6.0 NUL octet in message", id="NUL in the body"),
        pytest.param(b"Subject: \0\r\n\r\n", "550 5.6.0 NUL octet in message", id="NUL in the header"),
        pytest.param(
            b"Subject: x\r\n\r\n" + b"x" * 110_000 + b"\r\n", "550 5.6.0 line too long", id="a 110 kB line"
        ),
        pytest.param(
            b"Subject: " + b"x" * 110_000 + b"\r\n\r\n", "550 5.6.0 line too long", id="a 110 kB subject"
        ),
        pytest.param(
            b"Subject: x\r\n" + FOLDED * 10_000 + b"\r\nx\r\n",
            "552 5.3.4 Header section exceeds fixed limit",
            id="a 10 MB header",
        ),
        pytest.param(
            (b"A" * 998 + b"\r\n") * 300,
            "552 5.3.4 Header section exceeds fixed limit",
            id="300 kB without an empty line",
        ),
        pytest.param(b"A: b\r\n" * 6000 + b"\r\n", "550 5.6.0 too many header lines", id="6000 fields"),
        pytest.param(
            b"A: b\r\n" + b" c\r\n" * 6000 + b"\r\n",
            "550 5.6.0 too many header lines",
            id="6000 continuations",
        ),
        pytest.param(
            b"\r\n" + (b"x" * 998 + b"\r\n") * 21_000,
            "552 5.3.4 Message size exceeds fixed limit",
            id="21 MB",
        ),
        pytest.param(
            b"\n" * 11_000_000 + b"\r\n",
            "552 5.3.4 Message size exceeds fixed limit",
            id="line feeds that grow",
        ),
    ],
)
async def test_as_a_message(attacked: Served, content: bytes, reply: str) -> None:
    async with attacked.open() as wire:
        said = await send(wire, content)
        assert said.startswith(reply)
        assert len(said) < 512
        assert said.isprintable()
        assert (await wire.ask(b"NOOP"))[:3] == "250"
    (told,) = attacked.core.rejections
    assert told.raw_reason == said
    assert (told.rcpt_to, told.bounce_class, told.error_code) == ("bob@gmail.example", 25, int(said[:3]))


async def test_a_recipient_too_many_is_refused_and_the_others_are_kept(serve: Serve) -> None:
    async with serve(max_recipients=2) as smtp, smtp.open(b"MAIL FROM:<a@acme.test>") as wire:
        said = [(await wire.ask(b"RCPT TO:<r%d@gmail.example>" % number))[:9] for number in range(4)]
        assert said == ["250 2.0.0", "250 2.0.0", "452 4.5.3", "452 4.5.3"], "RFC 5321 §4.5.3.1.10"
        assert (await wire.ask(b"DATA"))[:3] == "354"
        assert (await wire.ask(b"x\r\n."))[:3] == "250"
        assert len(smtp.core.handed[0].envelope.recipients) == 2
        told = [(one.error_code, one.rcpt_to, one.mail_from) for one in smtp.core.rejections]
        assert told == [(452, f"r{number}@gmail.example", "a@acme.test") for number in (2, 3)]
        assert smtp.core.waited_for == 0, "no client waits at each recipient"


async def test_what_is_pipelined_behind_starttls_is_forgotten(attacked: Served) -> None:
    """RFC 3207 §5; CVE-2011-0411."""
    async with attacked.connect() as wire:
        await hello(wire)
        assert await login(wire) == "235 2.0.0 Authed. Go on."
        injected = b"MAIL FROM:<a@acme.test>\r\nRCPT TO:<b@gmail.example>\r\nDATA\r\nx\r\n.\r\n"
        await wire.write(b"STARTTLS\r\n" + injected)
        assert await wire.reply() == "220 2.0.0 continue"
        with pytest.raises(TimeoutError):
            await wire.reply(timeout_s=0.1)


async def test_too_many_errors_end_the_conversation(attacked: Served) -> None:
    async with attacked.connect() as wire:
        await wire.reply()
        said = await replies(wire, b"FOO\r\n" * 100, 21)
        assert [reply[:3] for reply in said] == ["500"] * 20 + ["421"]
        assert await wire.reply() == ""


async def test_a_stranger_cannot_talk_for_ever(attacked: Served) -> None:
    async with attacked.connect() as wire:
        await wire.reply()
        said = await replies(wire, b"NOOP\r\nRSET\r\n" * 100, 121)
        assert [reply[:3] for reply in said] == ["250"] * 120 + ["421"]
        assert await wire.reply() == ""


async def test_bad_addresses_in_a_list_are_no_attack(smtp: Served) -> None:
    async with smtp.open(b"MAIL FROM:<a@acme.test>") as wire:
        for number in range(50):
            assert await wire.ask(b"RCPT TO:<bad %d>" % number) == "501 5.5.2 RCPT TO syntax error"
        assert (await wire.ask(b"RCPT TO:<good@gmail.example>"))[:3] == "250"
    assert len(smtp.core.rejections) == 50
    told = smtp.core.rejections[0]
    assert (told.rcpt_to, told.mail_from, told.error_code) == ("bad 0", "a@acme.test", 501)


@pytest.mark.parametrize("step", range(5))
async def test_a_client_that_vanishes_leaves_nothing_behind(attacked: Served, step: int) -> None:
    steps = (b"MAIL FROM:<a@acme.test>", b"RCPT TO:<b@gmail.example>", b"DATA")
    async with attacked.open(*steps[:step]) as wire:
        if step == 4:
            await wire.write(b"Subject: x\r\n\r\n" + b"x" * 100_000)

    async def is_gone() -> bool:
        return attacked.server.connections == 0

    await eventually(is_gone, timeout_s=5)
