"""What pages work with: the ports and the use cases of one process, gathered by `runtime`."""

from dataclasses import dataclass, field

from relay.domain.clients import Network
from relay.domain.retry import RetryPolicy
from relay.ports import (
    Clock,
    Directory,
    DirectoryStore,
    EventLog,
    IdempotencyStore,
    QueueStore,
    ReportStore,
    TransmissionStore,
    WakeUps,
)
from relay.service.billing import Billing
from relay.service.bulk import BulkRuns
from relay.service.caps import Caps
from relay.service.domains import SendingDomains
from relay.service.sign_in import SignIns
from relay.tally import Tally
from relay.web.shown_once import Secrets


@dataclass(frozen=True)
class Entrance:
    """Where mail comes in, as people are told."""

    hostname: str
    listeners: tuple[tuple[str, int], ...]
    """Host and port, with STARTTLS on offer."""
    tls_listeners: tuple[tuple[str, int], ...]
    """Those with implicit TLS."""
    auth_without_tls: bool


@dataclass(frozen=True)
class Services:
    """One process's means of answering people."""

    clock: Clock
    directory: Directory
    rows: DirectoryStore
    """For what is not in the snapshot: audit lines."""
    queue: QueueStore
    events: EventLog
    reports: ReportStore
    transmissions: TransmissionStore
    wakeups: WakeUps
    policy: RetryPolicy
    billing: Billing
    domains: SendingDomains
    caps: Caps
    """Of each account."""
    idempotency: IdempotencyStore
    """Of forms that may be sent twice."""
    bulk: BulkRuns
    """Verbs at work on much mail."""
    sign_ins: SignIns
    entrance: Entrance
    trusted_proxies: tuple[Network, ...]
    """Whose word on where a browser speaks from is taken."""
    refusals: Tally
    """Of credentials, by this and the other doors."""
    base_url: str
    """Of the console and the API, as people reach it; without a slash at the end."""
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by TLS: then cookies do not go without it."""
        return self.base_url.startswith("https://")

    def cookie(self, name: str) -> str:
        """What browsers call it. With the prefix, no other host and no clear-text page can set it."""
        return f"__Host-{name}" if self.is_secure else name
