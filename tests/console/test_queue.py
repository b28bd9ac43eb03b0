"""The queue: what waits and why, and what is done to much mail at once."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from relay.domain.ids import AccountId
from relay.domain.message import State
from relay.ports.queue import MailFilter
from relay.resources.queue.bulk import BulkRun
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console

WHY = "450 4.7.1 <script>alert('why')</script> \"too many\" of you"
JS = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


async def some_mail(relay: RelayHarness, mta: FakeMta) -> None:
    """Four deferred messages of account 1 on three IPs and two domains, one of account 2."""
    for address in (
        "a@gmail.example",
        "b@gmail.example",
        "c@gmail.example",
        "d@yahoo.example",
        "e@birch.example",
    ):
        mta.answer(address, WHY)
    await relay.inject(["a@gmail.example", "b@gmail.example"], ip_pool="marketing")
    await relay.inject("c@gmail.example", ip_pool="marketing")
    await relay.inject("d@yahoo.example", ip_pool="receipts")
    await relay.inject("e@birch.example", account=2, ip_pool="news")
    await mta.attempts_reached(5)
    assert len(await relay.quiet()) == 5


async def states(relay: RelayHarness, account: int = 1) -> dict[str, State]:
    found = await relay.inside.store.queue.select(MailFilter(AccountId(account)), 100)
    return {message.rcpt_to[0]: message.state for message in found}


async def ended(console: Console, account: int = 1) -> BulkRun:
    """The newest run, once it has ended."""
    runs = console.relay.inside.http.bulk

    async def look() -> list[BulkRun]:
        return [one for one in runs.of(AccountId(account))[:1] if one.ended is not None]

    (one,) = await eventually(look)
    return one


# ── what waits ───────────────────────────────────────────────────────────────────────────


@JS
async def test_the_queue_is_counted_by_ip_by_pool_and_by_destination_with_the_reason(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    await some_mail(console.relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "reader")
        await page.goto("/queue")
        ips = page.get_by_role("region", name="Waiting mail by Sending IP")
        row = ips.get_by_role("row", name="127.0.0.11")
        await expect(row).to_contain_text("2 messages")
        await expect(row).to_contain_text("in 20 min")
        await expect(row).to_contain_text(WHY)
        await expect(page.locator(".figure", has_text="Waiting").locator(".value")).to_have_text("4")
        await page.get_by_role("link", name="By IP Pool").click()
        pools = page.get_by_role("region", name="Waiting mail by IP Pool")
        await expect(pools.get_by_role("row", name="marketing")).to_contain_text("3 messages")
        await page.get_by_role("link", name="By Destination").click()
        domains = page.get_by_role("region", name="Waiting mail by Destination")
        await expect(domains.get_by_role("row", name="yahoo.example")).to_contain_text("1 message")
        await expect(domains).not_to_contain_text("birch.example")
        await domains.get_by_role("link", name="3 messages").click()
        await expect(page.get_by_role("region", name="Messages").get_by_role("row")).to_have_count(4)
        await page.get_by_role("link", name="c@gmail.example").click()
        await expect(page.get_by_role("heading", name="Message to c@gmail.example")).to_be_visible()


@JS
async def test_filters_narrow_the_queue(chromium: Browser, console: Console, mta: FakeMta, js: bool) -> None:
    await some_mail(console.relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/queue")
        await page.get_by_label("Destination").fill("Yahoo.EXAMPLE")
        if js:
            await page.get_by_label("Destination").press("Tab")
        else:
            await page.get_by_role("button", name="Filter").click()
        await expect(page.locator(".figure", has_text="Waiting").locator(".value")).to_have_text("1")
        await expect(page.get_by_role("region", name="Waiting mail")).to_contain_text("127.0.0.13")
        await page.goto("/queue?ip=localhost&state=sleeping&domain=a..b")
        await expect(page.get_by_text("“localhost” is not an IP address.")).to_be_visible()
        await expect(page.get_by_text("“a..b” is not a domain.")).to_be_visible()
        await expect(page.get_by_text("Choose one of the states.")).to_be_visible()
        await page.goto("/queue?state=held")
        await expect(page.get_by_role("heading", name="Nothing waits here.")).to_be_visible()


async def test_the_queue_refreshes_while_somebody_looks(page: Page, console: Console, mta: FakeMta) -> None:
    await console.sign_in(page)
    await page.goto("/queue")
    await expect(page.get_by_role("heading", name="Nothing waits.")).to_be_visible()
    await expect(page.get_by_role("link", name="How to send a test")).to_have_attribute(
        "href", "/account/smtp"
    )
    await some_mail(console.relay, mta)
    await expect(page.locator(".figure", has_text="Waiting").locator(".value")).to_have_text(
        "4", timeout=15_000
    )


async def test_messages_are_paged_by_place_and_say_when_there_is_more_to_look_at(
    console: Console, mta: FakeMta
) -> None:
    mta.limit(first=0)
    for number in range(3):
        await console.relay.inject([f"r{number}-{copy}@gmail.example" for copy in range(20)])
    await mta.attempts_reached(60)
    await console.relay.quiet(10)
    async with console.client("reader") as http:
        seen, path = set[str](), "/queue/messages"
        for expected in (50, 10):
            text = (await http.get(path)).text
            found = set(re.findall(r">(r\d+-\d+@gmail.example)<", text))
            assert len(found) == expected
            assert not found & seen
            seen |= found
            path = "/queue/messages" + "".join(re.findall(r'href="(\?[^"]*)" rel="next"', text))
        assert len(seen) == 60
        assert (await http.get("/queue/messages?after=yesterday")).status_code == 400
        assert (await http.get("/queue?page=999")).status_code == 200


async def test_mail_of_other_accounts_is_for_operators_who_ask_for_it(console: Console, mta: FakeMta) -> None:
    await some_mail(console.relay, mta)
    async with console.client("admin") as http:
        for path in ("/queue?all=on&by=domain", "/queue/messages?all=on"):
            assert "birch.example" not in (await http.get(path)).text
    async with console.client("operator") as http:
        assert "birch.example" not in (await http.get("/queue?by=domain")).text
        for path in ("/queue?all=on&by=domain", "/queue/messages?all=on"):
            text = (await http.get(path)).text
            assert "birch.example" in text
            assert "Birch (2)" in text


# ── much mail at once ────────────────────────────────────────────────────────────────────


@JS
async def test_a_hold_is_asked_first_with_its_count_and_then_done_in_the_background(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    await some_mail(console.relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/queue?domain=gmail.example")
        await page.get_by_role("link", name="Hold", exact=True).click()
        await expect(page.get_by_text("hold would touch 3 messages")).to_be_visible()
        await expect(page.get_by_text("No further attempt is made")).to_be_visible()
        assert set((await states(console.relay)).values()) == {State.QUEUED}
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.get_by_role("heading", name="Hold messages")).to_be_visible()
        assert (await ended(console)).done == 3
        if not js:
            await (
                page.get_by_role("link", name="Refresh")
                .or_(page.get_by_text("has had its turn"))
                .first.click()
            )
        await expect(page.get_by_text("3 of 3 messages touched")).to_be_visible(timeout=10_000)
        await expect(page.get_by_text("has had its turn")).to_be_visible(timeout=10_000)
        held, queued = State.HELD, State.QUEUED
        assert await states(console.relay) == {"a": held, "b": held, "c": held, "d": queued}
        await page.get_by_role("link", name="To the queue").click()
        await page.get_by_role("link", name="Release", exact=True).click()
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.get_by_role("heading", name="Release messages")).to_be_visible()
        assert (await ended(console)).done == 3


async def test_retry_and_cancel_touch_what_the_filter_selects(console: Console, mta: FakeMta) -> None:
    await some_mail(console.relay, mta)
    mta.answer("d@yahoo.example", "250 2.0.0 Ok")
    async with console.client() as http:
        started = await http.post("/queue/bulk/retry", {"domain": "yahoo.example"})
        assert started.status_code == 303
        await mta.attempts_reached(6)
        assert (await ended(console)).done == 1
        await console.relay.quiet()
        assert set(await states(console.relay)) == {"a", "b", "c"}
        assert "retry would touch 3 messages" in (await http.get("/queue/bulk/retry?subaccount=0")).text
        assert "retry would touch 0 messages" in (await http.get("/queue/bulk/retry?transmission=1")).text
        assert "cancel would touch 3 messages" in (await http.get("/queue/bulk/cancel?pool=marketing")).text
        await http.post("/queue/bulk/cancel", {"pool": "marketing"})
        assert (await ended(console)).done == 3
        await eventually(lambda: _is_empty(console.relay))
        assert set(await states(console.relay, 2)) == {"e"}, "other accounts' mail is left alone"


async def _is_empty(relay: RelayHarness) -> bool:
    return not await states(relay)


async def test_repin_is_for_operators_and_to_an_ip_that_takes_the_accounts_pins(
    page: Page, console: Console, mta: FakeMta
) -> None:
    await some_mail(console.relay, mta)
    async with console.client("admin") as http:
        assert "Re-pin" not in (await http.get("/queue")).text
        assert (await http.get("/queue/bulk/repin")).status_code == 403
        assert (await http.post("/queue/bulk/repin", {"to": "127.0.0.14"})).status_code == 403
    await console.sign_in(page, "operator")
    await page.goto("/queue?pool=marketing")
    await page.get_by_role("link", name="Re-pin…").click()
    await page.get_by_label("Sending IP to use instead").select_option("127.0.0.12")
    await expect(page.get_by_text("repin would touch 2 messages")).to_be_visible()
    await picture(page, "queue-repin")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("heading", name="Re-pin messages")).to_be_visible()
    assert (await ended(console)).done == 2
    pins = {message.rcpt_to[0]: message.pin.ip for message in await console.relay.queue()}
    assert [pins[name] for name in "abcd"] == ["127.0.0.12", "127.0.0.12", "127.0.0.12", "127.0.0.13"]
    async with console.client("operator") as http:
        for to in ("127.0.0.21", "127.0.0.99", "", "<script>"):
            answer = await http.post("/queue/bulk/repin", {"pool": "marketing", "to": to})
            assert answer.status_code == 422, to
            assert "Required" in answer.text or "no sending IP that the account" in answer.text
        assert (await http.get("/queue/bulk/repin?to=127.0.0.91")).status_code == 200, "shared"


async def test_what_cannot_be_done_in_bulk(console: Console) -> None:
    for role, path, status in (
        ("reader", "/queue/bulk/hold", 403),  # readers see no question
        ("admin", "/queue/bulk/destroy", 404),  # no such verb
        ("admin", "/queue/bulk/hold?ip=x", 200),  # the wrong filter is told
        ("operator", "/queue/bulk/hold?all=on", 409),  # one account at a time
        ("admin", "/queue/runs/0123456789abcdef", 404),  # an unknown run
    ):
        async with console.client(role) as http:
            answer = await http.get(path)
            assert answer.status_code == status, path
            assert "runs" not in path or "what was done by then is done" in answer.text


async def test_readers_may_not_post_and_runs_belong_to_their_account(console: Console, mta: FakeMta) -> None:
    await some_mail(console.relay, mta)
    async with console.client("reader") as http:
        assert (await http.post("/queue/bulk/hold")).status_code == 403
        assert "/queue/bulk/" not in (await http.get("/queue")).text
    async with console.client("admin") as http:
        place = (await http.post("/queue/bulk/hold", {"ip": "127.0.0.13"})).headers["location"]
        assert (await http.get(place)).status_code == 200
        assert "Hold messages" in (await http.get("/queue/runs")).text
        await ended(console)
        assert (await http.post(f"{place}/stop")).headers["location"] == place, "it had ended already"
        assert (await http.post("/queue/bulk/hold", {"ip": "127.0.0.999"})).status_code == 422
    async with console.client("admin", 2) as http:
        assert (await http.get(place)).status_code == 404
        assert (await http.post(f"{place}/stop")).status_code == 404
        assert "Hold messages" not in (await http.get("/queue/runs")).text


# ── looks ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_pages_of_the_queue_are_accessible(
    chromium: Browser, console: Console, mta: FakeMta, dark: bool
) -> None:
    await some_mail(console.relay, mta)
    name = "-dark" if dark else ""
    async with visitor(chromium, console.url, dark=dark) as page:
        await console.sign_in(page, "operator")
        await page.goto("/queue")
        await assert_accessible(page)
        await picture(page, f"queue{name}")
        await page.goto("/queue/bulk/cancel?domain=gmail.example")
        await assert_accessible(page)
        await picture(page, f"queue-cancel{name}")
        if dark:
            return
        await page.goto("/queue/messages")
        await assert_accessible(page)
        await picture(page, "queue-messages")
        await page.goto("/queue/bulk/cancel?domain=gmail.example")
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.get_by_role("heading", name="Cancel messages")).to_be_visible()
        await ended(console)
        await page.reload()
        await assert_accessible(page)
        await picture(page, "queue-run")
        await page.goto("/queue/runs")
        await assert_accessible(page)
        await picture(page, "queue-runs")


async def test_the_queue_is_readable_on_a_phone(chromium: Browser, console: Console, mta: FakeMta) -> None:
    async with visitor(chromium, console.url, width=390) as page:
        await console.sign_in(page, "admin")
        await page.goto("/queue")
        await picture(page, "queue-empty-390")
        await some_mail(console.relay, mta)
        for path, name in (
            ("/queue", "queue"),
            ("/queue/messages", "queue-messages"),
            ("/queue/bulk/hold", "bulk"),
        ):
            await page.goto(path)
            await picture(page, f"{name}-390")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_stored_script_is_text_on_the_pages_of_the_queue(console: Console, mta: FakeMta) -> None:
    await some_mail(console.relay, mta)
    async with console.client() as http:
        for path in ("/queue", "/queue?by=pool", "/queue?by=domain", "/queue/messages"):
            text = (await http.get(path)).text
            assert "<script>alert" not in text
            assert "&lt;script&gt;alert(&#39;why&#39;)" in text
        for path in ("/queue", "/queue/messages", "/queue/bulk/hold"):
            for field in ("ip", "pool", "domain", "state", "transmission", "subaccount", "by", "page"):
                text = (await http.get(path, **{field: "\"><script>alert('x')</script>"})).text
                assert "<script>alert" not in text


async def test_the_expiry_of_held_mail_is_told(console: Console, mta: FakeMta) -> None:
    await some_mail(console.relay, mta)
    async with console.client() as http:
        await http.post("/queue/bulk/hold", {"domain": "yahoo.example"})
        await ended(console)
        console.relay.clock.advance(minutes=5)
        text = (await http.get("/queue/messages?state=held")).text
        assert "d@yahoo.example" in text
        assert "when released" in text
