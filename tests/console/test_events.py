"""The event search: its filters, its pages, and the table for spreadsheets."""

import csv
import io
from collections.abc import Mapping

import pytest
from playwright.async_api import Browser, Page, expect

from relay.resources.events.pages import harmless, lines
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console

WHY = "450 4.7.1 <script>alert('why')</script> \"too many\" of you"
JS = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


async def some_events(relay: RelayHarness, mta: FakeMta) -> None:
    """Delivered, delayed, bounced and refused mail of account 1; delivered mail of account 2."""
    mta.answer("later@gmail.example", WHY)
    mta.answer("gone@yahoo.example", "550 5.1.1 no such user")
    subject = {"Subject": "=Spring <script>alert('s')</script>"}
    await relay.inject(
        "ann@gmail.example", ip_pool="marketing", headers=subject, msys={"campaign_id": "+<i>sale"}
    )
    await relay.inject("later@gmail.example", ip_pool="receipts")
    await relay.inject("gone@yahoo.example", subaccount=124)
    with pytest.raises(InjectionRefusedError):
        await relay.inject("nobody@gmail.example", ip_pool="<script>alert('p')</script>")
    await relay.inject("bea@birch.example", account=2, ip_pool="news")
    await mta.attempts_reached(4)
    await relay.quiet()


@JS
async def test_events_are_searched_by_what_happened_and_to_whom(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    await some_events(console.relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "reader")
        await page.goto("/events")
        found = page.get_by_role("region", name="Events")
        await expect(found.get_by_role("row")).to_have_count(
            8
        )  # 3 accepted, 3 attempts, 1 refused, the heading
        await expect(found).not_to_contain_text("birch.example")
        await page.get_by_label("Delayed").check()
        await page.get_by_label("Bounced").check()
        await page.get_by_role("button", name="Search").click()
        await expect(found.get_by_role("row")).to_have_count(3)
        await expect(found).to_contain_text(WHY)
        await page.get_by_label("Recipients").fill("GONE@yahoo.example")
        await page.get_by_role("button", name="Search").click()
        await expect(found.get_by_role("row")).to_have_count(2)
        await expect(page.get_by_label("Bounced")).to_be_checked()
        await found.get_by_role("link", name="gone@yahoo.example").click()
        await expect(page.get_by_role("heading", name="Message to gone@yahoo.example")).to_be_visible()


async def test_further_filters_unfold_and_stay_in_sight_once_used(
    page: Page, console: Console, mta: FakeMta
) -> None:
    await some_events(console.relay, mta)
    await console.sign_in(page)
    await page.goto("/events")
    await expect(page.get_by_label("Campaigns")).to_be_hidden()
    await page.get_by_text("More filters").click()
    await page.get_by_label("Reasons").fill("no such user")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("region", name="Events").get_by_role("row")).to_have_count(2)
    await expect(page.get_by_label("Reasons")).to_be_visible()
    await expect(page.get_by_label("Campaigns")).to_be_hidden()


FILTERS: Mapping[str, tuple[str, set[str]]] = {
    "sending IP": ("sending_ips=127.0.0.11", {"ann"}),
    "pool": ("ip_pools=receipts", {"later"}),
    "recipient domain": ("recipient_domains=Yahoo.example", {"gone"}),
    "from address": ("from_addresses=sender@acme.test&events=delay", {"later"}),
    "subject, which begins with a sign": ("subjects=%3DSpring", {"ann"}),
    "subaccount": ("subaccounts=124", {"gone"}),
    "bounce class": ("bounce_classes=10", {"gone"}),
    "one of several": ("recipients=ann@gmail.example,gone@yahoo.example", {"ann", "gone"}),
    "refusals": ("events=policy_rejection", {"nobody"}),
    "another account's": ("recipients=bea@birch.example", set[str]()),
    "another time": ("from=2020-01-01&to=2020-01-02T00:00:00Z", set[str]()),
}
"""What is asked, and who is found."""


async def test_each_filter_narrows(console: Console, mta: FakeMta) -> None:
    await some_events(console.relay, mta)
    async with console.client("reader") as http:
        for filter_, (query, found) in FILTERS.items():
            answer = await http.get(f"/events?{query}")
            assert answer.status_code == 200, filter_
            table = answer.text.partition("<tbody")[2]
            told = {name for name in ("ann", "later", "gone", "nobody", "bea") if f"{name}@" in table}
            assert told == found, filter_


WRONG: Mapping[str, str] = {
    "from=yesterday": "“yesterday” is not a time such as",
    "from=2026-01-02&to=2026-01-01": "must be before",
    "recipients=bob": "“bob” is not an e-mail address.",
    "recipient_domains=a..b": "“a..b” is not a domain.",
    "sending_ips=localhost": "“localhost” is not an IP address.",
    "subaccounts=Joe": "“Joe” is not the number of a subaccount.",
    "events=explosion": "Choose from these types.",
    "subjects=%00": "At most 1000 characters of text.",
    "subjects=" + "x" * 1001: "At most 1000 characters of text.",
    "reasons=" + "x," * 101: "At most 100 values.",
}


@pytest.mark.parametrize("name", ["recipient_domains", "sending_domains"])
async def test_a_domain_that_is_not_ascii_is_found(console: Console, mta: FakeMta, name: str) -> None:
    domain = "xn--nmlaut-3ya.example"
    await console.relay.inject(f"ann@{domain}", headers={"From": f"news@{domain}"})
    await console.relay.quiet()
    async with console.client("reader") as http:
        for spelling in ("nümlaut.example", domain):
            assert f"ann@{domain}" in (await http.get(f"/events?{name}={spelling}")).text


async def test_bad_input_is_told_beside_its_field(console: Console) -> None:
    async with console.client("reader") as http:
        for query, told in WRONG.items():
            answer = await http.get(f"/events?{query}")
            assert answer.status_code == 422, query
            assert told in answer.text
            assert 'class="error"' in answer.text
            assert (await http.get(f"/events.csv?{query}")).status_code == 422


async def test_a_place_that_is_none_is_refused(console: Console) -> None:
    async with console.client("reader") as http:
        for after in ("x", "-1", "1" * 30, "²"):
            assert (await http.get("/events", after=after)).status_code == 400


@JS
async def test_an_empty_result_says_what_was_asked_and_how_to_widen_it(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    await console.relay.inject("ann@gmail.example")
    await mta.attempts_reached(1)
    await console.relay.quiet()
    console.relay.clock.advance(days=3)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/events?recipients=ann@gmail.example")
        await expect(page.get_by_role("heading", name="No event fits.")).to_be_visible()
        await expect(page.get_by_text("Recipients ann@gmail.example.")).to_be_visible()
        await page.get_by_role("link", name="Search all 10 days").click()
        await expect(page.get_by_role("region", name="Events").get_by_role("row")).to_have_count(3)
        await page.get_by_role("link", name="Clear").click()
        await expect(page.get_by_role("heading", name="Nothing happened in this time.")).to_be_visible()


async def test_older_events_come_page_by_page(page: Page, console: Console, mta: FakeMta) -> None:
    for number in range(6):
        await console.relay.inject([f"r{number}-{copy}@gmail.example" for copy in range(20)])
    await mta.attempts_reached(120)
    await console.relay.quiet(10)
    await console.sign_in(page)
    await page.goto("/events?events=injection")
    await expect(page.get_by_role("region", name="Events").get_by_role("row")).to_have_count(101)
    await page.get_by_role("link", name="Older events").click()
    await expect(page.get_by_role("region", name="Events").get_by_role("row")).to_have_count(21)
    await page.get_by_role("link", name="Newest events").click()
    await expect(page.get_by_role("region", name="Events").get_by_role("row")).to_have_count(101)


async def test_a_refusal_tells_who_was_refused_and_why(console: Console, mta: FakeMta) -> None:
    await some_events(console.relay, mta)
    async with console.client("reader") as http:
        text = (await http.get("/events?events=policy_rejection")).text
        assert "from 127.0.0.1, MAIL FROM &lt;sender@acme.test&gt;" in text
        assert "does not exist" in text


async def test_what_rest_refused_is_found_and_counted(console: Console) -> None:
    body = {
        "options": {"ip_pool": "nowhere"},
        "recipients": [{"address": "bob@gmail.example"}, {"address": "eve@gmail.example"}],
        "content": {"from": "news@acme.test", "subject": "x", "text": "x"},
    }
    async with console.relay.api() as api:
        assert (await api.post("/transmissions", json=body)).status_code == 422
    async with console.client("reader") as http:
        text = (await http.get("/events?events=policy_rejection")).text
        assert "by REST as news@acme.test" in text
        assert "(first of 2 recipients)" in text
        assert "bob@gmail.example" in text
        shown = (await http.get("/")).text
        assert '<span class="label">Refused</span><span class="value">1</span>' in shown


async def test_all_accounts_are_for_operators(console: Console, mta: FakeMta) -> None:
    await some_events(console.relay, mta)
    async with console.client("admin") as http:
        assert "bea@" not in (await http.get("/events?all=on")).text
        assert "bea@" not in (await http.get("/events.csv?all=on")).text
    async with console.client("operator") as http:
        assert "bea@" not in (await http.get("/events")).text
        text = (await http.get("/events?all=on")).text
        assert "bea@birch.example" in text
        assert "Birch (2)" in text
        assert "bea@" in (await http.get("/events.csv?all=on")).text


async def test_the_table_has_the_search_and_no_formulas(console: Console, mta: FakeMta) -> None:
    await some_events(console.relay, mta)
    async with console.client("reader") as http:
        answer = await http.get("/events.csv?recipients=ann@gmail.example")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert "attachment" in answer.headers["content-disposition"]
        table = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [row["type"] for row in table] == ["delivery", "injection"]
        assert table[0]["subject"] == "'=Spring <script>alert('s')</script>"
        assert table[0]["campaign"] == "'+<i>sale"
        assert table[0]["sending_ip"] == "127.0.0.11"
        whole = list(csv.DictReader(io.StringIO((await http.get("/events.csv")).text, newline="")))
        assert len(whole) == 7
        assert {row["bounce_class"] for row in whole if row["type"] == "bounce"} == {"10"}


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        *(pytest.param(f"{sign}1", f"'{sign}1", id=repr(sign)) for sign in "=+-@\t\r\n＝＋－＠"),
        pytest.param("1=1", "1=1", id="inside"),
        pytest.param("", "", id="nothing"),
        pytest.param("x;=1+1;y", "'x;'=1+1;y", id="after a semicolon"),
        pytest.param("x\t=1", "'x\t'=1", id="after a tab"),
        pytest.param("x\r\n@a", "'x\r\n'@a", id="on the next line"),
        pytest.param('x|  "+1', "'x|'  \"+1", id="behind blanks and quotes"),
        pytest.param("x; y=1, -20 %", "x; y=1, -20 %", id="no formula"),
    ],
)
def test_a_formula_is_written_as_text(cell: str, written: str) -> None:
    assert harmless(cell) == written


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("before", ["x;", "x\t", "x|", "x\n", 'x;"', 'x"; "', 'x;""', "x;;  \t"])
def test_no_separator_makes_a_cell_that_is_a_formula(separator: str, before: str) -> None:
    line = lines([["a", f"{before}=1+1;y", "b"]])
    for row in csv.reader(io.StringIO(line, newline=""), delimiter=separator):
        assert not [cell for cell in row if cell.lstrip(' "').startswith("=")]
    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert row[0::2] == ["a", "b"]


def test_cells_that_other_programs_would_cut_are_quoted() -> None:
    assert lines([["x;=1+1;y", "plain", 'a "b"']]) == '"\'x;\'=1+1;y",plain,"a ""b"""\r\n'


async def test_stored_script_is_text_among_events(console: Console, mta: FakeMta) -> None:
    await some_events(console.relay, mta)
    async with console.client("operator") as http:
        for path in ("/events", "/events?all=on", "/events?events=delay"):
            text = (await http.get(path)).text
            assert "<script>alert" not in text
            assert "&lt;script&gt;alert(&#39;why&#39;)" in text
        for field in ("recipients", "subjects", "from", "events", "after", "ip_pools"):
            text = (await http.get("/events", **{field: "\"><script>alert('x')</script>"})).text
            assert "<script>alert" not in text


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_search_is_accessible(
    chromium: Browser, console: Console, mta: FakeMta, dark: bool
) -> None:
    await some_events(console.relay, mta)
    async with visitor(chromium, console.url, dark=dark) as page:
        await console.sign_in(page, "operator")
        await page.goto("/events")
        await assert_accessible(page)
        await picture(page, "events-dark" if dark else "events")
        if dark:
            return
        await page.get_by_text("More filters").click()
        await picture(page, "events-more")
        await page.set_viewport_size({"width": 390, "height": 800})
        await page.goto("/events?recipients=bob&all=on")
        await picture(page, "events-wrong-390")
        await page.goto("/events")
        await picture(page, "events-390")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
