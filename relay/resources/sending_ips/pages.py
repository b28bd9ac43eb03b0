"""One sending IP of the account: what it is, where it may go, what waits for it and how it fared."""

from collections.abc import Sequence

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from relay.domain.changes import Changes
from relay.domain.directory import Plan, SendingIp, Snapshot
from relay.domain.errors import MalformedOptions, StaleDirectory, UnknownObject
from relay.domain.ids import IpAddress, PoolId
from relay.frames.console.attempts import RANGES, attempts_in
from relay.frames.console.charts import Series, Span, stack
from relay.frames.console.errors import word_for_page
from relay.frames.console.forms import Form
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.ports.report import Facet
from relay.resources.audit.rules import AuditLog
from relay.resources.audit.words import change_of
from relay.resources.billing.rules import Billing
from relay.resources.sending_ips.rules import move_ips
from relay.resources.sending_ips.words import (
    NEW_FOR,
    POOLS,
    ip_on,
    is_last_active,
    place_of,
    pools_of,
    state_of,
    title_of,
    when_empty,
)

pages = Pages(__name__)

_PAGE = POOLS + "/edit/{pool}/{ip}"
_DESTINATIONS = 25
_HISTORY = 20


@pages.get(_PAGE)
async def show_ip(visit: Visit) -> Response:
    ip = ip_on(visit)
    if visit.path("pool") != place_of(ip):
        return RedirectResponse(_path(place_of(ip), ip.address), 303)
    return await _page(visit, ip, Form())


@pages.post(_PAGE)
async def update_ip(visit: Visit) -> Response:
    """Move the IP; the page follows it to its new pool (R17)."""
    ip, account, pool = ip_on(visit), visit.account.id, PoolId(visit.form["pool"])
    if not pool:
        return await _page(visit, ip, visit.form.wrong(pool="Required"), 422)

    def compute(snapshot: Snapshot) -> Changes:
        return move_ips(snapshot, account, {ip.address: pool})

    try:
        await visit.change(compute)
    except (MalformedOptions, UnknownObject, StaleDirectory) as error:
        return await _page(visit, ip, visit.form.wrong(pool=word_for_page(error)), 422)
    return visit.go(_path(PoolId(pool.lower()), ip.address), f"Updated IP {ip.address}.")


def _path(pool: PoolId, address: IpAddress) -> str:
    return _PAGE.format(pool=pool, ip=address)


async def _page(visit: Visit, ip: SendingIp, form: Form, status: int = 200) -> Response:
    snapshot, account, services = visit.snapshot, visit.account, visit.services
    now, place = services.clock.now(), place_of(ip)
    waiting = await services.reports.waiting(
        MailFilter(account.id, ip=ip.address), (Facet.DOMAIN,), _DESTINATIONS
    )
    span, series, chart = await _delivery_history(visit, ip)
    history = await services.use_cases[AuditLog].latest(
        _HISTORY, account=account.id, about=f"sending_ip {ip.address}"
    )
    fresh = await services.use_cases[Billing].come_since(account.id, now - NEW_FOR)
    return visit.page(
        "sending_ips/own.html",
        status,
        ip=ip,
        pool=snapshot.pools[account.id, place],
        title_of=title_of,
        form=form,
        state=state_of(ip),
        others=[pool for pool in pools_of(snapshot, account.id) if pool.id != place],
        is_new=ip.address in fresh,
        last=when_empty(snapshot, account, place) if is_last_active(snapshot, ip) else "",
        waiting=waiting,
        now=now,
        span=span,
        series=series,
        chart=chart,
        changes=[change_of(line) for line in history],
        whom="your TAM" if account.plan is Plan.ENTERPRISE else "support",
    )


async def _delivery_history(visit: Visit, ip: SendingIp) -> tuple[Span, Sequence[Series], Markup]:
    """Attempts from this IP in the last ten days, for the mail of this account."""
    span = RANGES["10d"].span(visit.services.clock.now())
    tallies = await visit.services.reports.tallies(visit.account.id, span.first, span.end, span.step)
    series = attempts_in(span, [tally for tally in tallies if tally.ip == ip.address])
    return span, series, stack(span, series, f"Attempts from {ip.address} in the last 10 days")
