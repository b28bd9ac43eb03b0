"""Fields that tell where a message has been, and those it may not travel without (RFC 5321 §4.4, §6.3)."""

import re
from collections.abc import Iterable
from datetime import datetime

from relay.mail.headers import Field

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HELO = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,253}[A-Za-z0-9_])?\.?|\[[A-Za-z0-9:.]{1,60}\]")
"""A domain or an address literal, judged no further: it is quoted, not believed."""


def hop_count(fields: Iterable[Field]) -> int:
    """How many servers the message has passed: its Received fields."""
    return [field.name for field in fields].count("received")


def received_field(
    helo: str, remote_addr: str, hostname: str, protocol: str, id: str, now: datetime
) -> bytes:
    """`Received:` for what has just come in.

    A helo that is neither a domain nor an address literal is not repeated: the address stands
    for it. remote_addr is an IP address, or empty when mail did not come from one.
    """
    literal = f"[IPv6:{remote_addr}]" if ":" in remote_addr else f"[{remote_addr or '127.0.0.1'}]"
    name = helo if _HELO.fullmatch(helo) else literal
    return (
        f"Received: from {name} ({literal})\r\n"
        f" by {hostname} (relay) with {protocol} id {id};\r\n {_date(now)}\r\n"
    ).encode("ascii", "replace")


def date_field(now: datetime) -> bytes:
    """`Date:` with that moment, which is UTC."""
    return f"Date: {_date(now)}\r\n".encode()


def message_id_field(id: str, hostname: str) -> bytes:
    """`Message-ID:` made of an id that is unique on that host."""
    return f"Message-ID: <{id}@{hostname}>\r\n".encode()


def _date(moment: datetime) -> str:
    """RFC 5322 §3.3. By hand: strftime speaks the locale's language."""
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    time = f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    return f"{day}, {moment.day:02} {month} {moment.year:04} {time} +0000"
