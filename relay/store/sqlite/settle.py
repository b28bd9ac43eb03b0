"""Writing what outcomes do to messages, many lanes' at once."""

from collections.abc import Collection, Sequence

from relay.domain.ids import AccountId, Epoch, IpAddress, MessageId, to_us
from relay.domain.lifecycle import Finish, Notice, Requeue, Settlement
from relay.domain.value import value
from relay.ports.queue import Lane
from relay.store.codec import sayable, submission_row, to_json
from relay.store.sqlite.enqueue import Storing, make_lanes
from relay.store.sqlite.executor import Connection
from relay.store.sqlite.statements import SQL, one_list
from relay.store.sqlite.suppressions import suppress_new

Work = tuple[Lane, Sequence[Settlement]]


@value
class _Standing:
    """How a message stands in the queue before it is finished."""

    ip: IpAddress
    state: str
    epoch: Epoch
    body_row: int
    shares_body: int
    account: AccountId
    size_bytes: int
    """With the body."""
    own_bytes: int
    """Of the prefix, when the body is shared."""
    particulars_bytes: int

    def may_be_finished_by(self, lane: Lane) -> bool:
        """In flight: by its holder. Otherwise by an older one too, whose outcome came late but came."""
        if self.state == "in_flight":
            return self.ip == lane.ip and self.epoch == lane.epoch
        return self.epoch > lane.epoch


def settle_all(connection: Connection, works: Sequence[Work]) -> Sequence[list[MessageId]]:
    """For each lane's settlements, the ids that were not its own to settle."""
    storing = Storing(connection)
    finishes = [item.message for _, settlements in works for item in settlements if isinstance(item, Finish)]
    standing = _standing(connection, finishes)
    requeued = _requeue(connection, works)
    gone: list[MessageId] = []
    bodies: list[int] = []
    stale: list[list[MessageId]] = []
    for lane, settlements in works:
        refused: list[MessageId] = []
        for settlement in settlements:
            if isinstance(settlement, Requeue):
                if (settlement.message, lane.ip, lane.epoch) in requeued:
                    storing.events.add([settlement.event] if settlement.event else ())
                else:
                    refused.append(settlement.message)
                continue
            stands = standing.get(settlement.message)
            if stands is None or not stands.may_be_finished_by(lane):
                refused.append(settlement.message)
                continue
            del standing[settlement.message]
            gone.append(settlement.message)
            octets = stands.own_bytes
            if not stands.shares_body or _was_last(connection, stands.body_row):
                bodies.append(stands.body_row)
                octets = stands.size_bytes
            held = storing.held
            held[stands.account] = held.get(stands.account, 0) - octets - stands.particulars_bytes
            storing.events.add([settlement.event])
            if settlement.suppress:
                suppress_new(connection, settlement.suppress)
            if settlement.notice is not None:
                _add_notice(connection, storing, settlement.notice)
        stale.append(refused)
    if gone:
        connection.execute(SQL["remove_messages"], (to_json(gone),))
        connection.execute(SQL["remove_bodies"], (to_json(bodies),))
    storing.store()
    return stale


def _standing(connection: Connection, ids: Sequence[MessageId]) -> dict[MessageId, _Standing]:
    if not ids:
        return {}
    # Rows of the id and the fields, as the query packs them.
    rows = one_list(connection, "standing", (to_json(ids),))
    return {row[0]: _Standing(*row[1:]) for row in rows}


def _requeue(connection: Connection, works: Sequence[Work]) -> Collection[tuple[MessageId, IpAddress, Epoch]]:
    """Put back all that is to wait again; which messages of which lanes that did."""
    rows = [
        (
            settlement.message,
            lane.ip,
            lane.epoch,
            to_us(settlement.due),
            None if settlement.last_reply is None else sayable(settlement.last_reply),
            int(settlement.uncount),
        )
        for lane, settlements in works
        for settlement in settlements
        if isinstance(settlement, Requeue)
    ]
    return set(connection.execute(SQL["requeue"], (to_json(rows),)).fetchall()) if rows else ()


def _was_last(connection: Connection, body_row: int) -> bool:
    """Whether this message was the last that the shared body had."""
    ((left,),) = connection.execute(SQL["leave_body"], (body_row,)).fetchall()
    if left == 0:
        connection.execute(SQL["unshare_body"], (body_row,))
    return bool(left == 0)


def _add_notice(connection: Connection, storing: Storing, notice: Notice) -> None:
    storing.submissions.append(submission_row(notice.submission))
    storing.add_mail([notice.body], [notice.message], {})
    storing.events.add([notice.event])
    make_lanes(connection, [notice.message.pin.ip])
