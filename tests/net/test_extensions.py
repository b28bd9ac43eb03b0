"""What MAIL and RCPT say to hosts that offer more or less: SIZE, 8BITMIME, SMTPUTF8, DSN."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from relay.domain.dsn import DsnRequest
from relay.domain.message import Envelope
from relay.domain.reply import Phase
from relay.sink.fake_mta import FakeMta
from tests.net.conversation import CONTENT, session_with, to


@pytest.mark.parametrize(
    ("extensions", "envelope", "parameters"),
    [
        pytest.param(("SIZE",), to("b@x.test"), "SIZE=44", id="size"),
        pytest.param(
            ("SIZE 0", "8BITMIME"), to("b@x.test", eight_bit=True), "SIZE=44 BODY=8BITMIME", id="8 bit"
        ),
        pytest.param(("8BITMIME",), to("b@x.test"), "", id="7 bit"),
        pytest.param((), to("b@x.test", eight_bit=True), "", id="nothing offered"),
        pytest.param(("SMTPUTF8",), to("b@x.test"), "", id="ASCII needs no SMTPUTF8"),
        pytest.param(("SMTPUTF8",), to("b@x.test", smtputf8=True), "SMTPUTF8", id="declared"),
        pytest.param(("SMTPUTF8",), to("jürgen@x.test"), "SMTPUTF8", id="recipient"),
        pytest.param(("SMTPUTF8",), to("b@x.test", mail_from="jürgen@x.test"), "SMTPUTF8", id="sender"),
    ],
)
async def test_mail_has_the_parameters_that_are_offered_and_needed(
    extensions: Sequence[str], envelope: Envelope, parameters: str
) -> None:
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        transcript = await session.transact(envelope, CONTENT)
        assert transcript.replies[0].code == 250
        (attempt,) = mta.attempts
        assert attempt.parameters == parameters
        assert (attempt.mail_from, attempt.recipient) == (envelope.mail_from, envelope.recipients[0].text)
        assert session.extensions == {extension.split()[0] for extension in extensions}


@pytest.mark.parametrize(
    ("envelope", "content", "sent"),
    [
        pytest.param(to("b@bücher.test", smtputf8=True), CONTENT, ["b@xn--bcher-kva.test"], id="U-label"),
        pytest.param(to("b@x.test", mail_from="a@bücher.test"), CONTENT, ["b@x.test"], id="sender's U-label"),
        pytest.param(to("jürgen@x.test", "b@x.test"), CONTENT, ["b@x.test"], id="a local part"),
        pytest.param(to("jürgen@x.test"), CONTENT, [], id="only a local part"),
        pytest.param(to("b@x.test", mail_from="jürgen@x.test"), CONTENT, [], id="sender's local part"),
        pytest.param(
            to("b@x.test", smtputf8=True),
            [b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n"],
            [],
            id="8-bit header",
        ),
        pytest.param(
            to("b@x.test", smtputf8=True),
            [b"A: b\r\n", b"C: \xc3\xbc\r\n\r\nx\r\n"],
            [],
            id="8-bit second chunk",
        ),
        pytest.param(
            to("b@x.test", smtputf8=True), [b"A: b\r\n\r\n\xc3\xbc\r\n"], ["b@x.test"], id="8-bit body"
        ),
        pytest.param(
            to("b@x.test", smtputf8=True),
            [b"A: b\r\n", b"\r\n\xc3\xbc\r\n"],
            ["b@x.test"],
            id="8-bit body chunk",
        ),
    ],
)
async def test_a_host_without_smtputf8_gets_what_can_be_said_in_ascii(
    envelope: Envelope, content: Sequence[bytes], sent: list[str]
) -> None:
    """RFC 6531 §3.2 and §3.5."""
    async with FakeMta(extensions=("PIPELINING",)) as mta, session_with(mta.port) as session:
        transcript = await session.transact(envelope, content)
        assert [attempt.recipient for attempt in mta.attempts] == sent
        assert all(attempt.parameters == "" and attempt.mail_from.isascii() for attempt in mta.attempts)
        assert sorted(reply.code for reply in transcript.replies) == [250] * len(sent) + [553] * (
            len(envelope.recipients) - len(sent)
        )
        assert {reply.enhanced for reply in transcript.replies if reply.code == 553} <= {"5.6.7"}
        assert len(transcript.replies) == len(envelope.recipients)


async def test_a_message_above_the_hosts_size_is_refused_without_a_word_to_it() -> None:
    """RFC 1870 §6.1."""
    async with FakeMta(extensions=("SIZE 50",)) as mta, session_with(mta.port) as session:
        transcript = await session.transact(to("b@x.test", "c@x.test"), [b"x" * 49 + b"\r\n"])
        assert [(reply.code, reply.enhanced, reply.phase) for reply in transcript.replies] == [
            (552, "5.3.4", Phase.INTERNAL)
        ] * 2
        assert not transcript.is_lost
        assert mta.attempts == []
        assert (await session.transact(to("b@x.test"), [b"x" * 48 + b"\r\n"])).replies[0].code == 250


ASKED = (
    DsnRequest("HDRS", "QQ+2B314", "SUCCESS,DELAY", "rfc822;Bob+2Bx@acme.test"),
    DsnRequest("HDRS", "QQ+2B314", "NEVER"),
    DsnRequest("HDRS", "QQ+2B314"),
)


@pytest.mark.parametrize("has_pipelining", [True, False])
async def test_a_host_with_dsn_is_asked_as_the_client_asked(has_pipelining: bool) -> None:
    """RFC 3461 §5.2.1: each recipient in its own way, with the values as they came."""
    extensions = ("DSN", "PIPELINING") if has_pipelining else ("DSN",)
    envelope = replace(to("b@x.test", "c@x.test", "d@x.test"), requests=ASKED)
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        await session.transact(envelope, CONTENT)
        assert {attempt.parameters for attempt in mta.attempts} == {"RET=HDRS ENVID=QQ+2B314"}
        assert [attempt.rcpt_parameters for attempt in mta.attempts] == [
            "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@acme.test",
            "NOTIFY=NEVER",
            "",
        ]


async def test_a_recipient_alone_may_be_asked_of() -> None:
    envelope = replace(to("b@x.test", "c@x.test"), requests=(None, DsnRequest(notify="FAILURE")))
    async with FakeMta(extensions=("DSN",)) as mta, session_with(mta.port) as session:
        await session.transact(envelope, CONTENT)
        assert [attempt.parameters for attempt in mta.attempts] == ["", ""]
        assert [attempt.rcpt_parameters for attempt in mta.attempts] == ["", "NOTIFY=FAILURE"]


async def test_a_host_without_dsn_is_asked_nothing() -> None:
    envelope = replace(to("b@x.test", "c@x.test", "d@x.test"), requests=ASKED)
    async with FakeMta() as mta, session_with(mta.port) as session:
        transcript = await session.transact(envelope, CONTENT)
        assert [reply.code for reply in transcript.replies] == [250] * 3
        assert {attempt.parameters for attempt in mta.attempts} == {f"SIZE={len(b''.join(CONTENT))}"}
        assert {attempt.rcpt_parameters for attempt in mta.attempts} == {""}


async def test_where_nobody_asked_a_host_with_dsn_is_asked_nothing() -> None:
    async with FakeMta(extensions=("DSN",)) as mta, session_with(mta.port) as session:
        await session.transact(to("b@x.test"), CONTENT)
        assert [(attempt.parameters, attempt.rcpt_parameters) for attempt in mta.attempts] == [("", "")]


@pytest.mark.parametrize(
    ("extensions", "recipient", "said"),
    [
        pytest.param(("DSN", "SMTPUTF8"), "bøb@x.test", "ORCPT=utf-8;jürgen@x.test", id="SMTPUTF8 is said"),
        pytest.param(("DSN", "SMTPUTF8"), "b@x.test", "ORCPT=utf-8;j\\x{FC}rgen@x.test", id="not needed"),
        pytest.param(("DSN",), "b@bücher.test", "ORCPT=utf-8;j\\x{FC}rgen@x.test", id="not offered"),
    ],
)
async def test_an_original_recipient_beyond_ascii_is_said_in_ascii_without_smtputf8(
    extensions: Sequence[str], recipient: str, said: str
) -> None:
    """RFC 6533 §3."""
    envelope = replace(to(recipient), requests=(DsnRequest(orcpt="utf-8;jürgen@x.test"),))
    async with FakeMta(extensions=extensions) as mta, session_with(mta.port) as session:
        await session.transact(envelope, CONTENT)
        assert [attempt.rcpt_parameters for attempt in mta.attempts] == [said]


async def test_a_recipient_that_cannot_be_said_takes_its_wishes_along() -> None:
    requests = (DsnRequest(notify="NEVER"), DsnRequest(notify="SUCCESS"))
    envelope = replace(to("jürgen@x.test", "b@x.test"), requests=requests)
    async with FakeMta(extensions=("DSN",)) as mta, session_with(mta.port) as session:
        await session.transact(envelope, CONTENT)
        assert [(one.recipient, one.rcpt_parameters) for one in mta.attempts] == [
            ("b@x.test", "NOTIFY=SUCCESS")
        ]
