"""From the end of DATA to its reply: content read, options parsed, mail handed to the core, refusals told."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from relay.accept.copies import Handed
from relay.accept.rejections import slip_of
from relay.domain.address import Mailbox
from relay.domain.directory import Principal
from relay.domain.dsn import DsnRequest
from relay.domain.errors import BadOptions, RelayError, StoreUnavailable
from relay.domain.message import Envelope, Options
from relay.domain.tracking import tracking_asked_for
from relay.domain.value import value
from relay.ingress.data import DataReader, take_parts, unstuff
from relay.ingress.msys import parse_msys
from relay.ingress.refusal import Refusal, tell
from relay.ingress.replies import TOO_LARGE, Complaint, reply_for
from relay.ingress.surroundings import Surroundings
from relay.mail.headers import fields_of, first
from relay.mail.submitted import Parts, check_lines, check_no_stray_options, repair

_FEW_FIELDS = 500


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA."""

    mail_from: str
    smtputf8: bool
    eight_bit: bool
    dsn_request: DsnRequest | None = None
    """What MAIL asked to be told of all recipients."""
    recipients: list[Mailbox] = field(default_factory=list)
    requests: list[DsnRequest | None] = field(default_factory=list)
    """For each recipient."""


@value
class MailOrigin:
    """Who hands in, and how."""

    principal: Principal
    remote_addr: str
    helo: str
    protocol: str
    """The with-clause of Received (RFC 3848)."""


async def hand_in(
    around: Surroundings,
    origin: MailOrigin,
    transaction: Transaction,
    reader: DataReader,
    internal_error: Callable[[], str],
) -> str:
    """The reply to the end of data; 250 only when the mail is stored.

    internal_error makes the reply for an exception that is nobody's but ours.
    """
    options, store_is_down, slip = Options(), False, ""
    try:
        parts = await _read(reader, around.settings.max_message_bytes)
        fields = fields_of(parts.header)
        if len(fields) > _FEW_FIELDS:
            # Milliseconds were spent on them, and as many are to come.
            await asyncio.sleep(0)
        msys = first(fields, "x-msys-api")
        if msys is not None:
            options = parse_msys(msys.value)
            if around.refuses_tracking:
                _refuse_tracking(options)
            if options.inline_css:
                parts = await _restyled(around, origin, parts, reader)
                fields = fields_of(parts.header)
        envelope = Envelope(
            transaction.mail_from,
            tuple(transaction.recipients),
            transaction.smtputf8,
            transaction.eight_bit or not parts.body.isascii(),
            tuple(transaction.requests) if any(transaction.requests) else (),
        )
        transmission_id = await around.injector.accept(
            Handed(
                origin.principal,
                envelope,
                fields,
                parts.body,
                options,
                "esmtp",
                origin.remote_addr,
                origin.helo,
                origin.protocol,
            )
        )
    except Complaint as complaint:
        reply = complaint.reply
    except RelayError as error:
        reply = reply_for(error) or internal_error()
        store_is_down, slip = isinstance(error, StoreUnavailable), slip_of(error)
    else:
        return f"250 2.0.0 OK {transmission_id}"
    recipients = transaction.recipients
    refusal = Refusal(
        reply, transaction.mail_from, recipients[0].text, len(recipients), options.ip_pool or ""
    )
    tell(around, origin.principal, origin.remote_addr, refusal, slip)
    if not store_is_down:
        await around.rejections.told()
    return reply


def _refuse_tracking(options: Options) -> None:
    """Raises MalformedOptions."""
    asked = {
        "open_tracking": options.open_tracking,
        "click_tracking": options.click_tracking,
        "initial_open": options.initial_open,
    }
    if unavailable := tracking_asked_for(asked):
        raise BadOptions(" ".join(unavailable))


async def _restyled(around: Surroundings, origin: MailOrigin, parts: Parts, reader: DataReader) -> Parts:
    """With the rules of its HTML in the elements.

    Raises MalformedOptions, MessageTooLarge, TooMuchWork, Busy, and Complaint when it grew and finds no room.
    """
    octets = (parts.header, b"\r\n" * parts.is_closed, parts.body)
    limit = around.settings.max_message_bytes
    output = await around.sandbox.run(origin.principal.account, "restyle", limit, octets)
    if output.error is not None:
        raise output.error
    reader.count_grown(len(output.pieces[0]))
    made: tuple[bytes, bytes] | None = await around.sandbox.read_large(output.pieces[0])
    return parts if made is None else parts._replace(header=made[0], body=made[1])


async def _read(reader: DataReader, max_bytes: int) -> Parts:
    """The message, with a body of CRLF lines; its octets are in memory once. Raises Complaint, Refused."""
    content = reader.content()
    if reader.is_dotted:
        content = await _joined(unstuff(content), max_bytes)
    parts = take_parts(content, max_bytes, reader.has_crlf_alone)
    del content
    if not reader.has_crlf_alone:
        room = max_bytes - len(parts.header)
        parts = parts._replace(body=await _joined(repair(parts.body), room))
        check_lines(parts.body)
    check_no_stray_options(parts)
    return parts


async def _joined(slices: Iterator[bytes], max_bytes: int) -> bytes:
    """Others have the loop between them. Raises Complaint."""
    taken, size_bytes = [], 0
    for piece in slices:
        taken.append(piece)
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise Complaint(TOO_LARGE)
        await asyncio.sleep(0)
    return b"".join(taken)
