"""Hold, release, retry, cancel and re-pin for all the mail of a filter: asked first, then done in slices."""

from dataclasses import replace

from starlette.responses import Response

from relay.domain.errors import OverCapacity
from relay.domain.ids import IpAddress
from relay.frames.actor import Right
from relay.frames.console.errors import WebError, word_for_page
from relay.frames.console.forms import Form
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.resources.queue.bulk import BulkOrder, BulkRun, BulkRuns, Stage
from relay.resources.queue.rules import DEEDS, Verb
from relay.resources.queue.verbs import NO_TARGET, repin_options, verb_on, verbs_for
from relay.resources.queue.words import STATES, MailAsked, read_filter

pages = Pages(__name__)

_ONE_ACCOUNT = "This is done to the mail of one account: choose the account, and leave out “All accounts”."
_LOST = (
    "This process of the relay knows no such run. Runs live as long as the process: when it ended meanwhile, "
    "what was done by then is done, and the rest is as it was. The queue shows how it stands."
)


@pages.get("/queue/bulk/repin", Right.OPERATE)
async def ask_repin(visit: Visit) -> Response:
    return await _shown(visit, Verb.REPIN, visit.query)


@pages.post("/queue/bulk/repin", Right.OPERATE)
async def repin(visit: Visit) -> Response:
    return await _start(visit, Verb.REPIN)


@pages.get("/queue/bulk/{verb}", Right.CHANGE)
async def ask(visit: Visit) -> Response:
    """What would be touched; nothing is done yet."""
    return await _shown(visit, verb_on(visit), visit.query)


@pages.post("/queue/bulk/{verb}")
async def start(visit: Visit) -> Response:
    return await _start(visit, verb_on(visit))


@pages.get("/queue/runs")
async def runs(visit: Visit) -> Response:
    listed = visit.services.use_cases[BulkRuns].of(visit.account.id)
    return visit.page("queue/runs.html", runs=listed, now=visit.services.clock.now(), deeds=DEEDS)


@pages.get("/queue/runs/{id}")
async def run(visit: Visit) -> Response:
    one = visit.services.use_cases[BulkRuns].get(visit.account.id, visit.path("id"))
    if one is None:
        return visit.page("queue/run_lost.html", 404, lost=_LOST)
    return visit.page(
        "queue/run.html",
        run=one,
        is_at_work=one.stage is Stage.AT_WORK,
        verb=DEEDS[one.order.verb].title,
        told=_told(one),
        filters=describe_filter(one.order.what),
        query=_query(one.order.what),
        now=visit.services.clock.now(),
    )


@pages.post("/queue/runs/{id}/stop")
async def stop(visit: Visit) -> Response:
    one = visit.services.use_cases[BulkRuns].get(visit.account.id, visit.path("id"))
    if one is None:
        return visit.page("queue/run_lost.html", 404, lost=_LOST)
    if one.ended is not None:
        return visit.go(f"/queue/runs/{one.id}", "It had ended already.")
    one.stop()
    return visit.go(f"/queue/runs/{one.id}", "Stopping. What is done stays done.")


def describe_filter(what: MailFilter) -> list[tuple[str, str]]:
    """The filter in words; empty: all mail of the account."""
    facts = [
        ("Sending IP", what.ip or ""),
        ("IP Pool", what.pool or ""),
        ("Destination", what.domain or ""),
        ("State", STATES[what.state] if what.state else ""),
        ("Transmission", what.transmission or ""),
        ("Subaccount", "" if what.subaccount is None else str(what.subaccount)),
    ]
    return [(name, str(value)) for name, value in facts if value]


async def _start(visit: Visit, verb: Verb) -> Response:
    if visit.form.has("look"):
        return await _shown(visit, verb, visit.form)
    asked, order, form = _order(visit, verb, visit.form)
    if order is None or form.errors:
        return await _shown(visit, verb, form, 422)
    try:
        one = await visit.services.use_cases[BulkRuns].start(order)
    except OverCapacity:
        busy = "Too many of these are at work already. Wait until one has ended: see “Work on the queue”."
        return await _shown(visit, verb, asked.form.wrong(form_=busy), 503)
    return visit.go(f"/queue/runs/{one.id}", "Started.")


async def _shown(visit: Visit, verb: Verb, typed: Form, status: int = 200) -> Response:
    """The question, with the count."""
    asked, order, form = _order(visit, verb, typed)
    form = form.wrong(**{name or "form_": text for name, text in typed.errors.items()})
    count = None
    if order is not None and asked.is_right and "to" not in form.errors:
        count = await visit.services.use_cases[BulkRuns].count(order)
    return visit.page(
        "queue/bulk.html",
        status,
        asked=asked,
        form=form,
        verb=verb,
        title=DEEDS[verb].title,
        action=dict(verbs_for(visit)).get(verb, "").rstrip("…"),
        meaning=DEEDS[verb].meaning,
        count=count,
        filters=describe_filter(asked.what),
        targets=repin_options(visit),
    )


def _order(visit: Visit, verb: Verb, typed: Form) -> tuple[MailAsked, BulkOrder | None, Form]:
    """What is to be done; None while something is missing or wrong. The form has the errors."""
    asked = read_filter(visit, typed)
    form = asked.form
    if asked.is_for_all:
        raise WebError(409, _ONE_ACCOUNT)
    to: IpAddress | None = None
    if verb is Verb.REPIN:
        to = IpAddress(typed["to"]) if typed["to"] else None
        if to is not None and to not in dict(repin_options(visit)):
            form = form.wrong(to=NO_TARGET)
            to = None
        elif to is None and visit.request.method == "POST":
            form = form.wrong(to="Required")
    if not asked.is_right or (verb is Verb.REPIN and to is None):
        return asked, None, form
    return (
        asked,
        BulkOrder(verb, visit.account.id, replace(asked.what, account=None), visit.actor.name, to),
        form,
    )


def _told(one: BulkRun) -> str:
    match one.stage:
        case Stage.AT_WORK:
            return "At work. You may leave this page: it goes on."
        case Stage.DONE:
            return "All that was meant has had its turn."
        case Stage.STOPPED:
            return "Stopped before the end. What was done stays done, the rest is as it was."
        case Stage.FAILED:
            why = word_for_page(one.problem) if one.problem else f"The log says more under {one.reference}."
            return f"It failed on the way. What was done stays done. {why}"


def _query(what: MailFilter) -> str:
    fields = {"ip": what.ip, "pool": what.pool, "domain": what.domain, "state": what.state}
    more = {"transmission": what.transmission, "subaccount": what.subaccount}
    return MailAsked(Form(), what).query(**fields, **more)
