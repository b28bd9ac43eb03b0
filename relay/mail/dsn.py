"""Delivery status notifications: what a sender is told when mail could not be delivered (RFC 3461, 3464)."""

from dataclasses import dataclass
from datetime import datetime

from relay.mail.trace import date_field

_BOUNDARY_PREFIX = "=_relay_"


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient that failed, as the report tells it."""

    recipient: str
    status: str
    """Enhanced code, class 5 (RFC 3463)."""
    diagnostic: str
    """The reply that decided, or our own reason; shown to people."""
    remote: str
    """Address of the server that said so; empty when it was us."""


def build_dsn(
    failure: Failure,
    to: str,
    original_header: bytes,
    unique: str,
    hostname: str,
    arrived: datetime,
    now: datetime,
) -> bytes:
    """A multipart/report about one failed recipient, CRLF lines, with its header section.

    to is the reverse-path of the failed message, original_header its header section. UTF-8
    addresses make a message/global-delivery-status of it (RFC 6533).
    """
    boundary = f"{_BOUNDARY_PREFIX}{unique}"
    is_utf8 = not (to + failure.recipient).isascii() or not original_header.isascii()
    kind = "message/global-delivery-status" if is_utf8 else "message/delivery-status"
    quoted = "message/global-headers" if is_utf8 else "text/rfc822-headers"
    report_type = kind.rpartition("/")[2]
    address_type = "utf-8" if is_utf8 else "rfc822"
    diagnostic, recipient = _one_line(failure.diagnostic), _one_line(failure.recipient)
    # A field of a delivery-status is ASCII, and that part has no encoding.
    code = diagnostic if is_utf8 else diagnostic.encode("ascii", "replace").decode()
    eight_bit = "Content-Transfer-Encoding: 8bit\r\n"
    coding = eight_bit if is_utf8 else ""
    remote_mta = f"Remote-MTA: dns; [{failure.remote}]\r\n" if failure.remote else ""
    top = (
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\n"
        f"To: {to}\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\n"
        f"Message-ID: <{unique}@{hostname}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type={report_type};\r\n"
        f' boundary="{boundary}"\r\n'
        f"{coding if diagnostic.isascii() else eight_bit}"
    )
    parts = (
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"{eight_bit}"
        "\r\n"
        f"This is the mail system at {hostname}.\r\n"
        "\r\n"
        "Your message could not be delivered to this recipient, and no further\r\n"
        "attempt will be made:\r\n"
        "\r\n"
        f"  <{recipient}>\r\n"
        f"  {diagnostic}\r\n"
        "\r\n"
        f"--{boundary}\r\n"
        f"Content-Type: {kind}\r\n"
        f"{coding}"
        "\r\n"
        f"Reporting-MTA: dns; {hostname}\r\n"
        f"Arrival-Date: {_date(arrived)}\r\n"
        "\r\n"
        f"Final-Recipient: {address_type}; {recipient}\r\n"
        "Action: failed\r\n"
        f"Status: {failure.status}\r\n"
        f"{remote_mta}"
        f"Diagnostic-Code: smtp; {code}\r\n"
        "\r\n"
        f"--{boundary}\r\n"
        f"Content-Type: {quoted}\r\n"
        f"{coding}"
        "\r\n"
    )
    return b"".join(
        (
            date_field(now),
            top.encode("utf-8", "replace"),
            b"\r\n",
            parts.encode("utf-8", "replace"),
            original_header,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def _one_line(text: str) -> str:
    """Text fit for a header value: no control character, and short enough for one line."""
    return "".join(char if char.isprintable() else " " for char in text[:900])


def _date(moment: datetime) -> str:
    return date_field(moment).partition(b":")[2].decode().strip()
