"""The durable queue on SQLite."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from relay.domain.errors import OverCapacity, RelayError
from relay.domain.ids import Epoch, IpAddress, MessageId, NodeName, TransmissionId, WorkerId, from_us, to_us
from relay.domain.lifecycle import Settlement
from relay.domain.message import Message
from relay.ports.queue import Claimed, EnqueueBatch, Head, Lane, MailFilter
from relay.store.codec import message, to_json
from relay.store.sqlite.enqueue import enqueue_all
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.lanes import Workers, fair_share, hold_lanes
from relay.store.sqlite.settle import settle_all
from relay.store.sqlite.statements import SQL, one, one_list
from relay.store.sqlite.verbs import MailVerb, accounts_of, count_mail, pin_of, select_mail

_SLACK_US = 1_000_000


class SqliteQueue:
    """`QueueStore`."""

    def __init__(self, executor: Executor, workers: Workers, share_bytes: int) -> None:
        """share_bytes: what one account may hold."""
        self._executor, self._workers, self._share_bytes = executor, workers, share_bytes

    async def enqueue(self, batch: EnqueueBatch, then: Callable[[bool | None], None] | None = None) -> bool:
        return await self._executor.write_together(self._enqueue_all, batch, then)

    def _enqueue_all(
        self, connection: Connection, batches: Sequence[EnqueueBatch]
    ) -> Sequence[bool | RelayError]:
        if not self._executor.has_room:
            return [OverCapacity()] * len(batches)
        return enqueue_all(connection, batches, self._share_bytes)

    # ── lanes ────────────────────────────────────────────────────────────────────────────

    async def hold_lanes(self, worker: WorkerId, node: NodeName, ttl_s: float, limit: int) -> list[Lane]:
        def unit(connection: Connection) -> list[Lane]:
            self._workers.register(worker)
            return hold_lanes(connection, self._workers, worker, node, ttl_s, limit)

        return await self._executor.write(unit, acknowledges=False)

    async def fair_share(self, node: NodeName) -> int:
        return await self._executor.read(lambda connection: fair_share(connection, self._workers, node))

    async def release_lanes(self, worker: WorkerId, ips: Sequence[IpAddress] | None = None) -> None:
        def unit(connection: Connection) -> None:
            if ips is None:
                connection.execute(SQL["release_all_lanes"], (worker,))
            else:
                connection.execute(SQL["release_lanes"], (worker, to_json(list(ips))))

        await self._executor.write(unit, acknowledges=False)

    async def orphans(self, lane: Lane) -> list[Message]:
        def unit(connection: Connection) -> list[Message]:
            rows = connection.execute(SQL["orphans"], {"ip": lane.ip, "epoch": lane.epoch}).fetchall()
            return [message(row) for row in rows]

        orphans = await self._executor.write(unit, acknowledges=False)
        return sorted(orphans, key=lambda orphan: (orphan.due, orphan.id))

    async def heads(self, lane: Lane, until: datetime, domains: Sequence[str] | None = None) -> list[Head]:
        def query(connection: Connection) -> list[Head]:
            values: dict[str, object] = {"ip": lane.ip, "until_us": to_us(until)}
            name = "heads"
            if domains is not None:
                name, values["domains"] = "heads_of", to_json(list(domains))
            rows = connection.execute(SQL[name], values)
            return [Head(domain, from_us(due_us)) for domain, due_us in rows]

        return await self._executor.read(query)

    async def pull_forward(self, lane: Lane, now: datetime, gaps: Sequence[timedelta], limit: int) -> int:
        gaps_us = [gap // timedelta(microseconds=1) + _SLACK_US for gap in gaps]
        values = {
            "ip": lane.ip,
            "epoch": lane.epoch,
            "now_us": to_us(now),
            "least_us": min(gaps_us),
            "gaps": to_json(gaps_us),
            "last": len(gaps_us) - 1,
            "limit": limit,
        }

        def unit(connection: Connection) -> int:
            return connection.execute(SQL["pull_forward"], values).rowcount

        return await self._executor.write(unit, acknowledges=False)

    # ── attempts ─────────────────────────────────────────────────────────────────────────

    async def claim(
        self, lane: Lane, domains: Sequence[str], now: datetime, limit: int, max_bytes: int
    ) -> list[Claimed]:
        def unit(connection: Connection) -> list[Claimed]:
            if not one(connection, "holds_lane", (lane.ip, lane.epoch)):
                return []
            ids = _due(connection, lane.ip, domains, to_us(now), limit, max_bytes)
            return _claim(connection, lane.epoch, ids) if ids else []

        # Nothing that was acknowledged depends on it: lost, it is claimed again.
        return await self._executor.write(unit, is_durable=False, acknowledges=False)

    async def claim_overdue(self, lane: Lane, now: datetime, limit: int) -> list[Message]:
        def unit(connection: Connection) -> list[Message]:
            values = {"ip": lane.ip, "epoch": lane.epoch, "now_us": to_us(now), "limit": limit}
            return [message(row) for row in connection.execute(SQL["claim_overdue"], values).fetchall()]

        ended = await self._executor.write(unit, acknowledges=False)
        return sorted(ended, key=lambda overdue: (overdue.expires, overdue.id))

    async def settle(self, lane: Lane, settlements: Sequence[Settlement]) -> list[MessageId]:
        argument = lane, tuple(settlements)
        return await self._executor.write_together(settle_all, argument, acknowledges=False)

    # ── operators ────────────────────────────────────────────────────────────────────────

    async def select(self, what: MailFilter, limit: int, offset: int = 0) -> list[Message]:
        return await self._executor.read(lambda connection: select_mail(connection, what, limit, offset))

    async def count(self, what: MailFilter) -> int:
        return await self._executor.read(lambda connection: count_mail(connection, what))

    async def hold(self, what: MailFilter, now: datetime, until: datetime, actor: str) -> int:
        verb = MailVerb("hold", actor, now, f"until {until.isoformat(timespec='seconds')}")
        # Whoever cancelled a message meant it: a hold does not put that off.
        where = "state <> 'held' AND wish <> 'cancel'"
        return await verb.apply(self._executor, what, where, {"until_us": to_us(until)})

    async def release(self, what: MailFilter, now: datetime, actor: str) -> int:
        """Also takes back a wish to hold that was not obeyed yet."""
        where = "state = 'held' OR wish = 'hold'"
        return await MailVerb("release", actor, now).apply(self._executor, what, where)

    async def retry(self, what: MailFilter, now: datetime, actor: str) -> int:
        return await MailVerb("retry", actor, now).apply(self._executor, what, "state = 'queued'")

    async def cancel(self, what: MailFilter, now: datetime, actor: str) -> int:
        return await MailVerb("cancel", actor, now).apply(self._executor, what, "wish <> 'cancel'")

    async def repin(self, what: MailFilter, to: IpAddress, now: datetime, actor: str) -> int:
        """Those pinned to it already are not touched. Raises UnknownObject, Conflict."""
        verb = MailVerb("repin", actor, now, f"to {to}")
        accounts = await self._executor.read(lambda connection: accounts_of(connection, what))
        # What is accepted for others meanwhile is not asked for.
        where = "state <> 'in_flight' AND ip <> :ip AND account IN (SELECT value FROM json_each(:accounts))"
        return await verb.apply(
            self._executor,
            what,
            where,
            {"accounts": to_json(accounts)},
            prepare=lambda connection: pin_of(connection, to, accounts),
        )

    # ── bodies ───────────────────────────────────────────────────────────────────────────

    async def body(self, message: MessageId) -> bytes | None:
        def query(connection: Connection) -> bytes | None:
            row = connection.execute(SQL["body"], (message,)).fetchone()
            return row[0] if row else None

        return await self._executor.read(query)

    # ── the gate ─────────────────────────────────────────────────────────────────────────

    async def last_ungated(self) -> MessageId:
        return MessageId(await self._executor.read(lambda connection: one(connection, "last_ungated")))

    async def composed(self, transmissions: Collection[TransmissionId]) -> frozenset[TransmissionId]:
        listed = to_json(list(transmissions))
        found = await self._executor.read(lambda connection: one_list(connection, "composed", (listed,)))
        return frozenset(TransmissionId(id_) for (id_,) in found)


def _due(
    connection: Connection, ip: IpAddress, domains: Sequence[str], now_us: int, limit: int, max_bytes: int
) -> list[str]:
    """Ids of what is due, oldest due first, as far as limit and max_bytes go, but at least one.

    Asked domain by domain, because only so the index gives the order: a domain with a long
    queue costs no more than one with a short queue.
    """
    waiting = [
        one_list(connection, "due", {"ip": ip, "domain": domain, "now_us": now_us, "limit": limit})
        for domain in dict.fromkeys(domains)
    ]
    ids: list[str] = []
    total_bytes = 0
    for _, id_, size_bytes in islice(merge(*waiting), limit):
        total_bytes += size_bytes
        if ids and total_bytes > max_bytes:
            break
        ids.append(id_)
    return ids


def _claim(connection: Connection, epoch: Epoch, ids: Sequence[str]) -> list[Claimed]:
    listed = to_json(ids)
    connection.execute(SQL["claim"], (epoch, listed))
    rows = connection.execute(SQL["claimed"], (listed,)).fetchall()
    body_rows = to_json([row[-1] for row in rows])
    # Read once for all the messages that share one.
    contents = dict(connection.execute(SQL["bodies"], (body_rows,)).fetchall())
    return [Claimed(message(row), contents[row[-1]]) for row in rows]
