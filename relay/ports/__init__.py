"""What the core asks of the world: Protocols only. `store` and `net` answer, `runtime` joins them."""

from relay.ports.ambient import Clock, Entropy
from relay.ports.billing import BillingStore
from relay.ports.directory import AuditLine, Directory, DirectoryStore
from relay.ports.domains import DkimKeys, DomainRecords, Records
from relay.ports.eventlog import EventLog, EventPage, EventPlace, EventQuery, Told
from relay.ports.idempotency import Answer, Answered, Begun, IdempotencyStore, Standing, Ticket
from relay.ports.outbound import (
    Addresses,
    Departures,
    Dialer,
    Host,
    Login,
    Mx,
    MxResolver,
    NoSession,
    SmtpSession,
    Transcript,
)
from relay.ports.queue import (
    Claimed,
    EnqueueBatch,
    Head,
    Lane,
    ListCheck,
    QueueStore,
    Selection,
    WakeUps,
)
from relay.ports.suppressions import SuppressionPage, SuppressionQuery, SuppressionStore
from relay.ports.transmissions import Made, TransmissionStanding, TransmissionStore

__all__ = [
    "Addresses",
    "Answer",
    "Answered",
    "AuditLine",
    "Begun",
    "BillingStore",
    "Claimed",
    "Clock",
    "Departures",
    "Dialer",
    "Directory",
    "DirectoryStore",
    "DkimKeys",
    "DomainRecords",
    "EnqueueBatch",
    "Entropy",
    "EventLog",
    "EventPage",
    "EventPlace",
    "EventQuery",
    "Head",
    "Host",
    "IdempotencyStore",
    "Lane",
    "ListCheck",
    "Login",
    "Made",
    "Mx",
    "MxResolver",
    "NoSession",
    "QueueStore",
    "Records",
    "Selection",
    "SmtpSession",
    "Standing",
    "SuppressionPage",
    "SuppressionQuery",
    "SuppressionStore",
    "Ticket",
    "Told",
    "Transcript",
    "TransmissionStanding",
    "TransmissionStore",
    "WakeUps",
]
