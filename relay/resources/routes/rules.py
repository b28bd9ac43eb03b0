"""Where mail would leave from: the routing decision, asked without sending."""

from dataclasses import dataclass

from relay.domain.directory import SendingIp, Snapshot
from relay.domain.errors import RelayError
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.resolve import Decision, Moment, Step, resolve_pool


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
