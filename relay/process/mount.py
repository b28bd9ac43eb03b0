"""Which resource hangs where: its endpoints under /api/v1, its pages in the console."""

from collections.abc import Sequence

from fastapi import APIRouter

from relay.frames.console import guides, profile, sign_in
from relay.frames.console.routing import Pages
from relay.resources.accounts import pages as accounts
from relay.resources.accounts import rest as account_rest
from relay.resources.accounts import smtp_pages
from relay.resources.api_keys import pages as api_keys
from relay.resources.api_keys import rest as api_keys_rest
from relay.resources.audit import pages as audit
from relay.resources.billing import pages as billing
from relay.resources.billing import plan_pages
from relay.resources.billing import rest as billing_rest
from relay.resources.events import dashboard, older_rest
from relay.resources.events import pages as events
from relay.resources.events import rest as events_rest
from relay.resources.ip_pools import pages as ip_pools
from relay.resources.ip_pools import rest as ip_pools_rest
from relay.resources.queue import bulk_pages, message_pages
from relay.resources.queue import pages as queue
from relay.resources.routes import pages as routes
from relay.resources.sending_domains import pages as sending_domains
from relay.resources.sending_domains import rest as sending_domains_rest
from relay.resources.sending_ips import operator_pages
from relay.resources.sending_ips import pages as sending_ips
from relay.resources.sending_ips import rest as sending_ips_rest
from relay.resources.subaccounts import pages as subaccounts
from relay.resources.subaccounts import rest as subaccounts_rest
from relay.resources.suppression_list import rest as suppression_list_rest
from relay.resources.transmissions import previews
from relay.resources.transmissions import rest as transmissions_rest
from relay.resources.users import pages as users

ROUTERS: Sequence[APIRouter] = (
    ip_pools_rest.router,
    sending_ips_rest.router,
    subaccounts_rest.router,
    account_rest.router,
    api_keys_rest.router,
    billing_rest.router,
    sending_domains_rest.router,
    suppression_list_rest.router,
    events_rest.router,
    older_rest.router,
    transmissions_rest.router,
    previews.router,
)
"""In the order in which the description of the API has them."""

VIEWS: Sequence[Pages] = (
    sign_in.pages,
    dashboard.pages,
    ip_pools.pages,
    sending_ips.pages,
    operator_pages.pages,
    profile.pages,
    queue.pages,
    bulk_pages.pages,
    message_pages.pages,
    routes.pages,
    events.pages,
    billing.pages,
    plan_pages.pages,
    guides.pages,
    subaccounts.pages,
    api_keys.pages,
    sending_domains.pages,
    smtp_pages.pages,
    accounts.pages,
    audit.pages,
    users.pages,
)
"""Of all parts of the console."""
