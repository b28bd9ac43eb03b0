"""Account → IP Pools: pools are made, changed and deleted, and IPs moved between them."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from relay.domain.directory import Plan
from relay.domain.ids import AccountId, PoolId
from relay.sink.fake_mta import FakeMta
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console

LIST = "/account/ip-pools"
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


async def expect_names(page: Page, *names: str) -> None:
    """Of the pools on the list, from the top."""
    await expect(page.get_by_role("rowheader")).to_have_text(names)


# ── list ─────────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_the_list_shows_pools_with_their_numbers_of_ips_default_first(
    chromium: Browser, console: Console, js: bool
) -> None:
    """R15: sortable by each column, found by name and by id."""
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/")
        await page.get_by_role("link", name="IP Pools").click()
        await expect(page.get_by_role("heading", name="IP Pools", level=1)).to_be_visible()
        await expect_names(page, "Default", "Marketing", "Quiet", "Receipts")
        await expect(page.get_by_role("row", name=re.compile("^Marketing marketing 2$"))).to_be_visible()
        await page.get_by_role("link", name="Number of IPs Assigned").click()
        await expect_names(page, "Default", "Quiet", "Receipts", "Marketing")
        await page.get_by_role("link", name="Number of IPs Assigned").click()
        await expect_names(page, "Default", "Marketing", "Receipts", "Quiet")
        await page.get_by_role("link", name="ID", exact=True).click()
        await expect_names(page, "Default", "Marketing", "Quiet", "Receipts")
        box = page.get_by_role("textbox", name="Filter by name or ID")
        await box.fill("RECE")
        if not js:
            await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("rowheader")).to_have_text(["Receipts"])
        await page.goto(f"{LIST}?q=no-such")
        await page.get_by_role("link", name="Show all 4").click()
        await expect(page.get_by_role("rowheader")).to_have_count(4)


async def test_a_long_list_has_25_on_a_page_and_keeps_its_order(page: Page, console: Console) -> None:
    for number in range(30):
        await console.relay.create_pool(f"Pool {number:02}")
    await console.sign_in(page)
    await page.goto(f"{LIST}?sort=id&down=1&q=o")
    await expect_names(page, *(f"Pool {number:02}" for number in range(29, 4, -1)))
    await page.get_by_role("link", name="Next").click()
    await expect_names(page, *(f"Pool 0{number}" for number in (4, 3, 2, 1, 0)))


@pytest.mark.parametrize(
    ("account", "plan", "told"),
    [
        pytest.param(2, Plan.SELF_SERVE, "leaves from the shared pool", id="R21"),
        pytest.param(4, Plan.ENTERPRISE, "is refused: IP Pool 'default' is empty.", id="R22"),
    ],
)
async def test_an_empty_default_pool_is_warned_of_with_what_it_means_on_the_plan(
    console: Console, account: int, plan: Plan, told: str
) -> None:
    """A2: it may be empty."""
    async with console.client(account=account) as http:
        text = (await http.get(LIST)).text
    assert "The Default pool has no IPs" in text
    assert told in text.replace("&#39;", "'")


async def test_a_default_pool_with_an_ip_is_not_warned_of(console: Console) -> None:
    async with console.client() as http:
        assert "The Default pool has no IPs" not in (await http.get(LIST)).text


WAYS: list[tuple[str, int, str | None, str]] = [
    ("admin", 1, "Purchase IPs", "self-serve"),
    ("admin", 6, "Request IPs", "manually billed"),
    ("admin", 3, None, "Enterprise goes through its TAM (R4)"),
    ("operator", 3, "Purchase IPs", "its operator provisions"),
    ("admin", 5, "Upgrade", "free (R1)"),
    ("reader", 1, None, "a reader"),
]


async def test_who_may_get_ips_is_shown_the_way(console: Console) -> None:
    for role, account, label, who in WAYS:
        async with console.client(role, account) as http:
            text = (await http.get(LIST)).text
        shown = [name for name in ("Purchase IPs", "Request IPs", "Upgrade") if f">{name}</a>" in text]
        assert shown == ([label] if label else []), who


async def test_an_account_without_ips_is_told_what_they_are_good_for(page: Page, console: Console) -> None:
    await console.sign_in(page, "admin", 5)
    await page.goto(LIST)
    await expect(page.get_by_role("heading", name="Boost your deliverability")).to_be_visible()
    await picture(page, "pools-free")


# ── create ───────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_pool_is_created_with_ips_and_carries_mail_at_once(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """R9, R16, R17, R18."""
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(LIST)
        await page.get_by_role("link", name="Create IP Pool").click()
        await page.get_by_label("Pool Name").fill("Spring Sale")
        await page.get_by_role("checkbox", name=re.compile("127.0.0.13.*now in Receipts")).check()
        if not js:
            await page.get_by_role("button", name="Show the ID").click()
        await expect(page.locator("#pool-id")).to_contain_text("spring_sale")
        await expect(page.get_by_role("checkbox", name=re.compile("127.0.0.13"))).to_be_checked()
        await page.get_by_role("button", name="Create IP Pool").click()
        await expect(page.get_by_role("status")).to_have_text("Created IP pool Spring Sale.")
        await expect(page).to_have_url(console.url + LIST)
        await expect(page.get_by_role("row", name="Spring Sale spring_sale 1")).to_be_visible()
    assert console.relay.ips_of("spring_sale") == {"127.0.0.13"}
    assert console.relay.ips_of("receipts") == frozenset()
    await console.relay.inject("bob@b.example", ip_pool="spring_sale")
    (attempt,) = await mta.attempts_reached(1)
    assert attempt.peer_ip == "127.0.0.13"


async def test_pool_and_moves_are_one_change(console: Console) -> None:
    before = console.relay.inside.directory.snapshot.revision
    async with console.client() as http:
        form = {
            "name": "Both",
            "ips": ["127.0.0.11", "127.0.0.13"],
            "signing_domain": "",
            "overflow": "receipts",
        }
        answer = await http.post(f"{LIST}/create", form)
    assert (answer.status_code, answer.headers["location"]) == (303, LIST)
    snapshot = console.relay.inside.directory.snapshot
    assert snapshot.revision == before + 1
    assert snapshot.pools[AccountId(1), PoolId("both")].overflow_pool == "receipts"
    assert console.relay.ips_of("both") == {"127.0.0.11", "127.0.0.13"}


REFUSED = [
    ({"name": " "}, "Required", "no name"),
    ({"name": "x" * 21}, "name must be 20 characters or less", "too long (R8)"),
    ({"name": "a<b"}, "name must contain only letters, numbers and spaces", "A1"),
    ({"name": "marketing"}, "IP Pool marketing already exists.", "taken"),
    ({"name": "Default"}, "IP Pool default is reserved.", "reserved"),
    ({"name": "sp shared"}, "IP Pool sp_shared is reserved.", "the shared pool's (A6)"),
    (
        {"overflow": "nowhere"},
        "Auto Warmup Overflow Pool nowhere does not exist.",
        "overflow nowhere",
    ),
    (
        {"signing_domain": "acme.test"},
        "signing_domain must be a DKIM verified sending domain",
        "unverified domain",
    ),
    ({"ips": "127.0.0.21"}, "There is no sending IP 127.0.0.21.", "another account's IP"),
    ({"ips": "127.0.0.91"}, "There is no sending IP 127.0.0.91.", "a shared IP"),
    ({"ips": "127.0.0.250"}, "There is no sending IP 127.0.0.250.", "nobody's IP"),
    ({"ips": "<b>"}, "There is no sending IP &lt;b&gt;.", "no IP at all"),
]


async def test_a_pool_that_cannot_be_is_refused_beside_the_form_and_nothing_changes(console: Console) -> None:
    before = await console.relay.inside.store.directory.snapshot()
    async with console.client() as http:
        for form, told, why in REFUSED:
            answer = await http.post(f"{LIST}/create", {"name": "Good", "ips": "127.0.0.11", **form})
            assert (answer.status_code, told in answer.text) == (422, True), why
            assert 'value="127.0.0.11" checked' in answer.text or "ips" in form, why
    assert await console.relay.inside.store.directory.snapshot() == before


# ── looks ────────────────────────────────────────────────────────────────────────────────


async def test_pages_of_pools_read_well(chromium: Browser, console: Console) -> None:
    """WCAG AA in both schemes, and nothing is cut off on a phone."""
    await console.relay.move_ip("127.0.0.14", "quiet")
    paths = {
        "list": "",
        "cards": "?view=cards",
        "create": "/create?name=Spring+Sale",
        "edit": "/edit/marketing",
    }
    paths["delete"] = "/edit/marketing/delete"
    for dark, width in ((False, 1280), (True, 1280), (False, 390)):
        async with visitor(chromium, console.url, dark=dark, width=width) as page:
            await console.sign_in(page)
            for name, path in paths.items():
                await page.goto(LIST + path)
                await picture(page, f"pools-{name}-{'dark' if dark else 'light'}-{width}")
                if width == 1280:
                    await assert_accessible(page)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_a_reader_is_shown_no_way_to_change_anything(page: Page, console: Console) -> None:
    await console.sign_in(page, "reader")
    for path in ("", "?view=cards", "/edit/marketing", "/edit/default", "/edit/marketing/127.0.0.11"):
        await page.goto(LIST + path)
        main = page.get_by_role("main")
        await expect(main.get_by_role("heading", level=1)).to_be_visible()
        await expect(main.get_by_role("button")).to_have_count(0)
        await expect(main.locator("[draggable=true]")).to_have_count(0)
