"""`/api-keys`."""

from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from relay.domain.changes import Changes
from relay.domain.directory import GRANTS, ApiKey, Snapshot
from relay.frames.actor import Caller
from relay.frames.change import change_directory
from relay.frames.rest.auth import require
from relay.frames.rest.body import read_body
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.request import Clients, Name, OneOf, RequestBody, Says
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Results
from relay.resources.api_keys import rules
from relay.resources.api_keys.rules import key_id, new_key

_GRANTS = ", ".join(f"'{grant}'" for grant in sorted(GRANTS))


class ApiKeyBody(RequestBody):
    """A new key."""

    label: Name
    grants: Annotated[
        tuple[Annotated[str, OneOf(sorted(GRANTS))], ...],
        Field(min_length=1, strict=False),
        Says(f"grants must be an array of some of {_GRANTS}"),
    ]
    valid_ips: Annotated[Clients, Says("valid_ips must be an array of addresses and networks")] = ()


class ApiKeyShape(BaseModel):
    """A key, of which only the first four characters are known."""

    id: str
    label: str
    short_key: str
    grants: list[str]
    valid_ips: list[str]
    subaccount_id: int | None = None
    key: str | None = None
    """Its text: in the answer to its creation and never again."""

    @classmethod
    def of(cls, key: ApiKey, text: str | None = None) -> Self:
        return cls(
            id=key_id(key),
            label=key.label,
            short_key=key.short,
            grants=sorted(key.grants),
            valid_ips=list(key.valid_ips),
            subaccount_id=key.subaccount,
            key=text,
        )


router = APIRouter(tags=["API keys"])

Manager = Annotated[Caller, require("api_keys/manage")]


@router.get("/api-keys", responses=list_refusals(), response_model_exclude_none=True)
async def list_keys(caller: Manager, services: ServicesDep) -> Results[list[ApiKeyShape]]:
    """The keys of the account and of its subaccounts, or of the part that X-MSYS-SUBACCOUNT names."""
    owned = _keys(services.directory.snapshot, caller)
    owned.sort(key=lambda key: (key.subaccount or 0, key.label, key.sha256))
    return Results(results=[ApiKeyShape.of(key) for key in owned])


@router.get("/api-keys/{key}", responses=list_refusals(404), response_model_exclude_none=True)
async def get_key(key: str, caller: Manager, services: ServicesDep) -> Results[ApiKeyShape]:
    return Results(results=ApiKeyShape.of(_key(services.directory.snapshot, caller, key)))


@router.post(
    "/api-keys",
    responses=list_refusals(413, 415),
    response_model_exclude_none=True,
    openapi_extra=takes(ApiKeyBody),
)
async def create_key(request: Request, caller: Manager, services: ServicesDep) -> Results[ApiKeyShape]:
    """A new key, shown this once. It may do no more than the key that asks for it."""
    body = await read_body(request, ApiKeyBody)
    grants = frozenset(body.grants)
    text, key = new_key(caller.account, body.label, grants, caller.subaccount, body.valid_ips)
    await change_directory(
        services.directory, lambda snapshot: rules.create_key(snapshot, key, caller), caller
    )
    return Results(results=ApiKeyShape.of(key, text))


@router.delete("/api-keys/{key}", responses=list_refusals(404), status_code=204)
async def revoke_key(key: str, caller: Manager, services: ServicesDep) -> None:
    """Dead at once, for SMTP too. Only a key that may do no more than the key that asks for it."""

    def compute(snapshot: Snapshot) -> Changes:
        return rules.revoke_key(snapshot, _key(snapshot, caller, key), caller)

    await change_directory(services.directory, compute, caller)


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
