"""Account → Billing: the plan, dedicated IPs, their purchase, and what is charged (R1-R14)."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response

from relay.domain.billing import Invoice, invoice_number
from relay.domain.directory import MAX_POOL_NAME, is_pool_name, pool_id_of
from relay.domain.errors import IpsByRequest, NoIpsOnPlan, RelayError
from relay.domain.ids import PoolId
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, page_error, word_for_page
from relay.frames.console.forms import Form, fill
from relay.frames.console.lists import page_list
from relay.frames.console.once import FIELD, UsedForm, do_once, mint
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.ports.idempotency import Answer, Answered, Ticket
from relay.resources.billing.rest import MOST
from relay.resources.billing.rules import Billing, NewPool, PlanInForce, check_plan, inventory
from relay.resources.ip_pools.rules import PoolEdit, create_pool
from relay.resources.sending_ips.words import NEW_FOR, pools_of

pages = Pages(__name__)

HOME = "/account/billing"
_NEW_SHOWN = 25
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")


@dataclass(frozen=True, slots=True)
class Offer:
    """How dedicated IPs come to the account, as far as its plan and the person decide."""

    subscription: PlanInForce
    obstacle: str
    """Why none can be bought here, as the API says it; empty: they can."""
    whom: str
    """Who provisions them instead (R4); empty on plans that have none."""
    is_on_behalf: bool
    """The person provisions what the account could not by itself (R4)."""

    @property
    def left(self) -> int | None:
        """How many more the account may have; None: any number (R14)."""
        limit = self.subscription.limit
        return None if limit is None else max(0, limit - self.subscription.held)

    @property
    def price_cents(self) -> int:
        """For an IP and a month."""
        return self.subscription.account.ip_price_cents


@dataclass(frozen=True, slots=True)
class PurchaseOrder:
    """What a valid form asks for."""

    quantity: int
    pool: PoolId | NewPool

    @property
    def values(self) -> tuple[str, ...]:
        if isinstance(self.pool, NewPool):
            return str(self.quantity), "new", self.pool.name
        return str(self.quantity), "existing", self.pool


def offer(visit: Visit, subscription: PlanInForce) -> Offer:
    """What the person may do for the account."""
    try:
        check_plan(subscription.account, visit.is_operator)
    except NoIpsOnPlan as error:
        return Offer(subscription, word_for_page(error), "", False)
    except IpsByRequest as error:
        return Offer(subscription, word_for_page(error), error.whom, False)
    try:
        check_plan(subscription.account, False)
    except IpsByRequest as error:
        return Offer(subscription, "", error.whom, True)
    return Offer(subscription, "", "", False)


# ── what there is ────────────────────────────────────────────────────────────────────────


@pages.get(HOME)
async def overview(visit: Visit) -> Response:
    statement = await visit.services.use_cases[Billing].statement(visit.account.id)
    now, snapshot = visit.services.clock.now(), await visit.services.directory.refresh()
    new = [held for held in statement.held if held.since > now - NEW_FOR and held.address in snapshot.ips]
    shown = page_list(statement.invoices, visit.query)
    cycle = statement.subscription.cycle
    return visit.page(
        "billing/overview.html",
        offer=offer(visit, statement.subscription),
        cycle=cycle,
        last_day=cycle.end - timedelta(days=1),
        running=next((one.total_cents for one in statement.invoices if one.cycle == cycle), 0),
        upcoming=statement.upcoming,
        new=[(held, snapshot.ips[held.address]) for held in new[:_NEW_SHOWN]],
        more_new=max(0, len(new) - _NEW_SHOWN),
        invoices=[_told(visit, invoice) for invoice in shown.items],
        page=shown.page,
        pages=shown.pages,
        pool_names={pool.id: pool.name for pool in pools_of(snapshot, visit.account.id)},
    )


@pages.get(HOME + "/invoices/{id}")
async def invoice(visit: Visit) -> Response:
    """To be printed, too."""
    wanted = visit.path("id")
    for found in (await visit.services.use_cases[Billing].statement(visit.account.id)).invoices:
        if invoice_number(visit.account.id, found) == wanted:
            return visit.page("billing/invoice.html", invoice=_told(visit, found))
    raise NotHere("invoice")


@dataclass(frozen=True, slots=True)
class ToldInvoice:
    """An invoice as people know it."""

    number: str
    invoice: Invoice
    is_open: bool
    """Its cycle is running: purchases add lines."""

    @property
    def last_day(self) -> object:
        return self.invoice.cycle.end - timedelta(days=1)


def _told(visit: Visit, found: Invoice) -> ToldInvoice:
    number = invoice_number(visit.account.id, found)
    return ToldInvoice(number, found, visit.services.clock.now() < found.cycle.turns)


# ── buying ───────────────────────────────────────────────────────────────────────────────


@pages.get(HOME + "/purchase", Right.CHANGE)
async def show_purchase(visit: Visit) -> Response:
    """Also with values as they are being typed, for the price and the pool's id."""
    query = visit.query
    pool = "existing" if query["ip_pool"] else "new"
    usual = fill(quantity="1", pool=pool, ip_pool="", new_pool="")
    return await _form(visit, Form({**usual.values, **query.values}), mint())


@pages.post(HOME + "/purchase")
async def purchase(visit: Visit) -> Response:
    """R3-R14. A form that is sent twice buys once."""
    form = visit.form
    offered = offer(visit, await visit.services.use_cases[Billing].subscription(visit.account.id))
    if form.has("reckon"):
        problem = _quantity(form["quantity"], offered.left)
        return await _form(
            visit, form.wrong(quantity=problem if isinstance(problem, str) else ""), form[FIELD]
        )
    if form["price"] not in ("", str(offered.price_cents)):
        said = "The price has changed since this form was shown. Nothing was bought: look at it again."
        return await _form(visit, form.wrong(form_=said), mint(), 409)
    order = _order(form, offered)
    if isinstance(order, Form):
        return await _form(visit, order, form[FIELD], 422)
    try:
        result = await do_once(visit, order.values, lambda ticket: _buy(visit, order, ticket))
    except UsedForm as error:
        said = "This form is of no use any more, and nothing was bought with it now."
        if error.result:
            said = f"This form has been sent before and added {error.result.decode()} dedicated IPs."
        again = "Look at it again and confirm, if you want this as well."
        return await _form(visit, form.wrong(form_=f"{said} {again}"), mint(), 409)
    except RelayError as error:
        found = page_error(error)
        if found is None:
            raise
        place, words = _place(order, error), word_for_page(error)
        if place == "new_pool":
            words = f"Unable to create your new IP Pool: {words}"
        return await _form(visit, form.wrong(**{place: words}), mint(), found.status)
    return visit.go(HOME, f"Successfully added {result.decode()} dedicated IPs!")


async def _buy(visit: Visit, order: PurchaseOrder, ticket: Ticket) -> bytes:
    """How many, stored in the transaction of the purchase."""
    bought = await visit.services.use_cases[Billing].purchase(
        visit.account.id,
        order.quantity,
        order.pool,
        visit.actor,
        keep=lambda done: Answered(ticket, Answer(200, str(len(done.ips)).encode())),
    )
    return str(len(bought.ips)).encode()


async def _form(visit: Visit, form: Form, token: str, status: int = 200) -> Response:
    """The form as it was filled in, with the price and the new pool's id that follow from it."""
    billing = visit.services.use_cases[Billing]
    offered = offer(visit, await billing.subscription(visit.account.id))
    snapshot = visit.services.directory.snapshot
    in_stock = len(inventory(snapshot))
    quantity = _quantity(form["quantity"], offered.left)
    line = await billing.quote(visit.account.id, quantity) if isinstance(quantity, int) else None
    one = await billing.quote(visit.account.id, 1)
    name = form["new_pool"]
    clash = ""
    if is_pool_name(name):
        try:
            create_pool(snapshot, visit.account.id, PoolEdit(name))
        except RelayError as error:
            clash = word_for_page(error)
    owned = pools_of(snapshot, visit.account.id)
    named = Counter(pool.name for pool in owned)
    return visit.page(
        "billing/purchase.html",
        status,
        form=form,
        token=token,
        offer=offered,
        is_possible=not offered.obstacle and offered.left != 0 and in_stock > 0,
        in_stock=in_stock,
        line=line,
        one=one,
        until=offered.subscription.cycle.end,
        quantity_problem=quantity if isinstance(quantity, str) else "",
        pool_id=pool_id_of(name) if is_pool_name(name) else "",
        pool_problem=clash or (_name_problem(name) if name else ""),
        pools=[("", "Choose an IP Pool")]
        + [(pool.id, pool.name if named[pool.name] == 1 else f"{pool.name} ({pool.id})") for pool in owned],
    )


def _order(form: Form, offered: Offer) -> PurchaseOrder | Form:
    """What is asked for; or the form with what is wrong with it."""
    quantity = _quantity(form["quantity"], offered.left)
    wrong = {"quantity": quantity} if isinstance(quantity, str) else {}
    pool: PoolId | NewPool = PoolId("")
    match form["pool"]:
        case "new":
            pool = NewPool(form["new_pool"])
            wrong["new_pool"] = _name_problem(pool.name)
        case "existing":
            pool = PoolId(form["ip_pool"])
            wrong["ip_pool"] = "" if pool else "Required"
        case _:
            wrong["pool"] = "Required"
    if isinstance(quantity, str) or any(wrong.values()):
        return form.wrong(**wrong)
    return PurchaseOrder(quantity, pool)


def _quantity(text: str, left: int | None) -> int | str:
    """The number, or what is wrong with it. left: how many may be added; what is none at all
    is for the purchase to refuse, in the API's words.
    """
    if not text:
        return "Required"
    if not _INTEGER.fullmatch(text):
        return "Integers only please"
    number, most = int(text), left or MOST
    if number < 1:
        return "Must be at least 1"
    return f"Must be less than {most + 1}" if number > most else number


def _name_problem(name: str) -> str:
    """What is wrong with the name of a new pool (A1); empty: nothing."""
    if not name:
        return "Required"
    if len(name) > MAX_POOL_NAME:
        return f"Must be {MAX_POOL_NAME} characters or less"
    return "" if is_pool_name(name) else "Letters, numbers and spaces only"


def _place(order: PurchaseOrder, error: RelayError) -> str:
    """The field that the refusal of a purchase concerns."""
    if isinstance(order.pool, NewPool):
        return "new_pool" if error.field == "name" else "form_"
    return "ip_pool" if error.field == "ip_pool" else "form_"
