"""What an operator does to queued mail, and asks of the routing decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from relay.domain.directory import SendingIp, Snapshot, in_order
from relay.domain.errors import RelayError, UnknownObject
from relay.domain.ids import AccountId, IpAddress, SubaccountId
from relay.domain.message import State
from relay.domain.resolve import Decision, Moment, Step, resolve_pool
from relay.domain.retry import RetryPolicy
from relay.ports import Clock, Directory, QueueStore, Selection, WakeUps


class Verb(StrEnum):
    """What can be done to unfinished mail."""

    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    CANCEL = "cancel"
    REPIN = "repin"


TOUCHES: Mapping[str, tuple[State, ...]] = {
    Verb.HOLD: (State.QUEUED, State.IN_FLIGHT),
    Verb.RELEASE: (State.HELD,),
    Verb.RETRY: (State.QUEUED,),
    Verb.CANCEL: (State.QUEUED, State.HELD, State.IN_FLIGHT),
    Verb.REPIN: (State.QUEUED, State.HELD),
}
"""What a verb means something to."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A routing decision taken without sending: its steps, and where they led."""

    steps: tuple[Step, ...]
    decision: Decision | None
    candidates: tuple[SendingIp, ...]
    refusal: RelayError | None


def explain(
    snapshot: Snapshot, account: AccountId, subaccount: SubaccountId | None, asked: str | None, when: Moment
) -> Explanation:
    """Where mail of this account would leave from, by the very function that decides."""
    steps: list[Step] = []
    try:
        resolution = resolve_pool(snapshot, account, subaccount, asked, when, steps)
    except RelayError as refusal:
        return Explanation(tuple(steps), None, (), refusal)
    return Explanation(tuple(steps), resolution.decision, resolution.candidates, None)


def repin_targets(snapshot: Snapshot, account: AccountId) -> tuple[SendingIp, ...]:
    """The IPs that waiting mail of the account can be given: its own and shared ones that take pins."""
    return in_order(
        ip for ip in snapshot.ips.values() if ip.takes_pins and (ip.shared or ip.account == account)
    )


class Operator:
    """The verbs on unfinished mail. Each leaves an event with the actor's name on every message it touched.

    Messages in flight are not torn from their conversation: hold and cancel become a wish
    that is obeyed when they come back to the queue; repin leaves them alone.
    """

    def __init__(
        self,
        queue: QueueStore,
        wakeups: WakeUps,
        directory: Directory,
        clock: Clock,
        policy: RetryPolicy,
        actor: str,
    ) -> None:
        self._queue, self._wakeups, self._directory, self._clock = queue, wakeups, directory, clock
        self._policy, self._actor = policy, actor

    async def do(self, verb: Verb, selection: Selection, to: IpAddress | None = None) -> int:
        """The method of that name; to: for repin, which needs it. Returns how many messages were touched."""
        match verb:
            case Verb.HOLD:
                return await self.hold(selection)
            case Verb.RELEASE:
                return await self.release(selection)
            case Verb.RETRY:
                return await self.retry(selection)
            case Verb.CANCEL:
                return await self.cancel(selection)
            case Verb.REPIN:
                if to is None:
                    raise UnknownObject("sending IP", "")
                return await self.repin(selection, to)
            case _:
                assert_never(verb)

    async def hold(self, selection: Selection) -> int:
        """Stop attempts; the expiry clock stops too, but a hold has a deadline of its own."""
        now = self._clock.now()
        return await self._queue.hold(selection, now, now + self._policy.hold_expire_after, self._actor)

    async def release(self, selection: Selection) -> int:
        """End a hold: due at once, with the time held added to the expiry."""
        return self._told(await self._queue.release(selection, self._clock.now(), self._actor))

    async def retry(self, selection: Selection) -> int:
        """Make queued mail due now."""
        return self._told(await self._queue.retry(selection, self._clock.now(), self._actor))

    async def cancel(self, selection: Selection) -> int:
        """End messages without delivery; each becomes a bounce of class 25."""
        return self._told(await self._queue.cancel(selection, self._clock.now(), self._actor))

    async def repin(self, selection: Selection, to: IpAddress) -> int:
        """Give queued and held mail another sending IP: the one audited way to change a pin.

        Raises UnknownObject when `to` is no sending IP of the directory, Conflict when it is
        neither shared nor of the account whose mail it would carry.
        """
        ip = (await self._directory.refresh()).ips.get(to)
        if ip is None or ip.is_retired:
            raise UnknownObject("sending IP", to)
        return self._told(await self._queue.repin(selection, to, self._clock.now(), self._actor))

    def _told(self, touched: int) -> int:
        """What is due now need not wait until its lane looks by itself."""
        if touched:
            self._wakeups.tell()
        return touched
