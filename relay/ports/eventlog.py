"""Reading what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.domain.events import Event
from relay.domain.ids import (
    MessageId,
    TransmissionId,
)
from relay.domain.message import Submission


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the submission that it belongs to; a policy rejection has none."""

    id: str
    event: Event
    submission: Submission | None


class EventLog(Protocol):
    """Reading what enqueue and settle appended."""

    async def append(self, events: Sequence[Event]) -> None:
        """For events that no message change carries, such as a policy rejection."""

    async def story(self, message: MessageId) -> list[Told]:
        """Everything about one message, oldest first."""

    async def of_transmission(self, transmission: TransmissionId) -> list[Told]: ...

    async def recent(self, limit: int) -> list[Told]:
        """Newest first."""

    async def trim(self, before: datetime) -> int:
        """Remove older events, and submissions that nothing refers to; returns how many events."""
