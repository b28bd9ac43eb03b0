"""What sending domains need of the world: what DNS says of them, and keys to sign with."""

from dataclasses import dataclass
from typing import Protocol

from relay.domain.directory import DkimKey


@dataclass(frozen=True, slots=True)
class Records:
    """What DNS has of one type for one name."""

    values: tuple[str, ...] = ()
    """Texts with their strings joined, or host names in small letters without the last dot."""
    has_failed: bool = False
    """No server gave an answer: not the same as none of that type."""


class DomainRecords(Protocol):
    """DNS as it is now: whoever has just added a record does not wait for a cache of ours."""

    async def txt(self, name: str) -> Records: ...

    async def cname(self, name: str) -> Records: ...

    async def mx(self, name: str) -> Records:
        """Without the preferences, and without a null MX (RFC 7505)."""


class DkimKeys(Protocol):
    """Key pairs for DKIM. Neither method keeps the loop from its work."""

    async def generate(self, selector: str) -> DkimKey:
        """A new pair, RSA with 2048 bits."""

    async def take(self, selector: str, private: str) -> DkimKey:
        """The pair of a private key that somebody supplied. Raises MalformedOptions."""
