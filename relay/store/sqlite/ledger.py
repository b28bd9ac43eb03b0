"""The ledger of billing: terms and holdings, written along with each change of the directory."""

from collections.abc import Mapping

from relay.domain.billing import Holding, Ledger, Terms
from relay.domain.directory import Account, Entry, SendingIp
from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, IpAddress, Revision, from_us, to_us
from relay.store.sql import load_queries
from relay.store.sqlite.executor import Connection

_SQL: Mapping[str, str] = load_queries("relay.store.sqlite", "billing.sql", {})


def book(
    connection: Connection, before: Entry | None, after: Entry | None, revision: Revision, at_us: int
) -> None:
    """Note what one change of an entry means for invoices: new terms, an IP that came or went."""
    if isinstance(after, Account):
        was = before if isinstance(before, Account) else None
        if was is None or _terms(was) != _terms(after):
            values = (after.id, revision, was is None, at_us, *_terms(after))
            connection.execute(_SQL["add_terms"], values)
    old, new = _holder(before), _holder(after)
    if old != new:
        if old is not None:
            connection.execute(_SQL["close_holding"], (at_us, old[1]))
        if new is not None:
            connection.execute(_SQL["add_holding"], (*new, revision, at_us))


def ledger_of(connection: Connection, account: AccountId) -> Ledger:
    """Raises UnknownObject for an account that never was."""
    opening, revision = connection.execute(_SQL["opening"], (account,)).fetchone()
    terms = connection.execute(_SQL["terms"], (account, opening)).fetchall()
    if not terms:
        raise UnknownObject("account", str(account))
    holdings = connection.execute(_SQL["holdings"], (account, revision)).fetchall()
    return Ledger(
        tuple(
            Terms(from_us(since_us), price, day, None if ends_us is None else from_us(ends_us))
            for since_us, price, day, ends_us in terms
        ),
        tuple(
            Holding(IpAddress(ip), order, from_us(since_us), None if until_us is None else from_us(until_us))
            for ip, order, since_us, until_us in holdings
        ),
    )


def _terms(account: Account) -> tuple[int, int, int | None]:
    ends = account.next_plan_at
    return account.ip_price_cents, account.bill_cycle_day, None if ends is None else to_us(ends)


def _holder(entry: Entry | None) -> tuple[AccountId, IpAddress] | None:
    """The account that has the dedicated IP, and its address. A retired one is nobody's any more."""
    if isinstance(entry, SendingIp) and entry.account is not None and not entry.is_retired:
        return entry.account, entry.address
    return None
