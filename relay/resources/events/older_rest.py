"""`/message-events` and what belonged to it, older names of `/events/message` that some clients alone know.

Their answers differ: `links` is a list of relations, timestamps name their offset by digits, and the
documentation is in classes, as that of webhooks still is.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from relay.frames.actor import Caller
from relay.frames.rest.auth import require
from relay.frames.rest.description import list_refusals
from relay.frames.rest.paging import relations
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import LinkedPage, Results
from relay.resources.events.documentation import documentation_in_classes
from relay.resources.events.rest import (
    PARAMETERS,
    Viewer,
    describe_parameter,
    find_events,
    invalid,
    samples_of,
    write_events,
)

router = APIRouter(tags=["events"])

WebhookViewer = Annotated[Caller, require("webhooks/view")]

OLDER_NAMES: Mapping[str, str] = {
    "campaign_ids": "campaigns",
    "friendly_froms": "from_addresses",
    "message_ids": "messages",
    "reason": "reasons",
    "subject": "subjects",
    "template_ids": "templates",
    "transmission_ids": "transmissions",
}
"""Filters that had another name: to ignore them would be to answer with everybody's events."""
_UTC_NAMES = {"", "utc", "etc/utc", "gmt", "z"}
_UTC_BY_DIGITS = "+00:00"

_PARAMETERS = {
    "parameters": [
        *PARAMETERS["parameters"],
        *(describe_parameter(old, f"The older name of `{new}`.") for old, new in OLDER_NAMES.items()),
        describe_parameter("page", "The first page alone; `links` goes on.", enum=["1"]),
        describe_parameter("timezone", "UTC alone; `from` and `to` may name an offset."),
    ]
}


@router.get(
    "/message-events",
    response_model=LinkedPage[dict[str, Any]],
    responses=list_refusals(414),
    openapi_extra=_PARAMETERS,
)
async def search(request: Request, caller: Viewer, services: ServicesDep) -> Response:
    """The older name of `GET /events/message`; `links` is a list."""
    page, cursor = await find_events(request, _renamed(request.query_params), caller, services)
    linked = [link.model_dump() for link in relations(request, cursor)]
    return await write_events(page, linked, _UTC_BY_DIGITS)


@router.get("/message-events/events/documentation", responses=list_refusals())
async def describe(caller: Viewer) -> Results[dict[str, Any]]:
    """What types of events there are, in classes, and what their fields say."""
    return Results(results=documentation_in_classes())


@router.get(
    "/message-events/events/samples",
    responses=list_refusals(),
    openapi_extra={"parameters": [describe_parameter("events", "Types of events.")]},
)
async def show_samples(request: Request, caller: Viewer) -> Results[list[dict[str, Any]]]:
    """An event of each type, or of those named."""
    found = samples_of(request.query_params)
    return Results(
        results=[
            {**sample, "timestamp": sample["timestamp"].replace("Z", _UTC_BY_DIGITS)} for sample in found
        ]
    )


@router.get("/webhooks/events/documentation", responses=list_refusals())
async def describe_for_webhooks(caller: WebhookViewer) -> Results[dict[str, Any]]:
    """The same for those who know events from webhooks."""
    return Results(results=documentation_in_classes())


def _renamed(asked: Mapping[str, str]) -> dict[str, str]:
    """The parameters under their newer names. Raises ApiError 400 for what there is no newer one of."""
    if asked.get("page", "1") not in {"", "1"}:
        raise invalid("page", "must be 1: the link whose rel is 'next' goes on")
    if asked.get("timezone", "").lower() not in _UTC_NAMES:
        raise invalid("timezone", "must be UTC: 'from' and 'to' may name an offset, as +02:00")
    renamed = dict(asked)
    for old, new in OLDER_NAMES.items():
        if value := asked.get(old):
            if asked.get(new):
                raise invalid(old, f"is the older name of '{new}': give one of them")
            renamed[new] = value
    return renamed
