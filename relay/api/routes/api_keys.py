"""`/api-keys`."""

from typing import Annotated

from fastapi import APIRouter, Request

from relay.api.auth import Caller, require
from relay.api.body import read_body
from relay.api.docs import refusals, takes
from relay.api.errors import ApiError
from relay.api.services import ServicesDep
from relay.domain.changes import Remove
from relay.domain.directory import ApiKey, Snapshot
from relay.schema.api import Results
from relay.schema.keys import ApiKeyBody, ApiKeyShape, key_id
from relay.service import administer
from relay.service.administer import Changes
from relay.service.authority import check_no_stronger
from relay.service.change import change_directory
from relay.service.keys import new_key

router = APIRouter(tags=["API keys"])

Manager = Annotated[Caller, require("api_keys/manage")]


@router.get("/api-keys", responses=refusals(), response_model_exclude_none=True)
async def list_keys(caller: Manager, services: ServicesDep) -> Results[list[ApiKeyShape]]:
    """The keys of the account and of its subaccounts, or of the part that X-MSYS-SUBACCOUNT names."""
    owned = _keys(services.directory.snapshot, caller)
    owned.sort(key=lambda key: (key.subaccount or 0, key.label, key.sha256))
    return Results(results=[ApiKeyShape.of(key) for key in owned])


@router.get("/api-keys/{key}", responses=refusals(404), response_model_exclude_none=True)
async def get_key(key: str, caller: Manager, services: ServicesDep) -> Results[ApiKeyShape]:
    return Results(results=ApiKeyShape.of(_key(services.directory.snapshot, caller, key)))


@router.post(
    "/api-keys",
    responses=refusals(413, 415),
    response_model_exclude_none=True,
    openapi_extra=takes(ApiKeyBody),
)
async def create_key(request: Request, caller: Manager, services: ServicesDep) -> Results[ApiKeyShape]:
    """A new key, shown this once. It may do no more than the key that asks for it."""
    body = await read_body(request, ApiKeyBody)
    grants = frozenset(body.grants)
    text, key = new_key(caller.account, body.label, grants, caller.subaccount, body.valid_ips)

    def compute(snapshot: Snapshot) -> Changes:
        check_no_stronger(snapshot, caller.principal, key.grants, key.valid_ips, key.subaccount)
        return administer.create_key(snapshot, key)

    await change_directory(services.directory, compute, caller.actor, caller.judge, caller.caps)
    return Results(results=ApiKeyShape.of(key, text))


@router.delete("/api-keys/{key}", responses=refusals(404), status_code=204)
async def revoke_key(key: str, caller: Manager, services: ServicesDep) -> None:
    """Dead at once, for SMTP too. Only a key that may do no more than the key that asks for it."""

    def compute(snapshot: Snapshot) -> Changes:
        found = _key(snapshot, caller, key)
        check_no_stronger(snapshot, caller.principal, found.grants, found.valid_ips, found.subaccount)
        return (Remove(found),)

    await change_directory(services.directory, compute, caller.actor, caller.judge, caller.caps)


def _keys(snapshot: Snapshot, caller: Caller) -> list[ApiKey]:
    """Those of the installation's operators are not the account's to see."""
    return [
        key
        for key in snapshot.keys.values()
        if key.account == caller.account
        and caller.sees(key.subaccount)
        and (caller.is_operator or not key.is_operator)
    ]


def _key(snapshot: Snapshot, caller: Caller, name: str) -> ApiKey:
    found = next((key for key in _keys(snapshot, caller) if key_id(key) == name), None)
    if found is None:
        raise ApiError(404, f"API key {name} does not exist.")
    return found
