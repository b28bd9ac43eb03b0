"""`/account/add-ons/dedicated_ips` and `/billing`."""

from dataclasses import replace
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field

from relay.domain.billing import Cycle, Invoice, Line, invoice_number
from relay.domain.directory import Account, Plan, SendingIp
from relay.domain.errors import NotGranted
from relay.domain.ids import AccountId, PoolId
from relay.frames.actor import Caller
from relay.frames.rest.auth import check_granted, check_of_account, principal
from relay.frames.rest.body import read_body
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.once import IdempotencyKey, answer_once
from relay.frames.rest.request import OneOf, RequestBody, Says
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Results
from relay.ports.idempotency import Answer, Answered, Ticket
from relay.resources.billing.rules import Billing, NewPool, Purchase

MOST = 2**31 - 1
MAX_PRICE_CENTS = 100_000_000
PRODUCT, PLAN = "dedicated_ip", "ip-0519"
_CODES = {Plan.FREE: "free1", Plan.SELF_SERVE: "self_serve", Plan.MANUAL: "manual", Plan.ENTERPRISE: "ent1"}
"""How clients of SparkPost tell plan classes apart."""


def _check_cents(price: float | None) -> float | None:
    if price is not None and abs(price * 100 - round(price * 100)) >= 1e-6:
        raise ValueError
    return price


class PurchaseBody(RequestBody):
    """What POST /account/add-ons/dedicated_ips takes: a pool that there is, or the name of a new one."""

    quantity: Annotated[
        int,
        Field(ge=1, le=MOST, validate_default=True),
        Says("quantity must be a positive integer"),
    ] = 0
    ip_pool: str | None = Field(None, description="The id of a pool of the account.")
    new_ip_pool: str | None = Field(None, description="The name of a pool to be made along with it.")


class TermsBody(RequestBody):
    """What PUT /billing/subscription takes; what is left out stays."""

    plan: Annotated[Plan | None, OneOf(Plan, Plan), Says(f"plan must be one of {', '.join(Plan)}")] = None
    limit: Annotated[int | None, Field(ge=0, le=MOST), Says("limit must be a whole number, 0 or more")] = None
    price: Annotated[
        float | None,
        Field(ge=0, le=MAX_PRICE_CENTS / 100, description="USD for an IP and a month."),
        AfterValidator(_check_cents),
        Says("price must be an amount in USD with at most two decimals"),
    ] = None
    bill_cycle_day: Annotated[
        int | None, Field(ge=1, le=28), Says("bill_cycle_day must be between 1 and 28")
    ] = None


class PurchasedIp(BaseModel):
    external_ip: str
    hostname: str


class PurchaseShape(BaseModel):
    """What was bought, and what it adds to the invoice of the running cycle."""

    ip_pool: str
    quantity: int
    ips: list[PurchasedIp]
    amount: float

    @classmethod
    def of(cls, pool: str, ips: tuple[SendingIp, ...], line: Line) -> Self:
        return cls(
            ip_pool=pool,
            quantity=len(ips),
            ips=[PurchasedIp(external_ip=ip.address, hostname=ip.hostname) for ip in ips],
            amount=line.amount_cents / 100,
        )


class Product(BaseModel):
    """Something that is paid for by the month."""

    product: str
    plan: str
    price: float
    volume: int = 1
    billing_period: str = "month"

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(product=PRODUCT, plan=PLAN, price=account.ip_price_cents / 100)


class HeldProduct(Product):
    quantity: int
    limit: int | None
    """null: no limit."""


class PendingDowngrade(BaseModel):
    plan: str
    code: str
    effective_at: str


class SubscriptionShape(BaseModel):
    """The plan of an account, and its dedicated IPs."""

    code: str
    plan: str
    type: str
    self_serve: bool
    bill_cycle_day: int
    period_start: str
    period_end: str
    """The first day of the next cycle."""
    pending_downgrades: list[PendingDowngrade]
    products: list[HeldProduct]

    @classmethod
    def of(cls, account: Account, held: int, limit: int | None, cycle: Cycle) -> Self:
        pending = []
        if account.next_plan is not None and account.next_plan_at is not None:
            plan, moment = account.next_plan, account.next_plan_at
            pending.append(PendingDowngrade(plan=plan, code=_CODES[plan], effective_at=moment.isoformat()))
        product = Product.of(account)
        return cls(
            code=_CODES[account.plan],
            plan=account.plan,
            type="manual" if account.plan in {Plan.MANUAL, Plan.ENTERPRISE} else "default",
            self_serve=account.plan is Plan.SELF_SERVE,
            bill_cycle_day=account.bill_cycle_day,
            period_start=cycle.start.isoformat(),
            period_end=cycle.end.isoformat(),
            pending_downgrades=pending,
            products=[HeldProduct(**product.model_dump(), quantity=held, limit=limit)],
        )


class LineShape(BaseModel):
    """`Dedicated IPs × 2`, from a day on."""

    description: str
    date: str
    quantity: int
    unit_price: float
    days: int
    days_in_month: int
    amount: float


class InvoiceShape(BaseModel):
    """One billing cycle. While it is open, purchases add lines."""

    id: str
    status: str
    period_start: str
    period_end: str
    currency: str = "USD"
    amount: float
    lines: list[LineShape]

    @classmethod
    def of(cls, account: AccountId, invoice: Invoice, is_open: bool) -> Self:
        cycle = invoice.cycle
        return cls(
            id=invoice_number(account, invoice),
            status="open" if is_open else "closed",
            period_start=cycle.start.isoformat(),
            period_end=cycle.end.isoformat(),
            amount=invoice.total_cents / 100,
            lines=[
                LineShape(
                    description=f"Dedicated IPs × {line.quantity}",
                    date=line.since.isoformat(),
                    quantity=line.quantity,
                    unit_price=line.price_cents / 100,
                    days=line.days,
                    days_in_month=line.month_days,
                    amount=line.amount_cents / 100,
                )
                for line in invoice.lines
            ],
        )


router = APIRouter(tags=["billing"])

_GRANTS = frozenset({"billing/manage", "account/manage"})


async def _payer(caller: Annotated[Caller, Depends(principal)]) -> Caller:
    """Billing is the account's: no subaccount has business with it. Raises NotGranted."""
    check_granted(caller, sorted(_GRANTS), _GRANTS)
    check_of_account(caller)
    return replace(caller, grants=_GRANTS)


async def _operator(caller: Annotated[Caller, Depends(_payer)]) -> Caller:
    if not caller.is_operator:
        raise NotGranted("this is for operators' keys")
    return caller


Payer = Annotated[Caller, Depends(_payer)]
Operator = Annotated[Caller, Depends(_operator)]


@router.post(
    "/account/add-ons/dedicated_ips",
    response_model=Results[PurchaseShape],
    responses=list_refusals(409, 413, 415, 422),
    openapi_extra=takes(PurchaseBody),
)
async def purchase(
    request: Request, caller: Payer, services: ServicesDep, _: IdempotencyKey = None
) -> Response:
    """Buy dedicated IPs, charged by the day from today on. They can send at once.

    With an `Idempotency-Key` a repeated request buys once and is answered again, for 24 hours.
    """

    async def work(ticket: Ticket | None) -> Response:
        body = await read_body(request, PurchaseBody)
        bought = await services.use_cases[Billing].purchase(
            caller.account,
            body.quantity,
            _pool(body),
            caller,
            keep=None if ticket is None else lambda done: Answered(ticket, Answer(200, _shown(done))),
        )
        return Response(_shown(bought), media_type="application/json")

    return await answer_once(request, caller, work)


@router.get("/billing/subscription", responses=list_refusals())
async def get_subscription(caller: Payer, services: ServicesDep) -> Results[SubscriptionShape]:
    """The account's plan, the billing cycle that is running, and the dedicated IPs it has and may have."""
    found = await services.use_cases[Billing].subscription(caller.account)
    return Results(results=SubscriptionShape.of(found.account, found.held, found.limit, found.cycle))


@router.put("/billing/subscription", responses=list_refusals(409, 413, 415), openapi_extra=takes(TermsBody))
async def set_subscription(
    request: Request, caller: Operator, services: ServicesDep
) -> Results[SubscriptionShape]:
    """For operators: plan, limit, price and day. Down to free takes effect at the end of the cycle."""
    body = await read_body(request, TermsBody)
    await services.use_cases[Billing].amend(
        caller.account,
        caller,
        plan=body.plan,
        limit=body.limit,
        price_cents=None if body.price is None else round(body.price * 100),
        bill_cycle_day=body.bill_cycle_day,
    )
    return await get_subscription(caller, services)


@router.get("/billing/plans", responses=list_refusals())
async def list_plans(caller: Payer, services: ServicesDep) -> Results[list[Product]]:
    """What can be bought, at the account's own price."""
    return Results(results=[Product.of(services.directory.snapshot.accounts[caller.account])])


@router.get("/billing/invoices", responses=list_refusals())
async def list_invoices(caller: Payer, services: ServicesDep) -> Results[list[InvoiceShape]]:
    """Newest first; the first may be that of the running cycle."""
    return Results(results=await _invoices(caller, services))


@router.get("/billing/invoices/{invoice}", responses=list_refusals(404))
async def get_invoice(invoice: str, caller: Payer, services: ServicesDep) -> Results[InvoiceShape]:
    for found in await _invoices(caller, services):
        if found.id == invoice:
            return Results(results=found)
    raise ApiError(404, "Invoice does not exist")


async def _invoices(caller: Caller, services: ServicesDep) -> list[InvoiceShape]:
    now = services.clock.now()
    found = await services.use_cases[Billing].invoices(caller.account)
    return [InvoiceShape.of(caller.account, invoice, now < invoice.cycle.turns) for invoice in found]


def _pool(body: PurchaseBody) -> PoolId | NewPool:
    """Raises ApiError 400."""
    if body.ip_pool and body.new_ip_pool:
        raise ApiError(400, "ip_pool and new_ip_pool are mutually exclusive", param="new_ip_pool")
    if body.new_ip_pool:
        return NewPool(body.new_ip_pool)
    if not body.ip_pool:
        raise ApiError(400, "ip_pool is a required field", param="ip_pool")
    return PoolId(body.ip_pool)


def _shown(bought: Purchase) -> bytes:
    results = Results[PurchaseShape](results=PurchaseShape.of(bought.pool, bought.ips, bought.line))
    return results.model_dump_json().encode()
