"""Delivery status notifications: what a sender is told of mail that failed or was passed on (RFC 3464)."""

from dataclasses import dataclass, field
from datetime import datetime

from relay.domain.dsn import DsnRequest, Report
from relay.mail.trace import date_field
from relay.mail.xtext import decode_xtext, embed

_BOUNDARY_PREFIX = "=_relay_"
_MAX_OCTETS = 900
SUBJECTS = {
    Report.FAILED: "Undelivered Mail Returned to Sender",
    Report.RELAYED: "Mail Passed On Without Further Reports",
}
_SENTENCES = {
    Report.FAILED: (
        "Your message could not be delivered to this recipient, and no further\r\nattempt will be made:"
    ),
    Report.RELAYED: (
        "Your message for this recipient was taken by a mail server that sends no\r\n"
        "reports of success. You may still hear of it if it cannot be delivered:"
    ),
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient's copy, as the report tells it."""

    recipient: str
    status: str
    """Enhanced code, of class 5 for a failure, else 2 (RFC 3463)."""
    diagnostic: str
    """The reply that decided, or our own reason; shown to people."""
    remote: str
    """Address of the server that said so; empty when it was us."""
    report: Report = Report.FAILED
    asked: DsnRequest = field(default_factory=DsnRequest)
    """By the client that handed the message in."""


def build_dsn(
    fate: Fate,
    to: str,
    original: bytes,
    unique: str,
    hostname: str,
    arrived: datetime,
    now: datetime,
    *,
    is_whole: bool = False,
) -> bytes:
    """A multipart/report about one recipient, CRLF lines, with its header section.

    to is the reverse-path of the message, original its header section, or, is_whole, all of it.
    UTF-8 addresses make a message/global-delivery-status of it (RFC 6533).
    """
    boundary = f"{_BOUNDARY_PREFIX}{unique}"
    header = original.partition(b"\r\n\r\n")[0]
    is_utf8 = not (to + fate.recipient).isascii() or not header.isascii()
    kind = "message/global-delivery-status" if is_utf8 else "message/delivery-status"
    quoted = _QUOTED[is_utf8, is_whole]
    address_type = "utf-8" if is_utf8 else "rfc822"
    diagnostic, recipient = _one_line(fate.diagnostic), _one_line(fate.recipient)
    # A field of a delivery-status is ASCII.
    code = diagnostic if is_utf8 else diagnostic.encode("ascii", "replace").decode()
    remote_mta = f"Remote-MTA: dns; [{_literal(fate.remote)}]\r\n" if fate.remote else ""
    status = (
        f"{_envelope_id(fate.asked)}"
        f"Reporting-MTA: dns; {hostname}\r\n"
        f"Arrival-Date: {_date(arrived)}\r\n"
        "\r\n"
        f"{_original_recipient(fate.asked)}"
        f"Final-Recipient: {address_type}; {recipient}\r\n"
        f"Action: {fate.report}\r\n"
        f"Status: {fate.status}\r\n"
        f"{remote_mta}"
        f"Diagnostic-Code: smtp; {code}\r\n"
    )
    text = (
        f"This is the mail system at {hostname}.\r\n"
        "\r\n"
        f"{_SENTENCES[fate.report]}\r\n"
        "\r\n"
        f"  <{recipient}>\r\n"
        f"  {diagnostic}\r\n"
    )
    parts = b"".join(
        (
            _part(boundary, "text/plain; charset=utf-8", text.encode("utf-8", "replace")),
            _part(boundary, kind, status.encode("utf-8", "replace")),
            _part(boundary, quoted, original),
            f"--{boundary}--\r\n".encode(),
        )
    )
    top = (
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\n"
        f"To: {to}\r\n"
        f"Subject: {SUBJECTS[fate.report]}\r\n"
        f"Message-ID: <{unique}@{hostname}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type={kind.rpartition('/')[2]};\r\n"
        f' boundary="{boundary}"\r\n'
    )
    return b"".join((date_field(now), top.encode("utf-8", "replace"), _encoding(parts), b"\r\n", parts))


_QUOTED = {
    (False, False): "text/rfc822-headers",
    (False, True): "message/rfc822",
    (True, False): "message/global-headers",
    (True, True): "message/global",
}


def _part(boundary: str, kind: str, content: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {kind}\r\n".encode()
    return b"".join((head, _encoding(content), b"\r\n", content, b"\r\n"))


def _encoding(content: bytes) -> bytes:
    """7bit goes without saying (RFC 2045 §6.1)."""
    return b"" if content.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"


def _envelope_id(asked: DsnRequest) -> str:
    """RFC 3464 §2.2.1."""
    envid = decode_xtext(asked.envid)
    return f"Original-Envelope-Id: {envid}\r\n" if envid else ""


def _original_recipient(asked: DsnRequest) -> str:
    """RFC 3464 §2.3.1; always in ASCII (RFC 6533 §3)."""
    address_type, _, xtext = asked.orcpt.partition(";")
    address = decode_xtext(embed(xtext))
    return f"Original-Recipient: {_one_line(address_type)}; {address}\r\n" if address else ""


def _one_line(text: str) -> str:
    """Text fit for a header value: no control character, and octets for one line (RFC 5322 §2.1.1)."""
    line = "".join(char if char.isprintable() else " " for char in text[:_MAX_OCTETS])
    return line.encode("utf-8", "replace")[:_MAX_OCTETS].decode("utf-8", "ignore")


def _literal(address: str) -> str:
    """Between the brackets of an address literal (RFC 5321 §4.1.3)."""
    return f"IPv6:{address}" if ":" in address else address


def _date(moment: datetime) -> str:
    return date_field(moment).partition(b":")[2].decode().strip()
