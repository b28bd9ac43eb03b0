"""How the next hop for a recipient domain is found: a smarthost, or the domain's own MX hosts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class TlsPolicy(StrEnum):
    """What a route wants of STARTTLS (RFC 3207)."""

    OFF = "off"
    OPPORTUNISTIC = "opportunistic"
    """Used when offered, without judging the certificate; clear text otherwise."""
    REQUIRED = "required"
    """Offered and verified for the host's name, or the message waits."""


@dataclass(frozen=True, slots=True)
class MxRoute:
    """Next hop by DNS (RFC 5321 §5.1)."""

    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    port: int = 25
    allow_private: bool = False
    """Whether hosts may have addresses that are not of the internet; listeners of ours never."""
    ehlo_ignore: tuple[str, ...] = ()
    """Upper-case EHLO keywords that count as not offered."""


@dataclass(frozen=True, slots=True)
class SmarthostRoute:
    """A configured server takes everything.

    With a username opportunistic TLS becomes required: whoever stands between must not get the password.
    """

    host: str
    port: int
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    username: str = ""
    password: str = ""
    ehlo_ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.username and self.tls is TlsPolicy.OPPORTUNISTIC:
            object.__setattr__(self, "tls", TlsPolicy.REQUIRED)

    def __repr__(self) -> str:
        return f"SmarthostRoute({self.host}:{self.port}, tls={self.tls})"


@dataclass(frozen=True, slots=True)
class Route:
    """Domains and where their mail goes next."""

    patterns: tuple[str, ...]
    """`example.com` (itself), `*.example.com` (any subdomain of it), `*` (all)."""
    target: MxRoute | SmarthostRoute

    def covers(self, domain: str) -> bool:
        return any(
            pattern in {"*", domain} or (pattern.startswith("*.") and domain.endswith(pattern[1:]))
            for pattern in self.patterns
        )


def ends_in_sink(sinks: Sequence[str], domain: str) -> bool:
    """Whether the domain is one of the sinks or below one: its mail goes nowhere, by no route."""
    return any(domain == sink or domain.endswith(f".{sink}") for sink in sinks)


def route_for(routes: Sequence[Route], domain: str) -> MxRoute | SmarthostRoute | None:
    """The first route that covers the domain (lower-case A-labels), or None."""
    return next((route.target for route in routes if route.covers(domain)), None)
