"""`/sending-ips`."""

import ipaddress
from typing import Annotated

from fastapi import APIRouter, Request

from relay.api.auth import Caller, require
from relay.api.body import read_body
from relay.api.docs import refusals, takes
from relay.api.errors import ApiError
from relay.api.services import ServicesDep
from relay.domain.directory import SendingIp, Snapshot, in_order
from relay.domain.ids import AccountId, PoolId, ip_text
from relay.schema.api import Message, Results
from relay.schema.pools import SendingIpBody, SendingIpShape
from relay.service import administer
from relay.service.administer import Changes
from relay.service.change import change_directory

router = APIRouter(tags=["sending IPs"])

Viewer = Annotated[Caller, require("ip_pools/view", of_account=True)]
Manager = Annotated[Caller, require("ip_pools/manage", of_account=True)]


@router.get("/sending-ips", responses=refusals())
async def list_ips(caller: Viewer, services: ServicesDep) -> Results[list[SendingIpShape]]:
    """All dedicated IPs of the account."""
    ips = services.directory.snapshot.ips.values()
    owned = in_order(ip for ip in ips if ip.account == caller.account and not ip.is_retired)
    return Results(results=[SendingIpShape.of(ip) for ip in owned])


@router.get("/sending-ips/{external_ip}", responses=refusals(404))
async def get_ip(external_ip: str, caller: Viewer, services: ServicesDep) -> Results[SendingIpShape]:
    return Results(results=SendingIpShape.of(_ip(services.directory.snapshot, caller.account, external_ip)))


@router.put(
    "/sending-ips/{external_ip}", responses=refusals(404, 413, 415), openapi_extra=takes(SendingIpBody)
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
        return administer.move_ip(snapshot, ip.address, pool)

    await change_directory(services.directory, compute, caller.actor, caller.judge, caller.caps)
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
