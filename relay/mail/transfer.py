"""Transfer codings decoded, however they were written (RFC 2045 §6.7, §6.8)."""

import binascii
import re

_BLANK_BEHIND_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")
"""RFC 2045 §6.7, rule 3: it is deleted."""
_NO_BASE64 = re.sub(rb"[A-Za-z0-9+/=]", b"", bytes(range(256)))
_UP_TO_PADDING = re.compile(rb"([A-Za-z0-9+/]+)(=*)")


def of_quoted_printable(body: bytes) -> bytes:
    return binascii.a2b_qp(_BLANK_BEHIND_SOFT_BREAK.sub(b"=", body))


def of_base64(body: bytes) -> tuple[bytes, bool]:
    """The octets, of several texts that were coded each for itself too; and whether nothing is damaged."""
    signs = body.translate(None, _NO_BASE64)
    octets, is_whole = bytearray(), True
    for group in _UP_TO_PADDING.finditer(signs):
        lone = len(group[1]) % 4
        is_whole = is_whole and lone != 1 and (not lone or lone + len(group[2]) >= 4)
        octets += binascii.a2b_base64(group[1][:-1] if lone == 1 else group[1] + b"==")
    return bytes(octets), is_whole


def whole_groups(body: bytes) -> bytes:
    """As much of damaged base64 as can be decoded by those who pass over what is no sign of it."""
    signs = body.translate(None, _NO_BASE64).replace(b"=", b"")
    return binascii.a2b_base64(signs[: len(signs) // 4 * 4])
