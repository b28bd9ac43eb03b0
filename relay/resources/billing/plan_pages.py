"""Account → Billing → Plan: what the plans mean; operators set plan and terms (docs/rules.md#plans)."""

import re
from collections import Counter
from dataclasses import replace

from starlette.responses import Response

from relay.domain.directory import Account, Plan
from relay.domain.errors import RelayError
from relay.frames.actor import Right
from relay.frames.console.errors import word_for_page
from relay.frames.console.forms import Form, fill, number_in
from relay.frames.console.routing import Pages
from relay.frames.console.templating import day, plan_name
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.ports.report import Facet
from relay.resources.billing.pages import HOME
from relay.resources.billing.rest import MAX_PRICE_CENTS, MOST
from relay.resources.billing.rules import Billing, PlanInForce
from relay.resources.ip_pools.rules import bereft_of_shared_pool
from relay.resources.sending_ips.words import ips_of

pages = Pages(__name__)

_PATH = HOME + "/plan"
_PRICE = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?")
_MOST_GROUPS = 1000


@pages.get(_PATH)
async def show(visit: Visit) -> Response:
    return await _page(visit)


@pages.post(_PATH, Right.OPERATE)
async def change(visit: Visit) -> Response:
    """Up, and off a downgrade that waits, at once; down to free is asked about on a page of its own."""
    form, account = visit.form, (await _subscription(visit)).account
    if form["plan"] not in tuple(Plan):
        return await _page(visit, plan=form.wrong(plan="Choose one of the plans"), status=422)
    plan = Plan(form["plan"])
    if plan is Plan.FREE and account.plan is not Plan.FREE:
        return visit.go(_PATH + "/downgrade")
    bereft = bereft_of_shared_pool(visit.snapshot, replace(account, plan=plan))
    try:
        await visit.services.use_cases[Billing].amend(account.id, visit.actor, plan=plan)
    except RelayError as error:
        return await _page(visit, plan=form.wrong(plan=word_for_page(error)), status=409)
    told = f"The plan is {plan_name(plan)} now."
    if bereft:
        told += " There is no shared pool on it, and no pool overflows into that any more."
    return visit.go(_PATH, told)


@pages.post(_PATH + "/terms", Right.OPERATE)
async def set_terms(visit: Visit) -> Response:
    """Limit, price and the day on which cycles begin (A11)."""
    form, account = visit.form, visit.account
    standing, asked, wrong = _terms(account), {}, {}
    for name, parse in (("limit", _limit), ("price", _price), ("day", _day)):
        if form[name] == standing[name]:
            continue
        value = parse(form[name])
        if isinstance(value, str):
            wrong[name] = value
        else:
            asked[name] = value
    if wrong:
        return await _page(visit, terms=form.wrong(**wrong), status=422)
    try:
        await visit.services.use_cases[Billing].amend(
            account.id,
            visit.actor,
            limit=asked.get("limit"),
            price_cents=asked.get("price"),
            bill_cycle_day=asked.get("day"),
        )
    except RelayError as error:
        return await _page(visit, terms=form.wrong(limit=word_for_page(error)), status=409)
    return visit.go(_PATH, "Terms saved.")


@pages.get(_PATH + "/downgrade", Right.OPERATE)
async def show_downgrade(visit: Visit) -> Response:
    return await _downgrade(visit, Form())


@pages.post(_PATH + "/downgrade", Right.OPERATE)
async def downgrade(visit: Visit) -> Response:
    """At the end of the cycle."""
    subscription = await _subscription(visit)
    if subscription.account.plan is Plan.FREE:
        return visit.go(_PATH, "The plan is Free already.")
    try:
        await visit.services.use_cases[Billing].amend(visit.account.id, visit.actor, plan=Plan.FREE)
    except RelayError as error:
        return await _downgrade(visit, visit.form.wrong(form_=word_for_page(error)), 409)
    return visit.go(HOME, f"The plan changes to {plan_name(Plan.FREE)} on {day(subscription.cycle.end)}.")


async def _subscription(visit: Visit) -> PlanInForce:
    return await visit.services.use_cases[Billing].subscription(visit.account.id)


async def _page(
    visit: Visit, *, plan: Form | None = None, terms: Form | None = None, status: int = 200
) -> Response:
    subscription = await _subscription(visit)
    account = subscription.account
    return visit.page(
        "billing/plan.html",
        status,
        subscription=subscription,
        account=account,
        plan_form=plan or fill(plan=account.plan),
        terms_form=terms or fill(**_terms(account)),
        plans=[(plan, plan_name(plan)) for plan in Plan],
    )


async def _downgrade(visit: Visit, form: Form, status: int = 200) -> Response:
    """What becomes of the account's IPs, pools, subaccounts and queued mail."""
    subscription, snapshot = await _subscription(visit), visit.services.directory.snapshot
    number = visit.account.id
    ips = sorted(ips_of(snapshot, number), key=lambda ip: ip.pool or "")
    waiting = await visit.services.reports.waiting(MailFilter(number), (Facet.IP,), _MOST_GROUPS)
    queued = Counter({group.ip or "": group.counts.total for group in waiting.groups})
    pools = sorted({ip.pool for ip in ips if ip.pool not in (None, "default")})
    return visit.page(
        "billing/downgrade.html",
        status,
        form=form,
        account=subscription.account,
        cycle=subscription.cycle,
        ips=[(ip, queued[ip.address]) for ip in ips],
        queued=sum(queued[ip.address] for ip in ips),
        pools=[snapshot.pools[number, pool] for pool in pools if (number, pool) in snapshot.pools],
        bound=sorted(
            (one for one in snapshot.subaccounts.values() if one.account == number and one.ip_pool in pools),
            key=lambda one: one.id,
        ),
    )


def _terms(account: Account) -> dict[str, str]:
    """As they stand, for the form."""
    limit, cents = account.dedicated_ip_limit, account.ip_price_cents
    return {
        "limit": "" if limit is None else str(limit),
        "price": f"{cents // 100}.{cents % 100:02}",
        "day": str(account.bill_cycle_day),
    }


def _limit(text: str) -> int | str:
    """The number, or what is wrong."""
    number = number_in(text)
    return f"A whole number from 0 to {MOST}" if number is None or number > MOST else number


def _price(text: str) -> int | str:
    """In cents, or what is wrong."""
    found = _PRICE.fullmatch(text)
    cents = int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0")) if found else MAX_PRICE_CENTS + 1
    if cents > MAX_PRICE_CENTS:
        return f"An amount in USD up to {MAX_PRICE_CENTS // 100}, with at most two decimals: 20.00"
    return cents


def _day(text: str) -> int | str:
    """The day of the month, or what is wrong."""
    number = number_in(text)
    return "A day of the month from 1 to 28" if number is None or not 1 <= number <= 28 else number
