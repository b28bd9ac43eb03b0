"""The fields that name the other recipients: Cc in all copies, Bcc in one (docs/rules.md#copies)."""

from collections.abc import Sequence

from relay.domain.address import Mailbox
from relay.domain.message import Copy
from relay.mail.words import phrase


def cc_field(copies: Sequence[Copy]) -> bytes:
    """`Cc:` with all entries, one a line so that no line passes 998 octets (RFC 5322 §2.1.1)."""
    return b"Cc: " + b",\r\n ".join(_entry(copy) for copy in copies) + b"\r\n"


def bcc_field(mailbox: Mailbox) -> bytes:
    """`Bcc:` with the one address whose copy it heads."""
    return b"Bcc: " + mailbox.text.encode() + b"\r\n"


def _entry(copy: Copy) -> bytes:
    address = copy.mailbox.text.encode()
    return phrase(copy.name) + b" <" + address + b">" if copy.name else address
