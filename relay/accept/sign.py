"""Who signs what leaves: the domain of From, else the pool's; and once more for feedback loops."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from relay.domain.address import comparable_domain
from relay.domain.directory import Principal, SendingDomain, Snapshot
from relay.domain.errors import UnconfiguredDomain, UnknownDkimKey, UnverifiedDkimKey
from relay.domain.ids import AccountId, PoolId
from relay.mail.dkim import Signer, body_hash, signature_field
from relay.mail.headers import Field, from_address

_LARGE_BYTES = 64 * 1024
"""Bodies from here on are hashed in a thread: 1 MiB takes several milliseconds."""
_LOOPING = ("yahoo.", "ymail.", "rocketmail.", "aol.", "myyahoo.", "aim.", "verizon.net")
"""How the domains begin whose provider runs its feedback loop by DKIM domain (Yahoo)."""


@dataclass(frozen=True, slots=True)
class Signing:
    """In whose names the messages of one submission are signed."""

    signer: Signer | None
    for_loops: Signer | None = None
    """A second one, for providers with a feedback loop that goes by it."""

    def signers_for(self, domain: str) -> list[Signer]:
        """All who sign a message to that recipient domain."""
        loops = self.for_loops if needs_loop(domain) else None
        return [signer for signer in (loops, self.signer) if signer is not None]


class Signatures:
    """What signs the messages of one submission: their body is hashed once, each header signed once."""

    def __init__(self, signing: Signing, hashed_body: str) -> None:
        self._signing, self._hashed_body = signing, hashed_body
        self._made: dict[tuple[str, bytes], bytes] = {}

    def common(self, header: bytes, now: datetime) -> bytes:
        """The field for all copies with this header, to stand above it; empty when nobody signs for all."""
        signer = self._signing.signer
        return b"" if signer is None else self._made_by(signer, header, now)

    def own(self, domain: str, header: bytes, now: datetime) -> bytes:
        """The field for a copy to that recipient domain alone; usually empty."""
        signer = self._signing.for_loops
        return b"" if signer is None or not needs_loop(domain) else self._made_by(signer, header, now)

    def _made_by(self, signer: Signer, header: bytes, now: datetime) -> bytes:
        key = signer.domain, header
        if key not in self._made:
            self._made[key] = signature_field(header, self._hashed_body, signer, now)
        return self._made[key]


def signing_of(snapshot: Snapshot, principal: Principal, sending_domain: str, pool: PoolId) -> Signing | None:
    """Who signs mail of that From domain through that pool; None: nobody."""
    own = _signer(usable_domain(snapshot, principal, sending_domain))
    entry = snapshot.pools.get((principal.account, pool))
    if entry is None:
        return Signing(own) if own is not None else None
    signer = own or _signer(_of_account(snapshot, principal.account, entry.signing_domain))
    loops = _signer(_of_account(snapshot, principal.account, entry.fbl_signing_domain))
    if loops is not None and signer is not None and loops.domain == signer.domain:
        loops = None
    return Signing(signer, loops) if signer is not None or loops is not None else None


def usable_domain(snapshot: Snapshot, principal: Principal, domain: str) -> SendingDomain | None:
    """The entry of a domain that the principal may have in From, verified or not."""
    entry = _of_account(snapshot, principal.account, domain)
    if entry is None:
        return None
    if entry.subaccount is not None or principal.subaccount is None:
        return entry if entry.subaccount == principal.subaccount else None
    return entry if entry.shared_with_subaccounts else None


def check_from(snapshot: Snapshot, principal: Principal, domain: str, dkim_key: str = "") -> None:
    """Whether the principal's mail may have that domain in From, and be signed with that key of it, if any.

    Raises UnconfiguredDomain, UnknownDkimKey, UnverifiedDkimKey.
    """
    entry = usable_domain(snapshot, principal, domain)
    if snapshot.accounts[principal.account].require_sending_domain and (
        entry is None or not entry.is_verified
    ):
        raise UnconfiguredDomain(domain)
    if not dkim_key:
        return
    if entry is None or entry.dkim is None or entry.dkim.selector.lower() != dkim_key.lower():
        raise UnknownDkimKey(dkim_key, domain)
    if not entry.signs:
        raise UnverifiedDkimKey(dkim_key, domain)


def sending_domain_of(fields: Iterable[Field]) -> str:
    """The domain in From as the directory knows domains; empty when nobody can be said to speak."""
    return comparable_domain((from_address(fields) or "").rpartition("@")[2])


def needs_loop(domain: str) -> bool:
    """Whether mail to the recipient domain gets the signature for feedback loops."""
    return domain.startswith(_LOOPING)


async def hash_body(body: bytes) -> str:
    """The DKIM hash of a body, without keeping the loop from its work."""
    if len(body) < _LARGE_BYTES:
        return body_hash(body)
    return await asyncio.to_thread(body_hash, body)


def _of_account(snapshot: Snapshot, account: AccountId, domain: str) -> SendingDomain | None:
    return snapshot.domains.get((account, domain)) if domain else None


def _signer(entry: SendingDomain | None) -> Signer | None:
    if entry is None or entry.dkim is None or not entry.signs:
        return None
    return Signer(entry.domain, entry.dkim.selector, entry.dkim.private)
