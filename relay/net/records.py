"""What DNS says of a sending domain, asked anew each time, and RSA keys made in a thread."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import dns.asyncbackend
import dns.exception
import dns.name
import dns.resolver
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.domain.directory import DkimKey
from relay.domain.errors import BadOptions
from relay.mail.dkim import UnusableKey, check_key, encode_key
from relay.net.dns import make_resolver
from relay.ports.domains import Records

_KEY_BITS = 2048
_PUBLIC_EXPONENT = 65537
_MAX_RECORDS = 32
_MAX_TEXT = 4096
_AT_ONCE = 4
"""Keys in the making: each takes a processor for a tenth of a second, or for a whole one with bad luck."""


class DnsRecords:
    """`DomainRecords`."""

    def __init__(
        self, *, nameservers: Sequence[tuple[str, int]] | None = None, lifetime_s: float = 10
    ) -> None:
        """nameservers: addresses and ports; None: what /etc/resolv.conf says. lifetime_s: for one lookup."""
        self._resolver = make_resolver(nameservers, lifetime_s)

    async def txt(self, name: str) -> Records:
        return await self._ask(name, "TXT", _text)

    async def cname(self, name: str) -> Records:
        return await self._ask(name, "CNAME", lambda record: _host(record.target))

    async def mx(self, name: str) -> Records:
        return await self._ask(name, "MX", lambda record: _host(record.exchange))

    async def _ask(self, name: str, kind: str, read: Callable[[Any], str]) -> Records:
        try:
            answer = await self._resolver.resolve(
                dns.name.from_text(name),
                kind,
                raise_on_no_answer=False,
                backend=dns.asyncbackend.get_backend("asyncio"),
            )
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return Records()
        except (dns.exception.DNSException, OSError):
            return Records(has_failed=True)
        found = [read(record) for record in list(answer.rrset or ())[:_MAX_RECORDS]]
        return Records(tuple(value for value in found if value))


class RsaKeys:
    """`DkimKeys`."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def generate(self, selector: str) -> DkimKey:
        async with self._turns:
            private, public = await asyncio.to_thread(_generate)
        return DkimKey(selector, public, private)

    async def take(self, selector: str, private: str) -> DkimKey:
        try:
            async with self._turns:
                checked, public = await asyncio.to_thread(check_key, private)
        except UnusableKey as error:
            raise BadOptions(f"dkim.private is {error}") from error
        return DkimKey(selector, public, checked)


def _generate() -> tuple[str, str]:
    return encode_key(rsa.generate_private_key(_PUBLIC_EXPONENT, _KEY_BITS))


def _text(record: Any) -> str:
    return b"".join(record.strings)[:_MAX_TEXT].decode("utf-8", "replace")


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().rstrip(".")
