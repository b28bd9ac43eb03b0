"""What one request asks to be sent, and why it may not be (C §3.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from relay.domain.directory import Principal
from relay.domain.errors import RelayError
from relay.domain.message import Options
from relay.domain.transmission import Content, Recipient


@dataclass(frozen=True, slots=True)
class Draft:
    """What was asked by one request, parsed and authenticated, before anything is decided."""

    principal: Principal
    remote_addr: str
    options: Options
    content: Content
    recipients: Sequence[Recipient]
    start: datetime | None = None
    """None: at once."""
    description: str = ""
    return_path: str = ""
    substitution_data: dict[str, object] = field(default_factory=dict)
    substitutes: bool = True
    asked_options: dict[str, object] = field(default_factory=dict)


@dataclass
class EstimateTooLarge(RelayError):
    """The composed message would exceed the limit (C §3.6)."""

    limit_bytes: int


@dataclass
class CannotGenerate(RelayError):
    """The message for the only recipient cannot be made (C §3.6, code 1901)."""

    reason: str
