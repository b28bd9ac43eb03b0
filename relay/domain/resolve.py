"""From what a message asked to the sending IP it leaves from, with the reasons (docs/rules.md#routing)."""

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from math import gcd

from relay.domain.directory import Account, SendingIp, Snapshot, Status
from relay.domain.errors import (
    NoSharedPool,
    PoolEmpty,
    PoolNotAllowed,
    RelayError,
    SharedNotAllowed,
    UnknownObject,
    UnknownPool,
)
from relay.domain.ids import DEFAULT_POOL, SHARED_POOL, AccountId, PoolId, SubaccountId
from relay.domain.value import value


class Moment(Enum):
    """When a decision is taken, which settles what an unusable pool means."""

    IMMEDIATE = "immediate"
    """An unknown or empty pool is a refusal (A8)."""
    SCHEDULED = "scheduled"
    """It falls back: default pool, shared pool, refusal (R30-R33)."""


@value
class Step:
    """One step of a decision: the rule and what it said."""

    rule: str
    finding: str


@value
class Decision:
    """The pool that sends, and why. Stored with the message, shown by `relay explain`."""

    pool: PoolId
    steps: tuple[Step, ...]


@value
class Resolution:
    """A decision, and the IPs it left to choose from (never empty)."""

    decision: Decision
    candidates: tuple[SendingIp, ...]


def resolve_pool(
    snapshot: Snapshot,
    account_id: AccountId,
    subaccount_id: SubaccountId | None,
    asked: str | None,
    when: Moment,
    steps: list[Step] | None = None,
) -> Resolution:
    """Where the mail of an account or subaccount leaves from (R18-R22, R24-R26, R30-R33).

    asked is `options.ip_pool` verbatim; None and "" both mean "not given". steps, when
    handed in, is filled as the decision proceeds, so that a refusal can be explained too.

    Raises PoolNotAllowed, SharedNotAllowed, UnknownPool, PoolEmpty, NoSharedPool,
    UnknownObject (no such account or subaccount).
    """
    steps = [] if steps is None else steps
    account = snapshot.accounts.get(account_id)
    if account is None:
        raise UnknownObject("account", str(account_id))
    effective = _effective(snapshot, account, subaccount_id, asked, when, steps)
    if effective == SHARED_POOL:
        return _shared(snapshot, steps, "A6")
    if effective != DEFAULT_POOL:
        members = snapshot.members.get((account_id, effective))
        if members:
            return _done(effective, members, steps, "R18")
        unusable: RelayError = (
            PoolEmpty(effective)
            if (account_id, effective) in snapshot.pools
            else UnknownPool(asked or effective)
        )
        state = "has no sending IP" if isinstance(unusable, PoolEmpty) else "does not exist"
        if when is Moment.IMMEDIATE:
            steps.append(Step("A8", f"pool {effective} {state}: refused"))
            raise unusable
        steps.append(
            Step("R31", f"pool {effective} {state} at the scheduled time: fall back to the default pool")
        )
    members = snapshot.members.get((account_id, DEFAULT_POOL))
    if members:
        return _done(DEFAULT_POOL, members, steps, "R20")
    if account.has_shared_pool:
        rule = "R21" if when is Moment.IMMEDIATE else "R32"
        steps.append(Step(rule, "default pool has no sending IP: shared pool"))
        return _shared(snapshot, steps, rule)
    steps.append(
        Step(
            "R22" if when is Moment.IMMEDIATE else "R33",
            "default pool has no sending IP, Enterprise plan: refused",
        )
    )
    raise PoolEmpty(DEFAULT_POOL)


def find_stranded(accounts: Iterable[Account], ips: Iterable[SendingIp]) -> list[Account]:
    """Those active accounts whose mail is refused when it names no pool (R21, R22).

    Where one may use the shared pool, that pool is empty too: refused for now. Else for good.
    """
    usable = [ip for ip in ips if ip.takes_pins]
    is_shared = any(ip.shared for ip in usable)
    filled = {ip.account for ip in usable if not ip.shared and (ip.pool or DEFAULT_POOL) == DEFAULT_POOL}
    return [
        account
        for account in accounts
        if account.status is Status.ACTIVE
        and account.id not in filled
        and not (is_shared and account.has_shared_pool)
    ]


def choose_ip(candidates: Sequence[SendingIp], turn: int) -> SendingIp:
    """The IP whose turn it is: by weight, evenly spread, exact over each full cycle.

    turn counts from 0 and belongs to the caller. A cycle is the sum of the weights,
    divided by their greatest common divisor.
    """
    cycle = _cycle(tuple([ip.weight for ip in candidates]))
    return candidates[cycle[turn % len(cycle)]]


def _effective(
    snapshot: Snapshot,
    account: Account,
    subaccount_id: SubaccountId | None,
    asked: str | None,
    when: Moment,
    steps: list[Step],
) -> PoolId:
    """Steps 1 to 3 of docs/rules.md#routing: the pool asked for, bound to, or the default one."""
    wanted = PoolId(asked.lower()) if asked else None
    steps.append(Step("R18", f"ip_pool asked for: {asked}" if asked else "no ip_pool asked for"))
    bound: PoolId | None = None
    if subaccount_id is not None:
        subaccount = snapshot.subaccounts.get((account.id, subaccount_id))
        if subaccount is None:
            raise UnknownObject("subaccount", str(subaccount_id))
        bound = PoolId(subaccount.ip_pool.lower()) if subaccount.ip_pool else None
    if bound is not None:
        if wanted is not None and wanted != bound:
            steps.append(Step("A5", f"subaccount {subaccount_id} is bound to pool {bound}: refused"))
            raise PoolNotAllowed(int(subaccount_id or 0), bound, asked or "")
        steps.append(Step("R26", f"subaccount {subaccount_id} is bound to pool {bound}"))
        return bound
    if subaccount_id is not None:
        steps.append(Step("R25", f"subaccount {subaccount_id} has no pool of its own"))
    if wanted is None:
        steps.append(Step("R20", "nothing named: the default pool"))
        return DEFAULT_POOL
    if wanted == SHARED_POOL and not account.has_shared_pool:
        steps.append(Step("A6", "sp_shared asked for on the Enterprise plan: refused"))
        raise SharedNotAllowed
    return wanted


def _shared(snapshot: Snapshot, steps: list[Step], rule: str) -> Resolution:
    if not snapshot.shared:
        steps.append(Step("A34", "no shared sending IP is configured: refused for now"))
        raise NoSharedPool
    return _done(SHARED_POOL, snapshot.shared, steps, rule)


def _done(pool: PoolId, members: tuple[SendingIp, ...], steps: list[Step], rule: str) -> Resolution:
    steps.append(
        Step(rule, f"pool {pool} sends, with {len(members)} sending IP{'s' if len(members) > 1 else ''}")
    )
    return Resolution(Decision(pool, tuple(steps)), members)


@lru_cache(maxsize=256)
def _cycle(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Indexes in serving order: the k-th service of an item of weight w stands at (2k+1)/2w of the cycle."""
    divisor = gcd(*weights)
    shares = [weight // divisor for weight in weights]
    slots = [((2 * k + 1) / (2 * share), index) for index, share in enumerate(shares) for k in range(share)]
    return tuple(index for _, index in sorted(slots))
