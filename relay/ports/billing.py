"""What invoices follow from. It is written along with the directory, and only read here."""

from typing import Protocol

from relay.domain.billing import Ledger
from relay.domain.ids import AccountId


class BillingStore(Protocol):
    """The ledgers of all accounts."""

    async def ledger(self, account: AccountId) -> Ledger:
        """Raises UnknownObject for an account that never was."""
