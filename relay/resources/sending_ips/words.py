"""Pools and sending IPs as pages tell of them: what an account has, and how each stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from relay.domain.directory import SHARED_OVERFLOW, Account, Plan, Pool, SendingIp, Snapshot, in_order
from relay.domain.errors import PoolEmpty, UnknownObject
from relay.domain.ids import DEFAULT_POOL, SHARED_POOL, AccountId, IpAddress, PoolId
from relay.domain.resolve import find_stranded
from relay.frames.console.errors import NotHere, word_for_page
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.ports.report import Facet, StateCounts
from relay.resources.accounts.rules import plan_at
from relay.resources.sending_ips.rules import own_ip

NEW_FOR = timedelta(days=30)
"""About as long as warming up takes (R2)."""

POOLS = "/account/ip-pools"
"""The page of the account's pools."""

Options = Sequence[tuple[str, str] | tuple[str, str, bool]]


def pools_of(snapshot: Snapshot, account: AccountId) -> list[Pool]:
    """Default first, then by name."""
    owned = [pool for (owner, _), pool in snapshot.pools.items() if owner == account]
    return sorted(owned, key=lambda pool: (pool.id != DEFAULT_POOL, pool.name.lower(), pool.id))


def ips_of(snapshot: Snapshot, account: AccountId, pool: PoolId | None = None) -> tuple[SendingIp, ...]:
    """In address order; those that take no new mail for the moment too."""
    owned = [ip for ip in snapshot.ips.values() if ip.account == account and not ip.is_retired]
    return in_order(ip for ip in owned if pool is None or place_of(ip) == pool)


def place_of(ip: SendingIp) -> PoolId:
    """The pool of a dedicated IP."""
    return ip.pool or DEFAULT_POOL


def ip_path(visit: Visit, ip: str) -> str:
    """The page of a sending IP of the account; empty when it has none."""
    known = visit.snapshot.ips.get(IpAddress(ip))
    if known is None or known.account != visit.account.id or known.is_retired:
        return ""
    return f"{POOLS}/edit/{quote(place_of(known), safe='')}/{quote(ip, safe='')}"


def pool_path(visit: Visit, pool: str) -> str:
    """The page of a pool of the account; empty when it has none."""
    is_known = (visit.account.id, PoolId(pool)) in visit.snapshot.pools
    return f"{POOLS}/edit/{quote(pool, safe='')}" if is_known else ""


def ip_suggestions(visit: Visit) -> list[str]:
    """Addresses that mail of the account can have: its own IPs', then the shared ones'."""
    owned, shared = ips_of(visit.snapshot, visit.account.id), visit.snapshot.ips.values()
    return [ip.address for ip in (*owned, *in_order(ip for ip in shared if ip.shared))]


def pool_suggestions(visit: Visit) -> list[tuple[str, str]]:
    """Id and name of each pool that mail of the account can have, the default pool first."""
    owned = [(str(pool.id), pool.name) for pool in pools_of(visit.snapshot, visit.account.id)]
    return [*owned, (SHARED_POOL, "Shared pool")] if visit.account.has_shared_pool else owned


def pool_on(visit: Visit) -> Pool:
    """The account's pool that the path names. Raises NotHere."""
    pool = visit.snapshot.pools.get((visit.account.id, PoolId(visit.path("pool"))))
    if pool is None:
        raise NotHere("pool")
    return pool


def ip_on(visit: Visit) -> SendingIp:
    """The account's IP that the path names. Raises NotHere."""
    try:
        return own_ip(visit.snapshot, visit.account.id, IpAddress(visit.path("ip")))
    except UnknownObject as error:
        raise NotHere("sending IP") from error


def title_of(pool: Pool) -> str:
    """`Marketing (marketing)`."""
    return f"{pool.name} ({pool.id})"


def state_of(ip: SendingIp) -> tuple[str, str]:
    """A word, and the kind of badge it stands on."""
    if ip.is_retired:
        return "retired", "bad"
    if ip.released_from is not None:
        return "still carrying mail", "wait"
    if ip.is_draining:
        return "draining", "wait"
    if ip.shared:
        return "shared", "good"
    return ("active", "good") if ip.account is not None else ("inventory", "still")


def is_last_active(snapshot: Snapshot, ip: SendingIp) -> bool:
    """Whether its pool would have no IP for new mail without it."""
    if ip.shared:
        return ip.takes_pins and len(snapshot.shared) == 1
    if ip.account is None:
        return False
    members = snapshot.members.get((ip.account, place_of(ip)), ())
    return [member.address for member in members] == [ip.address]


def when_empty(snapshot: Snapshot, account: Account, pool: PoolId) -> str:
    """What becomes of new mail for a pool without IPs, on this account's plan (R21, R22, A8)."""
    if pool == SHARED_POOL:
        return "Mail that would leave from the shared pool is refused for now; senders try again."
    if pool != DEFAULT_POOL:
        return f"Mail that names it is refused: {word_for_page(PoolEmpty(pool))}"
    if not account.has_shared_pool:
        return f"Mail that names no pool is refused: {word_for_page(PoolEmpty(pool))}"
    if not snapshot.shared:
        return (
            "Mail that names no pool would leave from the shared pool, which has no IPs on this "
            "installation either: it is refused for now; senders try again."
        )
    return "Mail that names no pool leaves from the shared pool."


@dataclass(frozen=True, slots=True)
class Stranded:
    """Accounts whose mail is refused when it names no pool, which only an operator can mend."""

    for_now: tuple[Account, ...]
    """They would use the shared pool, which has no IPs."""
    for_good: tuple[Account, ...]
    """They have no shared pool."""


def operators_slips(visit: Visit) -> Stranded | None:
    """None for others than operators, and when there are none."""
    if not visit.is_operator:
        return None
    snapshot = visit.snapshot
    found = find_stranded(snapshot.accounts.values(), snapshot.ips.values())
    if not found:
        return None
    return Stranded(
        tuple(account for account in found if account.has_shared_pool),
        tuple(account for account in found if not account.has_shared_pool),
    )


def purchase_link(visit: Visit) -> tuple[str, str] | None:
    """Where more IPs come from, for those who may get some: a path and what it is called."""
    if not visit.may_change:
        return None
    plan = plan_at(visit.account, visit.services.clock.now())
    if plan is Plan.FREE:
        return "/account/billing", "Upgrade"
    if plan is Plan.MANUAL and not visit.is_operator:
        return "/account/billing", "Request IPs"
    if plan is Plan.ENTERPRISE and not visit.is_operator:
        return None
    return "/account/billing", "Purchase IPs"


def overflow_options(snapshot: Snapshot, account: Account, pool: Pool | None) -> Options:
    """What a pool may overflow into, and what it does now even if that is no longer allowed."""
    siblings = [one for one in pools_of(snapshot, account.id) if pool is None or one.id != pool.id]
    options = [("", "None")]
    if account.has_shared_pool:
        options.append((SHARED_OVERFLOW, "Shared Pool"))
    options += [(one.id, title_of(one)) for one in siblings if not one.overflow_pool]
    return _with_present(options, "" if pool is None else pool.overflow_pool, "not possible any more")


def is_overflow(snapshot: Snapshot, pool: Pool) -> bool:
    """Whether another pool overflows into it, so that it cannot itself."""
    return bool(overflowing_into(snapshot, pool))


def overflowing_into(snapshot: Snapshot, pool: Pool) -> list[Pool]:
    """The pools whose overflow pool it is."""
    return [one for one in pools_of(snapshot, pool.account) if one.overflow_pool == pool.id]


def signing_options(snapshot: Snapshot, account: AccountId, pool: Pool | None) -> Options:
    """The account's domains that a pool can sign with, and the one it does even if that lapsed."""
    owned = sorted(
        domain.domain for domain in snapshot.domains.values() if domain.account == account and domain.signs
    )
    options = [("", "None"), *((name, name) for name in owned)]
    return _with_present(options, "" if pool is None else pool.signing_domain, "not verified any more")


def _with_present(options: list[tuple[str, str]], present: str, why: str) -> Options:
    is_missing = present not in [value for value, _ in options]
    return [*options, (present, f"{present}: {why}")] if is_missing else options


@dataclass(frozen=True, slots=True)
class IpStanding:
    """A sending IP with the unfinished mail that is pinned to it."""

    ip: SendingIp
    waiting: StateCounts

    @property
    def state(self) -> tuple[str, str]:
        return state_of(self.ip)


async def standings(visit: Visit, ips: Sequence[SendingIp], account: AccountId | None) -> list[IpStanding]:
    """With the mail of that account; for operators None, all mail."""
    reports = visit.services.reports
    page = await reports.waiting(MailFilter(account), (Facet.IP,), max(1, len(visit.snapshot.ips)))
    counts: Mapping[IpAddress | None, StateCounts] = {group.ip: group.counts for group in page.groups}
    return [IpStanding(ip, counts.get(ip.address, StateCounts())) for ip in ips]
