"""API keys as REST shows and takes them."""

from typing import Annotated, Self

from pydantic import BaseModel, PlainValidator, WithJsonSchema

from relay.domain.directory import GRANTS, ApiKey
from relay.schema.request import RequestBody, label
from relay.schema.tables import MAX_NAME, parse_client

_ID_LENGTH = 16
_GRANTS = ", ".join(f"'{grant}'" for grant in sorted(GRANTS))


def _parse_grants(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or any(grant not in sorted(GRANTS) for grant in value):
        raise ValueError(f"grants must be an array of some of {_GRANTS}")
    return tuple(value)


def _parse_clients(value: object) -> tuple[str, ...]:
    try:
        if isinstance(value, list):
            return tuple(parse_client(entry) for entry in value)
    except ValueError:
        pass
    raise ValueError("valid_ips must be an array of addresses and networks")


class ApiKeyBody(RequestBody):
    """A new key."""

    label: Annotated[
        str,
        PlainValidator(label("label")),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
    ]
    grants: Annotated[
        tuple[str, ...],
        PlainValidator(_parse_grants),
        WithJsonSchema({"type": "array", "items": {"type": "string", "enum": sorted(GRANTS)}, "minItems": 1}),
    ]
    valid_ips: Annotated[
        tuple[str, ...],
        PlainValidator(_parse_clients),
        WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    ] = ()


class ApiKeyShape(BaseModel):
    """A key, of which only the first four characters are known."""

    id: str
    label: str
    short_key: str
    grants: list[str]
    valid_ips: list[str]
    subaccount_id: int | None = None
    key: str | None = None
    """Its text: in the answer to its creation and never again."""

    @classmethod
    def of(cls, key: ApiKey, text: str | None = None) -> Self:
        return cls(
            id=key_id(key),
            label=key.label,
            short_key=key.short,
            grants=sorted(key.grants),
            valid_ips=list(key.valid_ips),
            subaccount_id=key.subaccount,
            key=text,
        )


def key_id(key: ApiKey) -> str:
    """What names a key in paths: the beginning of its hash."""
    return key.sha256[:_ID_LENGTH]
