"""What becomes of a message as a client hands it in, by SMTP and by REST: what the next hop gets."""

import asyncio
import re
from datetime import timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any

import httpx
import pytest

from relay.mail.gate import check_header
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import WITH_API
from relay.testing.wire import connect_wire
from tests.ingress.conftest import plain

TO = "bob@b.example"
HEAD = b"From: a@acme.test\r\nTo: bob@b.example\r\nSubject: s\r\n"


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in WITH_API.items()}


async def post(relay: RelayHarness, content: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"options": {"ip_pool": "marketing"}, "recipients": [{"address": TO}], "content": content, **more}
    async with relay.api(1) as api:
        return await api.post("/transmissions", json=body)


async def hand_in(relay: RelayHarness, *pieces: bytes) -> str:
    """The reply to the octets, each piece written for itself. aiosmtplib would mend their line ends."""
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        await wire.ask(b"EHLO client.example")
        user, password = relay.login()
        await wire.ask(b"AUTH PLAIN " + plain(password, user))
        for command in (b"MAIL FROM:<a@acme.test>", b"RCPT TO:<" + TO.encode() + b">", b"DATA"):
            assert (await wire.ask(command))[:1] in {"2", "3"}
        for piece in pieces:
            await wire.write(piece)
            await asyncio.sleep(0.01)
        await wire.write(b"\r\n.\r\n"[2 * pieces[-1].endswith(b"\r\n") :])
        return await wire.reply()


async def by_smtp(relay: RelayHarness, mta: FakeMta, message: bytes) -> bytes:
    """What the next hop gets of it."""
    reply = await hand_in(relay, message if message.endswith(b"\r\n") else message.removesuffix(b"\n"))
    assert reply.startswith("250"), reply
    return await came(relay, mta)


async def by_rest(relay: RelayHarness, mta: FakeMta, message: bytes) -> bytes:
    response = await post(relay, {"email_rfc822": message.decode()})
    assert response.status_code == 200, response.text
    return await came(relay, mta)


async def came(relay: RelayHarness, mta: FakeMta) -> bytes:
    """The one message that the next hop got."""
    assert await relay.quiet() == []
    (attempt,) = mta.accepted
    mta.attempts.clear()
    return attempt.content


DOORS = pytest.mark.parametrize("door", [by_smtp, by_rest], ids=["SMTP", "REST"])


def header_of(octets: bytes) -> Message:
    return message_from_bytes(octets.partition(b"\r\n\r\n")[0])


# ── fields of other servers ──────────────────────────────────────────────────────────────


@DOORS
async def test_what_the_last_server_writes_is_not_for_clients(
    relay: RelayHarness, mta: FakeMta, door: Any
) -> None:
    """RFC 5321 §4.4."""
    for name in ("Return-Path", "RETURN-PATH", "Envelope-To", "Delivery-date", "Content-Length"):
        for rest in (b": <old@other.test>\r\n", b" :\r\n <old@other.test>\r\n"):
            field = name.encode() + rest
            text = b"Return-Path: <is@text.test>\r\n"
            octets = await door(relay, mta, field + HEAD + field + b"X: y\r\n\r\n" + text)
            assert name not in header_of(octets)
            assert b"old@other.test" not in octets
            assert header_of(octets)["X"] == "y"
            assert octets.endswith(b"\r\n\r\n" + text)


@DOORS
async def test_what_tells_of_loops_stays(relay: RelayHarness, mta: FakeMta, door: Any) -> None:
    octets = await door(
        relay, mta, b"Delivered-To: c@c.example\r\nReceived: by x; now\r\n" + HEAD + b"\r\nx\r\n"
    )
    assert header_of(octets)["Delivered-To"] == "c@c.example"
    assert b"Received: by x; now\r\n" in octets


async def test_content_in_parts_names_no_return_path(relay: RelayHarness, mta: FakeMta) -> None:
    headers = {"return-path": "old@other.test", "Envelope-To": "{{address}}", "X-A": "b"}
    content = {"from": "a@acme.test", "subject": "s", "text": "t", "headers": headers}
    assert (await post(relay, content)).status_code == 200
    header = header_of(await came(relay, mta))
    assert (header["Return-Path"], header["Envelope-To"], header["X-A"]) == (None, None, "b")


# ── where the header section ends ────────────────────────────────────────────────────────


@DOORS
async def test_what_mailbox_files_put_in_front_costs_nothing(
    relay: RelayHarness, mta: FakeMta, door: Any
) -> None:
    mbox = b"From s@sender.test Mon Jan  1 00:00:00 2024\r\n"
    bom = b"\xef\xbb\xbf"
    for front in (mbox, mbox + b" remote from x\r\n", mbox * 3, b">" + mbox, bom, bom + mbox, mbox + bom):
        for end in (b"\r\n", b"\n"):
            message = front + b"Bcc: hidden@x.test\r\n" + HEAD + b"bcc : hidden@x.test\r\n\r\nFrom me\r\n"
            octets = await door(relay, mta, message.replace(b"\r\n", end))
            header, _, body = octets.partition(b"\r\n\r\n")
            check_header(header + b"\r\n")
            assert b"hidden@x.test" not in octets
            assert bom not in octets
            assert not re.search(rb"(?m)^>*From [^:]", header)
            assert (header_of(octets)["Subject"], body) == ("s", b"From me\r\n")
            assert len(header_of(octets).get_all("X-Mailbox-Line", [])) == front.count(b"From ")


async def test_by_smtp_a_line_that_is_no_field_begins_the_body(relay: RelayHarness, mta: FakeMta) -> None:
    """As with Postfix."""
    for line in (b"no field\r\n", b"From x y\r\n", b">From x\r\n", b"S\xfcbject: x\r\n", b"A b: c\r\n"):
        octets = await by_smtp(relay, mta, HEAD + line + b"X: y\r\n\r\nz\r\n")
        header, _, body = octets.partition(b"\r\n\r\n")
        assert body == line + b"X: y\r\n\r\nz\r\n"
        assert header_of(header)["Subject"] == "s"
        check_header(header + b"\r\n")
    for message in (b"just text\r\n", b" folded\r\n" + HEAD, b"\r\n" + HEAD):
        header, _, body = (await by_smtp(relay, mta, message)).partition(b"\r\n\r\n")
        assert body == message.removeprefix(b"\r\n")
        check_header(header + b"\r\n")


@pytest.mark.parametrize("more", [{}, {"options": {"start_time": "2099-01-01T00:00:00+00:00"}}])
async def test_by_rest_a_line_that_is_no_field_is_told(
    relay: RelayHarness, mta: FakeMta, more: dict[str, Any]
) -> None:
    if more:
        more = {"options": {"start_time": (relay.clock.now() + timedelta(days=1)).isoformat()}}
    for end in ("\n", "\r\n"):
        for line in ("no field", "From x y", "Bc\u0441: x", "A b: c"):
            lines = ["From: a@acme.test", line, "Bcc: hidden@x.test", "Subject: s", "", "x"]
            response = await post(relay, {"email_rfc822": end.join(lines)}, **more)
            assert response.status_code == 422
            (error,) = response.json()["errors"]
            assert error["code"] == "3020"
            assert (
                "line 2 of its header section is neither a field nor the rest of one" in error["description"]
            )
        for text in ("just text", " folded", f"{end}From: a@acme.test{end}{end}x"):
            response = await post(relay, {"email_rfc822": text}, **more)
            assert response.status_code in {400, 422}, text
    assert await relay.quiet() == []
    assert mta.attempts == []


async def test_a_large_message_is_read_alike_by_rest(relay: RelayHarness, mta: FakeMta) -> None:
    """It is read in another process."""
    large = "x\n" * 100_000
    head = HEAD.decode().replace("\r\n", "\n")
    for message, code in (
        (f"From x y\n{head}Bcc: hidden@x.test\n\n{large}", None),
        (f"{head}no field\n\n{large}", "3020"),
        (f"{head}\n{large}\0", "1300"),
    ):
        response = await post(relay, {"email_rfc822": message})
        if code is None:
            octets = await came(relay, mta)
            assert b"hidden@x.test" not in octets
            assert octets.endswith(b"\r\n\r\n" + large.encode().replace(b"\n", b"\r\n"))
        else:
            assert response.status_code == 422
            assert response.json()["errors"][0]["code"] == code
    assert await relay.quiet() == []
    assert mta.attempts == []


@DOORS
async def test_a_header_section_alone_is_a_message(relay: RelayHarness, mta: FakeMta, door: Any) -> None:
    for message in (HEAD, HEAD + b"\r\n", HEAD.replace(b"\r\n", b"\n"), HEAD.removesuffix(b"\r\n")):
        octets = await door(relay, mta, message)
        assert header_of(octets)["Subject"] == "s"
        assert octets.partition(b"\r\n\r\n")[1:] == (b"\r\n\r\n", b"")


async def test_nul_octets_and_lines_without_end_are_for_neither_door(
    relay: RelayHarness, mta: FakeMta
) -> None:
    long = b"x" * 200_000
    for message in (
        HEAD + b"\r\na\0b\r\n",
        HEAD + b"X: \0\r\n\r\n",
        HEAD + b"\r\n" + long,
        HEAD + b"X: " + long,
    ):
        with pytest.raises(InjectionRefusedError) as refused:
            await relay.inject(TO, message=message)
        response = await post(relay, {"email_rfc822": message.decode()})
        reason = refused.value.text.removeprefix("5.6.0 ")
        assert (refused.value.code, response.status_code) == (550, 422)
        assert reason in response.json()["errors"][0]["description"]
    assert mta.attempts == []


# ── where a field ends ───────────────────────────────────────────────────────────────────


@DOORS
async def test_a_bare_line_end_in_a_value_makes_no_field(
    relay: RelayHarness, mta: FakeMta, door: Any
) -> None:
    slipped = (
        'X-MSYS-API: {"bcc": ["extra@x.test"], "options": {"ip_pool": "no-such-pool"}}',
        "From: ceo@bank.test",
        "Bcc: extra@x.test",
        "Return-Path: <extra@x.test>",
    )
    for bare in ("\r", "\n", "\n\n", "\r\r", "\n\r", "\r \r", "\n \n"):
        for field in slipped:
            head = HEAD.replace(b"Subject: s", f"Subject: s{bare}{field}".encode())
            octets = await door(relay, mta, head + b"\r\nx\ry\nz\r\n")
            header = header_of(octets)
            mended = bare.replace("\r", " ").replace("\n", " ")
            assert " ".join(str(header["Subject"]).split()) == " ".join(f"s{mended}{field}".split())
            assert header.get_all("From") == ["a@acme.test"]
            assert (header["Bcc"], header["X-MSYS-API"], header["Return-Path"]) == (None, None, None)
            assert octets.endswith(b"\r\n\r\nx\r\ny\r\nz\r\n")


@DOORS
async def test_a_message_of_lf_is_read_as_one_of_crlf(relay: RelayHarness, mta: FakeMta, door: Any) -> None:
    head = HEAD + b"X: y\r\n folded\r\nBcc: hidden@x.test\r\n"
    octets = await door(relay, mta, (head + b"\r\nx\r\n\r\ny\r\n").replace(b"\r\n", b"\n"))
    header, _, body = octets.partition(b"\r\n\r\n")
    assert (header_of(header)["X"], header_of(header)["Bcc"]) == ("y\r\n folded", None)
    assert body == b"x\r\n\r\ny\r\n"


async def test_a_message_of_lf_steers_the_relay_and_a_bare_cr_in_it_does_not(
    relay: RelayHarness, mta: FakeMta
) -> None:
    options = b'X-MSYS-API: {"bcc":\r["extra@x.test"]}'
    head = HEAD.replace(b"\r\n", b"\n")
    assert (await hand_in(relay, head + options + b"\n\nx\n"))[:3] == "250"
    assert await relay.quiet() == []
    assert {attempt.recipient for attempt in mta.accepted} == {TO, "extra@x.test"}
    mta.attempts.clear()
    slipped = head.replace(b"Subject: s", b"Subject: s\r" + options)
    assert (await hand_in(relay, slipped + b"\nx\n"))[:3] == "250"
    assert await relay.quiet() == []
    assert [attempt.recipient for attempt in mta.accepted] == [TO]


async def test_a_bare_cr_makes_no_field_however_the_octets_are_cut(relay: RelayHarness, mta: FakeMta) -> None:
    slipped = b'X-MSYS-API: {"bcc": ["extra@x.test"]}'
    message = b"X-A: s\r" + slipped + b"\r\n" + HEAD + b"\r\n..x\r\n"
    for cut in (6, 7, 8, message.index(HEAD) - 1, message.index(HEAD)):
        assert (await hand_in(relay, message[:cut], message[cut:]))[:3] == "250"
        octets = await came(relay, mta)
        assert b"X-A: s " + slipped + b"\r\n" in octets
        assert octets.endswith(b"\r\n\r\n.x\r\n")


async def test_options_that_nobody_would_obey_are_refused(relay: RelayHarness, mta: FakeMta) -> None:
    """They would tell every recipient who got hidden copies."""
    options = b'X-MSYS-API: {"bcc": ["extra@x.test"]}\r\n'
    for message in (
        HEAD + b"no field\r\n" + options + b"\r\nx\r\n",
        HEAD + b"no field\r" + options + b"\r\nx\r\n",
        b"\r\n" + options + HEAD + b"\r\nx\r\n",
    ):
        assert await hand_in(relay, message) == (
            "550 5.6.0 X-MSYS-API stands below a line that is no header field"
        )
    mbox = b"From x y\r\n" + options + HEAD + b"\r\nx\r\n"
    assert (await hand_in(relay, mbox))[:3] == "250"
    assert await relay.quiet() == []
    assert {attempt.recipient for attempt in mta.accepted} == {TO, "extra@x.test"}
    assert all(b"X-MSYS-API" not in attempt.content for attempt in mta.accepted)
