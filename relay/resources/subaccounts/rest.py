"""`/subaccounts`."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, WithJsonSchema

from relay.domain.changes import Changes, first_put
from relay.domain.directory import MAX_POOL_NAME, Snapshot, Status, Subaccount
from relay.domain.ids import to_us
from relay.frames.actor import Caller
from relay.frames.change import change_directory
from relay.frames.rest.auth import require
from relay.frames.rest.body import fit, json_object, read_body
from relay.frames.rest.description import list_refusals, takes
from relay.frames.rest.errors import ApiError
from relay.frames.rest.paging import Position, links, page_of
from relay.frames.rest.paging import per_page as page_size
from relay.frames.rest.request import Clients, Name, OneOf, RequestBody, Says
from relay.frames.rest.services import ServicesDep
from relay.frames.rest.shapes import Message, Page, PageSize, Results
from relay.frames.values import MAX_NAME
from relay.resources.api_keys.rules import new_key, with_key
from relay.resources.subaccounts import rules
from relay.resources.subaccounts.rules import change_subaccount

KEY_GRANTS = (
    "smtp/inject",
    "sending_domains/manage",
    "tracking_domains/view",
    "tracking_domains/manage",
    "message_events/view",
    "suppression_lists/manage",
    "transmissions/view",
    "transmissions/modify",
    "webhooks/view",
    "webhooks/modify",
    "templates/preview",
)
"""What a subaccount's key may hold, in the order in which SparkPost lists it."""
MISSING = "`{0}` is a required field"

_STATUSES = ", ".join(f"'{status.value}'" for status in Status)
_GRANTS = ", ".join(f"'{grant}'" for grant in KEY_GRANTS)
SortBy = Annotated[
    str, WithJsonSchema({"type": "string", "enum": ["created_at", "updated_at", "id", "name"]})
]
Order = Annotated[str, WithJsonSchema({"type": "string", "enum": ["asc", "desc"]})]
Ids = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,10}(,[0-9]{1,10})*$"})]
_PRINTABLE = f"`{{0}}` must have 1 to {MAX_NAME} printable characters"
SubaccountName = Annotated[
    Name, Says(_PRINTABLE, string_too_long=f"`name` must be {MAX_NAME} characters or less")
]
BoundPool = Annotated[
    str | None,
    Field(max_length=MAX_POOL_NAME, pattern="^[A-Za-z0-9_]*$"),
    Says(
        "ip_pool must be alphanumeric and underscore",
        string_too_long=f"ip_pool must be {MAX_POOL_NAME} characters or less",
    ),
]
"""For form only (A9); empty is none."""


class SubaccountCreate(RequestBody):
    """A new subaccount and, if setup_api_key, its first key."""

    name: SubaccountName
    ip_pool: BoundPool = None
    setup_api_key: Annotated[bool, Says("`setup_api_key` must be a boolean")] = True
    key_valid_ips: Annotated[
        Clients,
        Says(
            "`key_valid_ips` must be an Array",
            value_error="`key_valid_ips` must have valid netmask values",
        ),
    ] = ()


class SubaccountWithKey(SubaccountCreate):
    """A new subaccount and its first key; without setup_api_key = false these are required."""

    key_label: Annotated[Name, Says(_PRINTABLE)]
    key_grants: Annotated[
        tuple[Annotated[str, OneOf(KEY_GRANTS)], ...],
        Field(min_length=1, strict=False),
        Says(
            f"Invalid `key_grants value`. Supported values are: {_GRANTS}",
            too_short=MISSING.format("key_grants"),
        ),
    ]


class SubaccountAlone(SubaccountCreate):
    """A new subaccount without a key: for the description of the API alone."""

    setup_api_key: Literal[False]


class SubaccountUpdate(RequestBody):
    """Any of these. An empty ip_pool unassigns."""

    name: SubaccountName | None = None
    ip_pool: BoundPool = None
    status: Annotated[Status | None, OneOf(Status, Status), Says(f"`status` must be one of {_STATUSES}")] = (
        None
    )


class SubaccountShape(BaseModel):
    """A subaccount."""

    id: int
    name: str
    status: str
    compliance_status: str = "active"
    ip_pool: str | None = None

    @classmethod
    def of(cls, subaccount: Subaccount) -> Self:
        return cls(
            id=subaccount.id,
            name=subaccount.name,
            status=subaccount.status.value,
            ip_pool=subaccount.ip_pool,
        )


class SubaccountCreated(BaseModel):
    """The number; and the key, this once, if one was made."""

    subaccount_id: int
    key: str | None = None
    label: str | None = None
    short_key: str | None = None


class SubaccountTotal(BaseModel):
    total: int


router = APIRouter(tags=["subaccounts"])

Viewer = Annotated[Caller, require("subaccount/view")]
Manager = Annotated[Caller, require("subaccount/manage", of_account=True)]

_SORTS = ("created_at", "updated_at", "id", "name")
_PAGING = frozenset({"cursor", "per_page", "sort_by", "order", "ip_pool", "status", "name", "ids"})
"""Any of these makes the answer a page."""


@router.post(
    "/subaccounts",
    responses=list_refusals(413, 415),
    response_model_exclude_none=True,
    openapi_extra=takes(SubaccountWithKey, SubaccountAlone),
)
async def create_subaccount(
    request: Request, caller: Manager, services: ServicesDep
) -> Results[SubaccountCreated]:
    """A new subaccount and, unless setup_api_key is false, a key for it, shown this once.

    That key may do no more than the key that asks for it.
    """
    value = await json_object(request)
    model = SubaccountCreate if value.get("setup_api_key") is False else SubaccountWithKey
    body = fit(value, model, MISSING, with_values=True)
    now, text, key = services.clock.now(), "", None
    if isinstance(body, SubaccountWithKey):
        text, key = new_key(caller.account, body.key_label, body.key_grants, valid_ips=body.key_valid_ips)

    def compute(snapshot: Snapshot) -> Changes:
        changes = rules.create_subaccount(snapshot, caller.account, body.name, pool=body.ip_pool, now=now)
        return with_key(snapshot, changes, key, caller)

    changes = await change_directory(services.directory, compute, caller)
    created = SubaccountCreated(subaccount_id=first_put(changes, Subaccount).id)
    if isinstance(body, SubaccountWithKey):
        created.key, created.label, created.short_key = text, body.key_label, text[:4]
    return Results(results=created)


@router.get("/subaccounts", responses=list_refusals(), response_model_exclude_none=True)
async def list_subaccounts(
    request: Request,
    caller: Viewer,
    services: ServicesDep,
    cursor: str | None = None,
    per_page: PageSize | None = None,
    sort_by: SortBy | None = None,
    order: Order | None = None,
    ip_pool: str | None = None,
    status: str | None = None,
    name: str | None = None,
    ids: Ids | None = None,
) -> Page[SubaccountShape] | Results[list[SubaccountShape]]:
    """The account's subaccounts; in pages as soon as any parameter but `option` is given."""
    numbers = _numbers(ids)
    sort = _one_of("sort_by", sort_by or _SORTS[0], _SORTS)
    is_descending = _one_of("order", order or "desc", ("asc", "desc")) == "desc"
    if status is not None:
        _one_of("status", status, tuple(Status))
    size = page_size(per_page)
    owned = [
        entry
        for entry in _owned(services.directory.snapshot, caller)
        if (numbers is None or entry.id in numbers)
        and (ip_pool is None or (entry.ip_pool or "").lower() == ip_pool.lower())
        and (status is None or entry.status.value == status)
        and (name is None or name.casefold() in entry.name.casefold())
    ]

    def position(entry: Subaccount) -> Position:
        return [_sorted_by(entry, sort), entry.id]

    if not _PAGING & set(request.query_params):
        owned.sort(key=position, reverse=is_descending)
        return Results(results=[SubaccountShape.of(entry) for entry in owned])
    like: Position = ["", 0] if sort == "name" else [0, 0]
    shown, following = page_of(owned, position, cursor, size, like, is_descending=is_descending)
    return Page(
        results=[SubaccountShape.of(entry) for entry in shown],
        total_count=len(owned),
        links=links(request, following),
    )


@router.get("/subaccounts/summary", responses=list_refusals())
async def count_subaccounts(caller: Viewer, services: ServicesDep) -> Results[SubaccountTotal]:
    """How many there are."""
    return Results(results=SubaccountTotal(total=len(_owned(services.directory.snapshot, caller))))


@router.get("/subaccounts/{subaccount}", responses=list_refusals(404), response_model_exclude_none=True)
async def get_subaccount(subaccount: str, caller: Viewer, services: ServicesDep) -> Results[SubaccountShape]:
    return Results(results=SubaccountShape.of(_one(services.directory.snapshot, caller, subaccount)))


@router.put(
    "/subaccounts/{subaccount}", responses=list_refusals(404, 413, 415), openapi_extra=takes(SubaccountUpdate)
)
async def update_subaccount(
    subaccount: str, request: Request, caller: Manager, services: ServicesDep
) -> Results[Message]:
    """Rename it, bind it to a pool or to none, suspend it or let it send again."""
    _one(services.directory.snapshot, caller, subaccount)
    body = await read_body(request, SubaccountUpdate, MISSING, with_values=True)
    now = services.clock.now()

    def compute(snapshot: Snapshot) -> Changes:
        number = _one(snapshot, caller, subaccount).id
        return change_subaccount(snapshot, caller.account, number, body.name, body.ip_pool, body.status, now)

    await change_directory(services.directory, compute, caller)
    return Results(results=Message(message="Successfully updated subaccount information"))


def _owned(snapshot: Snapshot, caller: Caller) -> list[Subaccount]:
    """The account's own, or the one that the request is about."""
    return [
        entry
        for (account, number), entry in snapshot.subaccounts.items()
        if account == caller.account and caller.subaccount in (None, number)
    ]


def _one(snapshot: Snapshot, caller: Caller, text: str) -> Subaccount:
    """Raises ApiError 404."""
    found = next((entry for entry in _owned(snapshot, caller) if str(entry.id) == text), None)
    if found is None:
        raise ApiError(404, f"Subaccount {text} does not exist.")
    return found


def _sorted_by(entry: Subaccount, sort: str) -> str | int:
    """What a file made is older than all that has a date."""
    if sort == "name":
        return entry.name
    if sort == "id":
        return entry.id
    moment = entry.created if sort == "created_at" else entry.updated
    return 0 if moment is None else to_us(moment)


def _one_of(param: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ApiError(400, f"{param} must be one of {', '.join(allowed)}", param=param, value=value[:100])
    return value


def _numbers(ids: str | None) -> frozenset[int] | None:
    """`1,2,3`."""
    if ids is None:
        return None
    parts = ids.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        raise ApiError(400, "ids must be numbers, separated by commas", param="ids", value=ids[:100])
    return frozenset(int(part) for part in parts)
