"""xtext: printable ASCII in which an octet may be written as `+` and two hexadecimal digits (RFC 3461 §4)."""

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEX = re.compile(r"\+(..)")


def decode_xtext(text: str) -> str | None:
    """What it stands for, when that is printable ASCII (§4.2, §4.4); None when it is not, or is no xtext."""
    if not _XTEXT.fullmatch(text):
        return None
    decoded = _HEX.sub(lambda octet: chr(int(octet[1], 16)), text)
    return decoded if decoded.isascii() and decoded.isprintable() else None


def embed(text: str) -> str:
    """The text with `\\x{...}` for each character beyond ASCII (RFC 6533 §3)."""
    return text if text.isascii() else "".join(map(_embedded, text))


def _embedded(char: str) -> str:
    return char if char.isascii() else f"\\x{{{ord(char):X}}}"
