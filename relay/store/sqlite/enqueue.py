"""Storing submissions with all that they became, many callers' at once."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from relay.domain.errors import QueueShareFull, RecipientsSuppressed, RelayError, StaleDirectory, StaleRequest
from relay.domain.ids import AccountId, BodyId, Epoch, IpAddress
from relay.domain.message import Body, Message, State
from relay.domain.suppression import key_of_message
from relay.ports.queue import EnqueueBatch
from relay.store.codec import STORED_MESSAGE_COLUMNS, Row, message_row, submission_row, to_json
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.idempotency import keep_answer
from relay.store.sqlite.shares import StoreShares, change_mail
from relay.store.sqlite.statements import (
    SQL,
    insert_bodies,
    insert_messages,
    insert_submissions,
    one,
    one_list,
)
from relay.store.sqlite.suppressions import suppressed_among, suppressing
from relay.store.sqlite.tallies import TalliedEvents

_PARTICULARS = STORED_MESSAGE_COLUMNS.index("particulars")


def enqueue_all(
    connection: Connection, batches: Sequence[EnqueueBatch], share_bytes: int
) -> Sequence[bool | RelayError]:
    """For each batch whether its messages are in flight as claimed, or why it was not stored."""
    revision = one(connection, "revision")
    lanes = {message.pin.ip for batch in batches for message in batch.messages}
    lanes.update(ip for batch in batches for ip in batch.claimed)
    epochs = _epochs(connection, lanes)
    storing = Storing(connection)
    shares = StoreShares(connection, {batch.submission.account for batch in batches}, share_bytes)
    careful = suppressing(connection, {batch.submission.account for batch in batches if batch.list_check})
    results: list[bool | RelayError] = []
    for batch in batches:
        if batch.revision != revision:
            results.append(StaleDirectory())
            continue
        if batch.submission.account in careful and (found := _suppressed(connection, batch)):
            results.append(RecipientsSuppressed(found))
            continue
        try:
            shares.check(batch.submission.account, size_bytes_of(batch.bodies, batch.messages))
            if batch.answered is not None:
                keep_answer(connection, batch.answered)
        except (QueueShareFull, StaleRequest) as error:
            results.append(error)
            continue
        is_current = all(epochs.get(ip) == epoch for ip, epoch in batch.claimed.items())
        storing.submissions.append(submission_row(batch.submission))
        storing.add_mail(batch.bodies, batch.messages, batch.claimed if is_current else {})
        storing.events.add(batch.events)
        results.append(is_current)
    make_lanes(connection, lanes.difference(epochs))
    storing.store()
    return results


class Storing:
    """Rows being collected, then stored table by table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Counted on from the largest in use; nothing refers to the row of a body that is gone.
        self._body_rows = count(one(connection, "last_body_row") + 1)
        self.submissions: list[Row] = []
        self.events = TalliedEvents()
        self.held: dict[AccountId, int] = {}
        """Octets of mail that come (above 0) or go (below)."""
        self._bodies: list[Row] = []
        self._shared: list[Row] = []
        self._messages: list[Row] = []

    def add_mail(
        self, bodies: Sequence[Body], messages: Sequence[Message], claimed: Mapping[IpAddress, Epoch]
    ) -> None:
        """Messages of one account. Those of a lane in claimed start in flight, with this attempt counted;
        the others are queued.
        """
        users: dict[BodyId, int] = {}
        for message in messages:
            users[message.body_id] = users.get(message.body_id, 0) + 1
        rows: dict[BodyId, int] = {}
        held, counted = 0, set[BodyId]()
        for body in bodies:
            if body.id in users:
                row = rows[body.id] = next(self._body_rows)
                self._bodies.append((row, body.content))
                if users[body.id] > 1:
                    self._shared.append((row, users[body.id]))
        for message in messages:
            epoch = claimed.get(message.pin.ip) if claimed else None
            # One that comes in flight has counted the attempt already, in the caller's copy.
            attempts = message.attempts - (message.state is State.IN_FLIGHT)
            state: State = State.QUEUED if message.state is State.IN_FLIGHT else message.state
            if epoch is not None:
                state, attempts = State.IN_FLIGHT, attempts + 1
            is_shared = users[message.body_id] > 1
            row = message_row(message, state, attempts, epoch or Epoch(0), rows[message.body_id], is_shared)
            self._messages.append(row)
            if is_shared and message.body_id in counted:
                # The body counts with the first; it goes with the last, whichever that is.
                held += len(message.prefix)
            else:
                held += message.size_bytes
                counted.add(message.body_id)
            held += len(row[_PARTICULARS])
        if messages:
            account = messages[0].account
            self.held[account] = self.held.get(account, 0) + held

    def store(self) -> None:
        insert_submissions(self._connection, self.submissions)
        insert_bodies(self._connection, self._bodies)
        if self._shared:
            self._connection.executemany(SQL["share_body"], self._shared)
        insert_messages(self._connection, self._messages)
        change_mail(self._connection, self.held)
        self.events.store(self._connection)


def size_bytes_of(bodies: Sequence[Body], messages: Sequence[Message]) -> int:
    """What is to be stored of them."""
    return sum([len(body.content) for body in bodies]) + sum([len(message.prefix) for message in messages])


def make_lanes(connection: Connection, ips: Iterable[IpAddress]) -> None:
    """Free lanes for addresses that have none yet."""
    for ip in ips:
        connection.execute(SQL["make_lane"], (ip,))


def _suppressed(connection: Connection, batch: EnqueueBatch) -> dict[str, str]:
    """Recipients that the batch does not know to be on the list, with the sources of their entries."""
    check, submission = batch.list_check, batch.submission
    if check is None:
        return {}
    recipients = {key_of_message(message) for message in batch.messages} - check.known
    return suppressed_among(connection, submission.account, submission.subaccount, check.kind, recipients)


def _epochs(connection: Connection, ips: Iterable[IpAddress]) -> dict[IpAddress, Epoch]:
    return {
        IpAddress(ip): Epoch(epoch) for ip, epoch in one_list(connection, "epochs", (to_json(list(ips)),))
    }
