"""What an operator does to queued mail, and asks of the routing decision."""

from dataclasses import dataclass

from relay.domain.directory import SendingIp, Snapshot
from relay.domain.errors import RelayError, UnknownObject
from relay.domain.ids import AccountId, IpAddress, SubaccountId
from relay.domain.resolve import Decision, Moment, Step, resolve_pool
from relay.domain.retry import RetryPolicy
from relay.ports import Clock, Directory, QueueStore, Selection, WakeUps


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
    """Where mail of this account would leave from, by the very function that decides (C §1.4)."""
    steps: list[Step] = []
    try:
        resolution = resolve_pool(snapshot, account, subaccount, asked, when, steps)
    except RelayError as refusal:
        return Explanation(tuple(steps), None, (), refusal)
    return Explanation(tuple(steps), resolution.decision, resolution.candidates, None)


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

        Raises UnknownObject when `to` is no sending IP of the directory.
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
