"""The page of one sending IP, and the operators' list of all."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from relay.domain.ids import IpAddress
from relay.domain.message import State
from relay.sink.fake_mta import FakeMta
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console

IP = "127.0.0.11"
PAGE = f"/account/ip-pools/edit/marketing/{IP}"
OPERATE = "/operate/ips"
FREE = "127.0.0.51"
WHY = "451 4.7.1 <script>alert(1)</script> too many of you"
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


async def some_mail(console: Console, mta: FakeMta) -> None:
    """From the two IPs of marketing: two delivered each, and two that are deferred by gmail.example."""
    mta.answer("late@gmail.example", WHY)
    for number in range(4):
        await console.relay.inject(f"bob{number}@b.example", ip_pool="marketing")
    for _ in range(2):
        await console.relay.inject("late@gmail.example", ip_pool="marketing")
    await console.relay.quiet()


# ── the account's page ───────────────────────────────────────────────────────────────────


@BOTH
async def test_an_ip_moves_and_the_page_follows_it(chromium: Browser, console: Console, js: bool) -> None:
    """R17."""
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/account/ip-pools/edit/marketing")
        await page.get_by_role("link", name=IP).click()
        await expect(page.get_by_role("heading", name=f"Sending IP: {IP}")).to_be_visible()
        await expect(page.get_by_text("mta11.relay.test")).to_be_visible()
        await page.get_by_role("button", name="Update Sending IP").click()
        await expect(page.get_by_text("Required")).to_be_visible()
        await page.get_by_label("Reassign IP Pool").select_option(label="Receipts (receipts)")
        await page.get_by_role("button", name="Update Sending IP").click()
        await expect(page.get_by_role("status")).to_have_text(f"Updated IP {IP}.")
        await expect(page).to_have_url(f"{console.url}/account/ip-pools/edit/receipts/{IP}")
        await expect(page.get_by_role("link", name="Receipts (receipts)")).to_be_visible()
        await page.goto(PAGE)
        await expect(page).to_have_url(f"{console.url}/account/ip-pools/edit/receipts/{IP}")
        await expect(page.get_by_role("list").last).to_contain_text("pool: marketing → receipts")
    assert console.relay.ips_of("receipts") == {IP, "127.0.0.13"}


async def test_the_page_tells_what_waits_why_and_until_when_and_what_was_delivered(
    page: Page, console: Console, mta: FakeMta
) -> None:
    """Delivery History of the last 10 days, with a table for whoever does not see the chart."""
    await some_mail(console, mta)
    await console.sign_in(page)
    await page.goto(PAGE)
    waiting = page.get_by_role("region", name="Queue by destination")
    row = waiting.get_by_role("row", name=re.compile("^gmail.example"))
    await expect(row).to_contain_text("in 20 min")
    await expect(row).to_contain_text("<script>alert(1)</script> too many of you")
    await expect(page.get_by_role("img", name=f"Attempts from {IP} in the last 10 days")).to_be_visible()
    await page.get_by_text("The same as a table").click()
    table = page.get_by_role("region", name="Delivery history as a table")
    assert await table.get_by_role("row").count() == 11
    assert await table.get_by_role("row").last.get_by_role("cell").all_inner_texts() == ["2", "1", "0"]
    await assert_accessible(page)
    await page.get_by_role("link", name="See it in the queue").click()
    await expect(page).to_have_url(f"{console.url}/queue?ip={IP}")


async def test_automatic_warm_up_is_said_not_to_be_there(page: Page, console: Console) -> None:
    """A10, R2."""
    await console.sign_in(page)
    await page.goto(PAGE)
    part = page.locator("section", has=page.get_by_role("heading", name="Auto IP Warmup"))
    await expect(part).to_contain_text("Not available on this installation")
    await expect(part.get_by_role("link", name="Warm it up by hand")).to_have_attribute(
        "href", "/guide/warm-up"
    )


NOT_MOVED = [
    ({"pool": "news"}, "IP Pool news does not exist.", "another account's pool"),
    ({"pool": "<b>"}, "IP Pool &lt;b&gt; does not exist.", "no pool at all"),
    ({}, "Required", "none"),
]


async def test_an_ip_moves_to_a_pool_of_its_account_alone(console: Console) -> None:
    before = await console.relay.inside.store.directory.snapshot()
    async with console.client() as http:
        for form, told, why in NOT_MOVED:
            answer = await http.post(PAGE, form)
            assert (answer.status_code, told in answer.text) == (422, True), why
    assert await console.relay.inside.store.directory.snapshot() == before


async def test_an_admin_is_told_whom_to_ask_and_cannot_drain_or_release(console: Console) -> None:
    """IPs leave by the operator."""
    async with console.client() as http:
        text = (await http.get(PAGE)).text
        assert "ask support" in text
        assert "Release this IP" not in text
        for verb in ("drain", "release", "remove", "assign"):
            assert (await http.post(f"{OPERATE}/{IP}/{verb}", {"draining": "on"})).status_code == 403
    async with console.client(account=3) as http:
        assert "ask your TAM" in (await http.get("/account/ip-pools/edit/promo/127.0.0.32")).text
    assert console.relay.ips_of("marketing") == {IP, "127.0.0.12"}


# ── operators ────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_an_operator_drains_and_releases_an_ip_and_queued_mail_keeps_it(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """R27: told before, and true."""
    await some_mail(console, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "operator")
        await page.goto(PAGE)
        await page.get_by_role("button", name="Drain").click()
        await expect(page.get_by_role("status")).to_have_text(f"{IP} is draining.")
        assert console.relay.ips_of("marketing") == {"127.0.0.12"}
        await page.get_by_role("button", name="Stop draining").click()
        await expect(page.get_by_role("status")).to_have_text(f"{IP} takes new mail again.")
        await page.get_by_role("link", name="Release this IP").click()
        asked = page.get_by_role("dialog") if js else page.get_by_role("main")
        await expect(asked).to_contain_text("taken from Acme (1), pool marketing")
        await expect(asked).to_contain_text("1 message waits for it")
        await expect(asked).to_contain_text("What the running cycle charges for it stays.")
        await asked.get_by_role("button", name="Release this IP").click()
        await expect(page.get_by_role("status")).to_contain_text("It is free when its queued mail has left.")
        await expect(page.get_by_text("it still carries mail of Acme (1)")).to_be_visible()
        await page.goto(PAGE)
        await expect(page.get_by_role("heading", name="There is no such sending IP.")).to_be_visible()
    mta.answer("late@gmail.example", "250 2.0.0 ok")
    console.relay.clock.advance(minutes=20)
    late = (await mta.attempts_reached(8))[-2:]
    assert {attempt.peer_ip for attempt in late} == {IP, "127.0.0.12"}


@BOTH
async def test_an_operator_adds_an_ip_and_gives_it_to_an_account(
    chromium: Browser, console: Console, js: bool
) -> None:
    """R4, R14: what an Enterprise account gets, it gets by hand."""
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "operator")
        await page.goto("/")
        await page.get_by_role("link", name="Sending IPs").click()
        await page.get_by_role("link", name="Add an IP").click()
        await page.get_by_label("Address", exact=False).first.fill(FREE)
        await page.get_by_label("Hostname").fill("mta51.relay.test")
        await page.get_by_label("Weight").fill("3")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("status")).to_have_text(f"Added {FREE} to the inventory.")
        await page.get_by_role("main").get_by_label("Account").select_option(label="Cedar (3)")
        if not js:
            await page.get_by_role("button", name="Show its pools").click()
        await page.get_by_label("IP Pool").select_option(label="Promo (promo)")
        await page.get_by_role("button", name="Give").click()
        await expect(page.get_by_role("status")).to_have_text(f"Gave {FREE} to Cedar, pool promo.")
        await page.goto(OPERATE)
        row = page.get_by_role("row", name=re.compile(f"^{FREE}"))
        await expect(row).to_contain_text("Cedar (3)")
        await expect(row).to_contain_text("active")
    assert console.relay.ips_of("promo", 3) == {"127.0.0.32", FREE}
    assert console.relay.inside.directory.snapshot.ips[IpAddress(FREE)].weight == 3


GOOD = {"address": FREE, "hostname": "mta51.relay.test", "weight": "1", "bind": "", "node": ""}


NOT_ADDED = [
    ({"address": ""}, "Required", "no address"),
    ({"address": "0.0.0.0"}, "Expected an IPv4 or IPv6 address of one host", "wildcard"),
    ({"address": "192.0.2.0/24"}, "Expected an IPv4 or IPv6 address of one host", "network"),
    ({"address": IP}, f"sending IP {IP} exists already", "taken"),
    ({"hostname": "[1.2.3.4]"}, "Expected a domain name", "hostname"),
    ({"bind": "x"}, "Expected an IPv4 or IPv6 address of one host", "bind"),
    ({"bind": "2001:db8::1"}, f"Expected an address of the same family as {FREE}", "family"),
    ({"node": "a b"}, "Expected 1 to 64 letters, digits", "node"),
    ({"weight": "0"}, "Expected a number from 1 to 100", "weight 0"),
    ({"weight": "1e3"}, "Expected a number from 1 to 100", "weight no number"),
]


async def test_an_ip_that_cannot_be_added_is_refused_beside_its_field(console: Console) -> None:
    before = await console.relay.inside.store.directory.snapshot()
    async with console.client("operator") as http:
        for form, told, why in NOT_ADDED:
            answer = await http.post(f"{OPERATE}/add", {**GOOD, **form})
            assert (answer.status_code, told in answer.text) == (422, True), why
    assert await console.relay.inside.store.directory.snapshot() == before


NOT_GIVEN = [
    (FREE, {}, "Required", "no account"),
    (FREE, {"account": "99", "pool": "default"}, "Required", "no such account"),
    (FREE, {"account": "1", "pool": "news"}, "Choose a pool of Acme", "not its pool"),
    (FREE, {"account": "5", "pool": "default"}, "dedicated IPs", "free (R1)"),
    (IP, {"account": "2", "pool": "news"}, "belongs to account 1: release it first", "not free"),
    ("127.0.0.91", {"account": "2", "pool": "news"}, "is in the shared pool", "shared"),
]


async def test_an_ip_that_cannot_be_given_stays_where_it_is(console: Console) -> None:
    async with console.client("operator") as http:
        assert (await http.post(f"{OPERATE}/add", GOOD)).status_code == 303
        before = await console.relay.inside.store.directory.snapshot()
        for address, form, told, why in NOT_GIVEN:
            answer = await http.post(f"{OPERATE}/{address}/assign", form)
            assert (answer.status_code, told in answer.text) == (422, True), why
    assert await console.relay.inside.store.directory.snapshot() == before


async def test_removing_tells_what_waits_and_an_ip_with_mail_is_retired(
    console: Console, mta: FakeMta
) -> None:
    await some_mail(console, mta)
    async with console.client("operator") as http:
        asked = (await http.get(f"{OPERATE}/127.0.0.13/remove")).text
        assert "Nothing waits for it" in asked
        assert "Mail that names it is refused" in asked
        assert (await http.post(f"{OPERATE}/127.0.0.13/remove")).headers["location"] == OPERATE
        assert "1 message" in (await http.get(f"{OPERATE}/{IP}/remove")).text
        await http.post(f"{OPERATE}/{IP}/remove")
        assert (await http.get(OPERATE, state="retired")).text.count(f">{IP}</a>") == 1
        assert "it is removed once its queued mail has left" in (await http.get(f"{OPERATE}/{IP}")).text
        assert (await http.post(f"{OPERATE}/{IP}/drain")).status_code == 404
    assert IpAddress("127.0.0.13") not in console.relay.inside.directory.snapshot.ips
    assert len(await console.relay.queue(State.QUEUED)) == 2


async def test_the_operators_list_is_searched_and_counts_mail_of_all_accounts(
    page: Page, console: Console, mta: FakeMta
) -> None:
    await some_mail(console, mta)
    await console.sign_in(page, "operator", 2)
    await page.goto(OPERATE)
    await expect(page.get_by_role("row", name=re.compile(f"^{IP}"))).to_contain_text("1")
    await page.get_by_label("Filter").fill("birch")
    await expect(page.get_by_role("rowheader")).to_have_text(["127.0.0.21"])
    await page.get_by_label("Filter").fill("")
    await page.get_by_label("State").select_option("shared")
    await expect(page.get_by_role("rowheader")).to_have_text(["127.0.0.91", "127.0.0.92"])


async def test_an_address_that_is_no_sending_ip_has_no_page(console: Console) -> None:
    places = (OPERATE + "/{}", OPERATE + "/{}/release", "/account/ip-pools/edit/marketing/{}")
    async with console.client("operator") as http:
        for address in ["127.0.0.250", "x", "127.0.0.011", "%3Cb%3E"]:
            for place in places:
                assert (await http.get(place.format(address))).status_code == 404


async def test_pages_of_ips_read_well(chromium: Browser, console: Console, mta: FakeMta) -> None:
    await some_mail(console, mta)
    async with console.client("operator") as http:
        await http.post(f"{OPERATE}/add", GOOD)
    paths = {"account": PAGE, "list": OPERATE, "add": f"{OPERATE}/add", "operator": f"{OPERATE}/{IP}"}
    paths |= {"free": f"{OPERATE}/{FREE}", "release": f"{OPERATE}/{IP}/release"}
    for dark, width in ((False, 1280), (True, 1280), (False, 390)):
        async with visitor(chromium, console.url, dark=dark, width=width) as page:
            await console.sign_in(page, "operator")
            for name, path in paths.items():
                await page.goto(path)
                await picture(page, f"ip-{name}-{'dark' if dark else 'light'}-{width}")
                if width == 1280:
                    await assert_accessible(page)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
