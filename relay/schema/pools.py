"""IP pools and sending IPs as REST shows and takes them."""

from typing import Annotated, Self

from pydantic import BaseModel, PlainValidator, WithJsonSchema

from relay.domain.directory import MAX_POOL_NAME, Pool, SendingIp
from relay.domain.ids import DEFAULT_POOL
from relay.schema.request import RequestBody, flag, text

MAX_STAGE = 29
NO_WARMUP = "Auto warm-up is not available on this installation."
_STAGE = f"auto_warmup_stage must be between 1 and {MAX_STAGE}"


def _parse_warmup(value: object) -> bool:
    """Off is what it is already; nothing is accepted that has no effect."""
    if flag("auto_warmup_enabled")(value):
        raise ValueError(NO_WARMUP)
    return False


def _parse_stage(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_STAGE:
        raise ValueError(_STAGE)
    raise ValueError("auto_warmup_enabled must be true to update auto_warmup_stage")


class PoolIp(BaseModel):
    """A sending IP in its pool."""

    external_ip: str
    hostname: str
    auto_warmup_enabled: bool = False


class PoolShape(BaseModel):
    """An IP pool."""

    id: str
    name: str
    ips: list[PoolIp]
    signing_domain: str | None = None
    fbl_signing_domain: str | None = None
    auto_warmup_overflow_pool: str | None = None

    @classmethod
    def of(cls, pool: Pool, ips: list[SendingIp]) -> Self:
        return cls(
            id=pool.id,
            name=pool.name,
            ips=[PoolIp(external_ip=ip.address, hostname=ip.hostname) for ip in ips],
            signing_domain=pool.signing_domain or None,
            fbl_signing_domain=pool.fbl_signing_domain or None,
            auto_warmup_overflow_pool=pool.overflow_pool or None,
        )


class PoolBody(RequestBody):
    """What POST and PUT /ip-pools take. In PUT an empty text removes."""

    name: Annotated[
        str,
        PlainValidator(text("name")),
        WithJsonSchema(
            {
                "type": "string",
                "maxLength": MAX_POOL_NAME,
                "pattern": "^[A-Za-z0-9]+([ _-][A-Za-z0-9]+)*$",
            }
        ),
    ]
    signing_domain: Annotated[
        str | None,
        PlainValidator(text("signing_domain")),
        WithJsonSchema({"type": "string", "description": "A DKIM verified sending domain of the account."}),
    ] = None
    fbl_signing_domain: Annotated[
        str | None,
        PlainValidator(text("fbl_signing_domain")),
        WithJsonSchema({"type": "string", "description": "As signing_domain, for a second signature."}),
    ] = None
    auto_warmup_overflow_pool: Annotated[
        str | None,
        PlainValidator(text("auto_warmup_overflow_pool")),
        WithJsonSchema({"type": "string", "description": "The id of a pool, or `shared pool`."}),
    ] = None


class PoolCreated(BaseModel):
    """The id that the name gave; it is what `options.ip_pool` says."""

    id: str


class PoolSaid(PoolCreated):
    """What was set."""

    name: str
    signing_domain: str | None = None
    fbl_signing_domain: str | None = None
    auto_warmup_overflow_pool: str | None = None


class SendingIpShape(BaseModel):
    """A dedicated IP."""

    external_ip: str
    hostname: str
    ip_pool: str
    customer_provided: bool = False
    auto_warmup_enabled: bool = False

    @classmethod
    def of(cls, ip: SendingIp) -> Self:
        return cls(external_ip=ip.address, hostname=ip.hostname, ip_pool=ip.pool or DEFAULT_POOL)


class SendingIpBody(RequestBody):
    """What PUT /sending-ips/{external_ip} takes."""

    ip_pool: Annotated[
        str | None,
        PlainValidator(text("ip_pool")),
        WithJsonSchema({"type": "string", "description": "The id of a pool of the account."}),
    ] = None
    auto_warmup_enabled: Annotated[
        bool, PlainValidator(_parse_warmup), WithJsonSchema({"type": "boolean", "enum": [False]})
    ] = False
    auto_warmup_stage: Annotated[
        int | None,
        PlainValidator(_parse_stage),
        WithJsonSchema(
            {"type": "integer", "minimum": 1, "maximum": MAX_STAGE, "description": "Only with warm-up on."}
        ),
    ] = None
