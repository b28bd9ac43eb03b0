"""The parts of the console, one module each."""

from collections.abc import Sequence

from relay.web.routing import Pages
from relay.web.views import (
    api_keys,
    billing,
    bulk,
    dashboard,
    events,
    explain,
    guides,
    ip_pools,
    messages,
    operate,
    operate_ips,
    plan,
    profile,
    queue,
    sending_domains,
    sending_ips,
    sign_in,
    smtp,
    subaccounts,
    users,
)

VIEWS: Sequence[Pages] = (
    sign_in.pages,
    dashboard.pages,
    ip_pools.pages,
    sending_ips.pages,
    operate_ips.pages,
    profile.pages,
    queue.pages,
    bulk.pages,
    messages.pages,
    explain.pages,
    events.pages,
    billing.pages,
    plan.pages,
    guides.pages,
    subaccounts.pages,
    api_keys.pages,
    sending_domains.pages,
    smtp.pages,
    operate.pages,
    users.pages,
)
