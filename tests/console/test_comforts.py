"""What scripts add to pages keeps them true: of the account they say, and of the field that is wrong."""

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import lab_directory
from tests.console.browser import visitor
from tests.console.site import Console

LIVE_MS = 12_000
"""More than two turns of what refreshes itself."""


@pytest.fixture
def relay_directory() -> str:
    """The lab, with an IP that is for sale."""
    return f'{lab_directory()}\n[[sending_ip]]\naddress = "127.0.0.71"\nhostname = "mta71.relay.test"\n'


async def purchase(page: Page) -> Locator:
    """The dialog in which IPs are purchased."""
    await page.goto("/account/billing")
    await page.get_by_role("link", name="Purchase Sending IPs").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    return dialog


async def test_a_window_never_shows_mail_of_one_account_under_the_name_of_another(
    page: Page, console: Console, mta: FakeMta
) -> None:
    mta.answer("bob@gmail.example", "451 4.7.1 later")
    await console.relay.inject("bob@gmail.example", ip_pool="marketing")
    await mta.attempts_reached(1)
    await console.sign_in(page, "operator", 2)
    await page.goto("/queue")
    await expect(page.get_by_text("Nothing waits.")).to_be_visible()
    other = await page.context.new_page()
    await other.goto("/queue")
    await other.get_by_label("Account", exact=True).select_option("1")
    await expect(other.locator("#waiting")).to_contain_text("451 4.7.1 later")
    await page.bring_to_front()
    await expect(page.locator("#waiting")).to_contain_text("451 4.7.1 later", timeout=LIVE_MS)
    await expect(page.get_by_label("Account", exact=True)).to_have_value("1")


async def test_a_dialog_of_another_account_is_a_page_with_its_name(page: Page, console: Console) -> None:
    await console.sign_in(page, "operator", 2)
    await page.goto("/account/billing")
    other = await page.context.new_page()
    await other.goto("/account/billing")
    await other.get_by_label("Account", exact=True).select_option("1")
    await expect(other.locator("main")).to_have_attribute("data-account", "1")
    await page.get_by_role("link", name="Purchase Sending IPs").click()
    await expect(page).to_have_url(f"{console.url}/account/billing/purchase")
    await expect(page.get_by_label("Account", exact=True)).to_have_value("1")


async def test_a_double_click_opens_one_dialog(page: Page, console: Console) -> None:
    await console.sign_in(page, "admin", 2)
    await page.goto("/account/billing")
    async with page.expect_response("**/purchase"), page.expect_response("**/purchase"):
        await page.get_by_role("link", name="Purchase Sending IPs").dblclick()
    await expect(page.get_by_role("dialog")).to_have_count(1)


async def test_the_keyboard_stands_at_what_is_wrong_which_is_said_until_it_is_changed(
    chromium: Browser, console: Console
) -> None:
    async with visitor(chromium, console.url, tolerated=["status of 409"]) as page:
        await console.sign_in(page, "admin", 2)
        dialog = await purchase(page)
        name = dialog.get_by_label("Name your new IP Pool")
        await name.fill("News")
        await name.press("Enter")
        await expect(dialog.locator(".error")).to_contain_text("already exists")
        await expect(name).to_be_focused()
        await name.press_sequentially("X")
        await expect(dialog.locator(".error")).to_have_count(0)
        await expect(name).not_to_have_attribute("aria-invalid", "true")
        await page.goto("/account/subaccounts/create")
        await page.get_by_label("Subaccount Name").fill("Shop")
        await page.get_by_role("button", name="Create Subaccount").click()
        await expect(page.get_by_label("Key Name")).to_be_focused()


async def test_who_was_signed_out_in_a_dialog_comes_back_to_its_page(
    chromium: Browser, console: Console
) -> None:
    async with visitor(chromium, console.url) as page:
        await console.sign_in(page, "admin", 2)
        dialog = await purchase(page)
        await dialog.get_by_label("Name your new IP Pool").fill("Late")
        await page.context.clear_cookies()
        await dialog.get_by_role("button", name="Confirm Purchases").click()
        await expect(page).to_have_url(f"{console.url}/sign-in?next=%2Faccount%2Fbilling")
        await expect(page.get_by_role("navigation", name="Console")).to_have_count(0)


async def test_the_buttons_of_a_message_follow_what_becomes_of_it(
    page: Page, console: Console, mta: FakeMta
) -> None:
    mta.answer("bob@gmail.example", "451 4.7.1 later")
    injected = await console.relay.inject("bob@gmail.example", ip_pool="marketing")
    await mta.attempts_reached(1)
    await console.relay.quiet()
    await console.sign_in(page)
    await page.goto(f"/messages/{injected.message_id}")
    await expect(page.get_by_role("button", name="Hold")).to_be_visible()
    async with console.client() as http:
        await http.post(f"/messages/{injected.message_id}/hold")
    await expect(page.get_by_role("button", name="Release")).to_be_visible(timeout=LIVE_MS)
    await expect(page.get_by_role("button", name="Hold")).to_have_count(0)
