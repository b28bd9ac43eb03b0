"""Subaccounts in `directory.toml`."""

from typing import Annotated

from pydantic import Field, PlainValidator

from relay.config.problems import Table
from relay.domain.directory import Status, Subaccount, is_pool_id
from relay.domain.ids import LARGEST_NUMBER, AccountId, PoolId, SubaccountId
from relay.frames.tables import write_table
from relay.frames.values import Name


def _parse_bound_pool(text: object) -> PoolId | None:
    if text in ("", None):
        return None
    if isinstance(text, str) and is_pool_id(text):
        return PoolId(text)
    raise ValueError("a pool id: 1 to 20 letters, digits and underscores")


class SubaccountTable(Table):
    """`[[account.subaccount]]`."""

    id: Annotated[SubaccountId, Field(ge=1, le=LARGEST_NUMBER)]
    name: Name
    ip_pool: Annotated[PoolId | None, PlainValidator(_parse_bound_pool)] = None

    def to_domain(self, account: AccountId) -> Subaccount:
        return Subaccount(account, self.id, self.name, self.ip_pool)


def write_subaccount(subaccount: Subaccount) -> str:
    values = {"id": subaccount.id, "name": subaccount.name, "ip_pool": subaccount.ip_pool}
    remarks = [] if subaccount.status is Status.ACTIVE else [subaccount.status.value]
    return write_table("account.subaccount", values, *remarks)
