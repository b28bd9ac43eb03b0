"""Sending IPs in `directory.toml`."""

from typing import Annotated

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from relay.config.problems import Table
from relay.config.values import parse_host_name
from relay.domain.directory import MAX_WEIGHT, SendingIp
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId
from relay.frames.tables import write_table
from relay.frames.values import parse_address, parse_optional_address, parse_optional_node


class SendingIpTable(Table):
    """`[[sending_ip]]`."""

    address: Annotated[IpAddress, PlainValidator(parse_address)]
    bind: Annotated[IpAddress | None, PlainValidator(parse_optional_address)] = None
    hostname: Annotated[str, PlainValidator(parse_host_name)]
    node: Annotated[NodeName, PlainValidator(parse_optional_node)] = NodeName("")
    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] = 1
    shared: bool = False
    account: Annotated[AccountId | None, Field(ge=1)] = None
    pool: str | None = None

    @field_validator("bind")
    @classmethod
    def _same_family(cls, bind: IpAddress | None, info: ValidationInfo) -> IpAddress | None:
        if bind and "address" in info.data and (":" in bind) != (":" in info.data["address"]):
            raise ValueError("an address of the same family as the public one")
        return bind

    @field_validator("account")
    @classmethod
    def _not_shared(cls, account: AccountId | None, info: ValidationInfo) -> AccountId | None:
        if account is not None and info.data.get("shared"):
            raise ValueError("either shared = true or an account")
        return account

    @field_validator("pool")
    @classmethod
    def _with_account(cls, pool: str | None, info: ValidationInfo) -> str | None:
        if pool and "account" in info.data and info.data["account"] is None:
            raise ValueError("an account beside the pool")
        return pool

    def to_domain(self) -> SendingIp:
        pool = PoolId(self.pool or DEFAULT_POOL) if self.account is not None else None
        return SendingIp(
            self.address,
            self.bind or self.address,
            self.hostname,
            self.node,
            self.weight,
            self.shared,
            self.account,
            pool,
        )


def write_sending_ip(ip: SendingIp) -> str:
    values = {
        "address": ip.address,
        "bind": ip.bind if ip.bind != ip.address else "",
        "hostname": ip.hostname,
        "node": ip.node,
        "weight": ip.weight,
        "shared": ip.shared,
        "account": ip.account,
        "pool": ip.pool,
    }
    return write_table("sending_ip", values, *(["draining"] if ip.is_draining else []))
