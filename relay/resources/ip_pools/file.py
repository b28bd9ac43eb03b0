"""IP pools in `directory.toml`."""

from typing import Annotated

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from relay.config.problems import Table
from relay.domain.directory import Pool, is_pool_name, pool_id_of
from relay.domain.ids import AccountId, PoolId
from relay.frames.tables import write_table
from relay.frames.values import parse_optional_host_name, parse_pool_id


def _parse_pool_name(text: object) -> str:
    if isinstance(text, str) and is_pool_name(text):
        return text
    raise ValueError("1 to 20 letters and digits, with single spaces, hyphens or underscores between them")


class PoolTable(Table):
    """`[[account.pool]]`."""

    name: Annotated[str, PlainValidator(_parse_pool_name)]
    id: Annotated[PoolId, PlainValidator(parse_pool_id), Field(validate_default=True)] = PoolId("")
    """Derived from the name where it does not stand; a pool that was renamed keeps its own."""
    auto_warmup_overflow_pool: str = ""
    """A pool id, or "shared pool"."""
    signing_domain: Annotated[str, PlainValidator(parse_optional_host_name)] = ""
    fbl_signing_domain: Annotated[str, PlainValidator(parse_optional_host_name)] = ""

    @field_validator("id")
    @classmethod
    def _of_the_name(cls, id_: PoolId, info: ValidationInfo) -> PoolId:
        return id_ or pool_id_of(info.data.get("name", ""))

    def to_domain(self, account: AccountId) -> Pool:
        return Pool(
            account,
            self.id,
            self.name,
            self.auto_warmup_overflow_pool,
            signing_domain=self.signing_domain,
            fbl_signing_domain=self.fbl_signing_domain,
        )


def write_pool(pool: Pool, *, overflows: bool) -> str:
    values = {
        "name": pool.name,
        "id": pool.id if pool.id != pool_id_of(pool.name) else "",
        "auto_warmup_overflow_pool": pool.overflow_pool if overflows else "",
        "signing_domain": pool.signing_domain,
        "fbl_signing_domain": pool.fbl_signing_domain,
    }
    return write_table("account.pool", values)
