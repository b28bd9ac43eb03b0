"""Purchases, subscription and invoices as REST shows and takes them. Prices are in USD."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from relay.domain.billing import Cycle, Invoice, Line, invoice_number
from relay.domain.directory import Account, Plan, SendingIp
from relay.domain.ids import AccountId
from relay.schema.request import RequestBody, text

MOST = 2**31 - 1
MAX_PRICE_CENTS = 100_000_000
PRODUCT, PLAN = "dedicated_ip", "ip-0519"
_CODES = {Plan.FREE: "free1", Plan.SELF_SERVE: "self_serve", Plan.MANUAL: "manual", Plan.ENTERPRISE: "ent1"}
"""How clients of SparkPost tell plan classes apart."""


def _parse_quantity(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST:
        return value
    raise ValueError("quantity must be a positive integer")


def _parse_plan(value: object) -> Plan:
    try:
        return Plan(str(value))
    except ValueError as error:
        raise ValueError(f"plan must be one of {', '.join(Plan)}") from error


def _parse_limit(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return value
    raise ValueError("limit must be a whole number, 0 or more")


def _parse_price(value: object) -> int:
    """Cents."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        cents = value * 100
        if 0 <= cents <= MAX_PRICE_CENTS and abs(cents - round(cents)) < 1e-6:
            return round(cents)
    raise ValueError("price must be an amount in USD with at most two decimals")


def _parse_day(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 28:
        return value
    raise ValueError("bill_cycle_day must be between 1 and 28")


class PurchaseBody(RequestBody):
    """What POST /account/add-ons/dedicated_ips takes: a pool that there is, or the name of a new one."""

    quantity: Annotated[
        int,
        PlainValidator(_parse_quantity),
        Field(validate_default=True),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST}),
    ] = 0
    ip_pool: Annotated[
        str | None,
        PlainValidator(text("ip_pool")),
        WithJsonSchema({"type": "string", "description": "The id of a pool of the account."}),
    ] = None
    new_ip_pool: Annotated[
        str | None,
        PlainValidator(text("new_ip_pool")),
        WithJsonSchema({"type": "string", "description": "The name of a pool to be made along with it."}),
    ] = None


class TermsBody(RequestBody):
    """What PUT /billing/subscription takes; what is left out stays."""

    plan: Annotated[
        Plan | None,
        PlainValidator(_parse_plan),
        WithJsonSchema({"type": "string", "enum": list(Plan)}),
    ] = None
    limit: Annotated[
        int | None,
        PlainValidator(_parse_limit),
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MOST}),
    ] = None
    price: Annotated[
        int | None,
        PlainValidator(_parse_price),
        WithJsonSchema({"type": "number", "minimum": 0, "description": "USD for an IP and a month."}),
    ] = None
    bill_cycle_day: Annotated[
        int | None,
        PlainValidator(_parse_day),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 28}),
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
