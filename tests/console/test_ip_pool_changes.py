"""Account → IP Pools: pools are changed and deleted, and IPs moved between them."""

from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from relay.domain.changes import Put, Remove
from relay.domain.directory import Check, DkimKey, Origin, SendingDomain, SendingIp
from relay.domain.ids import AccountId, IpAddress, PoolId
from relay.resources.ip_pools.rules import PoolEdit, change_pool
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.console.browser import visitor
from tests.console.looks import picture
from tests.console.site import Console

LIST = "/account/ip-pools"
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


# ── edit and move ────────────────────────────────────────────────────────────────────────


@BOTH
async def test_one_update_saves_name_signing_overflow_and_all_moves(
    chromium: Browser, console: Console, js: bool
) -> None:
    """R16, R17. The id stays."""
    key = DkimKey("s1", "AAAA", "BBBB")
    verified = SendingDomain(AccountId(1), "acme.test", dkim=key, dkim_status=Check.VALID, origin=Origin.LIVE)
    await console.relay.apply(Put(verified))
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(LIST)
        await page.get_by_role("link", name="Marketing").click()
        await expect(page.get_by_role("heading", name="Marketing (marketing)")).to_be_visible()
        await page.get_by_label("Pool Name").fill("Campaigns")
        await page.get_by_label("Default Signing Domain").select_option("acme.test")
        await page.get_by_label("Overflow Pool").select_option(label="Shared Pool")
        await page.get_by_label("IP Pool of 127.0.0.11").select_option(label="Receipts (receipts)")
        await page.get_by_label("IP Pool of 127.0.0.12").select_option(label="Quiet (quiet)")
        await page.get_by_role("button", name="Update IP Pool").click()
        await expect(page.get_by_role("status")).to_have_text("Updated IP pool marketing.")
        await expect(page.get_by_role("heading", name="Campaigns (marketing)")).to_be_visible()
        await expect(
            page.get_by_text("There are no Sending IPs associated with this IP Pool.")
        ).to_be_visible()
        await expect(page.get_by_label("Default Signing Domain")).to_have_value("acme.test")
        await expect(page.get_by_label("Overflow Pool")).to_have_value("shared pool")
    assert console.relay.pools() == {
        "default": {"127.0.0.14"},
        "marketing": frozenset(),
        "receipts": {"127.0.0.11", "127.0.0.13"},
        "quiet": {"127.0.0.12"},
    }


@BOTH
async def test_the_default_pool_gives_ips_away_and_is_not_changed_itself(
    chromium: Browser, console: Console, js: bool
) -> None:
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(f"{LIST}/edit/default")
        await expect(page.get_by_label("Pool Name")).to_be_disabled()
        await expect(page.get_by_role("link", name="Delete")).to_have_count(0)
        await page.get_by_role("button", name="Update IP Pool").click()
        await expect(page.get_by_role("alert")).to_have_text("You can not edit default pool.")
        await page.get_by_label("IP Pool of 127.0.0.14").select_option("quiet")
        await page.get_by_role("button", name="Update IP Pool").click()
        await expect(page.get_by_role("status")).to_have_text("Updated IP pool default.")
        await expect(page.get_by_text("This pool has no IPs for new mail.")).to_be_visible()
    assert console.relay.ips_of("quiet") == {"127.0.0.14"}


REFUSED = [
    ("marketing", {"name": ""}, "Required", "no name"),
    ("marketing", {"name": "é"}, "name must contain only letters", "A1"),
    ("marketing", {"overflow": "marketing"}, "marketing cannot be its own overflow pool", "own"),
    ("receipts", {"overflow": "quiet"}, "receipts is an overflow pool and cannot have", "a target"),
    ("marketing", {"overflow": "filled"}, "filled has an overflow pool and cannot be an", "a chain"),
    ("marketing", {"move:127.0.0.11": "nowhere"}, "IP Pool nowhere does not exist.", "nowhere"),
    ("marketing", {"move:127.0.0.11": "news"}, "IP Pool news does not exist.", "not its pool"),
    ("marketing", {"move:127.0.0.21": "marketing"}, "There is no sending IP", "not its IP"),
    ("marketing", {"move:127.0.0.91": "marketing"}, "There is no sending IP", "a shared IP"),
    ("default", {"name": "Mine"}, "You can not edit default pool.", "default's name"),
    (
        "default",
        {"name": "Mine", "move:127.0.0.14": "quiet"},
        "You can not edit default pool.",
        "and a move",
    ),
]


async def test_an_update_that_cannot_be_leaves_all_of_it_as_it_was(console: Console) -> None:
    """The move of an IP that could be moved, beside it, does not happen either."""
    await console.relay.create_pool("Filled")
    snapshot = console.relay.inside.directory.snapshot
    await console.relay.apply(
        *change_pool(snapshot, AccountId(1), PoolId("filled"), PoolEdit(overflow_pool="receipts"))
    )
    before = await console.relay.inside.store.directory.snapshot()
    async with console.client() as http:
        for pool, form, told, why in REFUSED:
            good = {} if pool == "default" else {"name": "Renamed", "move:127.0.0.12": "receipts"}
            answer = await http.post(f"{LIST}/edit/{pool}", {**good, **form})
            assert (answer.status_code, told in answer.text) == (422, True), why
    assert await console.relay.inside.store.directory.snapshot() == before


async def test_an_overflow_target_cannot_be_given_one_and_chains_are_not_offered(
    page: Page, console: Console
) -> None:
    snapshot = console.relay.inside.directory.snapshot
    await console.relay.apply(
        *change_pool(snapshot, AccountId(1), PoolId("quiet"), PoolEdit(overflow_pool="receipts"))
    )
    await console.sign_in(page)
    await page.goto(f"{LIST}/edit/receipts")
    await expect(page.get_by_label("Overflow Pool")).to_be_disabled()
    await page.get_by_label("Pool Name").fill("Bills")
    await page.get_by_role("button", name="Update IP Pool").click()
    await expect(page.get_by_role("status")).to_have_text("Updated IP pool receipts.")
    await page.goto(f"{LIST}/edit/marketing")
    offered = await page.get_by_label("Overflow Pool").locator("option").all_inner_texts()
    assert offered == ["None", "Shared Pool", "Default (default)", "Bills (receipts)"]


async def test_enterprise_is_offered_no_shared_pool(console: Console) -> None:
    async with console.client(account=3) as http:
        assert "Shared Pool" not in (await http.get(f"{LIST}/edit/promo")).text


async def test_an_ip_is_dragged_onto_another_pool(page: Page, console: Console) -> None:
    """A comfort; the select on the pool's page does the same."""
    await console.sign_in(page)
    await page.goto(LIST)
    await page.get_by_role("link", name="Cards").click()
    card = page.get_by_role("region", name="Receipts")
    await page.locator("[data-drag-ip='127.0.0.11'] .why").drag_to(card)
    await expect(page.get_by_role("status")).to_have_text("Updated IP pool marketing.")
    await expect(card).to_contain_text("127.0.0.11")
    assert console.relay.ips_of("receipts") == {"127.0.0.11", "127.0.0.13"}


async def test_a_new_ip_leads_to_the_warm_up_guide_for_a_month(console: Console) -> None:
    """R2."""
    bought = SendingIp(
        IpAddress("127.0.0.15"),
        IpAddress("127.0.0.15"),
        "mta15.relay.test",
        account=AccountId(1),
        pool=PoolId("quiet"),
    )
    await console.relay.apply(Put(bought))
    async with console.client() as http:
        for path in (f"{LIST}/edit/quiet", f"{LIST}/edit/quiet/127.0.0.15"):
            assert "how to warm up an IP" in (await http.get(path)).text
    console.relay.clock.advance(days=31)
    async with console.client() as http:
        for path in (f"{LIST}/edit/quiet", f"{LIST}/edit/quiet/127.0.0.15"):
            assert "how to warm up an IP" not in (await http.get(path)).text


# ── delete ───────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_pool_is_deleted_with_its_consequences_told_before(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """R16, R29, R31, A9, A31: told and true."""
    relay = console.relay
    mta.answer("bob@b.example", "451 4.2.1 try later", then="250 2.0.0 ok")
    await relay.inject("bob@b.example", ip_pool="marketing")
    (waiting,) = await relay.quiet()
    snapshot = relay.inside.directory.snapshot
    await relay.apply(
        *change_pool(snapshot, AccountId(1), PoolId("quiet"), PoolEdit(overflow_pool="marketing"))
    )
    await schedule(relay, "Marketing")
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(f"{LIST}/edit/marketing")
        await page.get_by_role("link", name="Delete").click()
        asked = page.get_by_role("dialog") if js else page.get_by_role("main")
        await expect(asked.get_by_role("heading")).to_have_text(
            "Are you sure you want to delete this IP Pool?"
        )
        for told in (
            "2 IPs move to the Default pool",
            "127.0.0.11, 127.0.0.12",
            "1 subaccount is bound to it",
            "Joe's Garage (123)",
            "1 scheduled transmission would leave from it",
            "1 pool overflows into it",
            "1 queued message is not affected",
        ):
            await expect(asked).to_contain_text(told)
        await picture(page, f"pool-delete-{'dialog' if js else 'page'}")
        await asked.get_by_role("link", name="Cancel").click()
        await expect(page.get_by_role("heading", name="Marketing (marketing)")).to_be_visible()
        await page.get_by_role("link", name="Delete").click()
        await asked.get_by_role("button", name="DELETE").click()
        await expect(page.get_by_role("status")).to_have_text("Deleted IP pool marketing.")
        await expect(page).to_have_url(console.url + LIST)
        await expect(page.get_by_role("rowheader")).to_have_text(["Default", "Quiet", "Receipts"])
    assert relay.ips_of("default") == {"127.0.0.11", "127.0.0.12", "127.0.0.14"}
    relay.clock.advance(minutes=20)
    first, second = await mta.attempts_reached(2)
    assert first.peer_ip == second.peer_ip == waiting.pin.ip


async def schedule(relay: RelayHarness, pool: str) -> None:
    """A transmission for tomorrow that names the pool."""
    start = relay.clock.now() + timedelta(days=1)
    async with relay.api() as api:
        answer = await api.post(
            "/transmissions",
            json={
                "options": {"start_time": start.isoformat(timespec="seconds"), "ip_pool": pool},
                "recipients": [{"address": "ann@b.example"}],
                "content": {"from": "news@acme.test", "subject": "Hello", "text": "Hello."},
            },
        )
    assert answer.status_code == 200, answer.text


async def test_default_is_not_deleted_and_what_is_gone_is_gone(console: Console) -> None:
    async with console.client() as http:
        answer = await http.post(f"{LIST}/edit/default/delete")
        assert (answer.status_code, "IP Pool default is reserved." in answer.text) == (422, True)
        assert (await http.post(f"{LIST}/edit/quiet/delete")).status_code == 303
        assert (await http.post(f"{LIST}/edit/quiet/delete")).status_code == 404
        assert (await http.get(f"{LIST}/edit/quiet")).status_code == 404


async def test_another_accounts_pool_has_no_page_and_takes_no_form(console: Console) -> None:
    before = await console.relay.inside.store.directory.snapshot()
    form = {"name": "Mine", "pool": "marketing", "move:127.0.0.21": "marketing"}
    async with console.client() as http:
        for path in ("/edit/news", "/edit/news/delete", "/edit/MARKETING", "/edit/news/127.0.0.21"):
            assert (await http.get(LIST + path)).status_code == 404
            assert (await http.post(LIST + path, form)).status_code == 404
    assert await console.relay.inside.store.directory.snapshot() == before


async def test_a_pool_that_vanished_meanwhile_is_told(console: Console) -> None:
    async with console.client() as http:
        pool = console.relay.inside.directory.snapshot.pools[AccountId(1), PoolId("quiet")]
        await console.relay.apply(Remove(pool))
        assert (await http.post(f"{LIST}/edit/quiet", {"name": "Quiet"})).status_code == 404
