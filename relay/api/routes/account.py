"""`/account` (C §3.7)."""

from typing import Annotated

from fastapi import APIRouter, Request

from relay.api.auth import Caller, require
from relay.api.body import read_body
from relay.api.docs import refusals, takes
from relay.api.services import ServicesDep
from relay.schema.account import AccountBody, AccountShape
from relay.schema.api import Message, Results
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
    caller: Annotated[Caller, require("account/manage", of_account=True)],
    services: ServicesDep,
) -> Results[Message]:
    """Rename the account."""
    body = await read_body(request, AccountBody)
    name = body.company_name
    if name is not None:
        await change_directory(
            services.directory,
            lambda snapshot: administer.rename_account(snapshot, caller.account, name),
            caller.actor,
            caller.judge,
            caller.caps,
        )
    return Results(results=Message(message="Account has been updated"))
