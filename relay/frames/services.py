"""What endpoints and pages work with: the ports and the use cases of one process."""

from collections.abc import Callable
from dataclasses import dataclass, field

from relay.accept.budget import BodyBudget
from relay.domain.clients import Network
from relay.frames.caps import Caps
from relay.frames.console.shown_once import Secrets
from relay.frames.sign_in import SignIns
from relay.frames.use_cases import UseCases
from relay.net.tally import LogTally
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.eventlog import EventLog
from relay.ports.idempotency import IdempotencyStore
from relay.ports.report import ReportStore
from relay.ports.sandbox import Sandbox


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
    """One process's means of answering programs and people. What writes is in the use cases alone."""

    clock: Clock
    directory: Directory
    events: EventLog
    reports: ReportStore
    idempotency: IdempotencyStore
    """Of requests and forms that may be sent twice."""
    sandbox: Sandbox
    budget: BodyBudget
    """Request bodies are counted with those of messages."""
    use_cases: UseCases
    """Of the resources."""
    sign_ins: SignIns
    caps: Caps
    """Of each account."""
    trouble: Callable[[], str | None]
    """Why this process can take no mail; None: it can."""
    trusted_proxies: tuple[Network, ...]
    """Whose word on where a client speaks from is taken, but not for `valid_ips` of keys."""
    refusals: LogTally
    """Of credentials, by this and the other doors."""
    refuses_tracking: bool
    """Whether mail that asks for tracking is refused; else it is sent without."""
    requests_per_second: float
    """What one key may ask for on average; transmissions are not counted."""
    entrance: Entrance
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
