"""`/account/add-ons/dedicated_ips` and `/billing`."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from relay.api.auth import Caller, check_granted, check_of_account, principal
from relay.api.body import read_body
from relay.api.docs import refusals, takes
from relay.api.errors import ApiError
from relay.api.idempotency import IdempotencyKey, answer_once
from relay.api.services import ServicesDep
from relay.domain.directory import Snapshot
from relay.domain.errors import NotGranted
from relay.domain.ids import PoolId
from relay.ports import Answer, Answered, Ticket
from relay.schema.api import Results
from relay.schema.billing import (
    InvoiceShape,
    Product,
    PurchaseBody,
    PurchaseShape,
    SubscriptionShape,
    TermsBody,
)
from relay.service.authority import check_change
from relay.service.billing import NewPool, Purchase

router = APIRouter(tags=["billing"])

_GRANTS = frozenset({"billing/manage", "account/manage"})


async def _payer(caller: Annotated[Caller, Depends(principal)]) -> Caller:
    """Billing is the account's: no subaccount has business with it. Raises NotGranted."""
    check_granted(caller, sorted(_GRANTS), _GRANTS)
    check_of_account(caller)

    def judge(snapshot: Snapshot) -> None:
        check_change(snapshot, caller.principal, _GRANTS)

    return replace(caller, judge=judge)


async def _operator(caller: Annotated[Caller, Depends(_payer)]) -> Caller:
    if not caller.is_operator:
        raise NotGranted("this is for operators' keys")
    return caller


Payer = Annotated[Caller, Depends(_payer)]
Operator = Annotated[Caller, Depends(_operator)]


@router.post(
    "/account/add-ons/dedicated_ips",
    response_model=Results[PurchaseShape],
    responses=refusals(409, 413, 415, 422),
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
        bought = await services.billing.purchase(
            caller.account,
            body.quantity,
            _pool(body),
            caller.actor,
            by_operator=caller.is_operator,
            caps=caller.caps,
            judge=caller.judge,
            keep=None if ticket is None else lambda done: Answered(ticket, Answer(200, _shown(done))),
        )
        return Response(_shown(bought), media_type="application/json")

    return await answer_once(request, caller, work)


@router.get("/billing/subscription", responses=refusals())
async def get_subscription(caller: Payer, services: ServicesDep) -> Results[SubscriptionShape]:
    """The account's plan, the billing cycle that is running, and the dedicated IPs it has and may have."""
    found = await services.billing.subscription(caller.account)
    return Results(results=SubscriptionShape.of(found.account, found.held, found.limit, found.cycle))


@router.put("/billing/subscription", responses=refusals(409, 413, 415), openapi_extra=takes(TermsBody))
async def set_subscription(
    request: Request, caller: Operator, services: ServicesDep
) -> Results[SubscriptionShape]:
    """For operators: plan, limit, price and day. Down to free takes effect at the end of the cycle."""
    body = await read_body(request, TermsBody)
    await services.billing.amend(
        caller.account,
        caller.actor,
        plan=body.plan,
        limit=body.limit,
        price_cents=body.price,
        bill_cycle_day=body.bill_cycle_day,
        judge=caller.judge,
    )
    return await get_subscription(caller, services)


@router.get("/billing/plans", responses=refusals())
async def list_plans(caller: Payer, services: ServicesDep) -> Results[list[Product]]:
    """What can be bought, at the account's own price."""
    return Results(results=[Product.of(services.directory.snapshot.accounts[caller.account])])


@router.get("/billing/invoices", responses=refusals())
async def list_invoices(caller: Payer, services: ServicesDep) -> Results[list[InvoiceShape]]:
    """Newest first; the first may be that of the running cycle."""
    return Results(results=await _invoices(caller, services))


@router.get("/billing/invoices/{invoice}", responses=refusals(404))
async def get_invoice(invoice: str, caller: Payer, services: ServicesDep) -> Results[InvoiceShape]:
    for found in await _invoices(caller, services):
        if found.id == invoice:
            return Results(results=found)
    raise ApiError(404, "Invoice does not exist")


async def _invoices(caller: Caller, services: ServicesDep) -> list[InvoiceShape]:
    now = services.clock.now()
    found = await services.billing.invoices(caller.account)
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
