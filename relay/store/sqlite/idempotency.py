"""`IdempotencyStore` on SQLite."""

from collections.abc import Mapping
from datetime import datetime

from relay.domain.errors import StaleRequest
from relay.domain.ids import to_us
from relay.ports.idempotency import Answer, Answered, Begun, Standing, Ticket
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection, Executor

_SQL: Mapping[str, str] = load_queries("relay.store.sqlite", "idempotency.sql", {})


class SqliteIdempotency:
    """`IdempotencyStore`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def begin(
        self,
        ticket: Ticket,
        fingerprint: str,
        *,
        expired: datetime,
        given_up: datetime,
    ) -> Begun | Standing:
        values = {
            "scope": ticket.scope,
            "key": ticket.key,
            "fingerprint": fingerprint,
            "began_us": to_us(ticket.began),
            "expired_us": to_us(expired),
            "given_up_us": to_us(given_up),
        }

        def unit(connection: Connection) -> Begun | Standing:
            if connection.execute(_SQL["take"], values).fetchone():
                return Begun(ticket)
            stored = connection.execute(_SQL["standing"], (ticket.scope, ticket.key)).fetchone()
            known, status, body = stored
            return Standing(known, None if status is None else Answer(status, body))

        return await self._executor.write(unit)

    async def answer(self, answered: Answered) -> None:
        await self._executor.write(lambda connection: keep_answer(connection, answered))

    async def give_up(self, ticket: Ticket) -> None:
        def unit(connection: Connection) -> None:
            connection.execute(_SQL["give_up"], _place(ticket))

        await self._executor.write(unit)

    async def forget(self, expired: datetime) -> int:
        def unit(connection: Connection) -> int:
            return len(connection.execute(_SQL["forget"], (to_us(expired),)).fetchall())

        return await self._executor.write(unit)


def keep_answer(connection: Connection, answered: Answered) -> None:
    """Raises StaleRequest when the ticket is no longer good."""
    values = (answered.answer.status, answered.answer.body, *_place(answered.ticket))
    if connection.execute(_SQL["answer"], values).fetchone() is None:
        raise StaleRequest


def _place(ticket: Ticket) -> tuple[str, str, int]:
    return ticket.scope, ticket.key, to_us(ticket.began)
