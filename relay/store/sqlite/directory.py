"""The directory on SQLite: entries as JSON, one revision, and an audit line for each change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import assert_never

from relay.domain.changes import Change, Put, Remove, SetRoutes
from relay.domain.directory import Account, ApiKey, Entry, Pool, SendingIp, Snapshot
from relay.domain.errors import StaleDirectory
from relay.domain.ids import DEFAULT_POOL, AccountId, PoolId, Revision, from_us, to_us
from relay.domain.refusals import AccountHasMail, DefaultPoolStays
from relay.domain.route import Route
from relay.ports.directory import AuditLine
from relay.ports.idempotency import Answered
from relay.store.entries import ROUTES, entry, entry_json, place, routes, routes_json, snapshot, told_json
from relay.store.sqlite.audit import audit_of, lines_beyond, old_lines, remove_lines
from relay.store.sqlite.enqueue import make_lanes
from relay.store.sqlite.executor import Connection, Executor
from relay.store.sqlite.idempotency import keep_answer
from relay.store.sqlite.ledger import book
from relay.store.sqlite.statements import SQL, one
from relay.store.sqlite.users import forget_users_of

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SLICE = 500
"""Audit lines that go in one transaction."""


class SqliteDirectory:
    """`DirectoryStore`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def revision(self) -> Revision:
        return await self._executor.read(_revision)

    async def snapshot(self) -> Snapshot:
        def query(connection: Connection) -> Snapshot:
            return snapshot(_revision(connection), connection.execute(SQL["entries"]).fetchall())

        return await self._executor.read(query)

    async def apply(
        self,
        changes: Sequence[Change],
        based_on: Revision,
        actor: str,
        now: datetime,
        answered: Answered | None = None,
    ) -> Revision:
        def unit(connection: Connection) -> Revision:
            if _revision(connection) != based_on:
                raise StaleDirectory
            edit = _Edit(connection, actor, now)
            for change in changes:
                edit.make(change)
            if answered is not None:
                keep_answer(connection, answered)
            return edit.revision

        return await self._executor.write(unit)

    async def reap_ips(self, now: datetime) -> int:
        def unit(connection: Connection) -> int:
            rows = connection.execute(SQL["entries_of_kind"], ("sending_ip",)).fetchall()
            empty = [
                ip
                for ip in (entry("sending_ip", value) for (value,) in rows)
                if isinstance(ip, SendingIp)
                and (ip.is_retired or ip.released_from is not None)
                and not _has_mail(connection, ip)
            ]
            if empty:
                edit = _Edit(connection, "retention", now)
                for ip in empty:
                    if ip.is_retired:
                        edit.delete(ip)
                    else:
                        edit.put(replace(ip, released_from=None))
            return len(empty)

        return await self._executor.write(unit)

    async def note_key_uses(self, days: Mapping[str, date]) -> None:
        rows = [(sha256, day.toordinal() - _EPOCH_DAY) for sha256, day in days.items()]
        await self._executor.write(lambda connection: _note_key_uses(connection, rows))

    async def key_uses(self) -> Mapping[str, date]:
        def query(connection: Connection) -> Mapping[str, date]:
            rows = connection.execute(SQL["key_uses"]).fetchall()
            return {sha256: date.fromordinal(day + _EPOCH_DAY) for sha256, day in rows}

        return await self._executor.read(query)

    async def audit(self, limit: int) -> list[AuditLine]:
        def query(connection: Connection) -> list[AuditLine]:
            return audit_of(connection, limit)

        return await self._executor.read(query)

    async def audit_of(
        self,
        limit: int,
        *,
        account: AccountId | None = None,
        about: str | None = None,
        after: int | None = None,
    ) -> list[AuditLine]:
        def query(connection: Connection) -> list[AuditLine]:
            return audit_of(connection, limit, account, about, after)

        return await self._executor.read(query)

    async def trim_audit(self, before: datetime, kept: int) -> int:
        """Look in a read, remove in a short transaction: arriving mail waits for none of it long."""
        before_us = to_us(before)
        accounts = (await self.snapshot()).accounts
        removed = await self._remove_lines(lambda connection: old_lines(connection, before_us, _SLICE))
        for account in accounts:
            removed += await self._remove_lines(
                partial(lines_beyond, account=account, kept=kept, limit=_SLICE)
            )
        return removed

    async def _remove_lines(self, find: Callable[[Connection], Sequence[int]]) -> int:
        removed = 0
        while ids := await self._executor.read(find):
            await self._executor.write(partial(remove_lines, ids=ids))
            removed += len(ids)
        return removed


class _Edit:
    """One revision in the making. Each write leaves an audit line, and none tells a secret."""

    def __init__(self, connection: Connection, actor: str, now: datetime) -> None:
        self._connection, self._actor, self._at_us = connection, actor, to_us(now)
        connection.execute(SQL["next_revision"])
        self.revision = _revision(connection)

    def make(self, change: Change) -> None:
        """Raises Conflict."""
        match change:
            case Put(Account() as account):
                self.put(account)
                self._put_default_pool(account)
            case Put(SendingIp() as ip):
                self._put_ip(ip)
                make_lanes(self._connection, [ip.address])
            case Put(item):
                self.put(item)
            case Remove(Account() as account):
                self._remove_account(account)
            case Remove(Pool() as pool):
                self._remove_pool(pool)
            case Remove(SendingIp() as ip):
                self._remove_ip(ip)
            case Remove(item):
                self.delete(item)
            case SetRoutes(listed):
                self._set_routes(listed)
            case _:
                assert_never(change)

    def put(self, item: Entry) -> None:
        kind, key = place(item)
        before, after = self._value(kind, key), entry_json(item)
        if before != after:
            self._connection.execute(SQL["put_entry"], (kind, key, after))
            self._audit(f"put {kind} {key}", before, after)
            self._book(None if before is None else entry(kind, before), item)

    def delete(self, item: Entry) -> None:
        """Nothing happens when it is not there."""
        kind, key = place(item)
        before = self._value(kind, key)
        if before is not None:
            self._connection.execute(SQL["remove_entry"], (kind, key))
            if isinstance(item, ApiKey):
                self._connection.execute(SQL["forget_key_use"], (item.sha256,))
            self._audit(f"remove {kind} {key}", before, None)
            self._book(entry(kind, before), None)

    def _put_default_pool(self, account: Account) -> None:
        pool = Pool(account.id, DEFAULT_POOL, "Default", origin=account.origin)
        if self._value(*place(pool)) is None:
            self.put(pool)

    def _remove_account(self, account: Account) -> None:
        """With all that is its own, but for the IPs: the installation owns them, they become free."""
        if one(self._connection, "account_has_mail", (account.id,)):
            raise AccountHasMail(account.id, account.name)
        for item in self._owned(account.id):
            if isinstance(item, SendingIp):
                self._put_ip(replace(item, account=None, pool=None))
            else:
                self.delete(item)
        forget_users_of(self._connection, account.id, self._actor, from_us(self._at_us))
        self.delete(account)

    def _remove_pool(self, pool: Pool) -> None:
        """Its IPs move to `default` (R16, A31)."""
        if pool.id == DEFAULT_POOL:
            raise DefaultPoolStays(DEFAULT_POOL, pool.account)
        for item in self._owned(pool.account):
            if isinstance(item, SendingIp) and item.pool == pool.id:
                self.put(replace(item, pool=PoolId(DEFAULT_POOL)))
        self.delete(pool)

    def _put_ip(self, ip: SendingIp) -> None:
        """With whose queued mail it still carries, which the store alone can tell (R27)."""
        before = self._stored_ip(ip)
        owner = None
        if before is not None and ip.account is None and not ip.shared and _has_mail(self._connection, ip):
            owner = AccountId(0) if before.shared else before.account
            owner = before.released_from if owner is None else owner
        self.put(replace(ip, released_from=owner))

    def _remove_ip(self, ip: SendingIp) -> None:
        """Retired while messages are pinned to it, so that they find its binding (R27-R29)."""
        stored = self._stored_ip(ip)
        if stored is not None and _has_mail(self._connection, stored):
            self.put(replace(stored, is_retired=True))
        else:
            self.delete(ip)

    def _set_routes(self, listed: tuple[Route, ...]) -> None:
        before, after = self._value(ROUTES, ""), routes_json(listed)
        if before != after:
            self._connection.execute(SQL["put_entry"], (ROUTES, "", after))
            told = None if before is None else routes_json(routes(before), with_passwords=False)
            self._audit("set routes", told, routes_json(listed, with_passwords=False))

    def _owned(self, account: AccountId) -> list[Entry]:
        """All but the account itself."""
        rows = self._connection.execute(SQL["entries"]).fetchall()
        found = [entry(kind, value) for kind, value in rows if kind != ROUTES]
        return [item for item in found if not isinstance(item, Account) and item.account == account]

    def _stored_ip(self, ip: SendingIp) -> SendingIp | None:
        kind, key = place(ip)
        value = self._value(kind, key)
        stored = entry(kind, value) if value else None
        return stored if isinstance(stored, SendingIp) else None

    def _book(self, before: Entry | None, after: Entry | None) -> None:
        book(self._connection, before, after, self.revision, self._at_us)

    def _value(self, kind: str, key: str) -> str | None:
        row = self._connection.execute(SQL["entry"], (kind, key)).fetchone()
        return row[0] if row else None

    def _audit(self, what: str, before: str | None, after: str | None) -> None:
        line = (self._at_us, self._actor, self.revision, what, told_json(before), told_json(after))
        self._connection.execute(SQL["audit"], line)


def _note_key_uses(connection: Connection, rows: Sequence[tuple[str, int]]) -> None:
    connection.executemany(SQL["note_key_use"], rows)


def _revision(connection: Connection) -> Revision:
    return Revision(one(connection, "revision"))


def _has_mail(connection: Connection, ip: SendingIp) -> bool:
    return bool(one(connection, "ip_has_mail", {"ip": ip.address}))
