"""What waits and why: by IP, by pool, by destination, and message by message."""

from collections.abc import Mapping

from starlette.responses import Response

from relay.domain.ids import AccountId
from relay.domain.message import Message, State
from relay.ports import BadPlace, Facet, MailFilter, MailPage, StateCounts, WaitingPage
from relay.service.operate import Verb
from relay.web.errors import WebError
from relay.web.mail import STATES, ip_path, ips_of, is_number, pool_path, pools_of, read_filter
from relay.web.routing import Pages
from relay.web.visit import Visit

pages = Pages()

FACETS: Mapping[str, tuple[Facet, str]] = {
    "ip": (Facet.IP, "Sending IP"),
    "pool": (Facet.POOL, "IP Pool"),
    "domain": (Facet.DOMAIN, "Destination"),
}
_GROUPS = 50
_MESSAGES = 50
_FURTHEST = 10_000
_NOTHING = WaitingPage((), 0, StateCounts(0, 0, 0))
_NO_MAIL = MailPage((), None, False)


@pages.get("/queue")
async def groups(visit: Visit) -> Response:
    asked = read_filter(visit, visit.query)
    by = visit.query["by"] if visit.query["by"] in FACETS else "ip"
    number = min(int(visit.query["page"]), _FURTHEST) if is_number(visit.query["page"]) else 1
    number, found = max(number, 1), _NOTHING
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


def why_waiting(message: Message) -> str:
    """The last reply, or that there is none yet."""
    if message.last_reply:
        return message.last_reply
    return "being handed over" if message.state is State.IN_FLIGHT else "not tried yet"


def _countable(what: MailFilter) -> MailFilter:
    """Without what counts do not know: those filters belong to the list of messages."""
    return MailFilter(what.account, ip=what.ip, pool=what.pool, domain=what.domain, state=what.state)


def _shared(visit: Visit) -> Mapping[str, object]:
    account = visit.account.id
    return {
        "now": visit.services.clock.now(),
        "states": STATES,
        "ips": ips_of(visit.snapshot, visit.account),
        "pools_known": pools_of(visit.snapshot, visit.account),
        "verbs": verbs_for(visit),
        "at_work": [one for one in visit.services.bulk.of(account) if one.ended is None],
        "ip_path": lambda ip: ip_path(visit, ip),
        "pool_path": lambda pool: pool_path(visit, pool),
        "account_name": lambda id_: account_name(visit, id_),
    }


def account_name(visit: Visit, id_: AccountId) -> str:
    """As people know it."""
    known = visit.snapshot.accounts.get(id_)
    return f"{known.name} ({id_})" if known else str(id_)


def verbs_for(visit: Visit) -> list[tuple[str, str]]:
    """What the person may do to mail, and what the buttons say."""
    if not visit.may_change:
        return []
    listed = [(Verb.HOLD.value, "Hold"), (Verb.RELEASE.value, "Release"), (Verb.RETRY.value, "Retry now")]
    listed.append((Verb.CANCEL.value, "Cancel"))
    return [*listed, (Verb.REPIN.value, "Re-pin…")] if visit.is_operator else listed
