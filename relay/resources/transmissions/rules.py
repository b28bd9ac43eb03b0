"""Transmissions as other rooms ask after them."""

from collections.abc import Collection

from relay.domain.ids import AccountId, PoolId, SubaccountId
from relay.ports.transmissions import TransmissionStore


class ScheduledMail:
    """What is to be sent later."""

    def __init__(self, store: TransmissionStore) -> None:
        self._store = store

    async def count_for(self, account: AccountId, pool: PoolId, bound: Collection[SubaccountId]) -> int:
        """How many would look for the pool at their time (R30), as `TransmissionStore.undecided` has it."""
        return await self._store.undecided(account, pool, bound)
