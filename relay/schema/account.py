"""The account as REST shows and takes it: what this installation truly has of it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, PlainValidator, WithJsonSchema

from relay.domain.directory import Account, Plan
from relay.schema.request import RequestBody, label
from relay.schema.tables import MAX_NAME

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
