"""What routes work with: the ports and the use cases of one process, gathered by `runtime`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from relay.domain.clients import Network
from relay.domain.retry import RetryPolicy
from relay.ports import (
    Clock,
    Directory,
    EventLog,
    IdempotencyStore,
    QueueStore,
    Sandbox,
    SuppressionStore,
    WakeUps,
)
from relay.service.billing import Billing
from relay.service.budget import BodyBudget
from relay.service.caps import Caps
from relay.service.domains import SendingDomains
from relay.service.identify import Ids
from relay.service.rejections import Rejecting
from relay.service.transmit import Transmitter
from relay.tally import Tally


@dataclass(frozen=True)
class Services:
    """One process's means of answering requests."""

    clock: Clock
    ids: Ids
    directory: Directory
    queue: QueueStore
    events: EventLog
    wakeups: WakeUps
    rejections: Rejecting
    transmitter: Transmitter
    sandbox: Sandbox
    budget: BodyBudget
    """Request bodies are counted with those of messages."""
    policy: RetryPolicy
    hostname: str
    billing: Billing
    idempotency: IdempotencyStore
    suppressions: SuppressionStore
    domains: SendingDomains
    caps: Caps
    """Of each account."""
    trouble: Callable[[], str | None]
    """Why this process can take no mail; None: it can."""
    trusted_proxies: tuple[Network, ...]
    """Whose word on where a client speaks from is taken for the log, but not for `valid_ips`."""
    refusals: Tally
    """Of credentials, by this and the other doors."""
    refuses_tracking: bool
    """Whether mail that asks for tracking is refused; else it is sent without."""
    requests_per_second: float
    """What one key may ask for on average; transmissions are not counted."""


def services_of(request: Request) -> Services:
    """Those of the application that answers the request."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
