"""Mailboxes and domains: parsed once at the edge, then trusted (RFC 5321 §4.1.2, RFC 6531 §3.3)."""

import ipaddress
import re
import unicodedata
from functools import lru_cache

import idna

from relay.domain.errors import MalformedAddress
from relay.domain.ids import ip_text
from relay.domain.value import value

_NON_ASCII = r"\u00a0-\u2027\u202a-\U0010ffff"
"""Without control characters, which some take for the end of a line (RFC 6532 §3.1, Unicode §5.8)."""
_ATEXT_CHARS = rf"A-Za-z0-9!#$%&'*+/=?^_`{{|}}~\-{_NON_ASCII}"
_ATEXT = rf"[{_ATEXT_CHARS}]+"
_DOT_STRING = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_DOTTED_STRING = re.compile(rf"[.{_ATEXT_CHARS}]+")
"""Dots first, last or in a row: mailboxes that Japanese carriers gave out, outside RFC 5321."""
_QUOTED_STRING = re.compile(rf'"((?:[ !#-\[\]-~{_NON_ASCII}]|\\[ -~])*+)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_TO_BE_ESCAPED = re.compile(r'["\\]')
_LABEL = r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

_LONGEST_TEXT = 1000
"""Characters; what is longer is refused at sight."""
MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 255
MAX_PATH_OCTETS = 254
"""RFC 5321 §4.5.3.1 allows 256 octets with the angle brackets."""


@value
class Mailbox:
    """One address, and its domain in the form that DNS and comparisons want."""

    text: str
    """As given, with the local part as `plain_local` has it; U-labels are A-labels (RFC 6531 §3.2)."""
    domain: str
    """Lower-case A-labels (RFC 5890), or an address literal with its brackets."""

    @property
    def is_ascii(self) -> bool:
        """Whether it may travel without SMTPUTF8: that is for local parts alone."""
        return self.text.isascii()


def parse_mailbox(text: str) -> Mailbox:
    """The mailbox that text spells: `local@domain`, without angle brackets.

    A domain without dots, underscores in labels and stray dots in a local part are taken (all are
    met in practice); source routes are not. One mailbox comes out in one form, however it is
    quoted. Raises MalformedAddress.
    """
    given, at, domain = text.rpartition("@")
    local = plain_local(given) if at and len(text) <= _LONGEST_TEXT else None
    if local is None:
        raise MalformedAddress(text)
    try:
        known = normalise_domain(domain)
    except MalformedAddress:
        raise MalformedAddress(text) from None
    plain = f"{local}@{domain if domain.isascii() else known}"
    if len(plain.encode()) > MAX_PATH_OCTETS or len(local.encode()) > MAX_LOCAL_OCTETS:
        raise MalformedAddress(text)
    return Mailbox(plain, known)


def plain_local(text: str) -> str | None:
    """The local part in the one form that it has here; None when it is none.

    Quoted where it must be, only there, and with as few backslashes as can be (RFC 5321 §4.1.2).
    """
    if not text.isascii() and _has_surrogates(text):
        return None
    if _DOT_STRING.fullmatch(text):
        return text
    if _DOTTED_STRING.fullmatch(text):
        return f'"{text}"'
    quoted = _QUOTED_STRING.fullmatch(text)
    if quoted is None:
        return None
    said = _QUOTED_PAIR.sub(r"\1", quoted[1])
    return said if _DOT_STRING.fullmatch(said) else '"' + _TO_BE_ESCAPED.sub(r"\\\g<0>", said) + '"'


@lru_cache(maxsize=4096)
def normalise_domain(text: str) -> str:
    """The domain as DNS knows it: lower-case A-labels; an address literal keeps its brackets.

    Raises MalformedAddress.
    """
    if len(text) > MAX_DOMAIN_OCTETS:
        # Before it is encoded: that takes as long as the square of the length.
        raise MalformedAddress(text)
    if text.startswith("["):
        return _address_literal(text)
    domain = text.lower() if text.isascii() else _one_form(text)
    if not domain.isascii():
        try:
            # IDNA2008: an older one would write mail for straße.example to another's strasse.example.
            domain = idna.encode(domain).decode("ascii")
        except idna.IDNAError:
            raise MalformedAddress(text) from None
    if len(domain) > MAX_DOMAIN_OCTETS or not _DOMAIN.fullmatch(domain):
        raise MalformedAddress(text)
    return domain


def comparable_domain(text: str) -> str:
    """As `normalise_domain`; what is no domain is in lower case, letter by letter, and equals no domain."""
    try:
        return normalise_domain(text)
    except MalformedAddress:
        return _one_form(text)


def domain_spellings(text: str) -> tuple[str, ...]:
    """The domain as it is written, and as it is stored if that is another: what a search looks for."""
    try:
        known = normalise_domain(text)
    except MalformedAddress:
        return (text,)
    return (text,) if known == text else (text, known)


def _one_form(text: str) -> str:
    """Upper and lower case, full and half width, composed or not are one name (RFC 5895 §2).

    Nothing else is: a soft hyphen, a joiner, a ligature are in no name, and dropping or replacing
    them would make another's of it.
    """
    narrow = "".join(
        unicodedata.normalize("NFKC", char) if unicodedata.east_asian_width(char) in "FH" else char
        for char in text
    )
    # Letter by letter: a sigma at the end of a word is another letter.
    lower = "".join(char.lower() for char in narrow)
    return unicodedata.normalize("NFC", lower).replace("\u3002", ".")


def _address_literal(text: str) -> str:
    """RFC 5321 §4.1.3: `[192.0.2.1]` or `[IPv6:2001:db8::1]`."""
    inner = text[1:-1]
    try:
        if not text.endswith("]"):
            raise ValueError(text)
        # ipaddress takes a scope behind %, whatever octets it has.
        if inner[:5].lower() == "ipv6:" and "%" not in inner:
            return f"[IPv6:{ip_text(ipaddress.IPv6Address(inner[5:]))}]"
        return f"[{ip_text(ipaddress.IPv4Address(inner))}]"
    except ValueError:
        raise MalformedAddress(text) from None


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
