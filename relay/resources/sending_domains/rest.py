"""`/sending-domains`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request, Response

from relay.domain.directory import Check
from relay.domain.words import INVALID
from relay.frames.actor import Caller
from relay.frames.rest.auth import require
from relay.frames.rest.body import json_object
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.fault import Fault
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import NOTICE_HEADER, Results
from relay.resources.sending_domains.rules import (
    Checks,
    DomainWish,
    Look,
    OwnKey,
    SendingDomains,
    sending_domain_on,
)
from relay.resources.sending_domains.shapes import (
    BY_MAILBOX_NOTICE,
    ChangeAsked,
    DkimShape,
    DnsSeen,
    DomainBody,
    DomainChangeBody,
    DomainCreated,
    DomainShape,
    DomainStatus,
    DomainUpdated,
    DomainVerified,
    VerifyBody,
    parse_domain,
    read_change,
    read_checks,
    read_domain,
)

router = APIRouter(tags=["sending domains"])

Manager = Annotated[Caller, require("sending_domains/manage")]
Read = TypeVar("Read")

_FAULTS = {
    1200: (400, "invalid params"),
    1300: (422, INVALID),
    1400: (422, "required field is missing"),
    7001: (400, "Invalid domain"),
}
"""By code: status and class of the error."""
_STATUSES = ("dkim_status", "cname_status", "mx_status", "compliance_status")


@router.post(
    "/sending-domains",
    responses=list_refusals(409, 413, 415, 422),
    response_model_exclude_none=True,
    openapi_extra=takes(DomainBody),
)
async def create(request: Request, caller: Manager, services: ServicesDep) -> Results[DomainCreated]:
    """Register a domain. It may send once it is verified; its DKIM key is made at once."""
    value = await json_object(request)
    domain, asked = _read(lambda: (read_domain(value), read_change(value)))
    wish = _wish(asked, generates_key=asked.generates_key is not False)
    entry = await services.use_cases[SendingDomains].create(
        caller.account, caller.subaccount, domain, wish, caller
    )
    created = DomainCreated(message="Successfully Created domain.", domain=entry.domain)
    if entry.dkim is not None:
        created.dkim = DkimShape.of(entry, entry.dkim)
    return Results(results=created)


@router.get("/sending-domains", responses=list_refusals(), response_model_exclude_none=True)
async def list_domains(
    request: Request,
    caller: Manager,
    services: ServicesDep,
    ownership_verified: str | None = None,
    dkim_status: str | None = None,
    cname_status: str | None = None,
    mx_status: str | None = None,
    compliance_status: str | None = None,
) -> Results[list[DomainShape]]:
    """The domains, by name; all, or those of certain statuses."""
    snapshot = services.directory.snapshot
    bounce_domain = snapshot.accounts[caller.account].bounce_domain
    owned = [
        DomainShape.of(entry, bounce_domain)
        for (account, _), entry in sorted(snapshot.domains.items())
        if account == caller.account and caller.sees(entry.subaccount)
    ]
    wanted = _filter(request.query_params)
    return Results(results=[shape for shape in owned if wanted(shape.status)])


@router.get("/sending-domains/{domain}", responses=list_refusals(404), response_model_exclude_none=True)
async def show(domain: str, caller: Manager, services: ServicesDep) -> Results[DomainShape]:
    snapshot = services.directory.snapshot
    entry = sending_domain_on(snapshot, caller.account, _known(domain), caller)
    return Results(results=DomainShape.of(entry, snapshot.accounts[caller.account].bounce_domain))


@router.put(
    "/sending-domains/{domain}",
    responses=list_refusals(404, 413, 415, 422),
    openapi_extra=takes(DomainChangeBody),
)
async def update(
    domain: str, request: Request, caller: Manager, services: ServicesDep
) -> Results[DomainUpdated]:
    """Change what is given. A new key must be verified again before it signs."""
    value = await json_object(request)
    asked = _read(lambda: read_change(value))
    wish = _wish(asked, generates_key=asked.generates_key is True)
    entry = await services.use_cases[SendingDomains].change(caller.account, _known(domain), wish, caller)
    return Results(results=DomainUpdated(message="Successfully Updated Domain.", domain=entry.domain))


@router.delete("/sending-domains/{domain}", responses=list_refusals(404), status_code=204)
async def delete(domain: str, caller: Manager, services: ServicesDep) -> None:
    await services.use_cases[SendingDomains].remove(caller.account, _known(domain), caller)


@router.post(
    "/sending-domains/{domain}/verify",
    responses=list_refusals(404, 413, 415, 422),
    response_model_exclude_none=True,
    openapi_extra=takes(VerifyBody),
)
async def verify(
    domain: str, request: Request, response: Response, caller: Manager, services: ServicesDep
) -> Results[DomainVerified]:
    """Look into DNS now, and remember what is there. Mailboxes asked for beside it stay as they are."""
    value = await json_object(request)
    asked = _read(lambda: read_checks(value))
    checks = Checks(asked.dkim, asked.cname, asked.mx)
    found = await services.use_cases[SendingDomains].verify(caller.account, _known(domain), checks, caller)
    if asked.mailbox:
        response.headers[NOTICE_HEADER] = f"{asked.mailbox}: {BY_MAILBOX_NOTICE}"
    seen = DnsSeen(
        dkim_record=_record(found.dkim),
        cname_record=_record(found.cname),
        mx_record=_record(found.mx),
        dkim_error=_problem(found.dkim),
        cname_error=_problem(found.cname),
        mx_error=_problem(found.mx),
    )
    status = DomainStatus.of(found.entry)
    return Results(results=DomainVerified(**status.model_dump(), dns=seen))


def _wish(asked: ChangeAsked, *, generates_key: bool) -> DomainWish:
    return DomainWish(
        tracking_domain=asked.tracking_domain,
        shared_with_subaccounts=asked.shared_with_subaccounts,
        is_default_bounce_domain=asked.is_default_bounce_domain,
        key=None if asked.key is None else OwnKey(asked.key.selector, asked.key.private),
        generates_key=generates_key,
    )


def _read(read: Callable[[], Read]) -> Read:
    """What read gives. Raises ApiError for the fault that it finds."""
    try:
        return read()
    except Fault as fault:
        status, message = _FAULTS[fault.code]
        raise ApiError(status, message, fault.detail, str(fault.code)) from fault


def _known(text: str) -> str:
    """The domain of a path. What is none is not there."""
    try:
        return parse_domain(text)
    except Fault as fault:
        raise ApiError(404, "resource not found", f"Domain '{text[:255]}' does not exist", "1600") from fault


def _filter(asked: Mapping[str, str]) -> Callable[[DomainStatus], bool]:
    """Raises ApiError 400."""
    wanted: dict[str, Any] = {}
    for name in _STATUSES:
        if value := asked.get(name):
            if value not in {*(check.value for check in Check), "pending", "blocked"}:
                raise ApiError(400, "invalid params", f"param '{name}' is not a status", "1200")
            wanted[name] = value
    if text := asked.get("ownership_verified"):
        if text not in {"true", "false"}:
            raise ApiError(400, "invalid params", "param 'ownership_verified' must be true or false", "1200")
        wanted["ownership_verified"] = text == "true"
    return lambda status: all(getattr(status, name) == value for name, value in wanted.items())


def _record(look: Look | None) -> str | None:
    return None if look is None else look.found or None


def _problem(look: Look | None) -> str | None:
    return None if look is None else look.problem or None
