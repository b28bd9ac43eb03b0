"""Transmissions on SQLite."""

from collections.abc import Collection, Sequence
from datetime import datetime

from relay.domain.errors import StaleDirectory
from relay.domain.events import Event
from relay.domain.ids import (
    AccountId,
    MessageId,
    PoolId,
    Revision,
    SubaccountId,
    TransmissionId,
    WorkerId,
    from_us,
    to_us,
)
from relay.domain.message import Message
from relay.domain.transmission import (
    CHUNK,
    CampaignCancellation,
    Content,
    Recipient,
    Transmission,
    TransmissionState,
    Verdict,
)
from relay.ports.idempotency import Answered
from relay.ports.transmissions import Made, TransmissionStanding
from relay.store.codec import MESSAGE_COLUMNS, message, submission_row, to_json
from relay.store.sql import load_queries
from relay.store.sqlite.audit import add_line
from relay.store.sqlite.enqueue import Storing, make_lanes
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.idempotency import keep_answer
from relay.store.sqlite.lanes import Workers
from relay.store.sqlite.shares import StoreShares
from relay.store.sqlite.statements import one
from relay.store.sqlite.tallies import TalliedEvents
from relay.store.transmission_codec import (
    STANDING_COLUMNS,
    TRANSMISSION_COLUMNS,
    cancellation,
    content_of,
    content_text,
    recipients_of,
    recipients_text,
    standing,
    transmission_row,
    verdict_text,
)

_SQL = load_queries(
    "relay.store.sqlite",
    "transmissions.sql",
    {
        "standing": ", ".join(STANDING_COLUMNS),
        "message": ", ".join(f"message.{name}" for name in MESSAGE_COLUMNS),
    },
)
_ALL = 1 << 62
_FIELDS = TRANSMISSION_COLUMNS.index("fields")


class SqliteTransmissions:
    """`TransmissionStore`."""

    def __init__(self, executor: Executor, workers: Workers, share_bytes: int) -> None:
        """share_bytes: what one account may hold."""
        self._executor, self._workers, self._share_bytes = executor, workers, share_bytes

    # ── accepting ────────────────────────────────────────────────────────────────────────

    async def add_recipients(
        self,
        transmission: TransmissionId,
        account: AccountId,
        first: int,
        recipients: Sequence[Recipient],
    ) -> None:
        text = recipients_text(recipients)
        row = transmission, account, first, text

        def unit(connection: Connection) -> None:
            StoreShares(connection, [account], self._share_bytes).check(account, len(text))
            connection.execute(_SQL["add_recipients"], row)

        await self._executor.write(unit)

    async def drop_recipients(self, transmission: TransmissionId) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["remove_used"], {"id": transmission, "before": _ALL})

        await self._executor.write(unit)

    async def submit(
        self,
        transmission: Transmission,
        content: Content,
        verdict: Verdict | None,
        revision: Revision,
        answered: Answered | None = None,
    ) -> None:
        state = TransmissionState.SUBMITTED if verdict is None else TransmissionState.GENERATING
        decided = None if verdict is None else verdict_text(verdict)
        row = *transmission_row(transmission), decided, state.value
        text = content_text(content)

        def unit(connection: Connection) -> None:
            _check(connection, revision)
            account, size_bytes = transmission.account, len(text) + len(row[_FIELDS])
            StoreShares(connection, [account], self._share_bytes).check(account, size_bytes)
            if answered is not None:
                keep_answer(connection, answered)
            connection.execute(_SQL["submit"], row)
            connection.execute(_SQL["add_content"], (transmission.id, text))

        await self._executor.write(unit)

    # ── making messages ──────────────────────────────────────────────────────────────────

    async def hold_due(
        self, holder: str, now: datetime, ttl_s: float, limit: int
    ) -> list[TransmissionStanding]:
        def unit(connection: Connection) -> list[TransmissionStanding]:
            self._workers.register(WorkerId(holder), carries=False)
            clock_us = int(one(connection, "clock_us"))
            holders = connection.execute(_SQL["other_holders"], (holder,)).fetchall()
            dead = [other for (other,) in holders if not self._workers.is_alive(WorkerId(other))]
            values = {
                "holder": holder,
                "dead": to_json(dead),
                "until_us": clock_us + int(ttl_s * 1_000_000),
                "clock_us": clock_us,
                "now_us": to_us(now),
                "limit": limit,
                "share_bytes": self._share_bytes,
            }
            return [standing(row) for row in connection.execute(_SQL["hold_due"], values).fetchall()]

        held = await self._executor.write(unit)
        return sorted(held, key=lambda one: (one.transmission.start, one.transmission.id))

    async def mark(self, transmission: TransmissionId, holder: str, *, is_begun: bool) -> None:
        values = {"id": transmission, "holder": holder, "is_begun": is_begun}

        def unit(connection: Connection) -> None:
            connection.execute(_SQL["mark"], values)

        await self._executor.write(unit)

    async def set_aside(self, transmission: TransmissionId, holder: str, event: Event, now: datetime) -> bool:
        values = {"id": transmission, "holder": holder, "now_us": to_us(now)}

        def unit(connection: Connection) -> bool:
            if connection.execute(_SQL["set_aside"], values).rowcount == 0:
                return False
            events = TalliedEvents()
            events.add([event])
            events.store(connection)
            return True

        return await self._executor.write(unit)

    async def retry(self, transmission: TransmissionId, now: datetime, actor: str) -> bool:
        return await self._executor.write(
            lambda connection: _steer(connection, "retry", "retry", transmission, now, actor) is not None
        )

    async def release(self, holder: str) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["release"], (holder,))

        await self._executor.write(unit)

    async def next_start(self, after: datetime) -> datetime | None:
        def query(connection: Connection) -> datetime | None:
            ((start_us,),) = connection.execute(_SQL["next_start"], (to_us(after),)).fetchall()
            return None if start_us is None else from_us(start_us)

        return await self._executor.read(query)

    async def content(self, transmission: TransmissionId) -> Content | None:
        def query(connection: Connection) -> Content | None:
            row = connection.execute(_SQL["content"], (transmission,)).fetchone()
            return content_of(row[0]) if row else None

        return await self._executor.read(query)

    async def recipients(self, transmission: TransmissionId, position: int) -> list[Recipient]:
        def query(connection: Connection) -> list[Recipient]:
            values = {"id": transmission, "position": position}
            row = connection.execute(_SQL["recipients"], values).fetchone()
            return recipients_of(row[1])[position - row[0] :] if row else []

        return await self._executor.read(query)

    async def address_at(self, transmission: TransmissionId, position: int) -> tuple[str, str]:
        def query(connection: Connection) -> tuple[str, str]:
            values = {"id": transmission, "position": position}
            row = connection.execute(_SQL["address_at"], values).fetchone()
            return (row[0] or "", row[1] or "") if row else ("", "")

        return await self._executor.read(query)

    async def decide(self, transmission: TransmissionId, verdict: Verdict, revision: Revision) -> bool:
        values = {"id": transmission, "verdict": verdict_text(verdict)}

        def unit(connection: Connection) -> bool:
            _check(connection, revision)
            return connection.execute(_SQL["decide"], values).rowcount > 0

        return await self._executor.write(unit)

    async def check_room(self, account: AccountId) -> None:
        def query(connection: Connection) -> None:
            StoreShares(connection, [account], self._share_bytes).check_going_on(account)

        await self._executor.read(query)

    async def advance(self, made: Made, holder: str, now: datetime) -> bool:
        values = {
            "id": made.transmission,
            "position": made.position,
            "next": made.next,
            "num_generated": made.num_generated,
            "num_failed": made.num_failed,
            "holder": holder,
            "now_us": to_us(now),
        }

        def unit(connection: Connection) -> bool:
            rows = connection.execute(_SQL["advance"], values).fetchall()
            if not rows:
                return False
            ((num_rcpts, is_scheduled, account),) = rows
            StoreShares(connection, [account], self._share_bytes).check_going_on(account)
            storing = Storing(connection)
            if made.submission is not None:
                storing.submissions.append(submission_row(made.submission))
            storing.add_mail(made.bodies, made.messages, {})
            storing.events.add(made.events)
            make_lanes(connection, {message.pin.ip for message in made.messages})
            storing.store()
            is_done = made.next >= num_rcpts
            before = _ALL if is_done else made.next - CHUNK + 1
            connection.execute(_SQL["remove_used"], {"id": made.transmission, "before": before})
            if is_done and not is_scheduled:
                _remove(connection, made.transmission)
            return True

        return await self._executor.write(unit)

    # ── seeing and cancelling ────────────────────────────────────────────────────────────

    async def find(self, transmission: TransmissionId) -> TransmissionStanding | None:
        def query(connection: Connection) -> TransmissionStanding | None:
            row = connection.execute(_SQL["find"], (transmission,)).fetchone()
            return standing(row) if row else None

        return await self._executor.read(query)

    async def listed(self, account: AccountId, ended_since: datetime) -> list[TransmissionStanding]:
        def query(connection: Connection) -> list[TransmissionStanding]:
            values = account, to_us(ended_since)
            return [standing(row) for row in connection.execute(_SQL["listed"], values)]

        return await self._executor.read(query)

    async def all(
        self, account: AccountId | None, limit: int, *, with_ended: bool
    ) -> list[TransmissionStanding]:
        values = {"account": account, "limit": limit, "with_ended": with_ended}
        return await self._executor.read(
            lambda connection: [standing(row) for row in connection.execute(_SQL["all"], values)]
        )

    async def undecided(self, account: AccountId, pool: PoolId, bound: Collection[SubaccountId]) -> int:
        values = {"account": account, "pool": pool, "bound": to_json(sorted(bound))}

        def query(connection: Connection) -> int:
            ((number,),) = connection.execute(_SQL["undecided"], values).fetchall()
            return int(number)

        return await self._executor.read(query)

    async def cancel(self, transmission: TransmissionId, now: datetime) -> bool:
        def unit(connection: Connection) -> bool:
            values = {"id": transmission, "now_us": to_us(now)}
            is_cancelled = connection.execute(_SQL["cancel"], values).rowcount > 0
            if is_cancelled:
                connection.execute(_SQL["remove_used"], {"id": transmission, "before": _ALL})
            return is_cancelled

        return await self._executor.write(unit)

    async def end(self, transmission: TransmissionId, now: datetime, actor: str) -> bool:
        def unit(connection: Connection) -> bool:
            stood = _steer(connection, "cancel", "end", transmission, now, actor)
            if stood is not None:
                _empty(connection, transmission, stood.transmission.is_scheduled)
            return stood is not None

        return await self._executor.write(unit)

    async def cancel_campaign(self, cancellation: CampaignCancellation) -> None:
        values = _values(cancellation)

        def unit(connection: Connection) -> None:
            for id_, is_scheduled in connection.execute(_SQL["cancel_campaign"], values).fetchall():
                _empty(connection, id_, is_scheduled)
            connection.execute(_SQL["add_cancellation"], values)

        await self._executor.write(unit)

    async def cancellations(self) -> list[CampaignCancellation]:
        return await self._executor.read(
            lambda connection: [cancellation(row) for row in connection.execute(_SQL["cancellations"])]
        )

    async def mail_of(
        self, cancellation: CampaignCancellation, after: MessageId, limit: int
    ) -> list[Message]:
        values = {**_values(cancellation), "after": after, "limit": limit}
        return await self._executor.read(
            lambda connection: [message(row) for row in connection.execute(_SQL["mail_of"], values)]
        )

    async def close(self, cancellation: CampaignCancellation) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["close_cancellation"], (cancellation.id,))

        await self._executor.write(unit)

    async def forget(self, ended_before: datetime, unsubmitted_before: TransmissionId) -> int:
        def unit(connection: Connection) -> int:
            old = connection.execute(_SQL["old"], (to_us(ended_before),)).fetchall()
            lost = connection.execute(_SQL["unsubmitted"], (unsubmitted_before,)).fetchall()
            for (id_,) in (*old, *lost):
                connection.execute(_SQL["remove_used"], {"id": id_, "before": _ALL})
                _remove(connection, id_)
            return len(old) + len(lost)

        return await self._executor.write(unit)


def _check(connection: Connection, revision: Revision) -> None:
    if one(connection, "revision") != revision:
        raise StaleDirectory


def _steer(
    connection: Connection, verb: str, query: str, id_: str, now: datetime, actor: str
) -> TransmissionStanding | None:
    """As it stood before, and an audit line; None when it stands so that the verb means nothing to it."""
    before = connection.execute(_SQL["find"], (id_,)).fetchone()
    if not connection.execute(_SQL[query], {"id": id_, "now_us": to_us(now)}).rowcount:
        return None
    after = connection.execute(_SQL["find"], (id_,)).fetchone()
    stood = standing(before)
    add_line(connection, actor, now, f"{verb} transmission {id_}", _told(stood), _told(standing(after)))
    return stood


def _told(found: TransmissionStanding) -> str:
    state = "set aside" if found.set_aside is not None else found.progress.state.value
    told = {"account": found.transmission.account, "state": state, "position": found.progress.position}
    return to_json(told)


def _empty(connection: Connection, id_: str, is_kept: bool) -> None:
    """What was cancelled keeps no recipients, and stays only to be listed."""
    connection.execute(_SQL["remove_used"], {"id": id_, "before": _ALL})
    if not is_kept:
        _remove(connection, id_)


def _remove(connection: Connection, id_: str) -> None:
    connection.execute(_SQL["remove_content"], (id_,))
    connection.execute(_SQL["remove"], (id_,))


def _values(cancellation: CampaignCancellation) -> dict[str, object]:
    return {
        "account": cancellation.account,
        "subaccount": cancellation.subaccount,
        "campaign_id": cancellation.campaign_id,
        "asked_us": to_us(cancellation.asked),
    }
