"""MAIL and RCPT as arguments, without a connection."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import Mailbox, parse_mailbox
from relay.ingress.commands import MAIL_SYNTAX, RCPT_SYNTAX, Mail, parse_mail, parse_rcpt
from relay.ingress.replies import Complaint

POSTMASTER = parse_mailbox("post@master.test")


@pytest.mark.parametrize(
    ("argument", "mail"),
    [
        pytest.param("FROM:<a@b.test>", Mail("a@b.test"), id="plain"),
        pytest.param("from: <a@b.test> ", Mail("a@b.test"), id="a space after the colon, one at the end"),
        pytest.param("FROM:<>", Mail(""), id="null reverse-path"),
        pytest.param('FROM:<"a b>c\\""@d.test>', Mail('"a b>c\\""@d.test'), id="quoted local part"),
        pytest.param('FROM:<"a"@b.test>', Mail("a@b.test"), id="needless quotes"),
        pytest.param("FROM:<a..b@c.test>", Mail('"a..b"@c.test'), id="stray dots"),
        pytest.param("FROM:<@x.test,@y.test:a@b.test> SIZE=1", Mail("a@b.test", 1), id="a route"),
        pytest.param("FROM:<@[127.0.0.1],@[IPv6:::1]:a@b.test>", Mail("a@b.test"), id="a route of addresses"),
        pytest.param("FROM:<a@[127.0.0.1]>", Mail("a@[127.0.0.1]"), id="an address literal"),
        pytest.param("FROM:<a@BÜCHER.test> SMTPUTF8", Mail("a@xn--bcher-kva.test", 0, True), id="U-labels"),
        pytest.param("FROM:<a@b.test> SIZE=12 BODY=8BITMIME", Mail("a@b.test", 12, False, True), id="two"),
        pytest.param("FROM:<a@b.test>  body=7bit  size=0 ", Mail("a@b.test"), id="lower case"),
        pytest.param("FROM:<ä@b.test> SMTPUTF8", Mail("ä@b.test", 0, True), id="SMTPUTF8"),
        pytest.param("FROM:<a@b.test> AUTH=<>", Mail("a@b.test"), id="AUTH=<>"),
        pytest.param("FROM:<a@b.test> AUTH=x+2By", Mail("a@b.test"), id="AUTH=xtext"),
    ],
)
def test_mail_is_understood(argument: str, mail: Mail) -> None:
    assert parse_mail(argument, is_extended=True) == mail


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        pytest.param("", MAIL_SYNTAX, id="nothing"),
        pytest.param("FROM <a@b.test>", MAIL_SYNTAX, id="no colon"),
        pytest.param("TO:<a@b.test>", MAIL_SYNTAX, id="TO"),
        pytest.param("FROM:<a b@c.test>", MAIL_SYNTAX, id="a space in the path"),
        pytest.param("FROM:<a@b.test>SIZE=1", MAIL_SYNTAX, id="no space before a parameter"),
        pytest.param("FROM:<postmaster>", MAIL_SYNTAX, id="only RCPT knows a postmaster without a domain"),
        pytest.param("FROM:<@x.test:>", MAIL_SYNTAX, id="a route to nobody"),
        pytest.param("FROM:<@x.test,a@b.test>", MAIL_SYNTAX, id="a route without its colon"),
        pytest.param("FROM:<@x.test,:a@b.test>", MAIL_SYNTAX, id="a gap in a route"),
        pytest.param("FROM:<@:a@b.test>", MAIL_SYNTAX, id="a route by nobody"),
        pytest.param("FROM:<x.test:a@b.test>", MAIL_SYNTAX, id="a route without an at sign"),
        pytest.param("FROM:<<a@b.test>>", MAIL_SYNTAX, id="two brackets"),
        pytest.param("FROM:<ä@b.test>", "553 5.6.7", id="UTF-8 without SMTPUTF8"),
        pytest.param("FROM:<a@b.test> SIZE", "501 5.5.4", id="SIZE of nothing"),
        pytest.param("FROM:<a@b.test> SIZE=-1", "501 5.5.4", id="negative SIZE"),
        pytest.param("FROM:<a@b.test> SIZE=1e3", "501 5.5.4", id="SIZE not decimal"),
        pytest.param("FROM:<a@b.test> SIZE=1 SIZE=2", "501 5.5.4", id="SIZE twice"),
        pytest.param("FROM:<a@b.test> BODY", "501 5.5.4", id="BODY of nothing"),
        pytest.param("FROM:<a@b.test> BODY=BINARYMIME", "501 5.5.4", id="BINARYMIME is not offered"),
        pytest.param("FROM:<a@b.test> SMTPUTF8=1", "501 5.5.4", id="SMTPUTF8 with a value"),
        pytest.param("FROM:<a@b.test> AUTH", "501 5.5.4", id="AUTH of nobody"),
        pytest.param("FROM:<a@b.test> =", "501 5.5.4", id="no keyword"),
        pytest.param("FROM:<a@b.test> NOTIFY=NEVER", "555 5.5.4", id="a parameter of RCPT"),
        pytest.param("FROM:<a@b.test> SIZE=1\xa0BODY=7BIT", "501 5.5.4 Invalid parameter SIZE", id="NBSP"),
        pytest.param(
            "FROM:<a@b.test> BODY=8B\u0131TMIME", "501 5.5.4 Invalid parameter BODY", id="dotless i"
        ),
    ],
)
def test_mail_that_is_not_understood_is_told_why(argument: str, reply: str) -> None:
    with pytest.raises(Complaint) as complaint:
        parse_mail(argument, is_extended=True)
    assert complaint.value.reply.startswith(reply)


def test_after_helo_there_are_no_parameters() -> None:
    assert parse_mail("FROM:<a@b.test>", is_extended=False) == Mail("a@b.test")
    with pytest.raises(Complaint, match="555"):
        parse_mail("FROM:<a@b.test> SIZE=1", is_extended=False)


def mailbox_of(argument: str, *, smtputf8: bool = False) -> Mailbox:
    mailbox, asked = parse_rcpt(argument, True, smtputf8, POSTMASTER)
    assert asked is None
    return mailbox


def test_rcpt_is_a_mailbox() -> None:
    assert mailbox_of("TO:<Bob@GMAIL.example>").domain == "gmail.example"
    assert mailbox_of("to: <bøb@gmail.example>", smtputf8=True).text == "bøb@gmail.example"


@pytest.mark.parametrize("path", ["postmaster", "Postmaster", "POSTMASTER", '"postmaster"', '"Post\\master"'])
def test_the_postmaster_needs_no_domain(path: str) -> None:
    """RFC 5321 §4.5.1."""
    assert mailbox_of(f"TO:<{path}>") == POSTMASTER


def test_the_postmaster_of_a_domain_is_that_domains() -> None:
    assert mailbox_of("TO:<Postmaster@b.test>").text == "Postmaster@b.test"
    assert mailbox_of("TO:<@x.test:postmaster@b.test>").text == "postmaster@b.test"


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        pytest.param("TO:<>", RCPT_SYNTAX, id="nobody"),
        pytest.param("TO:<bob>", RCPT_SYNTAX, id="no domain: we are nobody's mailbox"),
        pytest.param("TO:<postmaster@>", RCPT_SYNTAX, id="an empty domain"),
        pytest.param("TO:postmaster", RCPT_SYNTAX, id="no brackets"),
        pytest.param("TO:<@a.test:bob>", RCPT_SYNTAX, id="a route to nobody's mailbox"),
        pytest.param("TO:<@a.test>", RCPT_SYNTAX, id="a route alone"),
        pytest.param("FROM:<a@b.test>", RCPT_SYNTAX, id="FROM"),
        pytest.param("TO:<bøb@b.test>", "553 5.6.7", id="UTF-8 without SMTPUTF8"),
        pytest.param("TO:<a@b.test> RET=HDRS", "555 5.5.4", id="a parameter of MAIL"),
    ],
)
def test_rcpt_that_is_not_understood_is_told_why(argument: str, reply: str) -> None:
    with pytest.raises(Complaint) as complaint:
        parse_rcpt(argument, True, False, POSTMASTER)
    assert complaint.value.reply.startswith(reply)


@given(st.text('FROM:<>@"\\ a.=SIZE1') | st.text())
def test_any_argument_is_understood_or_complained_about(argument: str) -> None:
    for parse in (lambda: parse_mail(argument, True), lambda: parse_rcpt(argument, True, True, POSTMASTER)):
        with suppress(Complaint):
            parse()
