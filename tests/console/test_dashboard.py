"""The dashboard: what leaves from which IP and pool, how it fares, and what waits."""

import pytest
from playwright.async_api import Browser, Page, expect

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console

WHY = "450 4.7.1 <script>alert(1)</script> too many of you"


async def some_mail(relay: RelayHarness, mta: FakeMta) -> None:
    """Six delivered, two delayed, one bounced, over two pools of account 1; one of account 2."""
    mta.answer("later@gmail.example", WHY)
    mta.answer("gone@gmail.example", "550 5.1.1 no such user")
    for number in range(4):
        await relay.inject(f"bob{number}@gmail.example", ip_pool="marketing")
    for number in range(2):
        await relay.inject(f"eve{number}@gmail.example", ip_pool="receipts")
    await relay.inject(["later@gmail.example"], ip_pool="marketing")
    await relay.inject(["later@gmail.example"], ip_pool="receipts")
    await relay.inject("gone@gmail.example", ip_pool="marketing")
    await relay.inject("ann@birch.example", account=2, ip_pool="news")
    await relay.quiet()
    await eventually(lambda: _waits(relay, 2))


async def _waits(relay: RelayHarness, number: int) -> bool:
    return len(await relay.queue()) == number


def figure(page: Page, label: str) -> object:
    return page.locator(".figure", has_text=label).locator(".value")


@pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])
async def test_each_ip_and_pool_shows_what_it_delivered_delayed_and_bounced(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    await some_mail(console.relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "reader")
        await page.goto("/")
        for label, number in (
            ("Accepted", 9),
            ("Delivered", 6),
            ("Delayed", 2),
            ("Bounced", 1),
            ("Waiting now", 2),
        ):
            await expect(page.locator(".figure", has_text=label).locator(".value")).to_have_text(str(number))
        pools = page.get_by_role("region", name="By Pool")
        await expect(pools.get_by_role("row", name="marketing")).to_contain_text("4")
        await expect(pools.get_by_role("row", name="receipts")).to_contain_text("66.7 %")
        ips = page.get_by_role("region", name="By Sending IP")
        assert await ips.get_by_role("row").count() == 4  # .11, .12, .13 and the heading
        await expect(ips).not_to_contain_text("127.0.0.21")
        trouble = page.get_by_role("region", name="Latest trouble")
        await expect(trouble).to_contain_text(WHY.partition(" ")[2].partition(" ")[2])
        await trouble.get_by_role("link", name="gone@gmail.example").first.click()
        await expect(page).to_have_url(f"{console.url}/messages/{page.url.rpartition('/')[2]}")


async def test_numbers_refresh_while_somebody_looks(page: Page, console: Console, mta: FakeMta) -> None:
    await console.sign_in(page)
    await page.goto("/")
    await expect(page.get_by_role("heading", name="No mail in the last 24 hours")).to_be_visible()
    await page.evaluate("window.untouched = true")
    await console.relay.inject("bob@gmail.example", ip_pool="marketing")
    await mta.attempts_reached(1)
    await expect(page.locator(".figure", has_text="Delivered").locator(".value")).to_have_text(
        "1", timeout=15_000
    )
    assert await page.evaluate("window.untouched") is True


async def test_the_last_step_is_the_one_that_is_running(page: Page, console: Console, mta: FakeMta) -> None:
    await console.sign_in(page)
    await console.relay.inject("bob@gmail.example", ip_pool="marketing")
    await console.relay.quiet()
    console.relay.clock.advance(hours=2)
    await console.relay.inject("bob@gmail.example", ip_pool="marketing")
    await console.relay.quiet()
    await page.goto("/?range=3h")
    await page.get_by_text("The same as a table").click()
    rows = page.get_by_role("region", name="Attempts as a table").get_by_role("row")
    texts = await rows.all_inner_texts()
    assert [text.split("\t")[-3] for text in texts[-13:]] == ["1", *["0"] * 11, "1"]
    await page.get_by_role("link", name="10 days").click()
    await expect(page.locator(".figure", has_text="Delivered").locator(".value")).to_have_text("2")


async def test_an_operator_sees_all_accounts_together_or_one(
    page: Page, console: Console, mta: FakeMta
) -> None:
    await some_mail(console.relay, mta)
    await console.sign_in(page, "operator", account=2)
    await page.goto("/")
    await expect(page.locator(".figure", has_text="Accepted").locator(".value")).to_have_text("1")
    await page.get_by_role("link", name="All accounts").click()
    await expect(page.locator(".figure", has_text="Accepted").locator(".value")).to_have_text("10")
    await page.get_by_label("Account", exact=True).select_option("1")
    await expect(page.get_by_role("status")).to_have_text("You now act for Acme.")
    await expect(page.locator(".figure", has_text="Accepted").locator(".value")).to_have_text("9")


@pytest.mark.parametrize(
    ("name", "dark", "width"), [("light", False, 1280), ("dark", True, 1280), ("phone", False, 390)]
)
async def test_the_dashboard_is_readable_for_everybody(
    chromium: Browser, console: Console, mta: FakeMta, name: str, dark: bool, width: int
) -> None:
    await some_mail(console.relay, mta)
    async with visitor(chromium, console.url, dark=dark, width=width) as page:
        await console.sign_in(page, "operator")
        await page.goto("/")
        await picture(page, f"dashboard-{name}")
        await assert_accessible(page)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
