"""Single values of settings and of the directory, read from text; what was expected is in the ValueError."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from relay.domain.address import Mailbox, normalise_domain, parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.domain.ids import NodeName

_NODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STORE = re.compile(r"sqlite:///(?:.*[^/])")
_URL = re.compile(r"https?://[A-Za-z0-9.\-]+(:\d{1,5})?/?|https?://\[[0-9A-Fa-f:.]+\](:\d{1,5})?/?")
_MOST_WORKERS = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen. Port 0 is any free one."""

    host: str
    """A name or an address, without brackets."""
    port: int

    @classmethod
    def parse(cls, text: object, such_as: str = '"127.0.0.1:2525" or "[::1]:2525"') -> Self:
        """`HOST:PORT`, an IPv6 address in brackets. Raises ValueError with what was expected."""
        if isinstance(text, cls):
            return text
        host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        in_brackets = host.startswith("[") and host.endswith("]")
        if colon and re.fullmatch(r"\d{1,5}", port, re.ASCII) and int(port) <= 65535:
            check_is_one_host(host[1:-1] if in_brackets else host)
            if in_brackets and _is_ipv6(host[1:-1]):
                return cls(host[1:-1], int(port))
            if not in_brackets and re.fullmatch(r"[A-Za-z0-9._-]+", name := _in_ascii(host)):
                return cls(name, int(port))
        raise ValueError(f'"HOST:PORT", such as {such_as}')

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _in_ascii(name: str) -> str:
    """An internationalised name as A-labels, where it has them (RFC 5891)."""
    try:
        return name if name.isascii() else normalise_domain(name)
    except MalformedAddress:
        return name


def check_is_one_host(text: str) -> None:
    """Raises ValueError with what was expected for an address that no socket can be bound to as it stands.

    A name, or what is no address at all, is others' business.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    if address.version == 6 and address.is_link_local:
        raise ValueError(
            "no link-local address (fe80::/10): it needs an interface, which cannot be named here"
        )
    if address.is_multicast or text == "255.255.255.255":
        raise ValueError("an IPv4 or IPv6 address of one host")


def parse_node(text: object) -> NodeName:
    """The name of a machine. Raises ValueError with what was expected."""
    if not isinstance(text, str) or not _NODE.fullmatch(text):
        raise ValueError("1 to 64 letters, digits, dots, hyphens or underscores")
    return NodeName(text)


def parse_host_name(text: object) -> str:
    """A host or domain name as DNS knows it. Raises ValueError with what was expected."""
    try:
        if isinstance(text, str) and not text.startswith("["):
            return normalise_domain(text)
    except MalformedAddress:
        pass
    raise ValueError('a domain name, such as "mail.example.com"')


def parse_optional_mailbox(text: object) -> Mailbox | None:
    """None for nothing. Raises ValueError with what was expected."""
    if text in ("", None):
        return None
    try:
        if isinstance(text, str):
            return parse_mailbox(text)
    except MalformedAddress:
        pass
    raise ValueError('an address, such as "postmaster@example.com", or "" for that at hostname')


def parse_network(text: object) -> Network:
    """An address or a network in CIDR notation. Raises ValueError with what was expected."""
    try:
        if isinstance(text, str | Network):
            return ipaddress.ip_network(text)
    except ValueError:
        pass
    raise ValueError('an address or a network, such as "10.0.0.0/8", without bits after the prefix')


def parse_public_url(text: object) -> str:
    if isinstance(text, str) and (not text or _URL.fullmatch(text)):
        return text.rstrip("/")
    raise ValueError('a URL without a path, such as "https://relay.example.com"')


def _is_ipv6(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def parse_workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_WORKERS:
        return value
    raise ValueError(f'a whole number from 1 to {_MOST_WORKERS}, or "auto"')


def parse_store(text: object) -> str:
    if isinstance(text, str) and _STORE.fullmatch(text):
        return text
    expected = '"sqlite:///relative/path" or "sqlite:////absolute/path"'
    if isinstance(text, str) and text.lower().startswith(("postgres:", "postgresql:")):
        expected += ": PostgreSQL is not supported yet"
    raise ValueError(expected)


def parse_path(text: object) -> Path:
    if isinstance(text, Path) or (isinstance(text, str) and text and "\0" not in text):
        return Path(text)
    raise ValueError("the path of a file")


def parse_optional_path(text: object) -> Path | None:
    return None if text in ("", None) else parse_path(text)


def none_for_empty(value: object) -> object:
    return None if value == "" else value
