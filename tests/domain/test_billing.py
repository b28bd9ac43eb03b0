"""Cycles, proration and invoices (docs/rules.md#what-they-cost, A13; R6, R11, R12)."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.billing import (
    Cycle,
    Holding,
    Invoice,
    Ledger,
    Line,
    Terms,
    current_cycle,
    cycle_of,
    cycles,
    invoice_number,
    invoices,
    next_invoice,
    prorate,
    purchase_line,
)
from relay.domain.ids import AccountId, IpAddress

PRICE = 2000
IP, OTHER = IpAddress("192.0.2.1"), IpAddress("192.0.2.2")
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def terms(since: str = "2026-01-01", price: int = PRICE, day: int = 1, ends: str | None = None) -> Terms:
    return Terms(at(since), price, day, at(ends) if ends else None)


def holding(since: str, until: str | None = None, order: int = 1, ip: IpAddress = IP) -> Holding:
    return Holding(ip, order, at(since), at(until) if until else None)


def told(ledger: Ledger, now: str) -> list[tuple[str, list[tuple[int, int]]]]:
    """Start, then quantity and cents of each line, of all invoices."""
    return [
        (invoice.cycle.start.isoformat(), [(line.quantity, line.amount_cents) for line in invoice.lines])
        for invoice in invoices(ledger, at(now))
    ]


# ── cents ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("quantity", "price", "days", "month", "cents"),
    [
        pytest.param(1, 2000, 10, 30, 667, id="10 of 30 days of 20.00 are 6.67"),
        pytest.param(1, 2000, 30, 30, 2000, id="R6: a whole month"),
        pytest.param(2, 2000, 10, 30, 1333, id="rounded for the line, not for each IP"),
        pytest.param(1, 2000, 1, 31, 65, id="one day of 31: 64.516 up"),
        pytest.param(1, 2000, 1, 28, 71, id="one day of 28: 71.43 down"),
        pytest.param(1, 2000, 1, 29, 69, id="one day of 29: 68.97 up"),
        pytest.param(1, 1, 15, 30, 1, id="half a cent goes up"),
        pytest.param(3, 1, 5, 30, 1, id="half a cent of three IPs goes up"),
        pytest.param(1, 1, 14, 30, 0, id="less than half a cent goes down"),
        pytest.param(4, 0, 30, 30, 0, id="a price of nothing"),
        pytest.param(6, 1550, 31, 31, 9300, id="A11: another price"),
    ],
)
def test_a_line_is_rounded_half_up_to_cents(
    quantity: int, price: int, days: int, month: int, cents: int
) -> None:
    assert prorate(quantity, price, days, month) == cents


@given(quantity=st.integers(1, 1000), price=st.integers(0, 10**8), month=st.integers(28, 31), data=st.data())
def test_a_share_is_never_more_than_half_a_cent_off(
    quantity: int, price: int, month: int, data: st.DataObject
) -> None:
    days = data.draw(st.integers(1, month))
    difference = prorate(quantity, price, days, month) * month - quantity * price * days
    assert -month < 2 * difference <= month


# ── cycles ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("day", "turn", "start", "end"),
    [
        pytest.param("2026-01-05", 1, "2026-01-01", "2026-02-01", id="the calendar month"),
        pytest.param("2026-01-01", 1, "2026-01-01", "2026-02-01", id="its first day"),
        pytest.param("2026-01-31", 1, "2026-01-01", "2026-02-01", id="its last day"),
        pytest.param("2026-12-31", 1, "2026-12-01", "2027-01-01", id="over the year"),
        pytest.param("2026-01-05", 15, "2025-12-15", "2026-01-15", id="before the day, over the year"),
        pytest.param("2026-12-15", 15, "2026-12-15", "2027-01-15", id="on the day, over the year"),
        pytest.param("2026-02-10", 1, "2026-02-01", "2026-03-01", id="28 days"),
        pytest.param("2028-02-10", 1, "2028-02-01", "2028-03-01", id="29 days"),
        pytest.param("2026-02-28", 31, "2026-02-28", "2026-03-31", id="a day that February has not"),
        pytest.param("2026-03-30", 31, "2026-02-28", "2026-03-31", id="the day before it turns"),
        pytest.param("2026-04-30", 31, "2026-04-30", "2026-05-31", id="a day that April has not"),
    ],
)
def test_a_cycle_goes_from_the_day_to_the_day(day: str, turn: int, start: str, end: str) -> None:
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    assert cycle_of(date.fromisoformat(day), turn) == Cycle(first, last, (last - first).days)


@given(day=st.dates(date(1990, 1, 1), date(2200, 1, 1)), turn=st.integers(1, 31))
def test_cycles_are_months_without_gap_or_overlap(day: date, turn: int) -> None:
    cycle = cycle_of(day, turn)
    assert cycle.start <= day < cycle.end
    assert 28 <= cycle.month_days <= 31
    assert cycle_of(cycle.end, turn).start == cycle.end
    assert cycle_of(cycle.start - timedelta(days=1), turn).end == cycle.start


def test_a_changed_day_counts_from_the_end_of_the_running_cycle_and_the_next_one_is_short() -> None:
    ledger = Ledger((terms(), terms("2026-02-10", day=20)), (holding("2026-01-01"),))
    assert current_cycle(ledger, at("2026-02-15")) == cycle_of(date(2026, 2, 15), 1)
    assert current_cycle(ledger, at("2026-03-05")) == Cycle(date(2026, 3, 1), date(2026, 3, 20), 28)
    assert told(ledger, "2026-03-25") == [
        ("2026-01-01", [(1, 2000)]),
        ("2026-02-01", [(1, 2000)]),
        ("2026-03-01", [(1, prorate(1, PRICE, 19, 28))]),
        ("2026-03-20", [(1, 2000)]),
    ]


def test_a_bare_account_is_in_the_cycle_of_its_day() -> None:
    ledger = Ledger((terms(day=15),))
    assert list(cycles(ledger, at("2026-01-05"))) == [cycle_of(date(2026, 1, 5), 15)]
    assert invoices(ledger, at("2026-12-05")) == ()
    assert current_cycle(ledger, at("2026-01-05")).turns == at("2026-01-15")


# ── invoices ─────────────────────────────────────────────────────────────────────────────


def test_r12_a_purchase_is_charged_from_its_day_on_and_then_by_the_month() -> None:
    """With 10 of 30 days left 6.67, next month 20.00."""
    ledger = Ledger((terms(),), (holding("2026-04-21T17:30"),))
    april = Invoice(cycle_of(date(2026, 4, 21), 1), (Line(date(2026, 4, 21), 1, PRICE, 10, 30),))
    assert invoices(ledger, at("2026-04-21T17:30")) == (april,)
    assert april.total_cents == 667
    assert told(ledger, "2026-06-01") == [
        ("2026-04-01", [(1, 667)]),
        ("2026-05-01", [(1, 2000)]),
        ("2026-06-01", [(1, 2000)]),
    ]


HELD = [
    pytest.param([holding("2026-01-01")], [(1, 2000)], [(1, 2000)], id="bought on the first day"),
    pytest.param([holding("2026-01-31T23:59:59")], [(1, 65)], [(1, 2000)], id="bought on the last day"),
    pytest.param([holding("2026-02-01")], None, [(1, 2000)], id="bought as the cycle begins"),
    pytest.param(
        [holding("2026-01-05"), holding("2026-01-20", order=2, ip=OTHER)],
        [(1, 1742), (1, 774)],
        [(2, 4000)],
        id="two purchases in one cycle make two lines, and then one",
    ),
    pytest.param(
        [holding("2026-01-05"), holding("2026-01-05", ip=OTHER)],
        [(2, 3484)],
        [(2, 4000)],
        id="what was bought together is one line",
    ),
    pytest.param([holding("2026-01-05", "2026-01-06")], [(1, 1742)], None, id="a release gives no credit"),
    pytest.param([holding("2026-01-05", "2026-02-01")], [(1, 1742)], None, id="released as a cycle begins"),
    pytest.param([holding("2026-01-05", "2026-02-02")], [(1, 1742)], [(1, 2000)], id="released a day late"),
    pytest.param(
        [holding("2026-01-05", "2026-01-06"), holding("2026-01-20", order=2)],
        [(1, 1742), (1, 774)],
        [(1, 2000)],
        id="released and bought again",
    ),
]


@pytest.mark.parametrize(("holdings", "january", "february"), HELD)
def test_r11_the_invoice_has_what_the_cycle_charges(
    holdings: list[Holding], january: list[tuple[int, int]] | None, february: list[tuple[int, int]] | None
) -> None:
    found = dict(told(Ledger((terms(),), tuple(holdings)), "2026-02-15"))
    assert (found.get("2026-01-01"), found.get("2026-02-01")) == (january, february)


def test_a_new_price_holds_for_purchases_at_once_and_for_the_rest_from_the_next_cycle_on() -> None:
    ledger = Ledger(
        (terms(), terms("2026-01-10", price=3100)),
        (holding("2026-01-01"), holding("2026-01-31", order=2, ip=OTHER)),
    )
    assert told(ledger, "2026-02-01") == [("2026-01-01", [(1, 2000), (1, 100)]), ("2026-02-01", [(2, 6200)])]
    assert purchase_line(ledger, 2, at("2026-01-31")) == Line(date(2026, 1, 31), 2, 3100, 1, 31)


def test_a_downgrade_charges_nothing_from_its_day_on_however_late_the_ips_go() -> None:
    ledger = Ledger((terms(), terms("2026-01-10", ends="2026-02-01")), (holding("2026-01-05"),))
    assert told(ledger, "2026-04-15") == [("2026-01-01", [(1, 1742)])]
    changed_mind = Ledger((*ledger.terms, terms("2026-01-20")), ledger.holdings)
    assert told(changed_mind, "2026-02-01")[1] == ("2026-02-01", [(1, 2000)])


def test_an_ip_from_before_the_first_terms_has_those_terms() -> None:
    ledger = Ledger((terms("2026-01-20"),), (holding("2026-01-01"),))
    assert told(ledger, "2026-01-25") == [("2026-01-01", [(1, 2000)])]


@given(bought=st.lists(MOMENTS, min_size=1, max_size=6), turn=st.integers(1, 31), now=MOMENTS)
def test_an_invoice_stays_as_it_is_once_its_cycle_has_ended(
    bought: list[datetime], turn: int, now: datetime
) -> None:
    held = tuple(Holding(IP, number, moment) for number, moment in enumerate(sorted(bought)))
    ledger = Ledger((Terms(at("2024-01-01"), PRICE, turn),), held)
    known = Ledger(ledger.terms, tuple(one for one in held if one.since <= now))
    closed = [invoice for invoice in invoices(known, now) if invoice.cycle.turns <= now]
    later = invoices(ledger, max(*bought, now) + timedelta(days=100))
    assert list(later[: len(closed)]) == closed


@given(bought=st.lists(MOMENTS, min_size=1, max_size=6), turn=st.integers(1, 31))
def test_each_ip_is_charged_for_each_of_its_days_once(bought: list[datetime], turn: int) -> None:
    held = tuple(Holding(IP, number, moment) for number, moment in enumerate(sorted(bought)))
    end = cycle_of(max(bought).date(), turn).end
    now = datetime(end.year, end.month, end.day, tzinfo=UTC) - timedelta(microseconds=1)
    found = invoices(Ledger((Terms(at("2024-01-01"), PRICE, turn),), held), now)
    charged = sum(line.quantity * line.days for invoice in found for line in invoice.lines)
    assert charged == sum((end - moment.date()).days for moment in bought)


# ── what is to come ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ledger", "start", "lines"),
    [
        pytest.param(Ledger((terms(),)), "2026-05-01", [], id="nothing is held"),
        pytest.param(
            Ledger((terms(),), (holding("2026-04-21"), holding("2026-04-21", ip=OTHER))),
            "2026-05-01",
            [(2, 4000)],
            id="R11: bought in this cycle, whole in the next",
        ),
        pytest.param(
            Ledger((terms(),), (holding("2026-04-02", "2026-04-10"),)), "2026-05-01", [], id="given back"
        ),
        pytest.param(
            Ledger((terms(), terms("2026-04-20", 3000)), (holding("2026-04-02"),)),
            "2026-05-01",
            [(1, 3000)],
            id="at the new price",
        ),
        pytest.param(
            Ledger((terms(ends="2026-05-01"),), (holding("2026-04-02"),)), "2026-05-01", [], id="a downgrade"
        ),
        pytest.param(
            Ledger((terms(), terms("2026-04-20", day=15)), (holding("2026-04-02"),)),
            "2026-05-01",
            [(1, 933)],
            id="14 of 30 days up to the new bill_cycle_day",
        ),
    ],
)
def test_the_next_invoice_is_told_before_its_cycle_begins(
    ledger: Ledger, start: str, lines: list[tuple[int, int]]
) -> None:
    upcoming = next_invoice(ledger, at("2026-04-25"))
    assert upcoming.cycle.start.isoformat() == start
    assert [(line.quantity, line.amount_cents) for line in upcoming.lines] == lines
    begun = [invoice for invoice in invoices(ledger, at(start)) if invoice.cycle == upcoming.cycle]
    assert [upcoming] == begun or not lines


def test_an_invoice_is_called_by_its_account_and_first_day() -> None:
    upcoming = next_invoice(Ledger((terms(),)), at("2026-04-25"))
    assert invoice_number(AccountId(7), upcoming) == "7-20260501"
