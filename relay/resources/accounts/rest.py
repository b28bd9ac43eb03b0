"""`/account`."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from relay.domain.directory import Account, Plan
from relay.domain.tracking import NOTICE
from relay.frames.actor import Caller
from relay.frames.change import change_directory
from relay.frames.rest.auth import require
from relay.frames.rest.body import read_body
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.request import Name, Off, RequestBody, refuse
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import NOTICE_HEADER, Message, Results
from relay.resources.accounts.rules import rename_account

NO_TFA = "tfa_required is not available on this installation."
NO_OPTIONS = "options are not available on this installation."
TRACKING = frozenset(
    {"smtp_tracking_default", "rest_tracking_default", "initial_open_pixel_tracking", "click_tracking"}
)
"""Options that are kept, where mail that asks for tracking is taken."""


class AccountOptions(BaseModel):
    """Those of tracking are what was set; mail is sent as it came all the same."""

    smtp_tracking_default: bool = False
    rest_tracking_default: bool = False
    transactional_default: Literal[False] = False
    transactional_unsub: Literal[False] = False
    initial_open_pixel_tracking: bool = False
    click_tracking: bool = False


class Subscription(BaseModel):
    """The plan."""

    code: str
    name: str
    self_serve: bool
    type: str

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """SparkPost's words where it has some: `ent1` is how clients know Enterprise."""
        return cls(
            code="ent1" if plan is Plan.ENTERPRISE else plan.value,
            name=plan.value.replace("_", " ").capitalize(),
            self_serve=plan in (Plan.SELF_SERVE, Plan.FREE),
            type="default" if plan in (Plan.SELF_SERVE, Plan.FREE) else "manual",
        )


class PendingSubscription(BaseModel):
    """What the plan becomes, and when."""

    code: str
    name: str
    effective_date: str


class AccountShape(BaseModel):
    """An account."""

    customer_id: int
    company_name: str
    status: str
    service_level: str
    tfa_required: Literal[False] = False
    subscription: Subscription
    pending_subscription: PendingSubscription | None = None
    options: AccountOptions = AccountOptions()

    @classmethod
    def of(cls, account: Account) -> Self:
        pending = None
        if account.next_plan is not None and account.next_plan_at is not None:
            plan = Subscription.of(account.next_plan)
            moment = account.next_plan_at.isoformat()
            pending = PendingSubscription(code=plan.code, name=plan.name, effective_date=moment)
        return cls(
            customer_id=account.id,
            company_name=account.name,
            status=account.status.value,
            service_level="enterprise" if account.plan is Plan.ENTERPRISE else "standard",
            subscription=Subscription.of(account.plan),
            pending_subscription=pending,
            options=AccountOptions(**dict.fromkeys(account.tracking, True)),
        )


class AccountOptionsBody(RequestBody):
    """What is left out stays as it is."""

    smtp_tracking_default: bool = False
    rest_tracking_default: bool = False
    transactional_default: Annotated[Off, refuse(NO_OPTIONS)] = False
    transactional_unsub: Annotated[Off, refuse(NO_OPTIONS)] = False
    initial_open_pixel_tracking: bool = False
    click_tracking: bool = False

    @property
    def asked(self) -> dict[str, bool]:
        """Those of tracking that are given."""
        return self.model_dump(include=set(TRACKING), exclude_unset=True)


class AccountBody(RequestBody):
    """What may be set."""

    company_name: Name | None = None
    tfa_required: Annotated[Off, refuse(NO_TFA)] = False
    options: AccountOptionsBody = Field(
        AccountOptionsBody(), description="Those of tracking are kept, without effect; the others are off."
    )


router = APIRouter(tags=["account"])


@router.get("/account", responses=list_refusals(), response_model_exclude_none=True)
async def get_account(
    caller: Annotated[Caller, require("account/view", of_account=True)], services: ServicesDep
) -> Results[AccountShape]:
    account = services.directory.snapshot.accounts[caller.account]
    return Results(results=AccountShape.of(account))


@router.put("/account", responses=list_refusals(413, 415), openapi_extra=takes(AccountBody))
async def update_account(
    request: Request,
    response: Response,
    caller: Annotated[Caller, require("account/manage", of_account=True)],
    services: ServicesDep,
) -> Results[Message]:
    """Rename the account, and keep its options of tracking."""
    body = await read_body(request, AccountBody)
    if any(body.options.asked.values()):
        if services.refuses_tracking:
            raise ApiError(400, NO_OPTIONS)
        response.headers[NOTICE_HEADER] = NOTICE
    if body.company_name is not None or body.options.asked:
        await change_directory(
            services.directory,
            lambda snapshot: rename_account(snapshot, caller.account, body.company_name, body.options.asked),
            caller,
        )
    return Results(results=Message(message="Account has been updated"))
