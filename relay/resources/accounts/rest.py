"""`/account`."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, PlainValidator, WithJsonSchema

from relay.domain.directory import Account, Plan
from relay.domain.tracking import NOTICE
from relay.frames.change import change_directory
from relay.frames.rest.auth import Caller, require
from relay.frames.rest.body import read_body
from relay.frames.rest.description import refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.request import RequestBody, label
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import NOTICE_HEADER, Message, Results
from relay.frames.values import MAX_NAME
from relay.resources.accounts.rules import rename_account

NO_TFA = "tfa_required is not available on this installation."
NO_OPTIONS = "options are not available on this installation."
TRACKING = frozenset(
    {"smtp_tracking_default", "rest_tracking_default", "initial_open_pixel_tracking", "click_tracking"}
)
"""Options that are kept, where mail that asks for tracking is taken."""


def _parse_tfa(value: object) -> bool:
    """Off is what it is; nothing is accepted that has no effect."""
    if value is not False:
        raise ValueError(NO_TFA if value is True else "tfa_required must be a boolean")
    return False


def _parse_options(value: object) -> dict[str, bool]:
    """Of tracking: on or off. Others stay off."""
    if not isinstance(value, dict):
        raise ValueError("options must be an object")
    asked = {name: wanted for name, wanted in value.items() if name in AccountOptions.model_fields}
    for name, wanted in asked.items():
        if not isinstance(wanted, bool):
            raise ValueError(f"options.{name} must be a boolean")
        if wanted and name not in TRACKING:
            raise ValueError(NO_OPTIONS)
    return {name: wanted for name, wanted in asked.items() if name in TRACKING}


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


_NOTHING_ASKED: dict[str, bool] = {}


class AccountBody(RequestBody):
    """What may be set."""

    company_name: Annotated[
        str | None,
        PlainValidator(label("company_name")),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
    ] = None
    tfa_required: Annotated[
        bool, PlainValidator(_parse_tfa), WithJsonSchema({"type": "boolean", "enum": [False]})
    ] = False
    options: Annotated[
        dict[str, bool],
        PlainValidator(_parse_options),
        WithJsonSchema(
            {
                "type": "object",
                "description": "Those of tracking are kept, without effect; the others are off.",
                "properties": {
                    name: {"type": "boolean"} if name in TRACKING else {"type": "boolean", "enum": [False]}
                    for name in AccountOptions.model_fields
                },
            }
        ),
    ] = _NOTHING_ASKED


router = APIRouter(tags=["account"])


@router.get("/account", responses=refusals(), response_model_exclude_none=True)
async def get_account(
    caller: Annotated[Caller, require("account/view", of_account=True)], services: ServicesDep
) -> Results[AccountShape]:
    account = services.directory.snapshot.accounts[caller.account]
    return Results(results=AccountShape.of(account))


@router.put("/account", responses=refusals(413, 415), openapi_extra=takes(AccountBody))
async def update_account(
    request: Request,
    response: Response,
    caller: Annotated[Caller, require("account/manage", of_account=True)],
    services: ServicesDep,
) -> Results[Message]:
    """Rename the account, and keep its options of tracking."""
    body = await read_body(request, AccountBody)
    if any(body.options.values()):
        if services.refuses_tracking:
            raise ApiError(400, NO_OPTIONS)
        response.headers[NOTICE_HEADER] = NOTICE
    if body.company_name is not None or body.options:
        await change_directory(
            services.directory,
            lambda snapshot: rename_account(snapshot, caller.account, body.company_name, body.options),
            caller.actor,
            caller.judge,
            caller.caps,
        )
    return Results(results=Message(message="Account has been updated"))
