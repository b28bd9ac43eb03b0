"""`/transmissions` (docs/rules.md#scheduled-mail)."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from relay.accept.draft import Draft, Packed
from relay.accept.transmit import Transmitter
from relay.domain.errors import UnknownObject
from relay.domain.ids import TransmissionId
from relay.domain.tracking import NOTICE, tracking_asked_for
from relay.domain.transmission import NotCancellable, TransmissionState
from relay.frames.actor import Caller
from relay.frames.rest.auth import require
from relay.frames.rest.body import QUICK_BYTES, json_octets
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.hangup import while_connected
from relay.frames.rest.once import IdempotencyKey, answer_once
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import NOTICE_HEADER, Problem, Results
from relay.frames.services import Services
from relay.ports.idempotency import Answer, Answered, Ticket
from relay.resources.transmissions.body import Asked, parse_transmission
from relay.resources.transmissions.faults import CONTENT_ERRORS, problem_of, refusal_of_content
from relay.resources.transmissions.rejections import tell_recipients
from relay.resources.transmissions.shapes import (
    Accepted,
    OneTransmission,
    TransmissionAccepted,
    TransmissionBody,
    TransmissionRow,
    TransmissionShape,
)

router = APIRouter(tags=["transmissions"])

Viewer = Annotated[Caller, require("transmissions/view")]
Sender = Annotated[Caller, require("transmissions/modify")]

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_MAY_ASK_FOR_TRACKING = re.compile(rb"_tracking|initial_open|\\u")


@router.post(
    "/transmissions",
    response_model=TransmissionAccepted,
    responses=list_refusals(404, 409, 413, 415, 422),
    openapi_extra=takes(TransmissionBody),
)
async def create_transmission(
    request: Request,
    caller: Sender,
    services: ServicesDep,
    num_rcpt_errors: Annotated[str | None, Query(description="At most so many errors of recipients.")] = None,
    _: IdempotencyKey = None,
) -> Response:
    """Send a message to each recipient, now or at `options.start_time`.

    With an `Idempotency-Key` a repeated request sends once and is answered again, for 24 hours.
    """
    most = _number(num_rcpt_errors, "num_rcpt_errors")

    async def work(ticket: Ticket | None) -> Response:
        octets = request.state.octets = await json_octets(request)
        if len(octets) <= QUICK_BYTES and b"inline_css" not in octets:
            return await accept(octets, ticket)
        return await while_connected(request, accept(octets, ticket))

    async def accept(octets: bytes, ticket: Ticket | None) -> Response:
        remote = request.client.host if request.client else ""
        try:
            asked = await _read(octets, services, caller, services.refuses_tracking)
            request.state.asked = asked
            draft = _draft(asked, caller, remote)

            def keep(id_: TransmissionId) -> Answered:
                assert ticket is not None
                return Answered(ticket, Answer(200, _shown(id_, asked, most)))

            id_ = await services.use_cases[Transmitter].accept(draft, None if ticket is None else keep)
        except CONTENT_ERRORS as error:
            raise refusal_of_content(error) from error
        await tell_recipients(request, caller, asked)
        return Response(_shown(id_, asked, most), headers=_notice(asked), media_type="application/json")

    async def headers() -> dict[str, str]:
        octets = await json_octets(request)
        if not _MAY_ASK_FOR_TRACKING.search(octets):
            return {}
        try:
            return _notice(await while_connected(request, _read(octets, services, caller, False)))
        except CONTENT_ERRORS:
            # It was taken by other rules than today's.
            return {}

    return await answer_once(request, caller, work, headers)


@router.get("/transmissions", responses=list_refusals(), response_model_exclude_none=True)
async def list_transmissions(
    caller: Viewer,
    services: ServicesDep,
    campaign_id: str | None = None,
    template_id: str | None = None,
) -> Results[list[TransmissionRow]]:
    """Scheduled transmissions with several recipients, those of the last 24 hours and those to come."""
    found = [
        one
        for one in await services.use_cases[Transmitter].listed(caller.account)
        if caller.sees(one.transmission.subaccount)
        and campaign_id in (None, one.transmission.options.campaign_id)
        and template_id in (None, "inline")
    ]
    return Results(
        results=[TransmissionRow.of(one.transmission, one.progress, one.set_aside) for one in found]
    )


@router.get("/transmissions/{id}", responses=list_refusals(404))
async def get_transmission(id: str, caller: Viewer, services: ServicesDep) -> Results[OneTransmission]:
    """A scheduled transmission and how far it has come. Immediate ones cannot be had."""
    try:
        found = await services.use_cases[Transmitter].find(caller.account, TransmissionId(id), caller.sees)
    except UnknownObject as error:
        raise _unknown(id) from error
    content = await services.use_cases[Transmitter].content(TransmissionId(id))
    shape = TransmissionShape.of(found.transmission, found.progress, content, found.set_aside)
    return Results(results=OneTransmission(transmission=shape))


@router.delete("/transmissions/{id}", status_code=204, responses=list_refusals(404, 409))
async def cancel_transmission(id: str, caller: Sender, services: ServicesDep) -> Response:
    """Cancel a scheduled transmission, at the latest 660 seconds before its time."""
    try:
        await services.use_cases[Transmitter].cancel(caller.account, TransmissionId(id), caller.sees)
    except UnknownObject as error:
        raise _unknown(id) from error
    except NotCancellable as error:
        raise _not_cancellable(error) from error
    return Response(status_code=204)


@router.delete("/transmissions", status_code=204, responses=list_refusals())
async def cancel_campaign(caller: Sender, services: ServicesDep, campaign_id: str | None = None) -> Response:
    """Cancel what is to come of a campaign, and bounce what is queued of it, within ten minutes."""
    if not campaign_id:
        raise ApiError(400, "required query parameter is missing", "campaign_id required", "1401")
    await services.use_cases[Transmitter].cancel_campaign(caller.principal, campaign_id)
    return Response(status_code=204)


async def _read(octets: bytes, services: Services, caller: Caller, refuses_tracking: bool) -> Asked:
    """Raises Fault, Busy, TooMuchWork."""
    now, sandbox = services.clock.now(), services.sandbox
    if len(octets) <= QUICK_BYTES:
        return parse_transmission(octets, now, refuses_tracking=refuses_tracking)
    output = await sandbox.run(caller.account, "read transmission", (now, refuses_tracking), (octets,))
    if output.error is not None:
        raise output.error
    asked: Asked
    asked, counts = await sandbox.read_large(output.pieces[0])
    asked.recipients = Packed(sandbox, output.pieces[1:], counts)
    return asked


def _notice(asked: Asked) -> dict[str, str]:
    """The header of an answer to a request that asks for what is not here."""
    return {NOTICE_HEADER: NOTICE} if tracking_asked_for(asked.asked_options) else {}


def _draft(asked: Asked, caller: Caller, remote_addr: str) -> Draft:
    return Draft(
        caller.principal,
        remote_addr,
        asked.options,
        asked.content,
        asked.recipients,
        asked.start,
        asked.description,
        asked.return_path,
        asked.substitution_data,
        asked.substitutes,
        asked.asked_options,
    )


def _shown(id_: TransmissionId, asked: Asked, most: int | None) -> bytes:
    accepted = Accepted(
        total_accepted_recipients=len(asked.recipients),
        total_rejected_recipients=asked.num_rejected,
        id=id_,
    )
    answer = TransmissionAccepted(results=accepted)
    if asked.num_rejected:
        accepted.rcpt_to_errors = [problem_of(fault) for fault in asked.faults[:most]]
        sentence = "transmission created, but with validation errors"
        answer.errors = [Problem(message=sentence, code="2000")]
    return answer.model_dump_json(exclude_none=True).encode()


def _number(text: str | None, param: str) -> int | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ApiError(400, "invalid params", f"param '{param}' must be an integer", "1200")
    return int(text)


# ── refusals ─────────────────────────────────────────────────────────────────────────────


def _unknown(id_: str) -> ApiError:
    return ApiError(404, "resource not found", f"Resource not found:transmission id {id_[:100]}", "1600")


def _not_cancellable(error: NotCancellable) -> ApiError:
    if error.is_too_close:
        return ApiError(
            409,
            "too close to generation time to delete transmission",
            "Deletion time window (660 seconds) doesn't permit transmission deletion",
            "2003",
        )
    is_going = error.state is TransmissionState.GENERATING
    why = "in progress" if is_going else "completed"
    described = f"Unable to delete a transmission that {'is' if is_going else 'has'} {why}"
    return ApiError(
        409,
        "transmission database record is in an invalid state for deletion",
        f"{described} (state={error.state.value})",
        "2006",
    )
