"""Explain: the routing decision, step by step, without sending."""

from collections.abc import Mapping

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console


@pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])
async def test_the_answer_follows_what_is_chosen(chromium: Browser, console: Console, js: bool) -> None:
    """R18, R20, R26."""
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "reader")
        await page.goto("/explain")
        answer = page.locator("#answer")
        await expect(answer).to_contain_text("127.0.0.14")
        await page.get_by_label("IP Pool").fill("Marketing")
        if not js:
            await page.get_by_role("button", name="Explain").click()
        await expect(answer.get_by_role("region", name="Candidates")).to_contain_text("127.0.0.12")
        await expect(answer).to_contain_text("ip_pool asked for: Marketing")
        await expect(answer).to_contain_text("127.0.0.11, 127.0.0.12")
        await page.get_by_label("Subaccount").select_option("125")
        if not js:
            await page.get_by_role("button", name="Explain").click()
        await expect(answer).to_contain_text("Subaccount 125 is restricted to IP Pool 'quiet'")
        await expect(page).to_have_url(
            f"{console.url}/explain?subaccount=125&ip_pool=Marketing&when=immediate"
        )


RULES: Mapping[str, tuple[int, str, str]] = {
    "A8: unknown": (1, "ip_pool=nothing", "IP Pool &#39;nothing&#39; does not exist."),
    "A8: empty": (1, "ip_pool=quiet", "IP Pool &#39;quiet&#39; is empty."),
    "R31: falls back": (1, "ip_pool=quiet&when=scheduled", "127.0.0.14"),
    "R26: bound": (1, "subaccount=123", "bound to pool marketing"),
    "R21: the shared pool": (2, "", "127.0.0.91"),
    "R22: Enterprise": (4, "", "IP Pool &#39;default&#39; is empty."),
    "R33: no fall back": (4, "ip_pool=quiet&when=scheduled", "R33"),
    "A6": (3, "ip_pool=sp_shared", "sp_shared is not a valid customer ip pool."),
    "script is text": (1, "ip_pool=%3Cscript%3Ealert(1)", "&lt;script&gt;alert(1)"),
}
"""The account, what is asked, and what is told."""


async def test_each_rule_is_explained(console: Console) -> None:
    for rule, (account, query, told) in RULES.items():
        async with console.client("reader", account) as http:
            answer = await http.get(f"/explain?{query}")
            assert answer.status_code == 200, rule
            assert told in answer.text, rule
            assert "<script>alert" not in answer.text


async def test_bad_input_is_told_beside_the_field(console: Console) -> None:
    async with console.client("reader", 2) as http:
        for query in ("subaccount=1", "subaccount=x", "subaccount=99999999999999", "when=never"):
            answer = await http.get(f"/explain?{query}")
            assert answer.status_code == 422, query
            assert 'class="error"' in answer.text
            assert "Correct what is marked" in answer.text


async def test_the_page_is_accessible(page: Page, chromium: Browser, console: Console) -> None:
    await console.sign_in(page)
    await page.goto("/explain?ip_pool=marketing")
    await assert_accessible(page)
    await picture(page, "explain")
    await page.set_viewport_size({"width": 390, "height": 800})
    await picture(page, "explain-390")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    async with visitor(chromium, console.url, dark=True) as dark:
        await console.sign_in(dark)
        await dark.goto("/explain?ip_pool=quiet")
        await assert_accessible(dark)
        await picture(dark, "explain-dark")
