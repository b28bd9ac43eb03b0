"""What the core asks of the world: Protocols only. `store` and `net` answer, `runtime` joins them."""

from relay.ports.ambient import Clock, Entropy
from relay.ports.directory import Directory, DirectoryStore
from relay.ports.eventlog import EventLog, Told
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
from relay.ports.queue import Claimed, EnqueueBatch, Head, Lane, QueueStore, Selection, WakeUps

__all__ = [
    "Addresses",
    "Claimed",
    "Clock",
    "Departures",
    "Dialer",
    "Directory",
    "DirectoryStore",
    "EnqueueBatch",
    "Entropy",
    "EventLog",
    "Head",
    "Host",
    "Lane",
    "Login",
    "Mx",
    "MxResolver",
    "NoSession",
    "QueueStore",
    "Selection",
    "SmtpSession",
    "Told",
    "Transcript",
    "WakeUps",
]
