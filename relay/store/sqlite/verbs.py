"""What operators do to unfinished mail: each message changes and gets its event in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from relay.domain.directory import SendingIp
from relay.domain.errors import UnknownObject
from relay.domain.events import Operated, Subject
from relay.domain.ids import AccountId, IpAddress, to_us
from relay.domain.message import Message, State
from relay.domain.refusals import IpNotForMail
from relay.ports.queue import MailFilter
from relay.store.codec import MESSAGE_COLUMNS, event_row, message, to_json
from relay.store.entries import entry
from relay.store.sqlite.enqueue import make_lanes
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.statements import SQL, insert_events
from relay.store.sqlite.waiting import conditions, of_subaccount

_SLICE = 1000
"""Messages a transaction: a verb on a long queue must not keep arriving mail waiting."""

_COLUMNS = ", ".join(MESSAGE_COLUMNS)


def select_mail(connection: Connection, what: MailFilter, limit: int, offset: int) -> list[Message]:
    """Unfinished messages, oldest acceptance first."""
    where, values = _where(what)
    text = (
        f"SELECT {_COLUMNS} FROM message WHERE {where} ORDER BY accepted_us, id LIMIT :limit OFFSET :offset"
    )
    rows = connection.execute(text, {**values, "limit": limit, "offset": offset})
    return [message(row) for row in rows]


def count_mail(connection: Connection, what: MailFilter) -> int:
    where, values = _where(what)
    (number,) = connection.execute(f"SELECT count(*) FROM message WHERE {where}", values).fetchone()
    return int(number)


class MailVerb:
    """One operator's verb, done to a what in slices."""

    def __init__(self, name: str, actor: str, now: datetime, detail: str = "") -> None:
        self._name, self._actor, self._now, self._detail = name, actor, now, detail

    async def apply(
        self,
        executor: Executor,
        what: MailFilter,
        where: str,
        values: Mapping[str, object] | None = None,
        prepare: Callable[[Connection], Mapping[str, object]] | None = None,
    ) -> int:
        """How many messages changed. where: which of the what the verb touches.

        prepare runs first in each transaction and may add values for the verb's statement.
        """
        changed = 0
        last: str | None = ""
        while last is not None:
            after = last

            def unit(connection: Connection, after: str = after) -> tuple[int, str | None]:
                given = {**(values or {}), **(prepare(connection) if prepare else {})}
                return self._slice(connection, what, where, given, after)

            number, last = await executor.write(unit)
            changed += number
        return changed

    def _slice(
        self,
        connection: Connection,
        what: MailFilter,
        where: str,
        values: Mapping[str, object],
        after: str,
    ) -> tuple[int, str | None]:
        """How many of the next messages by id changed, and the last one's id when there may be more."""
        selected, chosen = _where(what)
        text = (
            f"SELECT {_COLUMNS} FROM message WHERE id > :after AND {selected} AND ({where})"
            " ORDER BY id LIMIT :limit"
        )
        given = {**chosen, **values, "after": after, "limit": _SLICE, "now_us": to_us(self._now)}
        found = [message(row) for row in connection.execute(text, given).fetchall()]
        if not found:
            return 0, None
        ids = to_json([one.id for one in found])
        connection.execute(SQL[self._name], {**given, "ids": ids})
        insert_events(connection, [event_row(self._event(one)) for one in found])
        return len(found), found[-1].id if len(found) == _SLICE else None

    def _event(self, touched: Message) -> Operated:
        return Operated(self._now, Subject.of(touched), self._name, self._actor, self._detail)


def accounts_of(connection: Connection, what: MailFilter) -> list[AccountId]:
    """Whose mail is selected."""
    where, values = _where(what)
    rows = connection.execute(f"SELECT DISTINCT account FROM message WHERE {where} ORDER BY account", values)
    return [AccountId(number) for (number,) in rows]


def pin_of(connection: Connection, ip: IpAddress, accounts: Sequence[AccountId]) -> Mapping[str, object]:
    """What repin writes: the directory's word on the address.

    Raises UnknownObject, and Conflict when mail of one of the accounts may not leave from it:
    it would go on doing so when somebody else has bought the address.
    """
    row = connection.execute(SQL["entry"], ("sending_ip", ip)).fetchone()
    sending = entry("sending_ip", row[0]) if row else None
    if not isinstance(sending, SendingIp):
        raise UnknownObject("sending IP", ip)
    for account in accounts:
        if not sending.may_carry(account):
            raise IpNotForMail(ip, sending.account, account)
    make_lanes(connection, [ip])
    return {"ip": ip, "hostname": sending.hostname, "bind": sending.bind}


def _where(what: MailFilter) -> tuple[str, dict[str, object]]:
    """A condition made of constant pieces, and its parameters, which are none of a verb's statement."""
    where, given = conditions(what, "_wanted")
    pieces, values = [where], dict(given)
    if what.ids:
        pieces.append("id IN (SELECT value FROM json_each(:ids_wanted))")
        values["ids_wanted"] = to_json(list(what.ids))
    if what.transmission is not None:
        pieces.append("transmission_id = :transmission_wanted")
        values["transmission_wanted"] = what.transmission
    if what.subaccount is not None:
        pieces.append(of_subaccount(what.subaccount))
    if what.state is not None:
        # In the text, not a parameter: the planner must see it to use the partial indexes.
        pieces.append(f"state = '{State(what.state).value}'")
    return " AND ".join(pieces), values
