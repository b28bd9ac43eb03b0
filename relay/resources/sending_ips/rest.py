"""`/sending-ips`."""

import ipaddress
from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field

from relay.domain.changes import Changes
from relay.domain.directory import SendingIp, Snapshot, in_order
from relay.domain.ids import DEFAULT_POOL, AccountId, PoolId, ip_text
from relay.frames.actor import Caller
from relay.frames.change import change_directory
from relay.frames.rest.auth import require
from relay.frames.rest.body import read_body
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.request import Off, RequestBody, Says, refuse
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Message, Results
from relay.resources.sending_ips.rules import move_ip

_MAX_STAGE = 29
_STAGE = f"auto_warmup_stage must be between 1 and {_MAX_STAGE}"


def _refuse_stage(stage: int) -> int:
    raise ValueError("auto_warmup_enabled must be true to update auto_warmup_stage")


class SendingIpShape(BaseModel):
    """A dedicated IP."""

    external_ip: str
    hostname: str
    ip_pool: str
    customer_provided: bool = False
    auto_warmup_enabled: bool = False

    @classmethod
    def of(cls, ip: SendingIp) -> Self:
        return cls(external_ip=ip.address, hostname=ip.hostname, ip_pool=ip.pool or DEFAULT_POOL)


class SendingIpBody(RequestBody):
    """What PUT /sending-ips/{external_ip} takes."""

    ip_pool: str | None = Field(None, description="The id of a pool of the account.")
    auto_warmup_enabled: Annotated[Off, refuse("Auto warm-up is not available on this installation.")] = False
    auto_warmup_stage: Annotated[
        int | None,
        Field(ge=1, le=_MAX_STAGE, description="Only with warm-up on."),
        AfterValidator(_refuse_stage),
        Says(_STAGE, value_error="{error}"),
    ] = None


router = APIRouter(tags=["sending IPs"])

Viewer = Annotated[Caller, require("ip_pools/view", of_account=True)]
Manager = Annotated[Caller, require("ip_pools/manage", of_account=True)]


@router.get("/sending-ips", responses=list_refusals())
async def list_ips(caller: Viewer, services: ServicesDep) -> Results[list[SendingIpShape]]:
    """All dedicated IPs of the account."""
    ips = services.directory.snapshot.ips.values()
    owned = in_order(ip for ip in ips if ip.account == caller.account and not ip.is_retired)
    return Results(results=[SendingIpShape.of(ip) for ip in owned])


@router.get("/sending-ips/{external_ip}", responses=list_refusals(404))
async def get_ip(external_ip: str, caller: Viewer, services: ServicesDep) -> Results[SendingIpShape]:
    return Results(results=SendingIpShape.of(_ip(services.directory.snapshot, caller.account, external_ip)))


@router.put(
    "/sending-ips/{external_ip}", responses=list_refusals(404, 413, 415), openapi_extra=takes(SendingIpBody)
)
async def update_ip(
    external_ip: str, request: Request, caller: Manager, services: ServicesDep
) -> Results[Message]:
    """Move an IP to another pool of the account. Mail in the queue keeps the IP that it has."""
    _ip(services.directory.snapshot, caller.account, external_ip)
    body = await read_body(request, SendingIpBody)

    def compute(snapshot: Snapshot) -> Changes:
        ip = _ip(snapshot, caller.account, external_ip)
        if body.ip_pool is None:
            return ()
        pool = PoolId(body.ip_pool.lower())  # A25
        if (caller.account, pool) not in snapshot.pools:
            raise ApiError(400, f"IP Pool {body.ip_pool} does not exist.")
        return move_ip(snapshot, ip.address, pool)

    await change_directory(services.directory, compute, caller)
    return Results(results=Message(message="Updated Sending IP."))


def _ip(snapshot: Snapshot, account: AccountId, text: str) -> SendingIp:
    """Of this account. Raises ApiError 400, 404."""
    try:
        address = ip_text(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise ApiError(400, "external ip must be a valid IPv4 address") from error
    ip = snapshot.ips.get(address)
    if ip is None or ip.account != account or ip.is_retired:
        raise ApiError(404, "Sending IP does not exist")
    return ip
