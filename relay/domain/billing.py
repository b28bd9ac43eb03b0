"""What dedicated IPs cost: cycles, proration and invoices, in whole cents (docs/rules.md#what-they-cost).

Nothing is charged by a job: invoices follow from who held which IP, when, and on what terms.
"""

from calendar import monthrange
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from relay.domain.ids import AccountId, IpAddress


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account pays for a dedicated IP, from a moment on."""

    since: datetime
    price_cents: int
    """For an IP and a month."""
    bill_cycle_day: int
    """1 to 31; in a shorter month its last day."""
    ends: datetime | None = None
    """When the plan stops having dedicated IPs: cycles that begin then or later charge nothing."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One dedicated IP for as long as one account has it."""

    address: IpAddress
    order: int
    """The same for all that came in one change of the directory: one line of an invoice."""
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that the invoices of one account follow from."""

    terms: tuple[Terms, ...]
    """Oldest first; at least one."""
    holdings: tuple[Holding, ...] = ()
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """The days for which one invoice is written, in UTC."""

    start: date
    end: date
    """The first day of the next cycle."""
    month_days: int
    """The days of the whole month from turn to turn; more than the cycle has when a new
    bill_cycle_day cut it short."""

    @property
    def turns(self) -> datetime:
        """The moment at which the next cycle begins."""
        return datetime.combine(self.end, time(), UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One charge: so many IPs for so many of the month's days."""

    since: date
    quantity: int
    price_cents: int
    days: int
    month_days: int

    @property
    def amount_cents(self) -> int:
        return prorate(self.quantity, self.price_cents, self.days, self.month_days)


@dataclass(frozen=True, slots=True)
class Invoice:
    """What one cycle charges. It grows by a line with each purchase until its cycle has ended."""

    cycle: Cycle
    lines: tuple[Line, ...]

    @property
    def total_cents(self) -> int:
        return sum(line.amount_cents for line in self.lines)


def prorate(quantity: int, price_cents: int, days: int, month_days: int) -> int:
    """`quantity × price × days / month_days` in cents, half a cent rounded up."""
    return (2 * quantity * price_cents * days + month_days) // (2 * month_days)


def cycle_of(day: date, bill_cycle_day: int) -> Cycle:
    """The whole cycle that the day is in."""
    turn = _turn(day.year, day.month, bill_cycle_day)
    if turn <= day:
        start, end = turn, _turn(day.year + day.month // 12, day.month % 12 + 1, bill_cycle_day)
    else:
        before = day.replace(day=1) - timedelta(days=1)
        start, end = _turn(before.year, before.month, bill_cycle_day), turn
    return Cycle(start, end, (end - start).days)


def current_cycle(ledger: Ledger, now: datetime) -> Cycle:
    """The cycle that is running. A changed bill_cycle_day counts from the end of the old cycle."""
    *_, last = cycles(ledger, now)
    return last


def cycles(ledger: Ledger, now: datetime) -> Iterator[Cycle]:
    """From the one in which the first IP came to the one that is running; the latter at least."""
    first = min([now, *(holding.since for holding in ledger.holdings)])
    cycle = cycle_of(first.date(), _terms_at(ledger, first).bill_cycle_day)
    yield cycle
    while cycle.end <= now.date():
        whole = cycle_of(cycle.end, _terms_at(ledger, cycle.turns).bill_cycle_day)
        cycle = Cycle(cycle.end, whole.end, whole.month_days)
        yield cycle


def invoices(ledger: Ledger, now: datetime) -> tuple[Invoice, ...]:
    """Those of all cycles that charge something, oldest first; the last may be the running one's."""
    found = (Invoice(cycle, tuple(_lines(ledger, cycle))) for cycle in cycles(ledger, now))
    return tuple(invoice for invoice in found if invoice.lines)


def next_invoice(ledger: Ledger, now: datetime) -> Invoice:
    """What the cycle after the running one will charge when nothing is bought or released (R11)."""
    *_, cycle = cycles(ledger, current_cycle(ledger, now).turns)
    return Invoice(cycle, tuple(_lines(ledger, cycle)))


def invoice_number(account: AccountId, invoice: Invoice) -> str:
    """What people and programs call it."""
    return f"{account}-{invoice.cycle.start:%Y%m%d}"


def purchase_line(ledger: Ledger, quantity: int, now: datetime) -> Line:
    """What this many IPs add to the invoice of the running cycle when they come now (R12)."""
    return _first_line(current_cycle(ledger, now), quantity, _terms_at(ledger, now), now)


def _lines(ledger: Ledger, cycle: Cycle) -> Iterator[Line]:
    """What was held when the cycle began, in full; then a line for each order, from its day on.

    An IP that goes within the cycle has been charged for all of it.
    """
    start = datetime.combine(cycle.start, time(), UTC)
    terms = _terms_at(ledger, start)
    held = sum(_is_held_over(holding, start) for holding in ledger.holdings)
    if held and (terms.ends is None or start < terms.ends):
        days = (cycle.end - cycle.start).days
        yield Line(cycle.start, held, terms.price_cents, days, cycle.month_days)
    new = [holding for holding in ledger.holdings if start <= holding.since < cycle.turns]
    for (_, since), quantity in Counter((holding.order, holding.since) for holding in new).items():
        yield _first_line(cycle, quantity, _terms_at(ledger, since), since)


def _first_line(cycle: Cycle, quantity: int, terms: Terms, since: datetime) -> Line:
    """The day itself counts."""
    day = since.date()
    return Line(day, quantity, terms.price_cents, (cycle.end - day).days, cycle.month_days)


def _is_held_over(holding: Holding, start: datetime) -> bool:
    return holding.since < start and (holding.until is None or holding.until > start)


def _terms_at(ledger: Ledger, moment: datetime) -> Terms:
    """Those in force at the moment; before any, the first."""
    past: Sequence[Terms] = [terms for terms in ledger.terms if terms.since <= moment]
    return past[-1] if past else ledger.terms[0]


def _turn(year: int, month: int, bill_cycle_day: int) -> date:
    return date(year, month, min(bill_cycle_day, monthrange(year, month)[1]))
