"""`/suppression-list`."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from relay.domain.address import comparable_domain
from relay.domain.ids import AccountId, SubaccountId, from_us, to_us
from relay.domain.suppression import Kind, Source, Suppression, WantedEntry
from relay.frames.actor import Caller, Scope
from relay.frames.rest.auth import require
from relay.frames.rest.body import QUICK_BYTES, json_octets, parse_object, refuse_json
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError, Problem
from relay.frames.rest.hangup import while_connected
from relay.frames.rest.paging import decode_cursor, encode_cursor, per_page, relations
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import LinkedPage, Message, Results
from relay.frames.services import Services
from relay.mail.scan import MAX_VALUES, BadJson, read_object
from relay.ports.suppressions import ListOrder, SuppressionQuery
from relay.resources.suppression_list.body import (
    BadEntry,
    BulkBody,
    EntryBody,
    EntryShape,
    RemovalBody,
    SummaryShape,
    parse_kind,
    parse_list_id,
    parse_recipient,
    read_wanted,
    wanted_of_bulk,
)
from relay.resources.suppression_list.rules import SuppressionList

router = APIRouter(tags=["suppression list"])

Manager = Annotated[Caller, require("suppression_lists/manage")]

USUAL_PAGE, LARGEST_PAGE = 1000, 10_000
_INLINE = 500
"""Entries that are written in the loop: more are more than a turn of it."""
_DEEPEST = 10_000
"""How far `page` goes; a cursor goes on."""
_LIKE: list[str | int] = [0, "", "", ""]
_LIKE_SORTED: list[str | int] = [0, *_LIKE]
_MOMENT = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}, {"maxLength": 0}]}
_SIZE = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}
_MORE = [
    {"name": "from", "in": "query", "schema": _MOMENT, "description": "Not updated before, ISO 8601."},
    {"name": "to", "in": "query", "schema": _MOMENT, "description": "Updated before, ISO 8601."},
    {"name": "per_page", "in": "query", "schema": _SIZE, "description": f"{USUAL_PAGE} if not given."},
    {"name": "limit", "in": "query", "schema": _SIZE, "description": "The older name of per_page."},
]
"""Parameters whose names are no names in Python, or that have two."""
_NOT_FOUND = "Recipient could not be found"
_PLACE_HOLDER = datetime(1970, 1, 1, tzinfo=UTC)


@router.put("/suppression-list", responses=list_refusals(413, 415), openapi_extra=takes(BulkBody))
async def update(request: Request, caller: Manager, services: ServicesDep) -> Results[Message]:
    """Add or change up to 10,000 entries: all, or none when one is wrong."""
    octets = await json_octets(request)
    try:
        if len(octets) <= QUICK_BYTES:
            found = wanted_of_bulk(read_object(octets, MAX_VALUES))
        else:
            found = await while_connected(request, _read_beside(octets, services, caller))
    except BadJson as error:
        raise refuse_json(error, request.scope["path"]) from error
    except BadEntry as error:
        raise _refusal(error) from error
    await services.use_cases[SuppressionList].add(caller, found)
    return Results(results=Message(message="Suppression List successfully updated"))


async def _read_beside(octets: bytes, services: Services, caller: Caller) -> list[WantedEntry]:
    """Raises BadJson, BadEntry, Busy, TooMuchWork."""
    output = await services.sandbox.run(caller.account, "read suppressions", None, (octets,))
    if output.error is not None:
        raise output.error
    found: list[WantedEntry] = []
    for piece in output.pieces:
        found += services.sandbox.read(piece)
        await asyncio.sleep(0)
    return found


@router.put(
    "/suppression-list/{recipient:path}", responses=list_refusals(413, 415), openapi_extra=takes(EntryBody)
)
async def update_one(
    recipient: str, request: Request, caller: Manager, services: ServicesDep
) -> Results[Message]:
    """Add or change the entry of one recipient."""
    value = parse_object(await json_octets(request), request.scope["path"])
    try:
        found = read_wanted(recipient, value)
    except BadEntry as error:
        raise _refusal(error) from error
    await services.use_cases[SuppressionList].add(caller, found)
    return Results(results=Message(message="Suppression list successfully updated"))


@router.get(
    "/suppression-list",
    response_model=LinkedPage[EntryShape],
    responses=list_refusals(),
    openapi_extra={"parameters": _MORE},
)
async def search(
    request: Request,
    caller: Manager,
    services: ServicesDep,
    types: str | None = None,
    sources: str | None = None,
    domain: str | None = None,
    description: str | None = None,
    description_strict: Annotated[
        str | None, Query(description="`true`: `description` is all of it, letter by letter.")
    ] = None,
    list_id: str | None = None,
    cursor: str | None = None,
    page: Annotated[str | None, Query(description="Not read when a cursor is given.")] = None,
    sort: Annotated[str | None, Query(description="`asc` or `desc`: by the last update.")] = None,
) -> Response:
    """The entries, by recipient or by their last update."""
    asked = request.query_params
    size = per_page(asked.get("per_page", asked.get("limit")), USUAL_PAGE, LARGEST_PAGE)
    query = SuppressionQuery(
        caller.account,
        all_subaccounts=caller.scope is Scope.ALL,
        subaccount=caller.subaccount,
        domain=comparable_domain((domain or "").strip().removeprefix("@")),
        kinds=_kinds(types),
        sources=_sources(sources),
        description=description or "",
        is_description_whole=_flag("description_strict", description_strict),
        list_id=_list_id(list_id),
        since=_moment("from", asked.get("from")),
        until=_moment("to", asked.get("to")),
        order=_order(sort),
    )
    offset = 0 if page is None or cursor is not None else (_page_number(page, size) - 1) * size
    found = await services.use_cases[SuppressionList].find(
        query, size, offset, _after(caller, cursor, query.order)
    )
    following = encode_cursor(_position(found.entries[-1], query.order)) if found.has_more else None
    linked = relations(request, following)

    def written() -> str:
        shown = LinkedPage[EntryShape](results=_shapes(found.entries), total_count=found.total, links=linked)
        return shown.model_dump_json(exclude_none=True)

    content = written() if size <= _INLINE else await asyncio.to_thread(written)
    return Response(content, media_type="application/json")


@router.get("/suppression-list/summary", responses=list_refusals())
async def summary(caller: Manager, services: ServicesDep) -> Results[SummaryShape]:
    """How many entries there are, in all and of each source."""
    all_lists = caller.scope is Scope.ALL
    query = SuppressionQuery(caller.account, all_subaccounts=all_lists, subaccount=caller.subaccount)
    return Results(results=SummaryShape.of(await services.use_cases[SuppressionList].count(query)))


@router.get(
    "/suppression-list/{recipient:path}", responses=list_refusals(404), response_model_exclude_none=True
)
async def show(
    recipient: str, request: Request, caller: Manager, services: ServicesDep, types: str | None = None
) -> LinkedPage[EntryShape]:
    """The entries of one recipient: on each list at most one of each type and mailing list."""
    query = SuppressionQuery(
        caller.account,
        all_subaccounts=caller.scope is Scope.ALL,
        subaccount=caller.subaccount,
        recipient=_known(recipient),
        kinds=_kinds(types),
    )
    found = await services.use_cases[SuppressionList].find(query, LARGEST_PAGE)
    if not found.entries:
        raise ApiError(404, _NOT_FOUND)
    return LinkedPage(results=_shapes(found.entries), total_count=found.total, links=[])


@router.delete(
    "/suppression-list/{recipient:path}",
    responses=list_refusals(404, 413, 415),
    status_code=204,
    openapi_extra=takes(RemovalBody, required=False),
)
async def remove(
    recipient: str, request: Request, caller: Manager, services: ServicesDep, list_id: str | None = None
) -> None:
    """Take a recipient off the list; `type` in a body says of which mail alone, `list_id` off which list."""
    kinds: Iterable[Kind] = Kind
    octets = await json_octets(request)
    if octets.strip():
        value: Any = parse_object(octets, request.scope["path"]).get("type")
        if value is not None:
            try:
                kinds = [parse_kind(value)]
            except BadEntry as error:
                raise _refusal(error) from error
    key, of_list = _known(recipient), _list_id(list_id)
    if not await services.use_cases[SuppressionList].remove(caller, key, list(kinds), of_list):
        raise ApiError(404, _NOT_FOUND)


def _shapes(entries: Iterable[Suppression]) -> list[EntryShape]:
    return [EntryShape.of(entry) for entry in entries]


def _known(recipient: str) -> str:
    try:
        return parse_recipient(recipient)
    except BadEntry as error:
        raise ApiError(404, _NOT_FOUND) from error


def _kinds(text: str | None) -> frozenset[Kind]:
    try:
        return frozenset(parse_kind(part.strip()) for part in (text or "").split(",") if part.strip())
    except BadEntry as error:
        raise _refusal(error) from error


def _list_id(text: str | None) -> str | None:
    """As asked for in a query: empty is the entries of no list. Raises ApiError 400."""
    try:
        return None if text is None else parse_list_id(text)
    except BadEntry as error:
        raise _refusal(error) from error


def _sources(text: str | None) -> frozenset[Source]:
    known = {source.value.lower(): source for source in Source}
    asked = [part.strip().lower() for part in (text or "").split(",") if part.strip()]
    if not known.keys() >= set(asked):
        names = ", ".join(f"'{source.value}'" for source in Source)
        raise ApiError(400, f"Source must be one of: {names}")
    return frozenset(known[part] for part in asked)


def _moment(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ApiError(400, f"{name} must be a time such as 2024-05-17T09:30:00Z") from error


def _page_number(text: str, size: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) * size <= _DEEPEST:
        return int(text)
    raise ApiError(400, f"page must be a number from 1 to {_DEEPEST // size}: a cursor goes on")


def _flag(name: str, text: str | None) -> bool:
    lower = (text or "false").lower()
    if lower not in {"true", "false"}:
        raise ApiError(400, f"{name} must be true or false")
    return lower == "true"


def _order(text: str | None) -> ListOrder:
    if not text:
        return ListOrder.RECIPIENT
    if text not in {ListOrder.ASCENDING.value, ListOrder.DESCENDING.value}:
        raise ApiError(400, "sort must be one of: 'asc', 'desc'")
    return ListOrder(text)


def _position(entry: Suppression, order: ListOrder) -> list[str | int]:
    position: list[str | int] = [entry.subaccount or 0, entry.recipient, entry.kind.value, entry.list_id]
    return position if order is ListOrder.RECIPIENT else [to_us(entry.updated), *position]


def _after(caller: Caller, cursor: str | None, order: ListOrder) -> Suppression | None:
    """The place that a cursor stands for, as an entry."""
    position = decode_cursor(cursor, _LIKE if order is ListOrder.RECIPIENT else _LIKE_SORTED)
    if position is None:
        return None
    *updated, subaccount, recipient, kind, list_id = position
    try:
        where = Kind(str(kind))
        number = SubaccountId(int(subaccount) % (1 << 31))
        at = from_us(int(updated[0])) if updated else _PLACE_HOLDER
    except (ValueError, OverflowError) as error:
        raise ApiError(400, "cursor is not valid", param="cursor") from error
    account, source = AccountId(caller.account), Source.MANUALLY_ADDED
    return Suppression(account, number, str(recipient), where, source, "", _PLACE_HOLDER, at, str(list_id))


def _refusal(error: BadEntry) -> ApiError:
    return ApiError.of(
        400, [Problem(str(fault), param=fault.place, value=fault.value) for fault in error.all]
    )
