"""Transmissions whose time has come: decided, and made into messages step by step (R30-R33)."""

from collections import OrderedDict
from dataclasses import dataclass, replace

from relay.accept.chunk import reason_of
from relay.accept.plant import Plant
from relay.accept.sign import check_from
from relay.accept.transmit import Transmitter
from relay.domain.authority import REST_GRANT, check_sender
from relay.domain.classify import ADMIN_FAILURE
from relay.domain.directory import Principal, Snapshot
from relay.domain.errors import (
    MalformedOptions,
    NoSender,
    NoSharedPool,
    NotGranted,
    PoolEmpty,
    PoolNotAllowed,
    RelayError,
    SharedNotAllowed,
    TooMuchWork,
    UnconfiguredDomain,
    UnknownObject,
)
from relay.domain.events import GenerationFailure, Subject
from relay.domain.ids import DEFAULT_POOL, Epoch, IpAddress, MessageId, PoolId, TransmissionId
from relay.domain.lifecycle import discard
from relay.domain.message import RcptType, State
from relay.domain.resolve import Decision, Moment, Step, resolve_pool
from relay.domain.retry import RetryPolicy
from relay.domain.transmission import (
    CHUNK,
    CampaignCancellation,
    Content,
    Recipient,
    Rejection,
    Transmission,
    Verdict,
)
from relay.domain.words import Door, reason_for, say
from relay.mail.budget import OverBudget
from relay.mail.compose import BadPart, Blueprint, unreadable
from relay.mail.mime import BadMime
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.queue import Lane, QueueStore
from relay.ports.transmissions import Made, TransmissionStanding, TransmissionStore

SET_ASIDE = "554 5.3.0 [internal] set aside: processes ended or hung at work on it"
CANCELLED = "5.7.1 [internal] Campaign cancelled"
_REFUSALS = (PoolEmpty, PoolNotAllowed, SharedNotAllowed, UnknownObject, NotGranted, UnconfiguredDomain)
"""What each recipient is told by an event."""
_PLANTS = 8
_PLANT_BYTES = 64 << 20
"""Compositions kept at once, and their octets; others are made again when their turn comes."""
_OVERRUNS = 100
"""Recipients in a row that took too much, after which the others are not tried."""
_FEW = 10
"""Recipients of a step where a process ended at work on it: what can be stored is stored soon."""
_SLICE = 500
"""Messages of a cancelled campaign that leave in one transaction."""


@dataclass(slots=True)
class _Work:
    """A transmission under way, with the recipients that were read and not yet used."""

    plant: Plant
    read: list[Recipient]
    position: int
    doubtful_to: int
    """Up to this position a process has ended at work on it."""
    overruns: int = 0
    """Recipients that took too much, since one was made."""

    @property
    def size_bytes(self) -> int:
        blueprint = self.plant.blueprint
        return blueprint.estimated_bytes + len(blueprint.shared or b"")

    def judge(self, made: Made) -> None:
        """After many that took too much the others would do the same: seconds each."""
        cause = made.cause
        is_overrun = isinstance(cause, TooMuchWork | OverBudget) and not made.messages
        self.overruns = self.overruns + made.num_failed if is_overrun else 0
        if cause is not None and self.overruns >= _OVERRUNS:
            rejection = Rejection(self.plant.verdict.decision, reason_of(cause)[1], is_failure=True)
            self.plant = replace(self.plant, verdict=rejection)


class DueTransmissions:
    """One step at a time of what a holder has."""

    def __init__(
        self,
        store: TransmissionStore,
        queue: QueueStore,
        directory: Directory,
        transmitter: Transmitter,
        clock: Clock,
        policy: RetryPolicy,
        holder: str,
    ) -> None:
        self._store, self._queue, self._directory = store, queue, directory
        self._transmitter, self._clock, self._policy, self._holder = transmitter, clock, policy, holder
        self._works: OrderedDict[TransmissionId, _Work] = OrderedDict()

    async def step(self, standing: TransmissionStanding) -> None:
        """Decide it if it is not, then make the next messages. Raises NoSharedPool, Unavailable."""
        self._transmitter.workshop.check_room()
        await self._store.check_room(standing.transmission.account)
        verdict = standing.verdict
        if verdict is None:
            verdict = await self._decided(standing)
            if verdict is None:
                return
        work = await self._work(standing, verdict)
        if work is None:
            return
        next_ones = work.read[:_FEW] if work.position < work.doubtful_to else work.read
        async with self._transmitter.workshop.made(work.plant, next_ones, work.position) as made:
            is_ours = await self._store.advance(made, self._holder, self._clock.now())
            if is_ours:
                work.read = work.read[made.next - made.position :]
                work.position = made.next
                work.judge(made)
                self._transmitter.depart(made.messages)
        if not is_ours or made.next >= standing.transmission.num_rcpts:
            self._works.pop(standing.transmission.id, None)

    async def set_aside(self, standing: TransmissionStanding) -> bool:
        """Nobody works on it until an operator retries or cancels it. False: it is not ours any more."""
        transmission, position, now = standing.transmission, standing.progress.position, self._clock.now()
        # Nothing is read but the address: what ended the processes may be in there.
        address, domain = await self._store.address_at(transmission.id, position)
        verdict = standing.verdict
        pool = PoolId((transmission.options.ip_pool or DEFAULT_POOL).lower())
        about = Subject(
            self._transmitter.workshop.message_id(),
            transmission.id,
            transmission.account,
            transmission.subaccount,
            address,
            domain,
            RcptType.TO.value,
            0,
            IpAddress(""),
            pool if verdict is None else verdict.decision.pool,
        )
        event = GenerationFailure(now, about, ADMIN_FAILURE, int(SET_ASIDE[:3]), SET_ASIDE)
        return await self._store.set_aside(transmission.id, self._holder, event, now)

    async def cancel(self, cancellation: CampaignCancellation) -> bool:
        """Whether all its messages are gone; those in flight are looked at again once they are queued."""
        after, is_done = MessageId(""), True
        while found := await self._store.mail_of(cancellation, after, _SLICE):
            after, now = found[-1].id, self._clock.now()
            waiting = [message for message in found if message.state is not State.IN_FLIGHT]
            # Older than all holders: it takes what waits from its lane, never what is in flight.
            lane = Lane(found[0].pin.ip, Epoch(-1))
            left = await self._queue.settle(lane, [discard(message, CANCELLED, now) for message in waiting])
            is_done = is_done and not left and len(waiting) == len(found)
        if is_done:
            await self._store.close(cancellation)
        return is_done

    async def _work(self, standing: TransmissionStanding, verdict: Verdict) -> _Work | None:
        """What is under way, with recipients to go on with; None when it was cancelled since we looked."""
        transmission, position = standing.transmission, standing.progress.position
        work = self._works.get(transmission.id)
        if work is None or work.position != position:
            content = await self._store.content(transmission.id)
            if content is None:
                return None
            blueprint, error = await self._composed(transmission, content)
            if error is not None:
                verdict = _unmade(verdict.decision, error)
            plant = self._transmitter.plant(
                transmission, content, blueprint, verdict, self._directory.snapshot
            )
            doubtful_to = position + CHUNK * (standing.tries > 0)
            work = _Work(plant, [], position, doubtful_to)
            self._keep(transmission.id, work)
        if not work.read:
            work.read = await self._store.recipients(transmission.id, position)
        if not work.read:
            del self._works[transmission.id]
            return None
        return work

    def _keep(self, id_: TransmissionId, work: _Work) -> None:
        """The last few, none of which holds up others' mail: what a step takes is counted while it lasts."""
        self._works[id_] = work
        while len(self._works) > 1 and (
            len(self._works) > _PLANTS or sum(one.size_bytes for one in self._works.values()) > _PLANT_BYTES
        ):
            self._works.popitem(last=False)

    async def _composed(
        self, transmission: Transmission, content: Content
    ) -> tuple[Blueprint, RelayError | None]:
        """With why there is none, if it was accepted by an earlier version and is none to this one."""
        try:
            blueprint = await self._transmitter.workshop.compose(
                transmission.account,
                content,
                transmission.id,
                transmission.substitutes,
                transmission.options.inline_css,
            )
        except (NoSender, BadPart, BadMime, MalformedOptions, OverBudget, TooMuchWork) as error:
            return unreadable(), error
        return blueprint, None

    # ── deciding at the time ─────────────────────────────────────────────────────────────

    async def _decided(self, standing: TransmissionStanding) -> Verdict | None:
        """The verdict, written; None when somebody cancelled it meanwhile. Raises Unavailable."""
        transmission = standing.transmission
        content = await self._store.content(transmission.id)
        if content is None:
            return None
        blueprint, error = await self._composed(transmission, content)
        await self._directory.refresh()

        async def attempt(
            standing: TransmissionStanding, snapshot: Snapshot, id_: TransmissionId
        ) -> Verdict | None:
            verdict = self._verdict(standing, blueprint, snapshot)
            if error is not None:
                verdict = _unmade(verdict.decision, error)
            return verdict if await self._store.decide(id_, verdict, snapshot.revision) else None

        return await self._transmitter.admission.admit(attempt, standing, transmission.id)

    def _verdict(self, standing: TransmissionStanding, blueprint: Blueprint, snapshot: Snapshot) -> Verdict:
        """R30-R33: the pool as it is now, or what it falls back to."""
        transmission = standing.transmission
        asked, steps = transmission.options.ip_pool, list[Step]()
        # Of whom it is, as the directory is now: the key that scheduled it may be gone.
        principal = Principal(transmission.account, transmission.subaccount)
        try:
            check_sender(snapshot, principal, REST_GRANT)
            resolution = resolve_pool(
                snapshot, transmission.account, transmission.subaccount, asked, Moment.SCHEDULED, steps
            )
            if blueprint.sender.fixed is not None:
                check_from(snapshot, principal, blueprint.sender.fixed[1].domain)
        except NoSharedPool as error:
            # A slip of the configuration: nothing is lost by it, unless nobody mends it for as long
            # as mail would wait.
            now = self._clock.now()
            if now < transmission.start + self._policy.expire_after or not self._clock.is_steady():
                raise
            reason = f"550 5.7.1 {say(error, Door.EVENT)}"
        except _REFUSALS as error:
            reason = reason_for(error)
        else:
            return self._transmitter.take_turns(transmission.account, resolution, transmission.num_rcpts)
        return Rejection(Decision(PoolId((asked or DEFAULT_POOL).lower()), tuple(steps)), reason)


def _unmade(decision: Decision, error: RelayError) -> Rejection:
    if isinstance(error, TooMuchWork | OverBudget | NoSender):
        kind, reason = reason_of(error)
        return Rejection(decision, reason, is_failure=kind is GenerationFailure)
    return Rejection(decision, f"550 5.6.0 [internal] the content cannot be composed: {error!r}")
