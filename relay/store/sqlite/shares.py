"""What each account has here, in octets, and whether its share has room for more."""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from relay.domain.errors import QueueShareFull
from relay.domain.ids import AccountId
from relay.store.codec import to_json
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection

_MOST_BYTES = 10_000_000_000
_SQL = load_queries("relay.store.sqlite", "shares.sql", {})


def usual_share_bytes(path: Path) -> int:
    """A tenth of the volume that the store lies on, and not more than 10 GB."""
    with suppress(OSError):
        volume = os.statvfs(path.parent)
        if volume.f_blocks:
            return min(_MOST_BYTES, volume.f_blocks * volume.f_frsize // 10)
    return _MOST_BYTES


class StoreShares:
    """What accounts hold as a transaction begins, with what is added in it."""

    def __init__(self, connection: Connection, accounts: Collection[AccountId], share_bytes: int) -> None:
        rows = connection.execute(_SQL["held"], (to_json(list(accounts)),)).fetchall()
        self._held = {account: (mail_bytes, stored_bytes) for account, mail_bytes, stored_bytes in rows}
        self._share_bytes = share_bytes

    def check(self, account: AccountId, size_bytes: int) -> None:
        """Take as much. Raises QueueShareFull when that is more than there is room for.

        One that holds nothing may always bring one thing, however small its share.
        """
        mail_bytes, stored_bytes = self._held.get(account, (0, 0))
        held_bytes = mail_bytes + stored_bytes
        if held_bytes > 0 and held_bytes + size_bytes > self._share_bytes:
            raise QueueShareFull(self._share_bytes)
        self._held[account] = mail_bytes + size_bytes, stored_bytes

    def check_going_on(self, account: AccountId) -> None:
        """For what is stored already and becomes mail. Raises QueueShareFull.

        Without any mail of the account it goes on: what is to come must not keep itself waiting.
        """
        mail_bytes, stored_bytes = self._held.get(account, (0, 0))
        if mail_bytes > 0 and mail_bytes + stored_bytes >= self._share_bytes:
            raise QueueShareFull(self._share_bytes)


def change_mail(connection: Connection, changes: Mapping[AccountId, int]) -> None:
    """Note octets of mail that came (above 0) or went (below)."""
    connection.executemany(_SQL["change"], _sorted(changes))


def held_by_all(connection: Connection) -> dict[AccountId, int]:
    return {AccountId(account): held_bytes for account, held_bytes in connection.execute(_SQL["all"])}


def _sorted(changes: Mapping[AccountId, int]) -> Iterable[tuple[AccountId, int]]:
    return [(account, changed) for account, changed in sorted(changes.items()) if changed]
