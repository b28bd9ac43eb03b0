"""Accepting transmissions: decided now or at their time, made into messages now or step by step."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.accept.copies import MAX_HOPS
from relay.accept.door import Admission
from relay.accept.draft import CannotGenerate, Draft, EstimateTooLarge, parts_of
from relay.accept.ids import Ids
from relay.accept.plant import Plant
from relay.accept.sign import check_from, signing_of
from relay.accept.turns import Turns
from relay.accept.workshop import Workshop
from relay.domain.authority import REST_GRANT, check_sender
from relay.domain.directory import Principal, SendingIp, Snapshot
from relay.domain.errors import (
    MailLoop,
    MessageTooLarge,
    NoSender,
    NoSharedPool,
    PoolEmpty,
    QueueShareFull,
    Refused,
    UnconfiguredDomain,
    UnknownDkimKey,
    UnknownObject,
    Unsendable,
    UnverifiedDkimKey,
)
from relay.domain.events import GenerationFailure
from relay.domain.ids import AccountId, IpAddress, SubaccountId, TransmissionId
from relay.domain.message import Message
from relay.domain.resolve import Decision, Moment, Resolution, Step, resolve_pool
from relay.domain.retry import RetryPolicy
from relay.domain.transmission import (
    KEPT_AFTER_END,
    CampaignCancellation,
    Content,
    Recipient,
    Rfc822Content,
    Routing,
    Transmission,
    Verdict,
    check_cancellable,
)
from relay.mail.budget import BadTemplate, OverBudget
from relay.mail.compose import Blueprint
from relay.mail.headers import fields_of, split_message
from relay.mail.trace import hop_count
from relay.mail.weight import estimated_bytes
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.idempotency import Answered
from relay.ports.outbound import Departures
from relay.ports.queue import EnqueueBatch, QueueStore
from relay.ports.transmissions import Made, TransmissionStanding, TransmissionStore

AT_ONCE = 50
"""Up to so many recipients an immediate transmission is made into messages before it is answered."""


Keep = Callable[[TransmissionId], Answered]
Sees = Callable[[SubaccountId | None], bool]
"""Whether what belongs to that subaccount, or to the account itself, is in a caller's scope."""


@dataclass(slots=True)
class _Asked:
    """One request on its way in."""

    draft: Draft
    blueprint: Blueprint
    keep: Keep | None
    is_small: bool
    """Its messages are stored at once, and no transmission."""
    added_to: TransmissionId | None = None
    """The id under which the recipients stand."""


class Transmitter:
    """The door for REST; and the making of messages that the scheduler asks for."""

    def __init__(
        self,
        store: TransmissionStore,
        queue: QueueStore,
        directory: Directory,
        departures: Departures,
        clock: Clock,
        ids: Ids,
        policy: RetryPolicy,
        hostname: str,
        turns: Turns,
        news: asyncio.Event,
        workshop: Workshop,
    ) -> None:
        """news: tells the scheduler that there is something that it does not know of."""
        self._store, self._queue, self.admission = store, queue, Admission(directory, ids)
        self._departures, self._clock = departures, clock
        self._ids, self._policy, self._hostname = ids, policy, hostname
        self._turns, self._news = turns, news
        self.workshop = workshop

    # ── accepting ────────────────────────────────────────────────────────────────────────

    async def accept(self, draft: Draft, keep: Keep | None = None) -> TransmissionId:
        """Store it, decided by value unless it is for later; on return it survives power loss.

        keep: makes the answer that is kept along with it for whoever repeats the request.
        Raises Refused and Unavailable, BadPart, BadMime, EstimateTooLarge, CannotGenerate, OverBudget,
        StaleRequest.
        """
        _check_hops(draft.content)
        if estimated_bytes(draft.content) > self.workshop.max_message_bytes:
            raise EstimateTooLarge(self.workshop.max_message_bytes)
        id_ = self._ids.transmission_id()
        blueprint = await self.workshop.compose(
            draft.principal.account, draft.content, id_, draft.substitutes, draft.options.inline_css
        )
        if len(blueprint.shared or b"") > self.workshop.max_message_bytes:
            raise EstimateTooLarge(self.workshop.max_message_bytes)
        is_small = draft.start is None and len(draft.recipients) <= AT_ONCE
        return await self.admission.admit(self._attempt, _Asked(draft, blueprint, keep, is_small), id_)

    def plant(
        self,
        transmission: Transmission,
        content: Content,
        blueprint: Blueprint,
        verdict: Verdict,
        snapshot: Snapshot,
    ) -> Plant:
        """Raises UnknownObject when the account is gone."""
        account = snapshot.accounts.get(transmission.account)
        if account is None:
            raise UnknownObject("account", str(transmission.account))
        signing, sender = None, blueprint.sender.fixed
        if isinstance(verdict, Routing) and sender is not None:
            principal = Principal(transmission.account, transmission.subaccount)
            signing = signing_of(snapshot, principal, sender[1].domain, verdict.decision.pool)
        return Plant(
            transmission,
            content,
            blueprint,
            verdict,
            account,
            snapshot,
            signing,
            self._policy,
            self._hostname,
            self.workshop.max_message_bytes,
        )

    def take_turns(self, account: AccountId, resolution: Resolution, count: int) -> Routing:
        """The pool's next `count` turns, one a recipient (A33)."""
        decision = resolution.decision
        first = self._turns.take(account, decision.pool, count)
        step = Step("A33", f"turns from {first} on, one a recipient")
        return Routing(
            Decision(decision.pool, (*decision.steps, step)),
            tuple(map(_value_of, resolution.candidates)),
            first,
        )

    def depart(self, messages: Sequence[Message]) -> None:
        """Tell their lanes that these messages wait."""
        waiting: dict[tuple[IpAddress, str], datetime] = {}
        for message in messages:
            waiting.setdefault((message.pin.ip, message.domain), message.due)
        for (ip, domain), due in waiting.items():
            self._departures.queued(ip, domain, due)

    def _decide(self, draft: Draft, blueprint: Blueprint, snapshot: Snapshot) -> Resolution | None:
        """Where it leaves from; None: that is for later. Raises what refuses it."""
        principal = draft.principal
        check_sender(snapshot, principal, REST_GRANT)
        if blueprint.sender.fixed is not None:
            _, mailbox = blueprint.sender.fixed
            check_from(snapshot, principal, mailbox.domain, draft.options.dkim_key)
        try:
            resolution = resolve_pool(
                snapshot, principal.account, principal.subaccount, draft.options.ip_pool, Moment.IMMEDIATE
            )
        except (PoolEmpty, NoSharedPool):
            # Whether there is an IP is judged at the time (R30).
            if draft.start is None:
                raise
            return None
        return None if draft.start is not None else resolution

    async def _attempt(self, asked: _Asked, snapshot: Snapshot, id_: TransmissionId) -> TransmissionId:
        """At once what is small; else the transmission, of which no recipient is left when it is refused."""
        draft = asked.draft
        try:
            resolution = self._decide(draft, asked.blueprint, snapshot)
            answered = None if asked.keep is None else asked.keep(id_)
            if asked.is_small and resolution is not None:
                if await self._make_now(draft, id_, asked.blueprint, resolution, snapshot, answered):
                    return id_
                asked.is_small = False
            if asked.added_to != id_:
                asked.added_to = id_
                await self._add_recipients(id_, draft.principal.account, draft.recipients)
            verdict = None
            if resolution is not None:
                verdict = self.take_turns(draft.principal.account, resolution, len(draft.recipients))
            try:
                await self._store.submit(
                    self._transmission(draft, id_), draft.content, verdict, snapshot.revision, answered
                )
            finally:
                # Whether we are still there to hear of it or not.
                self._news.set()
        except (QueueShareFull, Refused):
            if asked.added_to == id_:
                asked.added_to = None
                await self._store.drop_recipients(id_)
            raise
        return id_

    async def _make_now(
        self,
        draft: Draft,
        id_: TransmissionId,
        blueprint: Blueprint,
        resolution: Resolution,
        snapshot: Snapshot,
        answered: Answered | None,
    ) -> bool:
        """All messages in one transaction and nothing else; False when they are too much for one."""
        routing = self.take_turns(draft.principal.account, resolution, len(draft.recipients))
        transmission = self._transmission(draft, id_)
        plant = self.plant(transmission, draft.content, blueprint, routing, snapshot)
        async with self.workshop.made(plant, draft.recipients[:], 0) as made:
            if made.next < len(draft.recipients):
                return False
            if made.num_failed == len(draft.recipients):
                _refuse_for_all(made)
            revision = snapshot.revision
            batch = EnqueueBatch(
                plant.submission(), made.bodies, made.messages, made.events, revision, answered=answered
            )

            def follow(in_flight: bool | None) -> None:
                if in_flight is not None:
                    self.depart(made.messages)

            await self._queue.enqueue(batch, follow)
        return True

    async def _add_recipients(
        self, id_: TransmissionId, account: AccountId, recipients: Sequence[Recipient]
    ) -> None:
        """In transactions of their own, so that others' mail is not kept waiting."""
        for first, part in parts_of(recipients):
            await self._store.add_recipients(id_, account, first, part)

    def _transmission(self, draft: Draft, id_: TransmissionId) -> Transmission:
        now = self._clock.now()
        return Transmission(
            id=id_,
            account=draft.principal.account,
            subaccount=draft.principal.subaccount,
            accepted=now,
            start=draft.start or now,
            is_scheduled=draft.start is not None,
            remote_addr=draft.remote_addr,
            options=draft.options,
            num_rcpts=len(draft.recipients),
            description=draft.description,
            return_path=draft.return_path,
            substitution_data=draft.substitution_data,
            substitutes=draft.substitutes,
            asked_options=draft.asked_options,
        )

    # ── seeing and cancelling ────────────────────────────────────────────────────────────

    async def listed(self, account: AccountId) -> list[TransmissionStanding]:
        """Scheduled ones with several recipients, unless they ended more than a day ago."""
        found = await self._store.listed(account, self._clock.now() - KEPT_AFTER_END)
        return [one for one in found if one.transmission.num_rcpts > 1]

    async def find(self, account: AccountId, id_: TransmissionId, sees: Sees) -> TransmissionStanding:
        """Of scheduled ones only; sees: whose. Raises UnknownObject."""
        found = await self._store.find(id_)
        if found is None or not found.transmission.is_scheduled:
            raise UnknownObject("transmission", id_)
        if found.transmission.account != account or not sees(found.transmission.subaccount):
            raise UnknownObject("transmission", id_)
        return found

    async def content(self, id_: TransmissionId) -> Content | None:
        return await self._store.content(id_)

    async def cancel(self, account: AccountId, id_: TransmissionId, sees: Sees) -> None:
        """Before its time, and not too shortly before. Raises UnknownObject, NotCancellable."""
        while True:
            found = await self.find(account, id_, sees)
            check_cancellable(found.progress, found.transmission.start, self._clock.now())
            if await self._store.cancel(id_, self._clock.now()):
                return

    async def cancel_campaign(self, principal: Principal, campaign_id: str) -> None:
        """What is to come is cancelled now, what is queued soon."""
        await self._store.cancel_campaign(
            CampaignCancellation(0, principal.account, principal.subaccount, campaign_id, self._clock.now())
        )
        self._news.set()


def _check_hops(content: Content) -> None:
    """Raises MailLoop."""
    if isinstance(content, Rfc822Content):
        header, _ = split_message(content.message)
        if hop_count(fields_of(header)) > MAX_HOPS:
            raise MailLoop


_OF_ALL = (NoSender, UnconfiguredDomain, UnknownDkimKey, Unsendable, UnverifiedDkimKey)


def _refuse_for_all(made: Made) -> None:
    """The client waits for the answer. Of several recipients: what has nothing to do with substitution.

    Raises what failed; CannotGenerate for a substitution, EstimateTooLarge for a message that is too large.
    """
    if made.num_failed > 1 and not isinstance(made.cause, _OF_ALL):
        return
    if isinstance(made.cause, BadTemplate) and not isinstance(made.cause, OverBudget):
        (event,) = made.events
        assert isinstance(event, GenerationFailure)
        raise CannotGenerate(event.raw_reason)
    if isinstance(made.cause, MessageTooLarge):
        raise EstimateTooLarge(made.cause.limit_bytes)
    if made.cause is not None:
        raise made.cause


def _value_of(ip: SendingIp) -> SendingIp:
    """What a pin needs of it, and nothing that may change later."""
    return SendingIp(ip.address, ip.bind, ip.hostname, weight=ip.weight)
