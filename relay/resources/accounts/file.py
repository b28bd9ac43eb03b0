"""Accounts in `directory.toml`."""

from typing import Annotated

from pydantic import Field, PlainValidator

from relay.config.problems import Table
from relay.domain.directory import USUAL_IP_LIMIT, USUAL_PRICE_CENTS, Account, Plan, Status
from relay.domain.ids import LARGEST_NUMBER, AccountId
from relay.frames.tables import write_table
from relay.frames.values import Name, parse_optional_host_name

MOST_IPS = 100_000
"""Dedicated IPs of one account: what stands for "no limit" where nothing stands for the usual one."""


class AccountTable(Table):
    """`[[account]]`."""

    id: Annotated[AccountId, Field(ge=1, le=LARGEST_NUMBER)]
    name: Name
    plan: Plan
    dedicated_ip_limit: Annotated[int | None, Field(ge=0, le=MOST_IPS)] = None
    ip_price_cents: Annotated[int, Field(ge=0, le=100_000_000)] = USUAL_PRICE_CENTS
    bill_cycle_day: Annotated[int, Field(ge=1, le=28)] = 1
    require_sending_domain: bool | None = None
    bounce_domain: Annotated[str, PlainValidator(parse_optional_host_name)] = ""
    dsn: bool = False

    def to_domain(self, *, lists_domains: bool = False) -> Account:
        """On the Enterprise plan 0 and nothing both mean no limit (R14).

        lists_domains: then, if nothing else is said, mail must be from one of them.
        """
        limit = self.dedicated_ip_limit
        if limit == MOST_IPS:
            limit = None
        elif self.plan is Plan.ENTERPRISE:
            limit = limit or None
        elif limit is None:
            limit = USUAL_IP_LIMIT
        required = self.require_sending_domain
        return Account(
            self.id,
            self.name,
            self.plan,
            limit,
            self.ip_price_cents,
            self.bill_cycle_day,
            lists_domains if required is None else required,
            self.bounce_domain,
            self.dsn,
        )


def write_account(account: Account, *, lists_domains: bool) -> str:
    limit = account.dedicated_ip_limit
    values = {
        "id": account.id,
        "name": account.name,
        "plan": account.plan.value,
        "dedicated_ip_limit": MOST_IPS if limit is None and account.plan is not Plan.ENTERPRISE else limit,
        "ip_price_cents": account.ip_price_cents,
        "bill_cycle_day": account.bill_cycle_day,
        "require_sending_domain": account.require_sending_domain,
        "bounce_domain": account.bounce_domain,
        "dsn": account.dsn,
    }
    if account.require_sending_domain == lists_domains:
        del values["require_sending_domain"]
    remarks = [] if account.status is Status.ACTIVE else [account.status.value]
    if account.next_plan is not None and account.next_plan_at is not None:
        remarks.append(f"plan {account.next_plan} from {account.next_plan_at:%Y-%m-%d}")
    return write_table("account", values, *remarks, *account.tracking)
