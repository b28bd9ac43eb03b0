"""`/account`."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from relay.api.auth import Caller, require
from relay.api.body import read_body
from relay.api.docs import refusals, takes
from relay.api.errors import ApiError
from relay.api.services import ServicesDep
from relay.schema.account import NO_OPTIONS, AccountBody, AccountShape
from relay.schema.api import NOTICE_HEADER, Message, Results
from relay.schema.tracking import NOTICE
from relay.service import administer
from relay.service.change import change_directory

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
            lambda snapshot: administer.rename_account(
                snapshot, caller.account, body.company_name, body.options
            ),
            caller.actor,
            caller.judge,
            caller.caps,
        )
    return Results(results=Message(message="Account has been updated"))
