"""From what was handed in to pinned messages: one copy a recipient, all from the same IP (A30)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import repeat

from relay.accept.sign import Signatures, check_from, sending_domain_of
from relay.accept.suppress import list_check
from relay.domain.address import Mailbox
from relay.domain.directory import Account, Principal, SendingIp, Snapshot
from relay.domain.dsn import DsnRequest
from relay.domain.errors import MailLoop, NoSender
from relay.domain.events import Injection, Subject
from relay.domain.ids import BodyId, Epoch, MessageId, SubaccountId, TransmissionId, mint_message_id
from relay.domain.message import (
    Body,
    Envelope,
    Message,
    Options,
    Particulars,
    Pin,
    RcptType,
    State,
    Submission,
)
from relay.domain.resolve import Decision
from relay.domain.retry import RetryPolicy
from relay.domain.transmission import Transmission
from relay.domain.value import value
from relay.mail.copies import bcc_field, cc_field
from relay.mail.gate import check_header
from relay.mail.headers import Field, first, own_mailbox, tell_header
from relay.mail.submitted import NOT_PASSED_ON
from relay.mail.trace import date_field, hop_count, message_id_field, received_field
from relay.ports.queue import EnqueueBatch

MAX_HOPS = 100
"""Received fields before a message counts as looping (RFC 5321 §6.3)."""


@value
class Handed:
    """What came in by one transaction, parsed and authenticated, before anything is decided."""

    principal: Principal
    envelope: Envelope
    fields: tuple[Field, ...]
    """All header fields as received."""
    body: bytes
    """What follows the empty line; CRLF lines only."""
    options: Options
    recv_method: str
    """`esmtp` or `rest`."""
    remote_addr: str
    helo: str
    protocol: str
    """The with-clause of Received (RFC 3848)."""


def check_handed(handed: Handed, snapshot: Snapshot) -> None:
    """Refuse what no pool could help: a loop, or a From domain that is not the principal's.

    Where the domain of From is judged, From must be one mailbox to all who read it: it leaves as it came.
    Raises MailLoop, NoSender, UnconfiguredDomain, UnknownDkimKey, UnverifiedDkimKey.
    """
    if hop_count(handed.fields) > MAX_HOPS:
        raise MailLoop
    is_judged = snapshot.accounts[handed.principal.account].require_sending_domain
    if is_judged or handed.options.dkim_key:
        domain = sending_domain_of(handed.fields)
        if is_judged and domain and own_mailbox(handed.fields) is None:
            raise NoSender
        check_from(snapshot, handed.principal, domain, handed.options.dkim_key)


def generate(
    handed: Handed,
    snapshot: Snapshot,
    decision: Decision,
    ip: SendingIp,
    transmission_id: TransmissionId,
    epoch: Epoch | None,
    now: datetime,
    policy: RetryPolicy,
    entropy: bytes,
    hostname: str,
    signatures: Signatures | None = None,
) -> EnqueueBatch:
    """The messages of one transaction, each pinned to ip, and the body that they share, to be stored as one.

    entropy: four octets for the ids of the messages.
    epoch: of the lane, when a place on the path is reserved; the messages then start in flight.
    signatures: for DKIM; None: nobody signs. Raises Unsendable.
    """
    options, envelope, account = handed.options, handed.envelope, snapshot.accounts[handed.principal.account]
    pin = Pin(decision.pool, ip.address, ip.hostname, ip.bind)
    received = received_field(
        handed.helo, handed.remote_addr, hostname, handed.protocol, transmission_id, now
    )
    header = b"".join(_header(handed, received, transmission_id, now, hostname))
    check_header(header)
    signature = b"" if signatures is None else signatures.common(header, now)
    content = b"".join((signature, header, b"\r\n", handed.body))
    body = Body(BodyId(transmission_id), content)
    mail_from = reverse_path(account, handed.principal.subaccount, envelope.mail_from, transmission_id)
    expires = now + policy.expire_after
    # Asked for by what nothing else can say: the client may have asked for a domain's sake.
    is_ours = any(not copy.mailbox.is_ascii for copy in options.cc)
    is_extended = not mail_from.isascii() or is_ours or (envelope.smtputf8 and not header.isascii())
    is_eight_bit = envelope.eight_bit or not header.isascii()
    submission = Submission(
        id=transmission_id,
        account=account.id,
        subaccount=handed.principal.subaccount,
        accepted=now,
        recv_method=handed.recv_method,
        remote_addr=handed.remote_addr,
        mail_from=envelope.mail_from,
        subject=_text(handed.fields, "subject"),
        friendly_from=_text(handed.fields, "from"),
        sending_domain=sending_domain_of(handed.fields),
        options=options,
        decision=decision,
    )
    messages = []
    for index, (rcpt_type, mailbox, dsn_request) in enumerate(_recipients(envelope, options)):
        prefix = bcc_field(mailbox) if rcpt_type is RcptType.BCC else b""
        if signatures is not None:
            prefix = signatures.own(mailbox.domain, header, now) + prefix
        messages.append(
            make_message(
                submission,
                mint_message_id(now, entropy, index),
                mailbox,
                body.id,
                len(content),
                prefix,
                mail_from,
                pin,
                now,
                expires,
                is_extended,
                is_eight_bit,
                rcpt_type,
                epoch,
                dsn_request,
            )
        )
    return EnqueueBatch(
        submission,
        [body],
        messages,
        [Injection(now, Subject.of(message)) for message in messages],
        snapshot.revision,
        {} if epoch is None else {ip.address: epoch},
        list_check(account, options),
    )


def make_message(
    of: Submission | Transmission,
    id_: MessageId,
    mailbox: Mailbox,
    body_id: BodyId,
    body_bytes: int,
    prefix: bytes,
    mail_from: str,
    pin: Pin,
    now: datetime,
    expires: datetime,
    is_extended: bool,
    is_eight_bit: bool,
    rcpt_type: RcptType = RcptType.TO,
    epoch: Epoch | None = None,
    dsn_request: DsnRequest | None = None,
    particulars: Particulars | None = None,
) -> Message:
    """One recipient's copy of what was accepted, due at once. epoch: of the lane that takes it at once.

    is_extended, is_eight_bit: what body and reverse-path want of the next hop, whoever the recipient is.
    """
    return Message(
        id=id_,
        transmission_id=of.id,
        account=of.account,
        subaccount=of.subaccount,
        body_id=body_id,
        prefix=prefix,
        mail_from=mail_from,
        rcpt_to=mailbox.text,
        domain=mailbox.domain,
        rcpt_type=rcpt_type,
        size_bytes=len(prefix) + body_bytes,
        smtputf8=is_extended or not mailbox.text.isascii(),
        eight_bit=is_eight_bit or not prefix.isascii(),
        pin=pin,
        accepted=now,
        expires=expires,
        due=now,
        state=State.QUEUED if epoch is None else State.IN_FLIGHT,
        attempts=0 if epoch is None else 1,
        epoch=epoch or Epoch(0),
        particulars=particulars,
        dsn_request=dsn_request,
    )


def _header(
    handed: Handed, received: bytes, transmission_id: TransmissionId, now: datetime, hostname: str
) -> Iterator[bytes]:
    """The header section of every copy, field by field."""
    options = handed.options
    yield received
    if first(handed.fields, "date") is None:
        yield date_field(now)
    if first(handed.fields, "message-id") is None:
        yield message_id_field(transmission_id, hostname)
    for field in handed.fields:
        if field.name not in NOT_PASSED_ON and not (options.cc and field.name == "cc"):
            yield field.raw
    if options.cc:
        yield cc_field(options.cc)


def _recipients(
    envelope: Envelope, options: Options
) -> Iterator[tuple[RcptType, Mailbox, DsnRequest | None]]:
    """One copy a recipient, however often listed: the first of To, cc, bcc, archive wins."""
    of_copies = repeat(_of_copies(envelope.requests) if envelope.requests else None)
    listed = [(RcptType.TO, zip(envelope.recipients, envelope.requests or of_copies, strict=False))]
    for kind, copies in (
        (RcptType.CC, options.cc),
        (RcptType.BCC, options.bcc),
        (RcptType.ARCHIVE, options.archive),
    ):
        if copies:
            listed.append((kind, zip([copy.mailbox for copy in copies], of_copies, strict=False)))
    seen: set[tuple[str, str]] = set()
    for rcpt_type, mailboxes in listed:
        for mailbox, dsn_request in mailboxes:
            key = (mailbox.text.rpartition("@")[0], mailbox.domain)
            if key not in seen:
                seen.add(key)
                yield rcpt_type, mailbox, dsn_request


def _of_copies(requests: Sequence[DsnRequest | None]) -> DsnRequest | None:
    """What is to be told of copies that no RCPT named: what was asked for all, and what all agree on."""
    told = [asked or DsnRequest() for asked in requests]
    notify = told[0].notify if len({asked.notify for asked in told}) == 1 else ""
    of_mail = replace(told[0], notify=notify, orcpt="")
    return None if of_mail == DsnRequest() else of_mail


def reverse_path(
    account: Account, subaccount: SubaccountId | None, mail_from: str, transmission_id: TransmissionId
) -> str:
    """MAIL FROM as the next hop sees it: kept, or of the account's bounce domain."""
    if not account.bounce_domain or not mail_from:
        return mail_from
    return path_at(account.bounce_domain, account, subaccount, transmission_id)


def path_at(
    domain: str, account: Account, subaccount: SubaccountId | None, transmission_id: TransmissionId
) -> str:
    """The reverse-path that brings bounces to that domain."""
    tenant = f"{account.id}-{subaccount}" if subaccount is not None else str(account.id)
    return f"msprvs1={transmission_id}=bounces-{tenant}@{domain}"


def _text(fields: Sequence[Field], name: str) -> str:
    field = first(fields, name)
    return tell_header(field.value) if field else ""
