"""The first page: what leaves from where, and how it fares."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup
from starlette.responses import Response

from relay.domain.events import EVENT_KINDS
from relay.domain.ids import IpAddress, PoolId
from relay.frames.console.attempts import ATTEMPTS, RANGES, attempts_in, is_attempt
from relay.frames.console.charts import Series, Span, highest, spark, stack
from relay.frames.console.routing import Pages
from relay.frames.console.sign_in import first_page
from relay.frames.console.visit import Visit
from relay.ports.eventlog import EventQuery
from relay.ports.queue import MailFilter
from relay.ports.report import Facet, StateCounts, Tally
from relay.resources.queue.words import account_asked, word_of
from relay.resources.sending_ips.words import operators_slips

pages = Pages(__name__)

_FAILURES = frozenset(kind.name for kind in EVENT_KINDS if kind.is_failure)
_REFUSALS = _FAILURES - ATTEMPTS.keys()
_LATEST = 8
_ROWS = 50
_Key = tuple[IpAddress, PoolId]


@dataclass(frozen=True, slots=True)
class Flow:
    """What became of the mail of one IP, of one pool, or of all."""

    ip: IpAddress
    pool: PoolId
    series: tuple[Series, ...]
    chart: Markup
    waiting: StateCounts

    @property
    def attempts(self) -> int:
        return sum(one.total for one in self.series)

    def share(self, number: int) -> str:
        """Of the attempts, as `12.5 %`."""
        return f"{100 * number / self.attempts:.1f} %" if self.attempts else ""


@pages.get("/", stranger=first_page)
async def dashboard(visit: Visit) -> Response:
    shown = RANGES.get(visit.query["range"], RANGES["24h"])
    account = account_asked(visit, visit.query)
    now, reports = visit.services.clock.now(), visit.services.reports
    span = shown.span(now)
    tallies = await reports.tallies(account, span.first, span.end, span.step)
    waiting = await reports.waiting(MailFilter(account), (Facet.IP, Facet.POOL), 1000)
    latest = await visit.services.events.find(
        EventQuery(account, span.first, span.end, kinds=_FAILURES), _LATEST
    )
    queued = {(group.ip or IpAddress(""), group.pool or PoolId("")): group.counts for group in waiting.groups}
    whole = next(iter(_flows(span, tallies, _together, {})), None)
    return visit.page(
        "events/dashboard.html",
        stranded=operators_slips(visit),
        shown=shown,
        ranges=RANGES.values(),
        is_for_all=account is None,
        span=span,
        now=now,
        whole=whole,
        attempts=attempts_in(span, tallies),
        chart=None if whole is None else stack(span, whole.series, f"Attempts in the last {shown.label}"),
        injected=sum(tally.count for tally in tallies if tally.kind == "injection"),
        refused=sum(tally.count for tally in tallies if tally.kind in _REFUSALS),
        waiting=waiting.counts,
        by_ip=_flows(span, tallies, _by_ip, queued)[:_ROWS],
        by_pool=_flows(span, tallies, _by_pool, _added_up(queued))[:_ROWS],
        latest=latest.told,
        troubles={one.id: word_of(one.event) for one in latest.told},
    )


def _together(tally: Tally) -> _Key:
    return IpAddress(""), PoolId("")


def _by_ip(tally: Tally) -> _Key:
    return tally.ip, tally.pool


def _by_pool(tally: Tally) -> _Key:
    return IpAddress(""), tally.pool


def _flows(
    span: Span,
    tallies: Iterable[Tally],
    key_of: Callable[[Tally], _Key],
    waiting: Mapping[_Key, StateCounts],
) -> list[Flow]:
    """One for each key that had an attempt or that has mail waiting, the busiest first."""
    grouped: dict[_Key, list[Tally]] = {key: [] for key in waiting}
    for tally in tallies:
        if is_attempt(span, tally):
            grouped.setdefault(key_of(tally), []).append(tally)
    attempts = {key: attempts_in(span, found) for key, found in grouped.items()}
    most = max(map(highest, attempts.values()), default=0)
    flows = []
    for (ip, pool), series in attempts.items():
        chart = spark(span, series, most, f"Attempts of {ip or pool or 'all'}")
        flows.append(Flow(ip, pool, series, chart, waiting.get((ip, pool), StateCounts())))
    return sorted(flows, key=lambda flow: (-flow.attempts, -flow.waiting.total, flow.pool, flow.ip))


def _added_up(waiting: Mapping[_Key, StateCounts]) -> Mapping[_Key, StateCounts]:
    """What waits in each pool, over its IPs."""
    pools: dict[PoolId, list[StateCounts]] = defaultdict(list)
    for (_, pool), counts in waiting.items():
        pools[pool].append(counts)
    return {
        (IpAddress(""), pool): StateCounts(
            sum(one.queued for one in listed),
            sum(one.in_flight for one in listed),
            sum(one.held for one in listed),
        )
        for pool, listed in pools.items()
    }
