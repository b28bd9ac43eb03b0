"""The guides that the console shows (R2)."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from relay.web.views.guides import html_of
from tests.console.site import Console

ROOT = Path(__file__).parent.parent.parent


async def test_r2_the_warm_up_guide_is_a_page_whose_links_lead_somewhere(
    console: Console, page: Page
) -> None:
    await console.sign_in(page, "reader")
    await page.goto("/account/billing")
    await page.get_by_role("link", name="IP Warm-up").first.click()
    await expect(page.get_by_role("heading", name="IP Warm-up", level=1)).to_be_visible()
    await expect(page.get_by_role("heading", name="Checklist")).to_be_visible()
    await expect(page.get_by_role("cell", name="10,000,000").first).to_be_visible()
    links = await page.locator(".prose a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    for link in links:
        answer = await page.request.get(link)
        assert answer.ok, link


def test_the_guide_in_the_package_is_the_document() -> None:
    packaged = files("relay.web") / "guides/warm-up.md"
    assert packaged.read_bytes() == (ROOT / "docs/warm-up.md").read_bytes()


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        pytest.param("[a](sparkpost-compatibility.md#x)", '<p><a href="/api/docs">a</a></p>', id="in here"),
        pytest.param("see [**b** c](operations.md).", "<p>see <strong>b</strong> c.</p>", id="only in docs"),
        pytest.param("[a](/queue) [b](x.md) [c](/events)", None, id="one of three"),
        pytest.param("<script>alert(1)</script>", "&lt;script&gt;", id="markup"),
        pytest.param("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>", id="a script for a link"),
        pytest.param("- [ ] a\n- [x] b", "<li>☐ a</li>\n<li>☑ b</li>", id="boxes"),
        pytest.param("```sh\na < b\n```", '<pre tabindex="0">a &lt; b</pre>', id="code"),
        pytest.param("|a|\n|--:|\n|1|", '<th class="number" scope="col">a</th>', id="a table"),
    ],
)
def test_markdown_becomes_a_page_of_the_console(markdown: str, html: str | None) -> None:
    made = html_of(markdown)
    assert "style=" not in made
    assert "<script" not in made
    if html is None:
        assert re.findall(r'href="([^"]+)"', made) == ["/queue", "/events"]
    else:
        assert html in made
