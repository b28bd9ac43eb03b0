"""A reply of an SMTP server and what its digits mean (RFC 5321 §4.2, RFC 3463)."""

import re
from enum import StrEnum

from relay.domain.value import value

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


class Phase(StrEnum):
    """What a reply, or its absence, answered."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    """The final dot: the reply that moves responsibility (RFC 5321 §4.2.5)."""
    INTERNAL = "internal"
    """Ours: nothing was asked of a server."""


@value
class Reply:
    """Code, text and the phase it answered."""

    code: int
    text: str
    """All lines joined by a space, without the code; it may begin with an enhanced code."""
    phase: Phase

    @property
    def enhanced(self) -> str:
        """The enhanced code, or "" (RFC 3463)."""
        match = _ENHANCED.match(self.text)
        return match[0] if match else ""

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600

    def __str__(self) -> str:
        return f"{self.code} {self.text}" if self.text else str(self.code)
