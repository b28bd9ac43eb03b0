"""The kit of this folder, tried on the console itself."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.browser import visitor
from tests.console.looks import assert_accessible
from tests.console.site import Console


async def test_a_page_begins_signed_out(page: Page, console: Console) -> None:
    await page.goto("/")
    await expect(page).to_have_title(re.compile("Sign in"))
    await expect(page).to_have_url(f"{console.url}/")
    await assert_accessible(page)


@pytest.mark.parametrize("role", ["operator", "admin", "reader"])
async def test_a_window_is_signed_in_with_each_role(page: Page, console: Console, role: str) -> None:
    name = await console.sign_in(page, role, 2)
    await page.goto("/profile")
    await expect(page.get_by_role("link", name=name)).to_be_visible()


async def test_the_same_person_signs_in_with_two_windows(
    chromium: Browser, page: Page, console: Console
) -> None:
    name = await console.sign_in(page)
    async with visitor(chromium, console.url, js=False) as other:
        assert await console.sign_in(other) == name
        for window in (page, other):
            await window.goto("/profile")
            await expect(window.get_by_role("link", name=name)).to_be_visible()
