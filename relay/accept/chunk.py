"""Recipients of a transmission turned into pinned messages, some hundreds at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from relay.accept.copies import make_message
from relay.accept.plant import Plant, to_of, values_of
from relay.accept.sign import Signatures, Signing, check_from
from relay.domain.classify import ADMIN_FAILURE
from relay.domain.errors import (
    MessageTooLarge,
    NoSender,
    RelayError,
    TooMuchWork,
    UnconfiguredDomain,
    UnknownDkimKey,
    Unsendable,
    UnverifiedDkimKey,
)
from relay.domain.events import Event, GenerationFailure, GenerationRejection, Injection, Subject
from relay.domain.ids import BodyId, IpAddress, MessageId, mint_message_id
from relay.domain.message import Body, Message, Particulars, RcptType
from relay.domain.suppression import Source, bounce_suppressed, key_of
from relay.domain.transmission import Recipient, Rejection, Routing
from relay.domain.words import reason_for
from relay.mail.budget import BadTemplate, Budget, OverBudget
from relay.mail.compose import Filled
from relay.mail.dkim import body_hash
from relay.mail.gate import Section, check_body, check_composed, read_section, split_at_empty_line
from relay.mail.headers import MAX_TOLD
from relay.mail.trace import date_field, message_id_field, received_field
from relay.ports.transmissions import Made

MAX_CHUNK_BYTES = 16 << 20
"""Octets of bodies in one transaction: fewer recipients when theirs are large."""


class Limit(NamedTuple):
    """What making messages may take at a place where others wait for it."""

    steps: int
    """Of rendering, for all of them."""
    steps_each: int
    octets_each: int
    is_cut: bool
    """Whether those that are left may wait for the next turn."""


_FAILED = "550 5.6.0 [internal] substitution failed: "
_FAILURES = (
    BadTemplate,
    MessageTooLarge,
    NoSender,
    TooMuchWork,
    UnconfiguredDomain,
    UnknownDkimKey,
    Unsendable,
    UnverifiedDkimKey,
)
"""Why there is no message for one recipient, when there may be for others."""


def make_messages(
    plant: Plant,
    recipients: Sequence[Recipient],
    position: int,
    found: Mapping[str, Source],
    now: datetime,
    entropy: bytes,
    limit: Limit,
    fills: Iterator[Filled | RelayError] | None = None,
) -> Made:
    """What these recipients become, the first of which has the index `position`. At least one is used.

    found: those of them on the suppression list, by `key_of`. entropy: four octets. fills: what each
    gets, or why nothing, where it is not to be made here. Raises OverBudget when the limit is too narrow.
    """
    maker = _Maker(plant, found, now, entropy, limit, fills)
    used = 0
    for recipient in recipients:
        try:
            maker.add(recipient, position + used, used)
        except OverBudget:
            if limit.is_cut and used:
                break
            raise
        used += 1
        if maker.size_bytes > MAX_CHUNK_BYTES:
            break
    return Made(
        plant.transmission.id,
        position,
        position + used,
        plant.submission() if position == 0 else None,
        maker.all_bodies(),
        maker.messages,
        maker.events,
        maker.num_failed,
        maker.cause,
    )


class _Maker:
    """Collects what becomes of recipients, one after the other."""

    def __init__(
        self,
        plant: Plant,
        found: Mapping[str, Source],
        now: datetime,
        entropy: bytes,
        limit: Limit,
        fills: Iterator[Filled | RelayError] | None,
    ) -> None:
        self._plant, self._found, self._now, self._entropy = plant, found, now, entropy
        self._limit, self._fills = limit, fills
        transmission, self._shared = plant.transmission, plant.blueprint.shared
        self._received = received_field(
            transmission.remote_addr, transmission.remote_addr, plant.hostname, "REST", transmission.id, now
        ) + date_field(now) * ("date" not in plant.blueprint.names)
        self._body_id = BodyId(f"{transmission.id}-{entropy.hex()}")
        self._expires = now + plant.policy.expire_after
        self._shared_facts: _Facts | None = None
        self._bodies: list[Body] = []
        self.messages: list[Message] = []
        self.events: list[Event] = []
        self.num_failed = 0
        self.size_bytes = 0
        self.cause: RelayError | None = None
        self._steps = 0

    def all_bodies(self) -> list[Body]:
        if self._shared is not None and self.messages:
            return [Body(self._body_id, self._shared)]
        return self._bodies

    def add(self, recipient: Recipient, index: int, number: int) -> None:
        plant = self._plant
        id_ = mint_message_id(self._now, self._entropy, number)
        verdict = plant.verdict
        if isinstance(verdict, Rejection):
            kind = GenerationFailure if verdict.is_failure else GenerationRejection
            self._refuse(kind, id_, recipient, verdict.reason)
            return
        filled: Filled | None = None
        try:
            filled = self._fill(recipient)
            self._check(filled)
            message = self._message(recipient, id_, filled, verdict, index)
        except OverBudget as error:
            if self._fills is None:
                raise
            self._fail(id_, recipient, filled, error)
        except _FAILURES as error:
            self._fail(id_, recipient, filled, error)
        else:
            self._keep(message, recipient, filled)

    def _fill(self, recipient: Recipient) -> Filled:
        """Raises BadTemplate, NoSender, TooMuchWork."""
        filled = self._filled_here(recipient) if self._fills is None else next(self._fills)
        if isinstance(filled, RelayError):
            raise filled
        return filled

    def _check(self, filled: Filled) -> None:
        """Raises UnconfiguredDomain, UnknownDkimKey, UnverifiedDkimKey, MessageTooLarge."""
        plant = self._plant
        if plant.blueprint.sender.fixed is None:
            key = plant.transmission.options.dkim_key
            check_from(plant.snapshot, plant.principal, filled.sender.domain, key)
        body = self._shared if filled.body is None else filled.body
        assert body is not None
        if len(filled.own_fields) + len(body) > plant.max_message_bytes:
            raise MessageTooLarge(plant.max_message_bytes)

    def _filled_here(self, recipient: Recipient) -> Filled:
        """Raises BadTemplate, NoSender."""
        plant, limit = self._plant, self._limit
        given = min(limit.steps_each, limit.steps - self._steps)
        budget = Budget(given, min(limit.octets_each, plant.max_message_bytes))
        try:
            return plant.blueprint.fill(values_of(plant, recipient), to_of(plant, recipient), budget)
        finally:
            self._steps += given - budget.steps

    def _fail(self, id_: MessageId, recipient: Recipient, filled: Filled | None, error: RelayError) -> None:
        self.cause = error
        kind, reason = reason_of(error)
        self._refuse(kind, id_, recipient, reason, filled)

    def _message(
        self, recipient: Recipient, id_: MessageId, filled: Filled, verdict: Routing, index: int
    ) -> Message:
        """Raises Unsendable, NoSender."""
        plant, transmission = self._plant, self._plant.transmission
        own = self._received
        if "message-id" not in plant.blueprint.names:
            own += message_id_field(id_, plant.hostname)
        own += filled.own_fields
        if filled.body is None:
            assert self._shared is not None
            self._shared_facts = self._shared_facts or self._facts_of(self._shared)
            facts, body_id = self._shared_facts, self._body_id
        else:
            facts, body_id = self._facts_of(filled.body), BodyId(id_)
        check_composed(read_section(own), facts.section)
        prefix = self._signed(plant.signing_of(filled.sender), recipient.mailbox.domain, own, facts)
        asked = recipient.return_path or transmission.return_path
        mail_from = plant.mail_from(asked, filled.sender.text)
        is_extended = not (mail_from.isascii() and prefix.isascii() and facts.header_is_ascii)
        return make_message(
            transmission,
            id_,
            recipient.mailbox,
            body_id,
            facts.size_bytes,
            prefix,
            mail_from,
            verdict.pin(index),
            self._now,
            self._expires,
            is_extended,
            facts.is_eight_bit or not facts.header_is_ascii,
            particulars=self._particulars(recipient, filled),
        )

    def _keep(self, message: Message, recipient: Recipient, filled: Filled) -> None:
        """Suppressed recipients are told of as if they had been queued and bounced."""
        self.events.append(Injection(self._now, Subject.of(message)))
        source = self._found.get(key_of(recipient.mailbox)) if self._found else None
        if source is not None:
            self.events.append(bounce_suppressed(message, source, self._now))
            return
        self.messages.append(message)
        self.size_bytes += len(message.prefix)
        if filled.body is not None:
            self._bodies.append(Body(message.body_id, filled.body))
            self.size_bytes += len(filled.body)

    def _refuse(
        self,
        kind: type[GenerationFailure] | type[GenerationRejection],
        id_: MessageId,
        recipient: Recipient,
        reason: str,
        filled: Filled | None = None,
    ) -> None:
        transmission = self._plant.transmission
        about = Subject(
            id_,
            transmission.id,
            transmission.account,
            transmission.subaccount,
            recipient.mailbox.text,
            recipient.mailbox.domain,
            RcptType.TO.value,
            0,
            IpAddress(""),
            self._plant.verdict.decision.pool,
            self._particulars(recipient, filled),
        )
        self.events.append(kind(self._now, about, ADMIN_FAILURE, int(reason[:3]), reason))
        self.num_failed += 1

    def _particulars(self, recipient: Recipient, filled: Filled | None) -> Particulars | None:
        """filled: None when it could not be; then the subject stands as it was written."""
        plant, blueprint = self._plant, self._plant.blueprint
        subject = friendly_from = domain = return_path = ""
        if not blueprint.subject.is_constant:
            subject = (blueprint.subject.source if filled is None else filled.subject)[:MAX_TOLD]
        if filled is not None and filled.friendly_from:
            friendly_from, domain = filled.friendly_from, filled.sender.domain
        if recipient.return_path or friendly_from:
            asked = recipient.return_path or plant.transmission.return_path
            return_path = plant.return_path(asked, "" if filled is None else filled.sender.text)
        if not (subject or friendly_from or return_path or recipient.metadata or recipient.tags):
            return None
        return Particulars(subject, recipient.metadata, recipient.tags, return_path, friendly_from, domain)

    # ── bodies and signatures ────────────────────────────────────────────────────────────

    def _facts_of(self, body: bytes) -> "_Facts":
        """Raises Unsendable."""
        header, content = split_at_empty_line(body)
        check_body(content)
        is_signed = self._plant.signing is not None or self._plant.blueprint.sender.fixed is None
        hashed = body_hash(content) if is_signed else ""
        is_eight_bit, is_ascii = not content.isascii(), header.isascii()
        return _Facts(header, read_section(header), hashed, len(body), is_eight_bit, is_ascii)

    def _signed(self, signing: Signing | None, domain: str, own: bytes, facts: "_Facts") -> bytes:
        if signing is None:
            return own
        signatures, header = Signatures(signing, facts.hashed), own + facts.header
        common = signatures.common(header, self._now)
        return signatures.own(domain, header, self._now) + common + own


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is to be known of a body."""

    header: bytes
    """The fields that it begins with."""
    section: Section
    hashed: str
    size_bytes: int
    is_eight_bit: bool
    header_is_ascii: bool


_REJECTED = (UnconfiguredDomain, UnknownDkimKey, UnverifiedDkimKey, NoSender, Unsendable)
"""What is wrong with the mail; all else is a failure to make it."""


def reason_of(error: RelayError) -> tuple[type[GenerationFailure] | type[GenerationRejection], str]:
    """What a recipient's event says whose message cannot be made."""
    kind = GenerationRejection if isinstance(error, _REJECTED) else GenerationFailure
    is_worded = isinstance(error, (*_REJECTED, MessageTooLarge, TooMuchWork))
    return kind, reason_for(error) if is_worded else f"{_FAILED}{error}"
