"""Events counted by ten minutes: in the transaction that stores them, and as read models add them up."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from relay.domain.events import EVENT_KINDS, Event, PolicyRejection
from relay.domain.ids import AccountId, IpAddress, PoolId, from_us, to_us
from relay.ports.report import TALLY_STEP, Tally
from relay.store.codec import Row, event_row
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.statements import insert_events

STEP_US = TALLY_STEP // timedelta(microseconds=1)
_COUNTED = frozenset(kind.name for kind in EVENT_KINDS if kind.is_public)
_SQL = load_queries("relay.store.sqlite", "tallies.sql", {})


class TalliedEvents:
    """Events being collected, then stored with their counts."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._counts: dict[tuple[int, int, str, str, str], int] = {}

    def add(self, events: Iterable[Event]) -> None:
        counts = self._counts
        for event in events:
            row = event_row(event)
            self._rows.append(row)
            at_us, kind, _, _, account, ip, _ = row
            if kind in _COUNTED:
                # What a client called the pool is no name of ours, and there may be any number of them.
                pool = "" if isinstance(event, PolicyRejection) else event.about.ip_pool
                key = (account, at_us - at_us % STEP_US, kind, ip or "", pool)
                counts[key] = counts.get(key, 0) + 1

    def store(self, connection: Connection) -> None:
        insert_events(connection, self._rows)
        # In the order of the table: what several accounts wrote at once touches each page once.
        connection.executemany(
            _SQL["count"], [(*key, number) for key, number in sorted(self._counts.items())]
        )


def tallies(
    connection: Connection,
    account: AccountId | None,
    since: datetime,
    until: datetime,
    step: timedelta,
    by_ip: bool,
) -> list[Tally]:
    """`ReportStore.tallies`."""
    step_us = step // timedelta(microseconds=1)
    if step_us <= 0 or step_us % STEP_US:
        raise ValueError(f"step: expected a multiple of {TALLY_STEP}, got {step}")
    since_us = to_us(since)
    values = {
        "account": account,
        "since_us": since_us - since_us % step_us,
        "until_us": -(-to_us(until) // step_us) * step_us,
        "step_us": step_us,
    }
    rows = connection.execute(_SQL["by_ip" if by_ip else "by_account"], values).fetchall()
    times = {at_us: from_us(at_us) for at_us in {row[0] for row in rows}}
    return [
        Tally(times[at_us], AccountId(account), IpAddress(ip), PoolId(pool), kind, number)
        for at_us, account, ip, pool, kind, number in rows
    ]


def trim_tallies(connection: Connection, before_us: int) -> None:
    """Forget the steps that ended before."""
    connection.execute(_SQL["forget"], {"before_us": before_us - before_us % STEP_US})
