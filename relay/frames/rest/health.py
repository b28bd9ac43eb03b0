"""`/healthz` and `/readyz`: for those who watch the process; without a key."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from relay.domain.errors import StoreUnavailable
from relay.frames.rest.errors import ApiError
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Errors


class Health(BaseModel):
    status: Literal["ok"]


router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Errors, "description": "No mail can be taken; the reason."}})
async def readyz(services: ServicesDep) -> Health:
    """It takes mail: it listens, does not stop, and its store answers, is where it was, and has room."""
    if (trouble := services.trouble()) is not None:
        raise ApiError(503, f"{trouble[0].upper()}{trouble[1:]}")
    try:
        await services.directory.refresh()
    except StoreUnavailable as error:
        raise ApiError(503, "The store is unavailable") from error
    return Health(status="ok")
