"""`/ip-pools`."""

from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from relay.domain.changes import Changes, first_put
from relay.domain.directory import MAX_POOL_NAME, Pool, SendingIp, Snapshot, in_order
from relay.domain.ids import DEFAULT_POOL, AccountId, PoolId
from relay.frames.actor import Caller
from relay.frames.change import change_directory
from relay.frames.rest.auth import require
from relay.frames.rest.body import read_body
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.request import RequestBody
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Results
from relay.resources.ip_pools import rules
from relay.resources.ip_pools.rules import PoolEdit, change_pool


class PoolIp(BaseModel):
    """A sending IP in its pool."""

    external_ip: str
    hostname: str
    auto_warmup_enabled: bool = False


class PoolShape(BaseModel):
    """An IP pool."""

    id: str
    name: str
    ips: list[PoolIp]
    signing_domain: str | None = None
    fbl_signing_domain: str | None = None
    auto_warmup_overflow_pool: str | None = None

    @classmethod
    def of(cls, pool: Pool, ips: list[SendingIp]) -> Self:
        return cls(
            id=pool.id,
            name=pool.name,
            ips=[PoolIp(external_ip=ip.address, hostname=ip.hostname) for ip in ips],
            signing_domain=pool.signing_domain or None,
            fbl_signing_domain=pool.fbl_signing_domain or None,
            auto_warmup_overflow_pool=pool.overflow_pool or None,
        )


class PoolBody(RequestBody):
    """What POST and PUT /ip-pools take. In PUT an empty text removes."""

    name: str = Field(
        json_schema_extra={"maxLength": MAX_POOL_NAME, "pattern": "^[A-Za-z0-9]+([ _-][A-Za-z0-9]+)*$"}
    )
    """What it may be is said by the use case."""
    signing_domain: str | None = Field(None, description="A DKIM verified sending domain of the account.")
    fbl_signing_domain: str | None = Field(None, description="As signing_domain, for a second signature.")
    auto_warmup_overflow_pool: str | None = Field(None, description="The id of a pool, or `shared pool`.")

    @property
    def edit(self) -> PoolEdit:
        return PoolEdit(
            self.name, self.auto_warmup_overflow_pool, self.signing_domain, self.fbl_signing_domain
        )


class PoolCreated(BaseModel):
    """The id that the name gave; it is what `options.ip_pool` says."""

    id: str


class PoolSaid(PoolCreated):
    """What was set."""

    name: str
    signing_domain: str | None = None
    fbl_signing_domain: str | None = None
    auto_warmup_overflow_pool: str | None = None


router = APIRouter(tags=["IP pools"])

Viewer = Annotated[Caller, require("ip_pools/view", of_account=True)]
Manager = Annotated[Caller, require("ip_pools/manage", of_account=True)]


@router.get("/ip-pools", responses=list_refusals(), response_model_exclude_none=True)
async def list_pools(caller: Viewer, services: ServicesDep) -> Results[list[PoolShape]]:
    """All pools of the account with their sending IPs; `default` is always among them."""
    snapshot = services.directory.snapshot
    owned = [pool for (owner, _), pool in snapshot.pools.items() if owner == caller.account]
    owned.sort(key=lambda pool: (pool.id != DEFAULT_POOL, pool.id))
    return Results(results=[_shape(snapshot, pool) for pool in owned])


@router.post("/ip-pools", responses=list_refusals(409, 413, 415), openapi_extra=takes(PoolBody))
async def create_pool(request: Request, caller: Manager, services: ServicesDep) -> Results[PoolCreated]:
    """A new pool, without IPs. Its id comes of its name and never changes."""
    body = await read_body(request, PoolBody)
    changes = await change_directory(
        services.directory,
        lambda snapshot: rules.create_pool(snapshot, caller.account, body.edit),
        caller,
    )
    return Results(results=PoolCreated(id=first_put(changes, Pool).id))


@router.get("/ip-pools/{pool}", responses=list_refusals(404), response_model_exclude_none=True)
async def get_pool(pool: str, caller: Viewer, services: ServicesDep) -> Results[PoolShape]:
    snapshot = services.directory.snapshot
    found = snapshot.pools.get((caller.account, PoolId(pool)))
    if found is None:
        raise ApiError(404, "IP pool not found.")
    return Results(results=_shape(snapshot, found))


@router.put(
    "/ip-pools/{pool}",
    responses=list_refusals(404, 413, 415),
    response_model_exclude_none=True,
    openapi_extra=takes(PoolBody),
)
async def update_pool(
    pool: str, request: Request, caller: Manager, services: ServicesDep
) -> Results[PoolSaid]:
    """Rename a pool, or set or remove what it signs with and overflows into. It keeps its id."""
    body = await read_body(request, PoolBody)

    def compute(snapshot: Snapshot) -> Changes:
        if pool != DEFAULT_POOL:
            _check(snapshot, caller.account, pool)
        return change_pool(snapshot, caller.account, PoolId(pool), body.edit)

    await change_directory(services.directory, compute, caller)
    return Results(results=PoolSaid(id=pool, **body.model_dump(exclude_unset=True)))


@router.delete("/ip-pools/{pool}", responses=list_refusals(404), status_code=204)
async def delete_pool(pool: str, caller: Manager, services: ServicesDep) -> None:
    """Its IPs move to `default`; mail in the queue keeps the IP that it has."""

    def compute(snapshot: Snapshot) -> Changes:
        if pool != DEFAULT_POOL:
            _check(snapshot, caller.account, pool)
        return rules.delete_pool(snapshot, caller.account, PoolId(pool))

    await change_directory(services.directory, compute, caller)


def _shape(snapshot: Snapshot, pool: Pool) -> PoolShape:
    return PoolShape.of(pool, _ips(snapshot, pool))


def _ips(snapshot: Snapshot, pool: Pool) -> list[SendingIp]:
    """All that the pool has: those that take no new mail for the moment too."""
    return list(
        in_order(
            ip
            for ip in snapshot.ips.values()
            if ip.account == pool.account and (ip.pool or DEFAULT_POOL) == pool.id and not ip.is_retired
        )
    )


def _check(snapshot: Snapshot, account: AccountId, pool: str) -> None:
    if (account, PoolId(pool)) not in snapshot.pools:
        raise ApiError(404, f"IP Pool {pool} does not exist.")
