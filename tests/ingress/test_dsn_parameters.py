"""RET, ENVID, NOTIFY and ORCPT as clients say them (RFC 3461 §4)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import parse_mailbox
from relay.domain.dsn import DsnRequest
from relay.ingress.commands import parse_mail, parse_rcpt
from relay.ingress.replies import Complaint
from relay.mail.xtext import decode_xtext, embed
from tests.ingress.conftest import Served

POSTMASTER = parse_mailbox("post@master.test")


def of_mail(parameters: str) -> DsnRequest | None:
    return parse_mail(f"FROM:<a@b.test> {parameters}", is_extended=True).dsn_request


def of_rcpt(parameters: str, *, smtputf8: bool = False, asked: DsnRequest | None = None) -> DsnRequest | None:
    return parse_rcpt(f"TO:<a@b.test> {parameters}", True, smtputf8, POSTMASTER, asked)[1]


@pytest.mark.parametrize(
    ("parameters", "asked"),
    [
        pytest.param("SIZE=1", None, id="nothing"),
        pytest.param("RET=FULL", DsnRequest("FULL"), id="FULL"),
        pytest.param("ret=hdrs", DsnRequest("HDRS"), id="lower case"),
        pytest.param("ENVID=QQ314", DsnRequest(envid="QQ314"), id="ENVID"),
        pytest.param(
            "ENVID=a+2Bb RET=Full SIZE=9 BODY=8BITMIME", DsnRequest("FULL", "a+2Bb"), id="both and others"
        ),
        pytest.param(f"ENVID={'+41' * 100}", DsnRequest(envid="+41" * 100), id="100 characters, encoded"),
    ],
)
def test_mail_says_what_is_for_all_recipients(parameters: str, asked: DsnRequest | None) -> None:
    assert of_mail(parameters) == asked


@pytest.mark.parametrize("path", ["FROM:<>", "FROM:<@x.test:a@b.test>"])
def test_any_reverse_path_may_ask(path: str) -> None:
    """RFC 3461 forbids it to nobody; the null reverse-path is told nothing all the same."""
    assert parse_mail(f"{path} RET=HDRS ENVID=x", True).dsn_request == DsnRequest("HDRS", "x")


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        pytest.param("RET", "501 5.5.4 Invalid RET: FULL or HDRS expected", id="RET of nothing"),
        pytest.param("RET=", "501 5.5.4 Invalid parameter RET", id="RET empty"),
        pytest.param("RET=BODY", "501 5.5.4 Invalid RET", id="RET of something else"),
        pytest.param("RET=FULL,HDRS", "501 5.5.4 Invalid RET", id="both"),
        pytest.param("RET=HDRſ", "501 5.5.4 Invalid parameter RET", id="a long s"),
        pytest.param("RET=FULL RET=FULL", "501 5.5.4 Invalid parameter RET", id="RET twice"),
        pytest.param("ENVID=a envid=b", "501 5.5.4 Invalid parameter ENVID", id="ENVID twice"),
        pytest.param("ENVID", "501 5.5.4 Invalid ENVID", id="ENVID of nothing"),
        pytest.param("ENVID=", "501 5.5.4 Invalid parameter ENVID", id="ENVID empty"),
        pytest.param("ENVID=a=b", "501 5.5.4 Invalid parameter ENVID", id="a bare equals sign"),
        pytest.param("ENVID=a+", "501 5.5.4 Invalid ENVID", id="no digits"),
        pytest.param("ENVID=a+2b", "501 5.5.4 Invalid ENVID", id="digits in lower case"),
        pytest.param("ENVID=a+0D+0AX:+20y", "501 5.5.4 Invalid ENVID", id="an end of line"),
        pytest.param("ENVID=+00", "501 5.5.4 Invalid ENVID", id="NUL"),
        pytest.param("ENVID=+C3+BC", "501 5.5.4 Invalid ENVID", id="not ASCII, encoded"),
        pytest.param("ENVID=ü SMTPUTF8", "501 5.5.4 Invalid parameter ENVID", id="not ASCII"),
        pytest.param(f"ENVID={'a' * 101}", "501 5.5.4 Invalid ENVID", id="101 characters"),
        pytest.param("ORCPT=rfc822;a@b.test", "555 5.5.4", id="ORCPT is for RCPT"),
    ],
)
def test_mail_that_asks_badly_is_told_what_is_wrong(parameters: str, reply: str) -> None:
    with pytest.raises(Complaint) as complaint:
        of_mail(parameters)
    assert complaint.value.reply.startswith(reply)


@pytest.mark.parametrize(
    ("parameters", "asked"),
    [
        pytest.param("NOTIFY=NEVER", DsnRequest(notify="NEVER"), id="NEVER"),
        pytest.param("notify=never", DsnRequest(notify="NEVER"), id="lower case"),
        pytest.param("NOTIFY=DELAY", DsnRequest(notify="DELAY"), id="one"),
        pytest.param(
            "NOTIFY=Failure,SUCCESS,DELAY", DsnRequest(notify="FAILURE,SUCCESS,DELAY"), id="their order"
        ),
        pytest.param("NOTIFY=SUCCESS,success", DsnRequest(notify="SUCCESS"), id="one twice"),
        pytest.param("ORCPT=rfc822;Bob@b.test", DsnRequest(orcpt="rfc822;Bob@b.test"), id="ORCPT"),
        pytest.param("ORCPT=x400;/S=a/".replace("=a", "+3Da"), DsnRequest(orcpt="x400;/S+3Da/"), id="X.400"),
        pytest.param("ORCPT=utf-8;b\\x{F8}b@b.test", DsnRequest(orcpt="utf-8;b\\x{F8}b@b.test"), id="utf-8"),
        pytest.param(
            f"orcpt=rfc822;{'a' * 493} notify=never",
            DsnRequest(notify="NEVER", orcpt=f"rfc822;{'a' * 493}"),
            id="500 characters",
        ),
    ],
)
def test_rcpt_says_what_is_for_one_recipient(parameters: str, asked: DsnRequest) -> None:
    assert of_rcpt(parameters) == asked
    assert of_rcpt(parameters, asked=DsnRequest("FULL", "x")) == DsnRequest(
        "FULL", "x", asked.notify, asked.orcpt
    )


def test_rcpt_without_parameters_has_what_mail_asked_for() -> None:
    assert of_rcpt("", asked=DsnRequest("FULL", "x")) == DsnRequest("FULL", "x")
    assert of_rcpt("") is None


def test_utf8_in_orcpt_needs_its_type_and_smtputf8() -> None:
    """RFC 6533 §3."""
    asked = of_rcpt("ORCPT=utf-8;bøb@b.test", smtputf8=True)
    assert asked == DsnRequest(orcpt="utf-8;bøb@b.test")
    for parameters, smtputf8 in (("utf-8;bøb@b.test", False), ("rfc822;bøb@b.test", True)):
        with pytest.raises(Complaint, match="501 5\\.5\\.4 Invalid ORCPT"):
            of_rcpt(f"ORCPT={parameters}", smtputf8=smtputf8)
    for separator in ("\x85", "\u2028", "\xa0", "\ue000"):
        with pytest.raises(Complaint, match="501 5\\.5\\.4 Invalid ORCPT"):
            of_rcpt(f"ORCPT=utf-8;b{separator}b@b.test", smtputf8=True)


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        pytest.param("NOTIFY", "501 5.5.4 Invalid NOTIFY: NEVER, or SUCCESS, FAILURE, DELAY", id="nothing"),
        pytest.param("NOTIFY=", "501 5.5.4 Invalid parameter NOTIFY", id="empty"),
        pytest.param("NOTIFY=,", "501 5.5.4 Invalid NOTIFY", id="a comma"),
        pytest.param("NOTIFY=SUCCESS,,DELAY", "501 5.5.4 Invalid NOTIFY", id="a gap"),
        pytest.param("NOTIFY=SUCCESS,", "501 5.5.4 Invalid NOTIFY", id="a comma at the end"),
        pytest.param("NOTIFY=NEVER,FAILURE", "501 5.5.4 Invalid NOTIFY", id="NEVER and another"),
        pytest.param("NOTIFY=ALWAYS", "501 5.5.4 Invalid NOTIFY", id="something else"),
        pytest.param("NOTIFY=ſUCCESS", "501 5.5.4 Invalid parameter NOTIFY", id="a long s"),
        pytest.param("NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 Invalid parameter NOTIFY", id="NOTIFY twice"),
        pytest.param("ORCPT", "501 5.5.4 Invalid ORCPT: TYPE;XTEXT", id="ORCPT of nothing"),
        pytest.param("ORCPT=a@b.test", "501 5.5.4 Invalid ORCPT", id="no type"),
        pytest.param("ORCPT=;a@b.test", "501 5.5.4 Invalid ORCPT", id="an empty type"),
        pytest.param("ORCPT=rf:c;a@b.test", "501 5.5.4 Invalid ORCPT", id="a type that is no atom"),
        pytest.param("ORCPT=rfc822;", "501 5.5.4 Invalid ORCPT", id="no address"),
        pytest.param("ORCPT=rfc822;a+0D+0AX", "501 5.5.4 Invalid ORCPT", id="an end of line"),
        pytest.param("ORCPT=rfc822;a=b@c.test", "501 5.5.4 Invalid parameter ORCPT", id="an equals sign"),
        pytest.param(f"ORCPT=rfc822;{'a' * 494}", "501 5.5.4 Invalid ORCPT", id="501 characters"),
        pytest.param("ORCPT=rfc822;a orcpt=rfc822;a", "501 5.5.4 Invalid parameter ORCPT", id="ORCPT twice"),
        pytest.param("ENVID=x", "555 5.5.4", id="ENVID is for MAIL"),
        pytest.param("NOTIFY=NEVER FOO=1", "555 5.5.4", id="one that nobody knows beside it"),
    ],
)
def test_rcpt_that_asks_badly_is_told_what_is_wrong(parameters: str, reply: str) -> None:
    with pytest.raises(Complaint) as complaint:
        of_rcpt(parameters)
    assert complaint.value.reply.startswith(reply)


def test_after_helo_nobody_asks() -> None:
    with pytest.raises(Complaint, match="555"):
        parse_mail("FROM:<a@b.test> RET=FULL", is_extended=False)
    with pytest.raises(Complaint, match="555"):
        parse_rcpt("TO:<a@b.test> NOTIFY=NEVER", False, False, POSTMASTER)


@given(st.text("RET=FULLHDRSNOTIFYENVIDORCPT;,+0D2Brfc822utf-8 \x85ü") | st.text(), st.booleans())
def test_what_is_understood_can_be_said_again(parameters: str, smtputf8: bool) -> None:
    asked = None
    with suppress(Complaint):
        asked = of_mail(f"{parameters} ENVID={parameters}")
    with suppress(Complaint):
        asked = of_rcpt(f"ORCPT=utf-8;{parameters}", smtputf8=smtputf8, asked=asked)
    if asked is not None:
        said = asked.ret + asked.envid + asked.notify + asked.orcpt
        assert said.isprintable()
        assert " " not in said
        assert decode_xtext(asked.envid) is not None
        assert decode_xtext(embed(asked.orcpt).partition(";")[2]) is not None


async def test_what_is_asked_is_handed_in_with_each_recipient(smtp: Served) -> None:
    commands = (
        b"MAIL FROM:<alice@acme.test> RET=HDRS ENVID=QQ314",
        b"RCPT TO:<bob@gmail.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@acme.test",
        b"RCPT TO:<eve@gmail.example>",
        b"RCPT TO:<zoe@gmail.example> NOTIFY=NEVER,SUCCESS",
        b"DATA",
    )
    async with smtp.open() as wire:
        replies = [await wire.ask(command) for command in commands]
        assert [reply[:3] for reply in replies] == ["250", "250", "250", "501", "354"]
        assert (await wire.ask(b"Subject: x\r\n\r\n."))[:3] == "250"
    (handed,) = smtp.core.handed
    assert [mailbox.text[:3] for mailbox in handed.envelope.recipients] == ["bob", "eve"]
    assert handed.envelope.requests == (
        DsnRequest("HDRS", "QQ314", "SUCCESS,DELAY", "rfc822;Bob@acme.test"),
        DsnRequest("HDRS", "QQ314"),
    )


async def test_the_longest_command_is_taken(smtp: Served) -> None:
    """RFC 3461 §4 adds to the 512 octets of RCPT what NOTIFY and ORCPT take."""
    path = b"b" * 64 + b"@" + b".".join([b"x" * 60] * 3) + b".test"
    command = b"RCPT TO:<%s> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;%s" % (path, b"a" * 493)
    async with smtp.open(b"MAIL FROM:<alice@acme.test>") as wire:
        assert (await wire.ask(command.ljust(1046)))[:3] == "250"
        assert (await wire.ask(command.ljust(1200)))[:9] == "500 5.5.6"


async def test_nobody_asks_and_nothing_is_handed_in(smtp: Served) -> None:
    async with smtp.open(b"MAIL FROM:<a@acme.test>", b"RCPT TO:<bob@gmail.example>", b"DATA") as wire:
        assert (await wire.ask(b"Subject: x\r\n\r\n."))[:3] == "250"
    assert smtp.core.handed[0].envelope.requests == ()
