"""Purchases, subscription and invoices over REST (R1-R14)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import httpx
import pytest

from relay.domain.changes import Put
from relay.domain.directory import SendingIp
from relay.domain.ids import IpAddress
from relay.process.upkeep import tend
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import lab_directory
from relay.testing.waiting import eventually
from tests.support.rest import refusal, results

BUY = "/account/add-ons/dedicated_ips"
SUBSCRIPTION, INVOICES = "/billing/subscription", "/billing/invoices"
TEN_DAYS_LEFT = datetime(2026, 4, 21, 9, tzinfo=UTC)
LATER = "451 4.2.1 later"


@pytest.fixture
def relay_directory() -> str:
    """The lab without dedicated IPs; 127.0.0.71 to .78 are for sale."""
    inventory = [
        f'[[sending_ip]]\naddress = "127.0.0.{number}"\nhostname = "mta{number}.relay.test"\n'
        for number in range(71, 79)
    ]
    return "\n".join([lab_directory({}), *inventory])


async def buy(
    relay: RelayHarness,
    body: Mapping[str, object],
    account: int = 1,
    key: str | None = None,
) -> httpx.Response:
    async with relay.api(account, key=key) as api:
        return await api.post(BUY, json=body)


async def bought(relay: RelayHarness, quantity: int, pool: str = "marketing", account: int = 1) -> list[str]:
    """The addresses."""
    found = results(await buy(relay, {"quantity": quantity, "ip_pool": pool}, account))
    return [ip["external_ip"] for ip in found["ips"]]


def held(relay: RelayHarness, account: int = 1) -> set[str]:
    return {ip for pool in relay.pools(account).values() for ip in pool}


async def amounts(relay: RelayHarness, account: int = 1) -> list[list[float]]:
    async with relay.api(account) as api:
        found = results(await api.get(INVOICES))
    return [[line["amount"] for line in invoice["lines"]] for invoice in found]


# ── buying ───────────────────────────────────────────────────────────────────────────────


async def test_a_purchase_answers_what_was_bought_and_what_it_costs(relay: RelayHarness) -> None:
    relay.clock.advance_to(TEN_DAYS_LEFT)
    response = await buy(relay, {"quantity": 2, "ip_pool": "Marketing", "unknown": 1})
    assert results(response) == {
        "ip_pool": "marketing",
        "quantity": 2,
        "ips": [
            {"external_ip": "127.0.0.71", "hostname": "mta71.relay.test"},
            {"external_ip": "127.0.0.72", "hostname": "mta72.relay.test"},
        ],
        "amount": 13.33,
    }
    async with relay.api() as api:
        listed = results(await api.get("/sending-ips"))
    assert [(ip["external_ip"], ip["ip_pool"]) for ip in listed] == [
        ("127.0.0.71", "marketing"),
        ("127.0.0.72", "marketing"),
    ]


async def test_r7_r9_r18_a_bought_ip_sends_at_once_through_the_pool_that_came_with_it(
    relay: RelayHarness, mta: FakeMta
) -> None:
    found = results(await buy(relay, {"quantity": 1, "new_ip_pool": "Flash Sales"}))
    assert found["ip_pool"] == "flash_sales"
    await relay.inject("bob@b.example", ip_pool="flash_sales")
    await relay.quiet()
    (attempt,) = mta.attempts_for("bob@b.example")
    assert attempt.is_accepted
    assert attempt.peer_ip == found["ips"][0]["external_ip"] == "127.0.0.71"


async def test_r20_an_ip_bought_into_default_takes_the_place_of_the_shared_pool(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await relay.inject("shared@b.example")
    (ip,) = await bought(relay, 1, "default")
    await relay.inject("own@b.example")
    await relay.quiet()
    assert mta.attempts_for("shared@b.example")[0].peer_ip in {"127.0.0.91", "127.0.0.92"}
    assert mta.attempts_for("own@b.example")[0].peer_ip == ip


NO_QUANTITIES: tuple[object, ...] = (0, -1, 1.5, 1.0, "1", True, None, [], {}, 2**31, 10**30)
REFUSALS: list[object] = [
    pytest.param(5, {}, 403, "Dedicated IPs are not available on your plan.", id="R1: free"),
    pytest.param(
        3, {}, 403, "Please contact your TAM to purchase dedicated IPs.", id="R4: an Enterprise account"
    ),
    pytest.param(6, {}, 403, "Please contact support to purchase dedicated IPs.", id="billed by hand"),
    pytest.param(1, {"quantity": 5}, 400, "You can have at most 4 dedicated IPs.", id="R13"),
    pytest.param(1, {"ip_pool": "Nope"}, 400, "IP Pool Nope does not exist.", id="an unknown pool"),
    pytest.param(1, {"ip_pool": "news"}, 400, "IP Pool news does not exist.", id="another account's pool"),
    pytest.param(1, {"ip_pool": None}, 400, "ip_pool is a required field", id="no pool"),
    pytest.param(1, {"ip_pool": ""}, 400, "ip_pool is a required field", id="an empty pool"),
    pytest.param(1, {"ip_pool": 7}, 400, "ip_pool must be a string", id="a number for a pool"),
    pytest.param(
        1, {"new_ip_pool": "A"}, 400, "ip_pool and new_ip_pool are mutually exclusive", id="two pools"
    ),
    pytest.param(
        1,
        {"ip_pool": None, "new_ip_pool": "x" * 21},
        400,
        "name must be 20 characters or less",
        id="R8: a long name",
    ),
    pytest.param(
        1,
        {"ip_pool": None, "new_ip_pool": "Quiet"},
        409,
        "IP Pool quiet already exists.",
        id="a pool that is there",
    ),
    *(
        pytest.param(1, {"quantity": value}, 400, "quantity must be a positive integer", id=f"{value!r}")
        for value in NO_QUANTITIES
    ),
]


@pytest.mark.parametrize(("account", "body", "status", "message"), REFUSALS)
async def test_a_refused_purchase_says_why_and_changes_nothing(
    relay: RelayHarness, account: int, body: dict[str, object], status: int, message: str
) -> None:
    before = relay.inside.directory.snapshot
    response = await buy(relay, {"quantity": 1, "ip_pool": "default", **body}, account)
    assert refusal(response) == (status, message)
    assert (await relay.inside.directory.refresh()).revision == before.revision
    assert await amounts(relay, account) == []


async def test_an_empty_inventory_is_for_the_moment_and_leaves_no_stray_pool(relay: RelayHarness) -> None:
    key = await relay.make_key(1, is_operator=True)
    async with relay.api(key=key) as operator:
        operator.headers["X-Relay-Account"] = "3"
        response = await operator.post(BUY, json={"quantity": 6, "ip_pool": "default"})
        assert results(response)["quantity"] == 6, "R4, R14: the operator gives Enterprise six"
    response = await buy(relay, {"quantity": 3, "new_ip_pool": "Stray"})
    assert refusal(response) == (503, "No dedicated IPs are available at this time.")
    assert "stray" not in relay.pools()


async def test_r13_fifty_purchases_in_a_race_get_four_ips(relay: RelayHarness) -> None:
    statuses: list[int] = []

    async def one(api: httpx.AsyncClient) -> None:
        response = await api.post(BUY, json={"quantity": 1, "ip_pool": "marketing"})
        statuses.append(response.status_code)

    async with relay.api(over_socket=True) as api, asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(one(api))
    assert sorted(statuses) == [200] * 4 + [400] * 46
    assert len(held(relay)) == 4
    assert sum(len(lines) for lines in await amounts(relay)) == 4


# ── who may ──────────────────────────────────────────────────────────────────────────────

CALLS = [
    pytest.param("POST", BUY, id="purchase"),
    pytest.param("GET", SUBSCRIPTION, id="subscription"),
    pytest.param("GET", INVOICES, id="invoices"),
    pytest.param("GET", f"{INVOICES}/1-20260101", id="an invoice"),
    pytest.param("GET", "/billing/plans", id="plans"),
    pytest.param("PUT", SUBSCRIPTION, id="terms"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_billing_is_for_keys_of_the_account_with_the_grant(
    relay: RelayHarness, method: str, path: str
) -> None:
    async def ask(key: str, **headers: str) -> int:
        async with relay.api(key=key) as api:
            api.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
            return (await api.request(method, path, json={"quantity": 0, "plan": "x"})).status_code

    without = await relay.make_key(1, {"ip_pools/manage", "account/view"})
    for grant in ("billing/manage", "account/manage"):
        allowed = 403 if path == SUBSCRIPTION and method == "PUT" else 400 if method == "POST" else None
        status = await ask(await relay.make_key(1, {grant}))
        assert status == allowed or (allowed is None and status in {200, 404})
        assert await ask(await relay.make_key(1, {grant}), X_MSYS_SUBACCOUNT="123") == 403
    assert await ask(without) == 403
    assert await ask(await relay.make_key(1, {"billing/manage"}, subaccount=123)) == 403


# ── what it costs ────────────────────────────────────────────────────────────────────────


async def test_r6_r11_r12_the_invoice_has_the_share_of_the_month_and_then_the_month(
    relay: RelayHarness,
) -> None:
    """A purchase of 1 with 10 of 30 days left adds 6.67 USD, next month 20.00."""
    relay.clock.advance_to(TEN_DAYS_LEFT)
    await bought(relay, 1)
    async with relay.api() as api:
        (april,) = results(await api.get(INVOICES))
        assert april == results(await api.get(f"{INVOICES}/1-20260401"))
        assert april == {
            "id": "1-20260401",
            "status": "open",
            "period_start": "2026-04-01",
            "period_end": "2026-05-01",
            "currency": "USD",
            "amount": 6.67,
            "lines": [
                {
                    "description": "Dedicated IPs × 1",
                    "date": "2026-04-21",
                    "quantity": 1,
                    "unit_price": 20.0,
                    "days": 10,
                    "days_in_month": 30,
                    "amount": 6.67,
                }
            ],
        }
        relay.clock.advance_to(datetime(2026, 5, 1, tzinfo=UTC))
        may, closed = results(await api.get(INVOICES))
        assert (may["amount"], may["status"]) == (20.0, "open")
        assert closed == {**april, "status": "closed"}


async def test_invoices_of_others_are_not_there(relay: RelayHarness) -> None:
    await bought(relay, 1)
    async with relay.api(2) as api:
        for name in ("1-20260101", "2-20260101", "%2e%2e", "1-20260101%00"):
            response = await api.get(f"{INVOICES}/{name}")
            assert refusal(response) == (404, "Invoice does not exist"), name
        assert results(await api.get(INVOICES)) == []


@pytest.mark.parametrize(
    ("account", "facts", "limit"),
    [
        pytest.param(1, ("self_serve", "default", True), 4, id="self-serve"),
        pytest.param(3, ("ent1", "manual", False), None, id="R14: Enterprise"),
        pytest.param(5, ("free1", "default", False), 0, id="R1: free"),
        pytest.param(6, ("manual", "manual", False), 4, id="billed by hand"),
    ],
)
async def test_the_subscription_tells_the_plan_class_and_the_limit(
    relay: RelayHarness, account: int, facts: tuple[str, str, bool], limit: int | None
) -> None:
    if account == 1:
        await bought(relay, 3)
    async with relay.api(account) as api:
        found = results(await api.get(SUBSCRIPTION))
        (plan,) = results(await api.get("/billing/plans"))
    assert (found["code"], found["type"], found["self_serve"]) == facts
    assert (found["bill_cycle_day"], found["pending_downgrades"]) == (1, [])
    assert (found["period_start"], found["period_end"]) == ("2026-01-01", "2026-02-01")
    assert found["products"] == [
        {
            "product": "dedicated_ip",
            "plan": "ip-0519",
            "price": 20.0,
            "volume": 1,
            "billing_period": "month",
            "quantity": 3 if account == 1 else 0,
            "limit": limit,
        }
    ]
    assert (plan["product"], plan["plan"], plan["price"], plan["volume"]) == (
        "dedicated_ip",
        "ip-0519",
        20.0,
        1,
    )


# ── the operator's side ──────────────────────────────────────────────────────────────────


@pytest.fixture
async def amend(relay: RelayHarness) -> Callable[..., Awaitable[httpx.Response]]:
    """A function: (account, body) → the answer to PUT /billing/subscription by an operator's key."""
    key = await relay.make_key(2, is_operator=True)

    async def put(account: int, body: Mapping[str, object]) -> httpx.Response:
        async with relay.api(key=key) as api:
            return await api.put(SUBSCRIPTION, json=body, headers={"X-Relay-Account": str(account)})

    return put


async def test_an_operator_sets_plan_limit_price_and_day(
    relay: RelayHarness, amend: Callable[..., Awaitable[httpx.Response]]
) -> None:
    body = {"plan": "self_serve", "limit": 5, "price": 19.99, "bill_cycle_day": 15}
    found = results(await amend(5, body))
    assert (found["plan"], found["bill_cycle_day"]) == ("self_serve", 15)
    assert (found["products"][0]["limit"], found["products"][0]["price"]) == (5, 19.99)
    assert len(await bought(relay, 5, "default", 5)) == 5, "an upgrade counts at once"


async def test_down_to_free_at_the_end_of_the_cycle_and_the_ips_are_released(
    relay: RelayHarness, amend: Callable[..., Awaitable[httpx.Response]]
) -> None:
    relay.clock.advance_to(TEN_DAYS_LEFT)
    await bought(relay, 2)
    found = results(await amend(1, {"plan": "free"}))
    assert found["plan"] == "self_serve"
    assert found["pending_downgrades"] == [
        {"plan": "free", "code": "free1", "effective_at": "2026-05-01T00:00:00+00:00"}
    ]
    relay.clock.advance_to(datetime(2026, 5, 1, tzinfo=UTC))
    response = await buy(relay, {"quantity": 1, "ip_pool": "marketing"})
    assert refusal(response) == (403, "Dedicated IPs are not available on your plan.")

    async def is_released() -> bool:
        return held(relay) == set()

    await eventually(is_released)
    assert await amounts(relay) == [[13.33]]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(
            {"plan": "gold"}, 400, "plan must be one of free, self_serve, manual, enterprise", id="plan"
        ),
        pytest.param({"limit": -1}, 400, "limit must be a whole number, 0 or more", id="limit"),
        pytest.param(
            {"limit": 1}, 409, "account 1 (Acme) would have 2 dedicated IPs; its limit is 1", id="held"
        ),
        *(
            pytest.param(
                {"price": price},
                400,
                "price must be an amount in USD with at most two decimals",
                id=f"price {price!r}",
            )
            for price in (-1, 1.001, "20", True, 1e300, 10**400)
        ),
        *(
            pytest.param(
                {"bill_cycle_day": day}, 400, "bill_cycle_day must be between 1 and 28", id=f"day {day}"
            )
            for day in (0, 29, 1.0, "1")
        ),
    ],
)
async def test_bad_terms_are_refused_in_words(
    relay: RelayHarness,
    amend: Callable[..., Awaitable[httpx.Response]],
    body: dict[str, object],
    status: int,
    message: str,
) -> None:
    await bought(relay, 2)
    before = relay.inside.directory.snapshot.accounts
    response = await amend(1, body)
    assert refusal(response) == (status, message)
    assert (await relay.inside.directory.refresh()).accounts == before


# ── released IPs ─────────────────────────────────────────────────────────────────────────


async def test_a_released_ip_keeps_its_queued_mail_and_is_not_sold_before_that_has_left(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """R27."""
    for number in range(72, 79):
        await relay.apply(
            Put(
                SendingIp(
                    IpAddress(f"127.0.0.{number}"), IpAddress(f"127.0.0.{number}"), "x", is_draining=True
                )
            )
        )
    (ip,) = await bought(relay, 1)
    mta.answer("bob@b.example", LATER, then="250 2.0.0 Ok")
    await relay.inject("bob@b.example", ip_pool="marketing")
    await relay.quiet()
    await relay.unassign_ip(ip)
    assert held(relay) == set()
    response = await buy(relay, {"quantity": 1, "ip_pool": "news"}, account=2)
    assert refusal(response) == (503, "No dedicated IPs are available at this time.")
    relay.clock.advance(minutes=20)
    await relay.quiet()
    assert [attempt.peer_ip for attempt in mta.attempts_for("bob@b.example")] == [ip, ip]
    await tend(relay.inside.directory, relay.inside.store.directory, relay.clock)
    assert await bought(relay, 1, "news", account=2) == [ip]
