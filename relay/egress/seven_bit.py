"""Mail for a host without 8BITMIME or SMTPUTF8: converted, and signed anew where we had signed it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

from relay.accept.budget import BodyBudget
from relay.accept.sign import sending_domain_of, signing_of
from relay.domain.directory import Principal, Snapshot
from relay.domain.errors import Busy, TooMuchWork, Unsendable
from relay.domain.ids import AccountId
from relay.domain.message import Message
from relay.mail.dkim import Signer, body_hash, signature_field
from relay.mail.gate import check_body, check_header, split_at_empty_line
from relay.mail.headers import Field, fields_of
from relay.mail.seven_bit import Unconvertible, rewrite
from relay.ports.sandbox import Sandbox

_SHORT_BYTES = 2 * 1024
_MAX_ADDRESSES = 8
_MAX_SIGNS = 80
_GROWTH = 3
"""At most three octets are written for one."""


class Converter:
    """Makes the copies, in the sandbox but for short ones; what is in memory of them counts as bodies do."""

    def __init__(self, sandbox: Sandbox, budget: BodyBudget) -> None:
        self._sandbox, self._budget = sandbox, budget
        self._held = 0
        """Copies that are being made or sent."""

    @asynccontextmanager
    async def copy(
        self,
        message: Message,
        chunks: Sequence[bytes],
        snapshot: Snapshot,
        now: datetime,
        *,
        header: bool,
        body: bool,
    ) -> AsyncIterator[Sequence[bytes]]:
        """What DATA carries instead of the chunks.

        header: it is written in ASCII, as far as can be, for a host without SMTPUTF8.
        body: for a host without 8BITMIME; and the header section too, where SMTPUTF8 was not asked for.
        Raises Unconvertible, see `seven_bit`; Busy.
        """
        keeps_header = message.smtputf8
        if _is_short(chunks):
            found = list(rewrite(b"".join(chunks), header=header, body=body, keeps_header=keeps_header))
            yield _finished(found, message, snapshot, now) if found else chunks
            return
        with self._room(_GROWTH * sum(map(len, chunks))):
            pieces = await self._pieces(message.account, (header, body, keeps_header), chunks)
            if pieces:
                chunks = await asyncio.to_thread(self._read, pieces, message, snapshot, now)
                del pieces
            yield chunks

    @contextmanager
    def _room(self, size_bytes: int) -> Iterator[None]:
        """One copy always has room, or mail would wait for ever where there is little. Raises Busy."""
        if not self._budget.take(size_bytes):
            if self._held:
                raise Busy
            self._budget.count(size_bytes)
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._budget.give_back(size_bytes)

    async def _pieces(
        self, account: AccountId, argument: tuple[bool, bool, bool], chunks: Sequence[bytes]
    ) -> Sequence[bytes]:
        output = await self._sandbox.run(account, "convert", argument, chunks)
        if isinstance(output.error, TooMuchWork):
            raise Unconvertible from output.error
        if output.error is not None:
            raise output.error
        return output.pieces

    def _read(
        self, pieces: Sequence[bytes], message: Message, snapshot: Snapshot, now: datetime
    ) -> Sequence[bytes]:
        return _finished(list(map(self._sandbox.read, pieces)), message, snapshot, now)


def _is_short(chunks: Sequence[bytes]) -> bool:
    """Whether it is surely done in a few milliseconds."""
    if sum(map(len, chunks)) > _SHORT_BYTES:
        return False
    message = b"".join(chunks)
    if message.count(b"@") > _MAX_ADDRESSES or sum(map(message.count, (b",", b";", b":"))) > _MAX_SIGNS:
        return False
    return b"multipart" not in message.lower()


def _finished(found: Sequence[bytes], message: Message, snapshot: Snapshot, now: datetime) -> Sequence[bytes]:
    """Looked at by the gate that it passed when it was stored, and signed. Raises Unconvertible."""
    header, rest = split_at_empty_line(found[0])
    body = (rest, *found[1:])
    try:
        check_header(header)
        check_body(*body)
    except Unsendable as error:
        raise Unconvertible from error
    return (_signed(header, body, message, snapshot, now) + b"\r\n", *body)


def _signed(
    header: bytes, body: Sequence[bytes], message: Message, snapshot: Snapshot, now: datetime
) -> bytes:
    """The header section with signatures of ours made anew."""
    fields = fields_of(header)
    signers = _signers(message, fields, snapshot)
    kept, again = [], dict[Signer, None]()
    for field in fields:
        signer = next((signer for signer in signers if _is_by(signer, field)), None)
        if signer is None:
            kept.append(field.raw)
        else:
            again[signer] = None
    if not again:
        return header
    header, hashed = b"".join(kept), body_hash(b"".join(body))
    signatures = (signature_field(header, hashed, signer, now) for signer in again)
    return b"".join((*signatures, header))


def _signers(message: Message, fields: Sequence[Field], snapshot: Snapshot) -> Sequence[Signer]:
    """Who would sign the message if it came in now: nobody else signs it anew (RFC 6376 §2.5)."""
    principal = Principal(message.account, message.subaccount)
    signing = signing_of(snapshot, principal, sending_domain_of(fields), message.pin.pool)
    return () if signing is None else signing.signers_for(message.domain)


def _is_by(signer: Signer, field: Field) -> bool:
    """Whether the field is a signature such as that signer's."""
    if field.name != "dkim-signature":
        return False
    tags = dict(tag.strip().partition("=")[::2] for tag in field.value.decode("ascii", "replace").split(";"))
    return (tags.get("d"), tags.get("s")) == (signer.domain, signer.selector)
