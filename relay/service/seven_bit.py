"""Mail for a host without 8BITMIME or SMTPUTF8: converted, and signed anew where we had signed it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from relay.domain.directory import Principal, Snapshot
from relay.domain.errors import Unsendable
from relay.domain.message import Message
from relay.mail.dkim import Signer, body_hash, signature_field
from relay.mail.fields import section_in_ascii
from relay.mail.gate import check_body, check_header, split_at_empty_line
from relay.mail.headers import Field, fields_of, split_message
from relay.mail.seven_bit import Unconvertible, seven_bit
from relay.service.sign import sending_domain_of, signing_of

_LARGE_BYTES = 16 * 1024


async def converted(
    message: Message,
    chunks: Sequence[bytes],
    snapshot: Snapshot,
    now: datetime,
    *,
    header: bool,
    body: bool,
) -> bytes:
    """What DATA carries instead of the chunks.

    header: it is written in ASCII, as far as can be, for a host without SMTPUTF8.
    body: for a host without 8BITMIME; and the header section too, where SMTPUTF8 was not asked for.
    Raises Unconvertible; see `seven_bit`.
    """
    content = b"".join(chunks)
    if len(content) < _LARGE_BYTES:
        return _convert(content, message, snapshot, now, header, body)
    return await asyncio.to_thread(_convert, content, message, snapshot, now, header, body)


def _convert(
    content: bytes, message: Message, snapshot: Snapshot, now: datetime, with_header: bool, with_body: bool
) -> bytes:
    converted = content
    if with_header:
        header, body = split_at_empty_line(content)
        converted = b"".join((section_in_ascii(header), b"\r\n", body))
    if with_body:
        converted = seven_bit(converted, keeps_header=message.smtputf8)
    if converted == content:
        return content
    signed = _signed(converted, message, snapshot, now)
    _check(signed)
    return signed


def _check(content: bytes) -> None:
    """The gate that it passed when it was stored, once more. Raises Unconvertible."""
    header, body = split_at_empty_line(content)
    try:
        check_header(header)
        check_body(body)
    except Unsendable as error:
        raise Unconvertible from error


def _signed(converted: bytes, message: Message, snapshot: Snapshot, now: datetime) -> bytes:
    """With signatures of ours made anew."""
    header, body = split_message(converted)
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
        return converted
    header, hashed = b"".join(kept), body_hash(body)
    signatures = b"".join(signature_field(header, hashed, signer, now) for signer in again)
    return b"".join((signatures, header, b"\r\n", body))


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
