"""Where mail would leave from: the routing decision, taken without sending."""

from collections.abc import Sequence
from math import gcd

from starlette.responses import Response

from relay.domain.directory import SendingIp
from relay.domain.ids import SubaccountId
from relay.domain.resolve import Moment, choose_ip
from relay.frames.console.errors import word_for_page
from relay.frames.console.forms import Form, number_in
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.resources.routes.rules import explain
from relay.resources.sending_ips.words import ip_path, pool_path, pool_suggestions

pages = Pages(__name__)

_TURNS_SHOWN = 12


@pages.get("/explain")
async def explained(visit: Visit) -> Response:
    asked = visit.query
    form, part, when = asked, None, Moment.IMMEDIATE
    if text := asked["subaccount"]:
        part = SubaccountId(number_in(text) or 0)
        if part not in visit.subaccounts:
            form = form.wrong(subaccount="The account has no such subaccount.")
    if text := asked["when"]:
        try:
            when = Moment(text)
        except ValueError:
            form = form.wrong(when="Choose one of the two.")
    found = None
    if not form.errors:
        found = explain(visit.snapshot, visit.account.id, part, asked["ip_pool"] or None, when)
    return visit.page(
        "routes/explain.html",
        422 if form.errors else 200,
        form=form if asked["when"] else Form({**form.values, "when": (when.value,)}, form.errors),
        found=found,
        refusal=word_for_page(found.refusal) if found and found.refusal else "",
        turns=_turns(found.candidates) if found and found.candidates else [],
        subaccounts=[(str(one.id), f"{one.name} ({one.id})") for one in visit.subaccounts.values()],
        pools=pool_suggestions(visit),
        ip_path=lambda ip: ip_path(visit, ip),
        pool_path=lambda pool: pool_path(visit, pool),
    )


def _turns(candidates: Sequence[SendingIp]) -> list[str]:
    """The order in which the IPs are served: one cycle, or its beginning."""
    weights = [ip.weight for ip in candidates]
    cycle = sum(weights) // gcd(*weights)
    return [choose_ip(candidates, turn).address for turn in range(min(cycle, _TURNS_SHOWN))]
