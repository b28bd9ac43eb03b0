"""A million messages wait, a million events are told, and pages about them are quick. Run by `make soak`."""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from relay.domain.ids import AccountId, MessageId, SubaccountId, TransmissionId
from relay.domain.message import State
from relay.ports.eventlog import EventQuery
from relay.ports.queue import MailFilter
from relay.ports.report import Facet
from relay.store import Store, open_store
from tests.support.crowded import IPS, NEEDLE, NEEDLE_IP, SHARED, Crowd, crowd, pool_of

pytestmark = pytest.mark.timeout(900)

MILLION = 1_000_000
LIMIT_MS = 100
DAY = timedelta(days=1)
ONE, SMALL = AccountId(1), AccountId(5)
IP = IPS[0]
T = TypeVar("T")

BY: tuple[tuple[Facet, ...], ...] = (
    *((), (Facet.IP,), (Facet.POOL,), (Facet.DOMAIN,), (Facet.ACCOUNT,)),
    (Facet.ACCOUNT, Facet.IP, Facet.POOL),
    (Facet.IP, Facet.DOMAIN),
)
WIDEST = (None, (Facet.IP, Facet.DOMAIN))
"""37,000 groups: more than the others, and on no page but an operator's."""

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """A function: prints a figure, which is what these tests are run for."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="")  # noqa: T201 - as it says

    return tell


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Crowd]:
    return {}


@pytest.fixture
async def crowded(
    made: dict[str, Crowd], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Crowd, Store]]:
    """One for all tests, which only read."""
    if not made:
        path: Path = tmp_path_factory.mktemp("crowd") / "relay.db"
        made["it"] = await crowd(path, MILLION, MILLION)
    async with await open_store(made["it"].url) as store:
        yield made["it"], store


class Slow:
    """Times each page and keeps what took too long."""

    def __init__(self, say: Say) -> None:
        self._say, self.found = say, list[str]()

    async def time(
        self,
        name: str,
        page: Callable[[], Awaitable[T]],
        told: Callable[[T], object],
        limit_ms: float = LIMIT_MS,
    ) -> None:
        figures = []
        for _ in range(7):
            started = time.perf_counter()
            answer = await page()
            figures.append((time.perf_counter() - started) * 1000)
        median_ms, worst_ms = statistics.median(figures), max(figures)
        self._say(f"{name:55} median {median_ms:6.1f} ms, worst {worst_ms:6.1f} ms; {told(answer)}")
        if median_ms > limit_ms:
            self.found.append(f"{name}: {median_ms:.0f} ms")


async def test_what_waits_is_counted_and_listed_quickly(crowded: tuple[Crowd, Store], say: Say) -> None:
    made, store = crowded
    say(f"upgrade of a million messages and a million events: {made.upgrade_s:.1f} s")
    slow = Slow(say)
    for account in (None, ONE, SMALL):
        for by in BY:
            await slow.time(
                f"waiting of {account or 'all'} by {', '.join(by) or 'nothing'}",
                partial(store.reports.waiting, MailFilter(account), by, 50),
                lambda page: f"{page.counts.total} in {page.number}",
                2 * LIMIT_MS if (account, by) == WIDEST else LIMIT_MS,
            )
    for name, what in {
        "all": MailFilter(None),
        "account 1": MailFilter(ONE),
        "account 5": MailFilter(SMALL),
        "an IP": MailFilter(None, ip=IP),
        "an IP and a domain": MailFilter(ONE, ip=IP, domain="d3.example"),
        "a domain": MailFilter(None, domain="d3.example"),
        "a domain of account 5": MailFilter(SMALL, domain="d3.example"),
        "a shared IP": MailFilter(None, ip=SHARED[0]),
        "account 5 on a shared IP": MailFilter(SMALL, ip=SHARED[0]),
        "account 5 on a shared IP, a domain": MailFilter(SMALL, ip=SHARED[0], domain="d3.example"),
        "held": MailFilter(None, state=State.HELD),
        "held, account 5": MailFilter(SMALL, state=State.HELD),
        "held, a domain": MailFilter(None, state=State.HELD, domain="d3.example"),
        "in flight": MailFilter(None, state=State.IN_FLIGHT),
        "in flight, account 5": MailFilter(SMALL, state=State.IN_FLIGHT),
        "queued": MailFilter(None, state=State.QUEUED),
        "a pool": MailFilter(ONE, pool=pool_of(IP)),
        "a subaccount": MailFilter(ONE, subaccount=SubaccountId(7)),
        "a subaccount that there is not": MailFilter(ONE, subaccount=SubaccountId(8)),
        "a transmission": MailFilter(ONE, transmission=TransmissionId(f"{600:018}")),
        "nothing": MailFilter(ONE, domain="nowhere.example"),
    }.items():
        for deep in (False, True):
            after = (await store.reports.messages(what, 500)).next if deep else None
            if deep and after is None:
                continue
            await slow.time(
                f"messages: {name}{', 500 on' if deep else ''}",
                partial(store.reports.messages, what, 50, after),
                lambda page: f"{len(page.messages)}{', cut' if page.is_cut else ''}",
            )
    assert slow.found == []


async def test_events_are_counted_and_found_quickly(crowded: tuple[Crowd, Store], say: Say) -> None:
    made, store = crowded
    slow = Slow(say)
    since, until = made.now - 10 * DAY, made.now + DAY
    for account in (None, ONE, SMALL):
        for step, span, by_ip in (
            (DAY, 2 * DAY, True),
            (DAY / 24, 2 * DAY, True),
            (DAY / 144, 2 * DAY, False),
        ):
            await slow.time(
                f"tallies of {account or 'all'} in steps of {step}{'' if by_ip else ', without IPs'}",
                partial(store.reports.tallies, account, until - span - DAY, until, step, by_ip=by_ip),
                len,
            )
        for name, filters in FILTERS.items():
            await slow.time(
                f"events of {account or 'all'}: {name}",
                partial(store.events.find, EventQuery(account, since, until, **filters), 50),
                lambda page: f"{len(page.told)}{', cut' if page.is_cut else ''}",
            )
    assert slow.found == []


FILTERS: dict[str, dict[str, Any]] = {
    "nothing asked": {},
    "a recipient": {"recipients": frozenset({"r250000@d1.example"})},
    "no recipient": {"recipients": frozenset({"nobody@d1.example"})},
    "the oldest recipient": {"recipients": frozenset({f"{NEEDLE}@{NEEDLE}.example"})},
    "a domain": {"recipient_domains": frozenset({"d1.example"})},
    "a smaller domain": {"recipient_domains": frozenset({"d1000.example"})},
    "no domain": {"recipient_domains": frozenset({"nowhere.example"})},
    "the oldest domain": {"recipient_domains": frozenset({f"{NEEDLE}.example"})},
    "a pool": {"ip_pools": ("default",)},
    "no pool": {"ip_pools": ("elsewhere",)},
    "the oldest pool": {"ip_pools": (NEEDLE,)},
    "an IP": {"sending_ips": frozenset({IP})},
    "no IP": {"sending_ips": frozenset({"192.0.2.1"})},
    "the oldest IP": {"sending_ips": frozenset({NEEDLE_IP})},
    "a campaign": {"campaigns": ("camp-3",)},
    "no campaign": {"campaigns": ("camp-99",)},
    "the oldest campaign": {"campaigns": (NEEDLE,)},
    "a subject": {"subjects": ("offer",)},
    "no subject": {"subjects": ("invoice",)},
    "the oldest subject": {"subjects": (NEEDLE,)},
    "a kind": {"kinds": frozenset({"delivery"})},
    "a rarer kind": {"kinds": frozenset({"bounce"})},
    "no kind": {"kinds": frozenset({"generation_failure"})},
    "the oldest kind": {"kinds": frozenset({"generation_rejection"})},
    "a From": {"from_addresses": frozenset({"news@a1.example"})},
    "no From": {"from_addresses": frozenset({"nobody@a1.example"})},
    "the oldest From": {"from_addresses": frozenset({f"{NEEDLE}@{NEEDLE}.test"})},
    "a reason": {"reasons": ("no such user",)},
    "one reason": {"reasons": ("250004",)},
    "no reason": {"reasons": ("mailbox full",)},
    "words that never meet": {"reasons": ("user later",)},
    "a message": {"messages": frozenset({MessageId(f"{600:020x}")})},
    "a transmission": {"transmissions": frozenset({TransmissionId(f"{600:018}")})},
    "no transmission": {"transmissions": frozenset({TransmissionId("1")})},
}
