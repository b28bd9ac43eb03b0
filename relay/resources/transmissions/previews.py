"""`/utils/content-previewer`."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from relay.accept.transmit import Transmitter
from relay.frames.actor import Caller
from relay.frames.rest.auth import require
from relay.frames.rest.body import QUICK_BYTES, json_octets
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.hangup import while_connected
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Results
from relay.frames.services import Services
from relay.mail.budget import Budget, OverBudget
from relay.mail.weight import is_light
from relay.resources.transmissions.faults import CONTENT_ERRORS, refusal_of_content
from relay.resources.transmissions.preview import PreviewBody, PreviewShape, parse_preview, preview_for

router = APIRouter(tags=["templates"])

_QUICK = (10_000, QUICK_BYTES)
"""Steps and octets that are rendered in the loop itself: a few milliseconds."""


@router.post(
    "/utils/content-previewer",
    response_model=Results[PreviewShape],
    response_model_exclude_none=True,
    responses=list_refusals(413, 415, 422),
    openapi_extra=takes(PreviewBody),
)
async def preview_content(
    request: Request,
    caller: Annotated[Caller, require("templates/preview", "transmissions/modify")],
    services: ServicesDep,
) -> Response:
    """A content with values filled in, as it would be sent: nothing is stored or sent."""
    octets = await json_octets(request)
    try:
        answer = _quickly(octets, services) if len(octets) <= QUICK_BYTES else None
        if answer is None:
            answer = await while_connected(request, _in_sandbox(octets, services, caller))
    except CONTENT_ERRORS as error:
        raise refusal_of_content(error) from error
    return Response(answer, media_type="application/json")


def _quickly(octets: bytes, services: Services) -> bytes | None:
    """None: it takes longer than others may be kept waiting for."""
    asked = parse_preview(octets)
    if not is_light(asked.content):
        return None
    try:
        return preview_for(asked, Budget(*_QUICK), services.use_cases[Transmitter].workshop.max_message_bytes)
    except OverBudget:
        return None


async def _in_sandbox(octets: bytes, services: Services, caller: Caller) -> bytes:
    limit = services.use_cases[Transmitter].workshop.max_message_bytes
    output = await services.sandbox.run(caller.account, "preview", limit, (octets,))
    if output.error is not None:
        raise output.error
    answer: bytes = await services.sandbox.read_large(output.pieces[0])
    return answer
