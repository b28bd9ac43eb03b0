"""What waits and why: by IP, by pool, by destination, and message by message."""

from collections.abc import Mapping

from starlette.responses import Response

from relay.frames.console.errors import WebError
from relay.frames.console.forms import number_in
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.ports.report import BadPlace, Facet, MailPage, StateCounts, WaitingPage
from relay.resources.queue.bulk import BulkRuns
from relay.resources.queue.verbs import verbs_for
from relay.resources.queue.words import STATES, account_name, read_filter, why_waiting
from relay.resources.sending_ips.words import ip_path, ip_suggestions, pool_path, pool_suggestions

pages = Pages(__name__)

FACETS: Mapping[str, tuple[Facet, str]] = {
    "ip": (Facet.IP, "Sending IP"),
    "pool": (Facet.POOL, "IP Pool"),
    "domain": (Facet.DOMAIN, "Destination"),
}
_GROUPS = 50
_MESSAGES = 50
_FURTHEST = 10_000
_NOTHING = WaitingPage((), 0, StateCounts())
_NO_MAIL = MailPage((), None, False)


@pages.get("/queue")
async def groups(visit: Visit) -> Response:
    asked = read_filter(visit, visit.query)
    by = visit.query["by"] if visit.query["by"] in FACETS else "ip"
    number, found = min(max(number_in(visit.query["page"]) or 1, 1), _FURTHEST), _NOTHING
    if asked.is_right:
        facets = {FACETS[by][0], *([Facet.ACCOUNT] if asked.is_for_all else [])}
        what = _countable(asked.what)
        found = await visit.services.reports.waiting(what, facets, _GROUPS, (number - 1) * _GROUPS)
    return visit.page(
        "queue/groups.html",
        200 if asked.is_right else 422,
        asked=asked,
        by=by,
        facets=FACETS,
        found=found,
        page=number,
        pages=max(1, -(-found.number // _GROUPS)),
        **_shared(visit),
    )


@pages.get("/queue/messages")
async def messages(visit: Visit) -> Response:
    asked = read_filter(visit, visit.query)
    found, after = _NO_MAIL, visit.query["after"] or None
    if asked.is_right:
        try:
            found = await visit.services.reports.messages(asked.what, _MESSAGES, after)
        except BadPlace as error:
            raise WebError(
                400, "This page cannot go on from there: begin with the first page again."
            ) from error
    return visit.page(
        "queue/messages.html",
        200 if asked.is_right else 422,
        asked=asked,
        found=found,
        after=after,
        why=why_waiting,
        **_shared(visit),
    )


def _countable(what: MailFilter) -> MailFilter:
    """Without what counts do not know: those filters belong to the list of messages."""
    return MailFilter(what.account, ip=what.ip, pool=what.pool, domain=what.domain, state=what.state)


def _shared(visit: Visit) -> Mapping[str, object]:
    return {
        "now": visit.services.clock.now(),
        "states": STATES,
        "ips": ip_suggestions(visit),
        "pools_known": pool_suggestions(visit),
        "verbs": verbs_for(visit),
        "at_work": [
            one for one in visit.services.use_cases[BulkRuns].of(visit.account.id) if one.ended is None
        ],
        "ip_path": lambda ip: ip_path(visit, ip),
        "pool_path": lambda pool: pool_path(visit, pool),
        "account_name": lambda id_: account_name(visit, id_),
    }
