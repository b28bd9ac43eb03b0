"""`BillingStore` on SQLite."""

from relay.domain.billing import Ledger
from relay.domain.ids import AccountId
from relay.store.sqlite.executor import Executor
from relay.store.sqlite.ledger import ledger_of


class SqliteBilling:
    """`BillingStore`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def ledger(self, account: AccountId) -> Ledger:
        return await self._executor.read(lambda connection: ledger_of(connection, account))
