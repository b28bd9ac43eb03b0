"""`/events/message`."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from relay.domain.address import domain_spellings, parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.domain.ids import IpAddress, MessageId, SubaccountId, TransmissionId, canonical_ip, from_us, to_us
from relay.frames.actor import Caller
from relay.frames.rest.auth import require
from relay.frames.rest.description import list_refusals
from relay.frames.rest.errors import ApiError
from relay.frames.rest.paging import decode_cursor, encode_cursor, links
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Page, Results
from relay.frames.services import Services
from relay.ports.eventlog import EventPage, EventPlace, EventQuery
from relay.resources.events.documentation import documentation, samples
from relay.resources.events.shapes import NAMES, OTHER_NAMES, event_fields

router = APIRouter(tags=["events"])

Viewer = Annotated[Caller, require("message_events/view")]

USUAL_PAGE, LARGEST_PAGE = 1000, 10_000
MAX_URI = 4096
_USUAL_SPAN = timedelta(hours=24)
_INSTANT = timedelta(microseconds=1)
"""Without `to` the last moment is now itself: what was just written is found."""
_LIKE: list[str | int] = [0, 0, 0, 0, 0]
"""A cursor: where the page before ended, how many there are in all, and the two times of the search."""
_LATEST_US = 1 << 52
"""In the year 2112."""
_INLINE = 100
"""More events than that are written in a thread."""

_LISTS = {
    "events": "Types of events.",
    "recipients": "Addresses of recipients.",
    "recipient_domains": "Domains of recipients.",
    "from_addresses": "Addresses in From.",
    "sending_domains": "Keywords of domains in From.",
    "subjects": "Keywords of subjects.",
    "bounce_classes": "Numbers of bounce classes.",
    "reasons": "Keywords of replies.",
    "campaigns": "Keywords of campaigns.",
    "sending_ips": "IPs that messages leave from.",
    "ip_pools": "Keywords of IP pools.",
    "subaccounts": "Numbers of subaccounts; 0 is the account itself.",
    "messages": "Ids of messages.",
    "transmissions": "Ids of transmissions.",
    "event_ids": "Ids of events.",
    "templates": "Nothing has a template here: finds nothing.",
    "mailbox_providers": "Not known here: finds nothing.",
    "ab_tests": "There are none here: finds nothing.",
}
_MOMENT = [{"format": "date-time"}, {"format": "date"}, {"maxLength": 0}]
_UNKNOWN_HERE = ("templates", "mailbox_providers", "ab_tests")


def describe_parameter(name: str, description: str, **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


PARAMETERS = {
    "parameters": [
        *(describe_parameter(name, description) for name, description in _LISTS.items()),
        describe_parameter("from", "First moment, ISO 8601; 24 hours before `to`.", anyOf=_MOMENT),
        describe_parameter("to", "The moment after the last, ISO 8601; all up to now.", anyOf=_MOMENT),
        describe_parameter("delimiter", "What separates the values of a list.", minLength=1, maxLength=1),
        describe_parameter("cursor", "`initial`, or from `links.next`."),
        {
            **describe_parameter("per_page", "Events in a page."),
            "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": USUAL_PAGE},
        },
    ]
}


@router.get(
    "/events/message",
    response_model=Page[dict[str, Any]],
    responses=list_refusals(414),
    openapi_extra=PARAMETERS,
)
async def search(request: Request, caller: Viewer, services: ServicesDep) -> Response:
    """What happened to the account's messages, newest first. Of several filters all must fit."""
    page, cursor = await find_events(request, request.query_params, caller, services)
    return await write_events(page, links(request, cursor).model_dump(exclude_none=True))


async def find_events(
    request: Request, asked: Mapping[str, str], caller: Caller, services: Services
) -> tuple[EventPage, str | None]:
    """A page of what is asked for, and the cursor of the next. Raises ApiError 400, 414."""
    if len(request.scope["path"]) + 1 + len(request.scope["query_string"]) > MAX_URI:
        raise ApiError(414, "URI too long", f"the URI may have at most {MAX_URI} characters")
    size = _per_page(asked.get("per_page"))
    lists = _lists(asked)
    place, since, until = _span(asked, services.clock.now())
    query = _query(caller, lists, since, until)
    page = EventPage((), 0, None)
    if query is not None:
        page = await services.events.search(query, size, place)
    cursor = None
    if page.next is not None:
        cursor = encode_cursor([page.next.at_us, page.next.id, page.next.total, to_us(since), to_us(until)])
    return page, cursor


async def write_events(page: EventPage, linked: object, utc: str = "Z") -> Response:
    """The answer. linked: its `links`. utc: how timestamps say that they are UTC."""
    if len(page.told) <= _INLINE:
        content = _written(page, linked, utc)
    else:
        content = await asyncio.to_thread(_written, page, linked, utc)
    return Response(content, media_type="application/json")


@router.get("/events/message/documentation", responses=list_refusals())
async def describe(caller: Viewer) -> Results[list[dict[str, Any]]]:
    """What types of events there are, and what their fields say."""
    return Results(results=documentation())


@router.get(
    "/events/message/samples",
    responses=list_refusals(),
    openapi_extra={"parameters": [describe_parameter("events", _LISTS["events"])]},
)
async def show_samples(request: Request, caller: Viewer) -> Results[list[dict[str, Any]]]:
    """An event of each type, or of those named."""
    return Results(results=samples_of(request.query_params))


def samples_of(asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """Those of the types in `events`, else all. Raises ApiError 400."""
    names = _names(_lists(asked)["events"])
    return [sample for sample in samples() if not names or sample["type"] in names]


# ── reading the request ──────────────────────────────────────────────────────────────────


def _lists(asked: Mapping[str, str]) -> dict[str, list[str]]:
    """The values of each list, none of them empty. Raises ApiError 400."""
    delimiter = asked.get("delimiter", ",")
    if len(delimiter) != 1:
        raise invalid("delimiter", "must be one character")
    parts = {name: asked.get(name, "").split(delimiter) for name in _LISTS}
    return {name: [value for part in found if (value := part.strip())] for name, found in parts.items()}


def _query(
    caller: Caller, lists: Mapping[str, list[str]], since: datetime, until: datetime
) -> EventQuery | None:
    """None: nothing can be found. Raises ApiError 400."""
    kinds = _names(lists["events"])
    subaccounts = frozenset(SubaccountId(number) for number in _numbers(lists, "subaccounts"))
    classes = frozenset(_numbers(lists, "bounce_classes"))
    ips = _addresses(lists["sending_ips"])
    ids = [value for value in lists["event_ids"] if value.isascii() and value.isdigit() and len(value) < 19]
    if caller.is_bound and caller.subaccount is not None:
        if subaccounts and caller.subaccount not in subaccounts:
            return None
        subaccounts = frozenset({caller.subaccount})
    if any(lists[name] for name in _UNKNOWN_HERE) or (kinds and not kinds & NAMES):
        return None
    if lists["event_ids"] and not ids:
        return None
    return EventQuery(
        account=caller.account,
        since=since,
        until=until,
        kinds=kinds & NAMES,
        subaccounts=subaccounts,
        ids=frozenset(map(int, ids)),
        messages=frozenset(map(MessageId, lists["messages"])),
        transmissions=frozenset(map(TransmissionId, lists["transmissions"])),
        sending_ips=ips,
        bounce_classes=classes,
        recipients=_spellings(lists["recipients"]),
        recipient_domains=frozenset(_domains(lists["recipient_domains"])),
        from_addresses=_spellings(lists["from_addresses"]),
        ip_pools=tuple(lists["ip_pools"]),
        reasons=tuple(lists["reasons"]),
        sending_domains=_domains(lists["sending_domains"]),
        subjects=tuple(lists["subjects"]),
        campaigns=tuple(lists["campaigns"]),
    )


def _spellings(addresses: Iterable[str]) -> frozenset[str]:
    """As they were asked for, and in the form that the relay gives them."""
    found = set(addresses)
    for address in tuple(found):
        with suppress(MalformedAddress):
            found.add(parse_mailbox(address).text)
    return frozenset(found)


def _domains(values: Iterable[str]) -> tuple[str, ...]:
    """Likewise."""
    return tuple(spelling for value in values for spelling in domain_spellings(value))


def _names(values: Iterable[str]) -> frozenset[str]:
    names = frozenset(values)
    if not names <= NAMES | OTHER_NAMES:
        raise invalid("events", f"must be one or more of {', '.join(sorted(NAMES | OTHER_NAMES))}")
    return names


def _numbers(lists: Mapping[str, list[str]], name: str) -> list[int]:
    values = lists[name]
    if not all(value.isascii() and value.isdigit() and len(value) < 11 for value in values):
        raise invalid(name, "must be numbers")
    return list(map(int, values))


def _addresses(values: Iterable[str]) -> frozenset[IpAddress]:
    try:
        return frozenset(map(canonical_ip, values))
    except ValueError as error:
        raise invalid("sending_ips", "must be IP addresses") from error


def _per_page(text: str | None) -> int:
    if text is None:
        return USUAL_PAGE
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    raise invalid("per_page", f"must be an integer from 1 to {LARGEST_PAGE}")


def _span(asked: Mapping[str, str], now: datetime) -> tuple[EventPlace | None, datetime, datetime]:
    """Where to go on, and the two times: of the cursor, which keeps them, or of the request."""
    position = decode_cursor(asked.get("cursor"), _LIKE)
    if position is not None:
        at_us, id_, total, since_us, until_us = (int(part) for part in position)
        if not (all(0 <= part < _LATEST_US for part in (at_us, id_, total, since_us, until_us))):
            raise invalid("cursor", "is not valid")
        return EventPlace(at_us, id_, total), from_us(since_us), from_us(until_us)
    until = _moment("to", asked.get("to")) or now + _INSTANT
    since = _moment("from", asked.get("from")) or until - _USUAL_SPAN
    if since >= until:
        raise invalid("from", "must be before 'to'")
    return None, since, until


def _moment(name: str, text: str | None) -> datetime | None:
    """ISO 8601; without an offset it is UTC."""
    if not text:
        return None
    try:
        # In a query string a plus that nobody escaped is a space.
        found = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(name, "must be a time such as 2024-05-17T09:30:00Z") from error


def invalid(name: str, problem: str) -> ApiError:
    """What is wrong with one parameter."""
    return ApiError(400, "invalid params", f"param '{name}' {problem}", "1200", param=name)


def _written(page: EventPage, linked: object, utc: str) -> bytes:
    """The answer's JSON. In a thread for a large page: ten thousand events are a quarter of a second."""
    shown = [event_fields(told.id, told.event, told.submission) for told in page.told]
    if utc != "Z":
        for fields in shown:
            fields["timestamp"] = str(fields["timestamp"]).replace("Z", utc)
    answer = {"results": shown, "total_count": page.total, "links": linked}
    return json.dumps(answer, separators=(",", ":")).encode()
