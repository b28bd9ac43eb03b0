"""Mail for a host without 8BITMIME: converted, and signed anew where we had signed it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from relay.domain.directory import Snapshot
from relay.domain.ids import AccountId
from relay.domain.message import Message
from relay.mail.dkim import Signer, body_hash, signature_field
from relay.mail.headers import Field, fields_of, split_message
from relay.mail.seven_bit import seven_bit

_LARGE_BYTES = 16 * 1024


async def in_seven_bits(
    message: Message, chunks: Sequence[bytes], snapshot: Snapshot, now: datetime, *, keeps_header: bool
) -> bytes:
    """What DATA carries instead of the chunks. Raises Unconvertible; see `seven_bit`."""
    content = b"".join(chunks)
    if len(content) < _LARGE_BYTES:
        return _convert(content, message, snapshot, now, keeps_header)
    return await asyncio.to_thread(_convert, content, message, snapshot, now, keeps_header)


def _convert(
    content: bytes, message: Message, snapshot: Snapshot, now: datetime, keeps_header: bool
) -> bytes:
    converted = seven_bit(content, keeps_header=keeps_header)
    header, body = split_message(converted)
    signers = []
    for field in fields_of(header):
        if field.name == "dkim-signature" and (signer := _ours(field, message.account, snapshot)):
            signers.append(signer)
            header = header.replace(field.raw, b"", 1)
    if not signers:
        return converted
    hashed = body_hash(body)
    signatures = b"".join(signature_field(header, hashed, signer, now) for signer in signers)
    return b"".join((signatures, header, b"\r\n", body))


def _ours(field: Field, account: AccountId, snapshot: Snapshot) -> Signer | None:
    """Who makes signatures such as this one; None: another than this relay did, or one that may no more."""
    tags = dict(tag.strip().partition("=")[::2] for tag in field.value.decode("ascii", "replace").split(";"))
    entry = snapshot.domains.get((account, tags.get("d", "")))
    if entry is None or entry.dkim is None or not entry.signs or entry.dkim.selector != tags.get("s"):
        return None
    return Signer(entry.domain, entry.dkim.selector, entry.dkim.private)
