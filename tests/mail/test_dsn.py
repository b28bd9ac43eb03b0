"""Delivery status notifications as other software reads them (RFC 3464)."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from relay.mail.dsn import Failure, build_dsn

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEADER = b"Subject: hello\r\nFrom: a@src.test\r\n"


def dsn(failure: Failure, to: str = "a@src.test", header: bytes = HEADER) -> EmailMessage:
    octets = build_dsn(failure, to, header, "123", "relay.test", T0, T0)
    assert octets.count(b"\n") == octets.count(b"\r\n")
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_report_has_its_three_parts_and_names_recipient_status_and_server() -> None:
    message = dsn(Failure("bob@dst.test", "5.1.1", "550 5.1.1 no such user", "127.0.0.99"))
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


def test_a_failure_of_our_own_names_no_server() -> None:
    assert "Remote-MTA" not in dsn(Failure("bob@dst.test", "5.4.7", "554 5.4.7 time-out", "")).as_string()


def test_utf8_addresses_make_a_global_report() -> None:
    message = dsn(Failure("bøb@dst.test", "5.1.1", "550 no", ""))
    assert message.get_param("report-type") == "global-delivery-status"


def test_a_reply_cannot_break_out_of_its_line() -> None:
    message = dsn(Failure("bob@dst.test", "5.0.0", "550 no\r\nAction: delivered" + "x" * 2000, ""))
    told = list(message.iter_parts())[1].as_string()
    assert "\nAction: delivered" not in told
