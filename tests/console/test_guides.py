"""The guides that the console shows (R2)."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from relay.frames.console.guides import html_of
from relay.frames.console.rule_links import rule_links
from tests.console.looks import assert_accessible, picture
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


@pytest.mark.parametrize("name", ["warm-up.md", "rules.md"])
def test_the_guide_in_the_package_is_the_document(name: str) -> None:
    assert (files("relay.frames.console") / "guides" / name).read_bytes() == (
        ROOT / "docs" / name
    ).read_bytes()


async def test_a_rule_that_explain_names_is_a_link_to_its_row(console: Console, page: Page) -> None:
    await console.sign_in(page, "reader")
    await page.goto("/explain?ip_pool=quiet")
    await page.locator("#answer").get_by_role("link", name="A8").click()
    await expect(page).to_have_url(f"{console.url}/guide/rules#a8")
    await expect(page.locator("#a8")).to_be_in_viewport()
    await expect(page.locator("#a8")).to_contain_text("A pool is named that is unknown or empty.")


async def test_the_guide_of_rules_leads_somewhere_and_every_rule_has_its_place(
    console: Console, page: Page
) -> None:
    await console.sign_in(page, "reader")
    await page.goto("/account/billing")
    await page.get_by_role("link", name="Rules").click()
    await expect(page.get_by_role("heading", name="Rules", level=1)).to_be_visible()
    places = await page.locator("tr[id]").evaluate_all("rows => rows.map(row => row.id)")
    expected = [*(f"r{number}" for number in range(1, 34)), *(f"a{number}" for number in range(1, 35))]
    assert places == expected
    links = await page.locator(".prose a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    assert "#scheduled-mail" in links
    for link in links:
        if link.startswith("#"):
            assert await page.locator(link).count() == 1, link
        else:
            assert (await page.request.get(link)).ok, link
    await assert_accessible(page)
    await picture(page, "rules")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("R18", '<a href="/guide/rules#r18">R18</a>'),
        ("R28, A9", '<a href="/guide/rules#r28">R28</a>, <a href="/guide/rules#a9">A9</a>'),
        ("re-pin", "re-pin"),
        ("R0", ""),
        ("§1.4", ""),
        ("<b>", ""),
    ],
)
def test_a_number_leads_to_its_rule_or_is_not_shown(named: str, told: str) -> None:
    assert rule_links(named) == told


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        pytest.param("[a](sparkpost-compatibility.md#x)", '<p><a href="/api/docs">a</a></p>', id="in here"),
        pytest.param(
            "# A b, c\n[d](#a-b-c)", '<h1 id="a-b-c">A b, c</h1>\n<p><a href="#a-b-c">d</a></p>', id="within"
        ),
        pytest.param("[a](rules.md#r18)", '<p><a href="/guide/rules#r18">a</a></p>', id="another guide"),
        pytest.param("|a|b|\n|--|--|\n|R1|c|", '<tr id="r1">\n<td>R1</td>', id="the row of a rule"),
        pytest.param("a < R1, R999", '<p>a &lt; <a href="/guide/rules#r1">R1</a>, R999</p>', id="rules"),
        pytest.param("`R1` [R1](rules.md)", '<code>R1</code> <a href="/guide/rules">R1</a>', id="no rules"),
        pytest.param("see [**b** c](operations.md).", "<p>see <strong>b</strong> c.</p>", id="only in docs"),
        pytest.param("[a](/queue) [b](performance.md) [c](/events)", None, id="one of three"),
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
