"""Subaccounts as REST shows and takes them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, PlainValidator, WithJsonSchema

from relay.domain.directory import MAX_POOL_NAME, Status, Subaccount, is_pool_id
from relay.schema.request import RequestBody, flag
from relay.schema.tables import MAX_NAME, parse_client, parse_name

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
_POOL_SCHEMA = {"type": "string", "maxLength": MAX_POOL_NAME, "pattern": "^[A-Za-z0-9_]*$"}
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}


def _parse_name(value: object) -> str:
    if isinstance(value, str) and len(value) > MAX_NAME:
        raise ValueError(f"`name` must be {MAX_NAME} characters or less")
    return _printable("name", value)


def _parse_label(value: object) -> str:
    return _printable("key_label", value)


def _printable(field: str, value: object) -> str:
    try:
        return parse_name(value)
    except ValueError as error:
        raise ValueError(f"`{field}` must have {error}") from error


def _parse_pool(value: object) -> str:
    """For form only (A9); empty is none."""
    if isinstance(value, str) and len(value) > MAX_POOL_NAME:
        raise ValueError(f"ip_pool must be {MAX_POOL_NAME} characters or less")
    if not isinstance(value, str) or (value and not is_pool_id(value)):
        raise ValueError("ip_pool must be alphanumeric and underscore")
    return value


def _parse_grants(value: object) -> tuple[str, ...]:
    if value == []:
        raise ValueError(MISSING.format("key_grants"))
    if not isinstance(value, list) or any(grant not in KEY_GRANTS for grant in value):
        raise ValueError(f"Invalid `key_grants value`. Supported values are: {_GRANTS}")
    return tuple(value)


def _parse_clients(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("`key_valid_ips` must be an Array")
    try:
        return tuple(parse_client(entry) for entry in value)
    except ValueError as error:
        raise ValueError("`key_valid_ips` must have valid netmask values") from error


def _parse_status(value: object) -> Status:
    try:
        return Status(str(value))
    except ValueError as error:
        raise ValueError(f"`status` must be one of {_STATUSES}") from error


SortBy = Annotated[
    str, WithJsonSchema({"type": "string", "enum": ["created_at", "updated_at", "id", "name"]})
]
Order = Annotated[str, WithJsonSchema({"type": "string", "enum": ["asc", "desc"]})]
Ids = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,10}(,[0-9]{1,10})*$"})]
Name = Annotated[str, PlainValidator(_parse_name), WithJsonSchema(_NAME_SCHEMA)]
BoundPool = Annotated[str | None, PlainValidator(_parse_pool), WithJsonSchema(_POOL_SCHEMA)]


class SubaccountCreate(RequestBody):
    """A new subaccount and, if setup_api_key, its first key."""

    name: Name
    ip_pool: BoundPool = None
    setup_api_key: Annotated[
        bool, PlainValidator(flag("`setup_api_key`")), WithJsonSchema({"type": "boolean", "default": True})
    ] = True
    key_valid_ips: Annotated[
        tuple[str, ...],
        PlainValidator(_parse_clients),
        WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    ] = ()


class SubaccountWithKey(SubaccountCreate):
    """A new subaccount and its first key; without setup_api_key = false these are required."""

    key_label: Annotated[str, PlainValidator(_parse_label), WithJsonSchema(_NAME_SCHEMA)]
    key_grants: Annotated[
        tuple[str, ...],
        PlainValidator(_parse_grants),
        WithJsonSchema(
            {"type": "array", "items": {"type": "string", "enum": list(KEY_GRANTS)}, "minItems": 1}
        ),
    ]


class SubaccountAlone(SubaccountCreate):
    """A new subaccount without a key: for the description of the API alone."""

    setup_api_key: Literal[False]


class SubaccountUpdate(RequestBody):
    """Any of these. An empty ip_pool unassigns."""

    name: Annotated[str | None, PlainValidator(_parse_name), WithJsonSchema(_NAME_SCHEMA)] = None
    ip_pool: BoundPool = None
    status: Annotated[
        Status | None,
        PlainValidator(_parse_status),
        WithJsonSchema({"type": "string", "enum": [status.value for status in Status]}),
    ] = None


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
