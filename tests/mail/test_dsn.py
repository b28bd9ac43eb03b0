"""Delivery status notifications as other software reads them (RFC 3464)."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from relay.domain.dsn import DsnRequest, Report
from relay.mail.dsn import Fate, build_dsn

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEADER = b"Subject: hello\r\nFrom: a@src.test\r\n"


def dsn(
    fate: Fate, to: str = "a@src.test", original: bytes = HEADER, *, is_whole: bool = False
) -> EmailMessage:
    octets = build_dsn(fate, to, original, "123", "relay.test", T0, T0, is_whole=is_whole)
    assert octets.count(b"\n") == octets.count(b"\r\n")
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_report_has_its_three_parts_and_names_recipient_status_and_server() -> None:
    message = dsn(Fate("bob@dst.test", "5.1.1", "550 5.1.1 no such user", "127.0.0.99"))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert (message["To"], message["Auto-Submitted"]) == ("a@src.test", "auto-replied")
    text, status, header = message.iter_parts()
    assert "<bob@dst.test>" in text.as_string()
    assert status.get_content_type() == "message/delivery-status"
    told = status.as_string()
    assert "Final-Recipient: rfc822; bob@dst.test" in told
    assert "Action: failed" in told
    assert "Status: 5.1.1" in told
    assert "Remote-MTA: dns; [127.0.0.99]" in told
    assert "Diagnostic-Code: smtp; 550 5.1.1 no such user" in told
    assert header.get_content_type() == "text/rfc822-headers"
    assert "Subject: hello" in header.as_string()


def test_a_server_with_an_ipv6_address_is_named_by_its_literal() -> None:
    told = dsn(Fate("bob@dst.test", "5.0.0", "550 no", "2001:db8::1")).as_string()
    assert "Remote-MTA: dns; [IPv6:2001:db8::1]" in told


@pytest.mark.parametrize("char", ["x", "ü", "中", "😀", "\N{REPLACEMENT CHARACTER}"])
@pytest.mark.parametrize("recipient", ["bob@dst.test", "bøb@dst.test"])
def test_no_line_is_longer_than_998_octets(char: str, recipient: str) -> None:
    octets = build_dsn(
        Fate(recipient, "5.0.0", "550 " + char * 2044, ""), "a@src.test", HEADER, "1", "relay.test", T0, T0
    )
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert f"  550 {char * 200}".encode() in octets
    octets.decode()


def test_a_failure_of_our_own_names_no_server() -> None:
    assert "Remote-MTA" not in dsn(Fate("bob@dst.test", "5.4.7", "554 5.4.7 time-out", "")).as_string()


def test_utf8_addresses_make_a_global_report() -> None:
    message = dsn(Fate("bøb@dst.test", "5.1.1", "550 no", ""))
    assert message.get_param("report-type") == "global-delivery-status"


def test_a_reply_cannot_break_out_of_its_line() -> None:
    message = dsn(Fate("bob@dst.test", "5.0.0", "550 no\r\nAction: delivered" + "x" * 2000, ""))
    told = list(message.iter_parts())[1].as_string()
    assert "\nAction: delivered" not in told


def told_of(asked: DsnRequest, recipient: str = "bob@dst.test") -> str:
    fate = Fate(recipient, "5.1.1", "550 5.1.1 no such user", "", asked=asked)
    return list(dsn(fate).iter_parts())[1].as_string()


def test_the_clients_names_for_mail_and_recipient_come_back_decoded() -> None:
    told = told_of(DsnRequest(envid="QQ+2B314+3Dx", orcpt="rfc822;Bob+2Bx@dst.test"))
    assert "Original-Envelope-Id: QQ+314=x\nReporting-MTA" in told
    assert "Original-Recipient: rfc822; Bob+x@dst.test\nFinal-Recipient: rfc822; bob@dst.test" in told


def test_nobody_is_named_whom_the_client_did_not_name() -> None:
    assert "Original-" not in told_of(DsnRequest("FULL", notify="FAILURE"))


@pytest.mark.parametrize(
    "written",
    ["a+0D+0AAction: delivered", "a+0AStatus:+202.0.0", "a+00", "a+1B[2J", "a+7F", "b+C3+B8b", "a+4", "+"],
)
def test_what_is_no_printable_xtext_never_becomes_a_field(written: str) -> None:
    told = told_of(DsnRequest(envid=written, orcpt=f"rfc822;{written}"))
    assert "Original-" not in told
    assert (told.count("Action:"), told.count("Status:")) == (1, 1)


@pytest.mark.parametrize("recipient", ["bob@dst.test", "bøb@dst.test"])
def test_an_original_recipient_beyond_ascii_is_written_in_ascii(recipient: str) -> None:
    """RFC 6533 §3."""
    assert "Original-Recipient: utf-8; j\\x{FC}rgen@dst.test" in told_of(
        DsnRequest(orcpt="utf-8;jürgen@dst.test"), recipient
    )


def test_a_relayed_report_says_who_took_it() -> None:
    message = dsn(Fate("bob@dst.test", "2.1.5", "250 2.1.5 Ok", "127.0.0.99", Report.RELAYED))
    assert message["Subject"] == "Mail Passed On Without Further Reports"
    text, status, _ = message.iter_parts()
    assert "could not be delivered to" not in text.as_string()
    told = status.as_string()
    assert "Action: relayed\nStatus: 2.1.5\nRemote-MTA: dns; [127.0.0.99]" in told
    assert "Diagnostic-Code: smtp; 250 2.1.5 Ok" in told


@pytest.mark.parametrize(
    ("header", "kind"),
    [(HEADER, "message/rfc822"), ("Subject: grüße\r\n".encode(), "message/global")],
    ids=["ASCII", "UTF-8"],
)
@pytest.mark.parametrize("body", [b"x\r\n\r\n--y\r\n", b"\xfc\xff\r\n"], ids=["7 bit", "8 bit"])
def test_a_whole_message_comes_back_as_it_was(header: bytes, kind: str, body: bytes) -> None:
    original = header + b"\r\n" + body
    fate = Fate("bob@dst.test", "5.1.1", "550 5.1.1 no such user", "")
    octets = build_dsn(fate, "a@src.test", original, "123", "relay.test", T0, T0, is_whole=True)
    assert octets.endswith(b"\r\n\r\n" + original + b"\r\n--=_relay_123--\r\n")
    message = dsn(fate, original=original, is_whole=True)
    returned = list(message.iter_parts())[2]
    assert returned.get_content_type() == kind
    encoding = None if original.isascii() else "8bit"
    assert returned["Content-Transfer-Encoding"] == message["Content-Transfer-Encoding"] == encoding
