"""Account → Billing: dedicated IPs are purchased, charged and shown (R1-R14)."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from relay.domain.ids import AccountId, PoolId
from relay.domain.users import Role
from relay.frames.sign_in import csrf_of
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import lab_directory
from relay.testing.waiting import eventually
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import PASSWORD, SESSION_COOKIE, Console

HOME, BUY, PLAN = "/account/billing", "/account/billing/purchase", "/account/billing/plan"
TEN_DAYS_LEFT = datetime(2026, 4, 21, 9, tzinfo=UTC)
"""Of April's 30, this day counted."""
AGAIN = "Look at it again and confirm, if you want this as well."
REFUSED = ("responded with a status of 409", "responded with a status of 422")
"""The browser notes each refusal that a dialog gets."""
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


@pytest.fixture
def relay_directory() -> str:
    """The lab without dedicated IPs; 127.0.0.71 to .78 are for sale."""
    inventory = [
        f'[[sending_ip]]\naddress = "127.0.0.{number}"\nhostname = "mta{number}.relay.test"\n'
        for number in range(71, 79)
    ]
    return "\n".join([lab_directory({}), *inventory])


def held(relay: RelayHarness, account: int = 1) -> dict[str, str]:
    """The pool of each IP of the account."""
    return {ip: pool for pool, ips in relay.pools(account).items() for ip in sorted(ips)}


async def open_form(page: Page, js: bool = True) -> Locator:
    """The purchase form by the orange button: a dialog where scripts run, else a page."""
    await page.goto(HOME)
    await page.get_by_role("link", name="Purchase Sending IPs").click()
    form = page.get_by_role("dialog") if js else page.get_by_role("main")
    await expect(form.get_by_role("heading", name="Purchase Sending IPs")).to_be_visible()
    return form


def fact(page: Page, name: str) -> Locator:
    """What the overview says of it."""
    return page.locator(f"dt:text-is('{name}') + dd")


# ── forms without a browser ──────────────────────────────────────────────────────────────


@dataclass
class Person:
    """Somebody who has signed in and sends forms."""

    http: httpx.AsyncClient
    token: str

    async def look(self, path: str) -> httpx.Response:
        return await self.http.get(path)

    async def send(self, path: str, values: Mapping[str, str]) -> httpx.Response:
        return await self.http.post(path, data={"csrf": csrf_of(self.token), **values})

    async def order(self, **values: str) -> dict[str, str]:
        """A form as it was shown just now, filled in."""
        shown = await self.look(BUY)
        (once,) = re.findall(r'name="once" value="([^"]+)"', shown.text)
        return {"once": once, "quantity": "1", "pool": "new", "new_pool": "Flash Sales", **values}


@asynccontextmanager
async def person(
    console: Console, role: Role = Role.ADMIN, account: int = 1, name: str = ""
) -> AsyncIterator[Person]:
    """An operator acts for the account."""
    belongs_to = None if role is Role.OPERATOR else AccountId(account)
    _, link = await console.sign_ins.add_user(name or f"{role}-{account}", role, belongs_to, "test")
    token = await console.sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "test")
    if belongs_to is None:
        await console.sign_ins.act_for(token, AccountId(account))
    cookies = {SESSION_COOKIE: token}
    async with httpx.AsyncClient(base_url=console.url, cookies=cookies, timeout=20) as http:
        yield Person(http, token)


def errors(answer: httpx.Response) -> list[str]:
    """Beside fields, and of the form as a whole."""
    found = re.findall(r'class="error"[^>]*>([^<]*)<|class="problem"[^>]*>([^<]*)<', answer.text)
    return [(one or other).replace("&#39;", "'") for one, other in found]


# ── buying ───────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_r3_to_r12_ips_are_purchased_into_a_new_pool_and_send_at_once(
    chromium: Browser, console: Console, relay: RelayHarness, mta: FakeMta, js: bool
) -> None:
    relay.clock.advance_to(TEN_DAYS_LEFT)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/")
        await page.get_by_role("link", name="Billing").click()
        await expect(page.locator(".dedicated")).to_have_text("0")
        await expect(page.get_by_role("heading", name="No invoices yet")).to_be_visible()
        form = await open_form(page, js)
        await page.evaluate("window.isSame = true")
        await expect(form.get_by_text("You can add up to 4. Each costs $20.00 per month")).to_be_visible()
        await expect(form.get_by_role("radio", name="Assign to a new IP Pool")).to_be_checked()
        await form.get_by_label("Quantity").fill("2")
        await form.get_by_label("Name your new IP Pool").fill("Flash Sales")
        if not js:
            await form.get_by_role("button", name="Update price").click()
        await expect(form.locator("#price")).to_contain_text("$13.33 today for 2 IPs: 10 of 30 days")
        await expect(form.locator("#price")).to_contain_text("$40.00 per month from then on")
        await expect(form.locator("#pool-id")).to_contain_text("IP Pool Id: flash_sales")
        assert held(relay) == {}
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(page.get_by_role("status")).to_have_text("Successfully added 2 dedicated IPs!")
        assert await page.evaluate("window.isSame === true") == js, "a page load where scripts run"
        await expect(page).to_have_url(console.url + HOME)
        await expect(page.locator(".dedicated")).to_have_text("2 for $40.00 per month")
        await expect(fact(page, "This cycle, so far")).to_contain_text("$13.33")
        await expect(fact(page, "Next invoice")).to_contain_text("$40.00from 1 May 2026: Dedicated IPs × 2")
        await expect(page.get_by_role("row", name="1-20260401 open")).to_contain_text(
            "Dedicated IPs × 2: $13.33 21 Apr 2026, 10 of 30 days"
        )
        for address in ("127.0.0.71", "127.0.0.72"):
            link = page.get_by_role("link", name=address)
            await expect(link).to_have_attribute("href", f"/account/ip-pools/edit/flash_sales/{address}")
        await expect(page.get_by_role("main").get_by_role("link", name="IP Warm-up")).to_have_attribute(
            "href", "/guide/warm-up"
        )
    await relay.inject("smtp@b.example", ip_pool="flash_sales")
    async with relay.api() as api:
        mail = {
            "content": {"from": "a@acme.test", "subject": "x", "text": "x"},
            "recipients": [{"address": "rest@b.example"}],
            "options": {"ip_pool": "flash_sales"},
        }
        assert (await api.post("/transmissions", json=mail)).status_code == 200
    await relay.quiet()
    for recipient in ("smtp@b.example", "rest@b.example"):
        (attempt,) = mta.attempts_for(recipient)
        assert attempt.is_accepted
        assert attempt.peer_ip in {"127.0.0.71", "127.0.0.72"}


@BOTH
async def test_r7_an_existing_pool_is_chosen_by_its_name_default_included(
    chromium: Browser, console: Console, relay: RelayHarness, js: bool
) -> None:
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        form = await open_form(page, js)
        await form.get_by_role("radio", name="Assign to an existing IP Pool").check()
        await expect(form.get_by_label("Name your new IP Pool")).to_be_hidden()
        choice = form.get_by_label("Choose an IP Pool")
        assert await choice.locator("option").all_inner_texts() == [
            *("Choose an IP Pool", "Default", "Marketing", "Quiet", "Receipts"),
        ]
        await choice.select_option(label="Marketing")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(page.get_by_role("status")).to_have_text("Successfully added 1 dedicated IPs!")
        form = await open_form(page, js)
        await form.get_by_role("radio", name="Assign to an existing IP Pool").check()
        await form.get_by_label("Choose an IP Pool").select_option("default")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(page.locator(".dedicated")).to_have_text("2 for $40.00 per month")
    assert held(relay) == {"127.0.0.71": "marketing", "127.0.0.72": "default"}


@BOTH
async def test_errors_stand_beside_their_fields_and_what_was_typed_stays(
    chromium: Browser, console: Console, relay: RelayHarness, js: bool
) -> None:
    async with visitor(chromium, console.url, js=js, tolerated=REFUSED) as page:
        await console.sign_in(page)
        form = await open_form(page, js)
        await form.get_by_label("Quantity").fill("5")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(form.locator("#quantity-error")).to_have_text("Must be less than 5")
        await expect(form.locator("#new_pool-error")).to_have_text("Required")
        await expect(form.get_by_label("Quantity")).to_have_value("5")
        await expect(form.get_by_label("Quantity")).to_have_attribute("aria-invalid", "true")
        await form.get_by_label("Quantity").fill("4")
        await form.get_by_label("Name your new IP Pool").fill("Marketing")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(form.locator("#new_pool-error")).to_have_text(
            "Unable to create your new IP Pool: IP Pool marketing already exists."
        )
        assert held(relay) == {}
        await form.get_by_label("Name your new IP Pool").fill("Fresh")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(page.locator(".dedicated")).to_have_text("4 for $80.00 per month")


async def test_cancel_closes_the_dialog_and_escape_too(
    console: Console, page: Page, relay: RelayHarness
) -> None:
    await console.sign_in(page)
    form = await open_form(page)
    await form.get_by_role("link", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await open_form(page)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".dedicated")).to_have_text("0")
    assert held(relay) == {}


async def test_the_price_follows_what_is_typed_and_says_what_is_wrong(console: Console, page: Page) -> None:
    await console.sign_in(page)
    form = await open_form(page)
    for typed, shown in (("3", "for 3 IPs"), ("0", "Must be at least 1"), ("9", "Must be less than 5")):
        await form.get_by_label("Quantity").fill(typed)
        await expect(form.locator("#price")).to_contain_text(shown)
    for typed, shown in (("Big  Gap", "Letters, numbers"), ("Receipts", "exists"), ("N-1", "n_1")):
        await form.get_by_label("Name your new IP Pool").fill(typed)
        await expect(form.locator("#pool-id")).to_contain_text(shown)
    await expect(form.get_by_label("Quantity")).to_have_value("9")


REFUSALS: list[tuple[dict[str, str], list[str]]] = [
    ({"quantity": ""}, ["Required"]),
    ({"quantity": "two"}, ["Integers only please"]),
    ({"quantity": "1.5"}, ["Integers only please"]),
    ({"quantity": "٣"}, ["Integers only please"]),
    ({"quantity": "0"}, ["Must be at least 1"]),
    ({"quantity": "-2"}, ["Must be at least 1"]),
    ({"quantity": "5"}, ["Must be less than 5"]),
    ({"quantity": "9" * 30}, ["Must be less than 5"]),
    ({"quantity": "9" * 31}, ["Integers only please"]),
    ({"new_pool": ""}, ["Required"]),
    ({"new_pool": "x" * 21}, ["Must be 20 characters or less"]),
    ({"new_pool": "Café"}, ["Letters, numbers and spaces only"]),
    ({"new_pool": "<b>"}, ["Letters, numbers and spaces only"]),
    ({"pool": "existing"}, ["Required"]),
    ({"pool": ""}, ["Required"]),
    ({"pool": "both"}, ["Required"]),
    ({"quantity": "", "new_pool": ""}, ["Required", "Required"]),
    ({"pool": "existing", "ip_pool": "news"}, ["IP Pool news does not exist."]),
    ({"pool": "existing", "ip_pool": "<b>"}, ["IP Pool &lt;b&gt; does not exist."]),
    ({"new_pool": "Default"}, ["Unable to create your new IP Pool: IP Pool default is reserved."]),
    ({"once": ""}, [f"This form is of no use any more, and nothing was bought with it now. {AGAIN}"]),
]


async def test_what_cannot_be_bought_is_said_at_its_place_and_nothing_is_bought(
    console: Console, relay: RelayHarness
) -> None:
    """One of them is another account's pool."""
    before = relay.inside.directory.snapshot.revision
    async with person(console) as admin:
        for values, expected in REFUSALS:
            answer = await admin.send(BUY, await admin.order(**values))
            assert 400 <= answer.status_code < 500, values
            assert errors(answer) == expected, values
            shown = await admin.look(str(httpx.URL(BUY, params=values)))
            assert shown.status_code == 200, values
    assert held(relay) == {}
    assert relay.inside.directory.snapshot.revision == before


async def test_a_refused_form_is_sent_again_with_its_faults_mended(
    console: Console, relay: RelayHarness
) -> None:
    """A refusal does not use the form up."""
    async with person(console) as admin:
        order = await admin.order(new_pool="Marketing")
        assert (await admin.send(BUY, order)).status_code == 409
        assert (await admin.send(BUY, {**order, "new_pool": "Mended"})).status_code == 303
    assert held(relay) == {"127.0.0.71": "mended"}


# ── once, and by the limit ───────────────────────────────────────────────────────────────


async def test_a_form_that_is_sent_twice_buys_once_and_tells_the_same(
    console: Console, relay: RelayHarness
) -> None:
    """Pressed twice at a time, reloaded, and after a restart."""
    async with person(console) as admin:
        order = await admin.order(quantity="2")
        async with asyncio.TaskGroup() as tasks:
            presses = [tasks.create_task(admin.send(BUY, order)) for _ in range(3)]
        answers = [press.result() for press in presses]
    await relay.restart()
    console = Console(relay)
    async with person(console, name="somebody else") as other:
        stolen = await other.send(BUY, order)
    token = await console.sign_ins.sign_in("admin-1", PASSWORD, "127.0.0.1", "test")
    async with httpx.AsyncClient(base_url=console.url, cookies={SESSION_COOKIE: token}) as http:
        answers.append(await Person(http, token).send(BUY, order))
    for answer in answers:
        assert (answer.status_code, answer.headers["location"]) == (303, HOME)
        assert "Successfully%20added%202%20dedicated%20IPs" in answer.headers["set-cookie"]
    assert errors(stolen) == ["Unable to create your new IP Pool: IP Pool flash_sales already exists."]
    assert held(relay) == {"127.0.0.71": "flash_sales", "127.0.0.72": "flash_sales"}


async def test_a_used_form_with_other_values_asks_before_it_buys_more(
    console: Console, relay: RelayHarness
) -> None:
    async with person(console) as admin:
        order = await admin.order(quantity="2")
        await admin.send(BUY, order)
        changed = {**order, "quantity": "1", "pool": "existing", "ip_pool": "flash_sales"}
        answer = await admin.send(BUY, changed)
        assert answer.status_code == 409
        (told,) = errors(answer)
        assert told.startswith("This form has been sent before and added 2 dedicated IPs.")
        assert len(held(relay)) == 2
        (fresh,) = re.findall(r'name="once" value="([^"]+)"', answer.text)
        assert (await admin.send(BUY, {**changed, "once": fresh})).status_code == 303
    assert len(held(relay)) == 3


async def test_nobody_pays_another_price_than_the_form_showed(console: Console, relay: RelayHarness) -> None:
    async with person(console) as admin:
        order = await admin.order(price="2000")
        await relay.change_account(1, lambda account: replace(account, ip_price_cents=9900))
        answer = await admin.send(BUY, order)
        assert answer.status_code == 409
        assert "The price has changed" in errors(answer)[0]
        assert "$99.00" in answer.text
    assert held(relay) == {}


async def test_r13_two_browsers_race_for_the_last_ip_and_one_gets_it(
    chromium: Browser, console: Console, relay: RelayHarness
) -> None:
    async with person(console) as admin:
        assert (await admin.send(BUY, await admin.order(quantity="3"))).status_code == 303
    async with (
        visitor(chromium, console.url, tolerated=REFUSED) as one,
        visitor(chromium, console.url, js=False) as two,
    ):
        forms = []
        for page, js, name in ((one, True, "ann"), (two, False, "bob")):
            await console.sign_in(page, name=name)
            form = await open_form(page, js)
            await form.get_by_label("Name your new IP Pool").fill(f"Of {name}")
            forms.append(form)
        async with asyncio.TaskGroup() as tasks:
            for form in forms:
                tasks.create_task(form.get_by_role("button", name="Confirm Purchases").click())
        results = []
        for page in (one, two):
            done = page.get_by_text("Successfully added 1 dedicated IPs!")
            refused = page.get_by_text("You can have at most 4 dedicated IPs.")
            await expect(done.or_(refused)).to_be_visible()
            results.append(await done.count())
        assert sorted(results) == [0, 1]
        await one.goto(HOME)
        await expect(one.locator(".dedicated")).to_have_text("4 for $80.00 per month")
        await expect(one.get_by_text("You have reached the maximum allowed.")).to_be_visible()
        await expect(one.get_by_role("button", name="Purchase Sending IPs")).to_be_disabled()
        await one.goto(BUY)
        await expect(one.get_by_text("You have reached the maximum allowed.")).to_be_visible()
        await expect(one.get_by_label("Quantity")).to_be_disabled()
        await expect(one.get_by_role("button", name="Confirm Purchases")).to_be_disabled()
    assert len(held(relay)) == 4
    assert len([pool for pool in relay.pools() if pool.startswith("of_")]) == 1, "the loser's pool as well"


async def test_an_installation_without_free_ips_says_so(console: Console, relay: RelayHarness) -> None:
    async with person(console, Role.OPERATOR, 3) as operator:
        for number, quantity in enumerate(("5", "4", "3")):
            order = await operator.order(quantity=quantity, new_pool=f"Lot {number}")
            answer = await operator.send(BUY, order)
            if quantity == "4":
                assert answer.status_code == 503
                assert errors(answer) == ["No dedicated IPs are available at this time."]
            else:
                assert answer.status_code == 303
        shown = await operator.look(BUY)
    assert "No dedicated IPs are available at this time." in shown.text
    assert 'href="/operate/ips"' in shown.text
    assert 'fieldset class="field whole" disabled' in shown.text
    assert len(held(relay, 3)) == 8


# ── who may ──────────────────────────────────────────────────────────────────────────────


async def test_r1_a_free_account_is_offered_an_upgrade(console: Console, page: Page) -> None:
    await console.sign_in(page, account=5)
    await page.goto(HOME)
    await expect(page.get_by_text("Dedicated IPs are not available on your plan.")).to_be_visible()
    await expect(page.get_by_role("link", name="Purchase Sending IPs")).to_have_count(0)
    await page.get_by_role("link", name="Upgrade Now").click()
    await expect(page.get_by_role("row", name=re.compile("^Free your plan"))).to_be_visible()
    await expect(page.get_by_text("ask the operator of this relay")).to_be_visible()
    await expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    await page.goto(BUY)
    await expect(page.get_by_label("Quantity")).to_have_count(0)


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        pytest.param(3, "Please contact your TAM to purchase dedicated IPs.", id="R4: Enterprise"),
        pytest.param(
            6, "Request IPs: Please contact support to purchase dedicated IPs.", id="billed by hand"
        ),
    ],
)
async def test_r4_who_does_not_provision_is_told_whom_to_ask(
    console: Console, page: Page, account: int, expected: str
) -> None:
    await console.sign_in(page, account=account)
    await page.goto(HOME)
    await expect(page.get_by_role("main")).to_contain_text(expected)
    await expect(page.get_by_role("link", name="Purchase Sending IPs")).to_have_count(0)


async def test_r1_r4_a_form_that_was_never_shown_buys_nothing(console: Console, relay: RelayHarness) -> None:
    forged = {"once": "x" * 24, "quantity": "1", "pool": "existing", "ip_pool": "default"}
    for account in (3, 5, 6):
        async with person(console, account=account) as admin:
            assert (await admin.send(BUY, forged)).status_code == 403
        assert held(relay, account) == {}


async def test_r4_r14_an_operator_provisions_an_enterprise_account_beyond_any_limit(
    console: Console, page: Page, relay: RelayHarness
) -> None:
    await console.sign_in(page, "operator", 3)
    form = await open_form(page)
    await expect(
        form.get_by_text("You provision as operator: the account itself asks your TAM")
    ).to_be_visible()
    await form.get_by_label("Quantity").fill("6")
    await form.get_by_label("Name your new IP Pool").fill("Six")
    await form.get_by_role("button", name="Confirm Purchases").click()
    await expect(page.locator(".dedicated")).to_have_text("6 for $120.00 per month")
    await expect(fact(page, "Limit")).to_have_text("No limit")
    assert list(held(relay, 3).values()) == ["six"] * 6
    (line,) = {line.actor for line in await relay.inside.store.directory.audit(6)}
    assert line == "user:operator-3"


async def test_r1_an_operator_does_not_sell_to_a_free_account_either(console: Console, page: Page) -> None:
    await console.sign_in(page, "operator", 5)
    await page.goto(HOME)
    await expect(page.get_by_role("link", name="Purchase Sending IPs")).to_have_count(0)
    await expect(page.get_by_role("link", name="Upgrade Now")).to_be_visible()


async def test_a_reader_sees_charges_and_no_buttons(console: Console, page: Page) -> None:
    await console.sign_in(page, "reader")
    await page.goto(HOME)
    await expect(page.locator(".dedicated")).to_have_text("0")
    await expect(page.get_by_role("link", name="Purchase Sending IPs")).to_have_count(0)
    answer = await page.goto(BUY)
    assert answer is not None
    assert answer.status == 403


# ── charges ──────────────────────────────────────────────────────────────────────────────


async def test_r11_r12_invoices_list_prorated_lines_and_then_whole_months(
    console: Console, page: Page, relay: RelayHarness
) -> None:
    relay.clock.advance_to(TEN_DAYS_LEFT)
    async with person(console) as admin:
        await admin.send(BUY, await admin.order())
    relay.clock.advance(days=5)
    async with person(console, name="later") as admin:
        await admin.send(BUY, await admin.order(quantity="2", pool="existing", ip_pool="default"))
    relay.clock.advance_to(datetime(2026, 5, 3, tzinfo=UTC))
    await console.sign_in(page)
    await page.goto(HOME)
    await expect(fact(page, "This cycle, so far")).to_contain_text("$60.00")
    rows = page.get_by_role("region", name="Invoice history").get_by_role("row")
    await expect(rows.nth(1)).to_contain_text("Dedicated IPs × 3: $60.00 1 May 2026, 31 of 31 days")
    await expect(rows.nth(2)).to_contain_text("1 Apr 2026 to 30 Apr 2026")
    await expect(rows.nth(2)).to_contain_text("Dedicated IPs × 1: $6.67")
    await expect(rows.nth(2)).to_contain_text("Dedicated IPs × 2: $6.67 26 Apr 2026, 5 of 30 days")
    await page.get_by_role("link", name="1-20260401").click()
    await expect(page.get_by_role("heading", name="Invoice 1-20260401")).to_be_visible()
    await expect(fact(page, "Account")).to_have_text("Acme (1)")
    await expect(page.get_by_role("row", name=re.compile("^Total"))).to_have_text(re.compile(r"\$13\.34"))
    await page.emulate_media(media="print")
    await expect(page.get_by_role("navigation")).to_have_count(0)
    await picture(page, "invoice-print")
    await page.emulate_media(media="screen")
    async with person(console, account=2, name="stranger") as stranger:
        theirs = await stranger.look(f"{HOME}/invoices/1-20260401")
        nobodys = await stranger.look(f"{HOME}/invoices/nothing")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text == nobodys.text


# ── plans ────────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_an_operator_moves_an_account_up_at_once_and_down_at_the_end_of_the_cycle(
    chromium: Browser, console: Console, relay: RelayHarness, mta: FakeMta, js: bool
) -> None:
    """R27: what is queued still leaves from its IP."""
    relay.clock.advance_to(TEN_DAYS_LEFT)
    mta.answer("bob@b.example", "451 4.2.1 later")
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "operator", 5)
        await page.goto(HOME)
        await page.get_by_role("link", name="Upgrade Now").click()
        await page.get_by_label("Plan", exact=True).select_option("Self-serve")
        await page.get_by_role("button", name="Change Plan").click()
        await expect(page.get_by_role("status")).to_have_text("The plan is Self-serve now.")
        form = await open_form(page, js)
        await form.get_by_label("Name your new IP Pool").fill("Elms")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(page.locator(".dedicated")).to_have_text("1 for $20.00 per month")
        await relay.inject("bob@b.example", ip_pool="elms", account=5)
        await relay.quiet()
        await page.goto(PLAN)
        await page.get_by_label("Plan", exact=True).select_option("Free")
        await page.get_by_role("button", name="Change Plan").click()
        await expect(page.get_by_role("heading", name="Change Elm to Free")).to_be_visible()
        main = page.get_by_role("main")
        await expect(main).to_contain_text("On 1 May 2026, when the billing cycle ends:")
        await expect(main).to_contain_text("gives up 1 dedicated IP")
        await expect(main).to_contain_text("At the moment 1 message waits on them.")
        await expect(main).to_contain_text("New mail that names elms is rejected")
        await expect(page.get_by_role("row", name=re.compile(r"^127\.0\.0\.71 .* elms 1$"))).to_be_visible()
        assert held(relay, 5) == {"127.0.0.71": "elms"}
        await page.get_by_role("button", name="Change to Free on 1 May 2026").click()
        await expect(page.get_by_role("status")).to_have_text("The plan changes to Free on 1 May 2026.")
        await expect(main).to_contain_text("Your PlanSelf-serve")
        await expect(fact(page, "Next invoice")).to_contain_text("$0.00")
        await page.goto(PLAN)
        await page.get_by_role("button", name="Stay on Self-serve").click()
        await expect(page.get_by_role("status")).to_have_text("The plan is Self-serve now.")
        await page.goto(f"{PLAN}/downgrade")
        await page.get_by_role("button", name="Change to Free on 1 May 2026").click()
        await expect(page.get_by_role("status")).to_contain_text("changes to Free")
    relay.clock.advance_to(datetime(2026, 5, 1, tzinfo=UTC))

    async def is_released() -> bool:
        return held(relay, 5) == {}

    await eventually(is_released)
    async with person(console, account=5) as admin:
        assert "Dedicated IPs are not available on your plan." in (await admin.look(HOME)).text


async def test_an_operator_sets_limit_price_and_day(
    console: Console, page: Page, relay: RelayHarness
) -> None:
    """A11."""
    await console.sign_in(page, "operator", 1)
    await page.goto(PLAN)
    await page.get_by_label("Limit of dedicated IPs").fill("14")
    await page.get_by_label("Price per IP and month, in USD").fill("12.5")
    await page.get_by_label("Bill cycle day").fill("15")
    await page.get_by_role("button", name="Save Terms").click()
    await expect(page.get_by_role("status")).to_have_text("Terms saved.")
    account = relay.inside.directory.snapshot.accounts[AccountId(1)]
    assert (account.dedicated_ip_limit, account.ip_price_cents, account.bill_cycle_day) == (14, 1250, 15)
    await page.get_by_role("link", name="Billing").first.click()
    await expect(fact(page, "Limit")).to_contain_text("14 dedicated IPs")


async def test_what_a_plan_takes_from_pools_is_told(console: Console, relay: RelayHarness) -> None:
    async with relay.api() as api:
        body = {"name": "Letters", "auto_warmup_overflow_pool": "shared pool"}
        assert (await api.post("/ip-pools", json=body)).status_code == 200
    async with person(console, Role.OPERATOR) as operator:
        for told in (True, False):
            await operator.send(PLAN, {"plan": "enterprise"})
            text = (await operator.look(PLAN)).text
            assert "The plan is Enterprise now." in text
            assert ("no pool overflows into that any more" in text) is told
    pool = relay.inside.directory.snapshot.pools[AccountId(1), PoolId("letters")]
    assert pool.overflow_pool == ""


BAD_TERMS: list[tuple[str, dict[str, str], str]] = [
    ("", {"plan": "gold"}, "Choose one of the plans"),
    ("/terms", {"limit": "-1"}, "A whole number from 0 to 2147483647"),
    ("/terms", {"limit": "1"}, "would have 2 dedicated IPs; its limit is 1"),
    ("/terms", {"price": "1.234"}, "An amount in USD"),
    ("/terms", {"price": "1e3"}, "An amount in USD"),
    ("/terms", {"price": "9999999.00"}, "An amount in USD up to 1000000"),
    ("/terms", {"day": "29"}, "A day of the month from 1 to 28"),
]


async def test_terms_that_cannot_be_are_refused_at_their_field(console: Console, relay: RelayHarness) -> None:
    async with person(console) as admin:
        await admin.send(BUY, await admin.order(quantity="2"))
    before = relay.inside.directory.snapshot.accounts
    async with person(console, Role.OPERATOR) as operator:
        for path, values, expected in BAD_TERMS:
            standing = {"limit": "4", "price": "20.00", "day": "1"} if path else {}
            answer = await operator.send(PLAN + path, {**standing, **values})
            assert answer.status_code in (409, 422), values
            (told,) = errors(answer)
            assert expected in told
    assert relay.inside.directory.snapshot.accounts == before


async def test_an_account_does_not_change_its_own_plan(console: Console, relay: RelayHarness) -> None:
    """As by REST: PUT /billing/subscription is for operators."""
    before = relay.inside.directory.snapshot.accounts
    async with person(console) as admin:
        values = {"plan": "enterprise", "limit": "99", "price": "0.01", "day": "1"}
        for path in ("", "/terms", "/downgrade"):
            assert (await admin.send(PLAN + path, values)).status_code == 403
    assert relay.inside.directory.snapshot.accounts == before


# ── looks ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True)])
async def test_billing_looks_right_on_every_screen(
    chromium: Browser, console: Console, relay: RelayHarness, width: int, dark: bool
) -> None:
    relay.clock.advance_to(TEN_DAYS_LEFT)
    async with person(console) as admin:
        await admin.send(BUY, await admin.order(quantity="2"))
    suffix = f"{width}{'-dark' if dark else ''}"
    async with visitor(chromium, console.url, width=width, dark=dark, tolerated=REFUSED) as page:
        await console.sign_in(page, "operator", 1)
        looks: list[tuple[str, str]] = [
            ("billing", HOME),
            ("purchase", BUY),
            ("plan", PLAN),
            ("downgrade", f"{PLAN}/downgrade"),
            ("invoice", f"{HOME}/invoices/1-20260401"),
            ("guide", "/guide/warm-up"),
        ]
        for name, path in looks:
            await page.goto(path)
            await picture(page, f"{name}-{suffix}")
            if width == 1280:
                await assert_accessible(page)
            wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wide, f"{path} is wider than the screen"
        form = await open_form(page)
        await form.get_by_label("Quantity").fill("7")
        await form.get_by_role("button", name="Confirm Purchases").click()
        await expect(form.locator("#quantity-error")).to_be_visible()
        await picture(page, f"dialog-{suffix}")
        if width == 1280:
            await assert_accessible(page)
