"""Whose turn it is in each pool: one count for all mail of the process, however it came (A33)."""

from relay.domain.ids import SHARED_POOL, AccountId, PoolId


class Turns:
    """The turns of all pools. The shared pool's are everybody's."""

    def __init__(self) -> None:
        self._next: dict[tuple[AccountId | None, PoolId], int] = {}

    def take(self, account: AccountId, pool: PoolId, count: int = 1) -> int:
        """The first of the pool's next `count` turns."""
        key = None if pool == SHARED_POOL else account, pool
        first = self._next.get(key, 0)
        self._next[key] = first + count
        return first
