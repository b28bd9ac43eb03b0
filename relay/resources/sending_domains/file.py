"""Sending domains in `directory.toml`."""

from typing import Annotated

from pydantic import PlainValidator

from relay.config.problems import Table
from relay.config.values import parse_host_name
from relay.domain.directory import SendingDomain
from relay.domain.ids import AccountId, SubaccountId
from relay.frames.tables import write_table
from relay.frames.values import SubaccountNumber


class SendingDomainTable(Table):
    """`[[account.sending_domain]]`."""

    domain: Annotated[str, PlainValidator(parse_host_name)]
    subaccount: SubaccountNumber = SubaccountId(0)
    shared_with_subaccounts: bool = False

    def to_domain(self, account: AccountId) -> SendingDomain:
        return SendingDomain(account, self.domain, self.subaccount or None, self.shared_with_subaccounts)


def write_sending_domain(domain: SendingDomain) -> str:
    values = {
        "domain": domain.domain,
        "subaccount": domain.subaccount,
        "shared_with_subaccounts": domain.shared_with_subaccounts,
    }
    remarks = [f"tracking domain {domain.tracking_domain}"] if domain.tracking_domain else []
    if domain.dkim is not None:
        remarks.append(f"DKIM key {domain.dkim.selector}, which is not in this file")
    return write_table("account.sending_domain", values, *remarks)
