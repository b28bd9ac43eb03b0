"""What the core asks of the world: Protocols only. `store` and `net` answer, `runtime` joins them."""

from relay.ports.ambient import Clock, Entropy
from relay.ports.billing import BillingStore
from relay.ports.directory import AuditLine, Directory, DirectoryStore
from relay.ports.domains import DkimKeys, DomainRecords, Records
from relay.ports.eventlog import EventLog, EventPage, EventPlace, EventQuery, FoundEvents, Told
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
from relay.ports.queue import Claimed, EnqueueBatch, Head, Lane, ListCheck, QueueStore, Selection, WakeUps
from relay.ports.report import (
    TALLY_STEP,
    BadPlace,
    Facet,
    MailFilter,
    MailPage,
    ReportStore,
    StateCounts,
    Tally,
    Waiting,
    WaitingPage,
)
from relay.ports.sandbox import Output, Sandbox
from relay.ports.suppressions import SuppressionPage, SuppressionQuery, SuppressionStore
from relay.ports.transmissions import Made, TransmissionStanding, TransmissionStore
from relay.ports.users import PasswordHasher, UserStore, Verified

__all__ = [
    "TALLY_STEP",
    "Addresses",
    "Answer",
    "Answered",
    "AuditLine",
    "BadPlace",
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
    "Facet",
    "FoundEvents",
    "Head",
    "Host",
    "IdempotencyStore",
    "Lane",
    "ListCheck",
    "Login",
    "Made",
    "MailFilter",
    "MailPage",
    "Mx",
    "MxResolver",
    "NoSession",
    "Output",
    "PasswordHasher",
    "QueueStore",
    "Records",
    "ReportStore",
    "Sandbox",
    "Selection",
    "SmtpSession",
    "Standing",
    "StateCounts",
    "SuppressionPage",
    "SuppressionQuery",
    "SuppressionStore",
    "Tally",
    "Ticket",
    "Told",
    "Transcript",
    "TransmissionStanding",
    "TransmissionStore",
    "UserStore",
    "Verified",
    "Waiting",
    "WaitingPage",
    "WakeUps",
]
