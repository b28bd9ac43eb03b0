"""Account → Subaccounts: made, changed, and bound to a pool that all their mail leaves through."""

import re

import pytest
from markupsafe import escape
from playwright.async_api import Browser, Page, expect

from relay.domain.changes import Put
from relay.domain.directory import SUBACCOUNT_GRANTS, Subaccount
from relay.domain.ids import AccountId, SubaccountId
from relay.resources.api_keys.rules import hash_key
from relay.resources.subaccounts.rules import create_subaccount
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.console.browser import visitor
from tests.console.looks import assert_looks_right
from tests.console.site import Console

LIST = "/account/subaccounts"
EDIT = f"{LIST}/edit"
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


def of(relay: RelayHarness, number: int, account: int = 1) -> Subaccount:
    return relay.inside.directory.snapshot.subaccounts[AccountId(account), SubaccountId(number)]


async def make(console: Console, name: str, number: int, pool: str | None = None, account: int = 1) -> None:
    snapshot = console.relay.inside.directory.snapshot
    changes = create_subaccount(snapshot, AccountId(account), name, SubaccountId(number), pool)
    await console.relay.apply(*changes)


@BOTH
async def test_a_pool_chosen_for_a_subaccount_carries_its_mail_at_once(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """R23-R26: edit, choose in the IP Pool Id picklist, press Update Subaccount."""
    relay = console.relay
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/")
        await page.get_by_role("link", name="Subaccounts").click()
        await page.get_by_role("link", name="Unbound").click()
        await expect(page.get_by_text("IP Pool ID: none")).to_be_visible()
        picklist = page.get_by_label("IP Pool Id")
        assert await picklist.locator("option").all_inner_texts() == [
            "None: the account's rules",
            "Default (id: default)",
            "Marketing (id: marketing)",
            "Quiet (id: quiet)",
            "Receipts (id: receipts)",
        ]
        await picklist.select_option("Receipts (id: receipts)")
        await page.get_by_role("button", name="Update Subaccount").click()
        await expect(page.get_by_role("status")).to_have_text("Updated subaccount")
        await expect(page.get_by_text("IP Pool ID: receipts")).to_be_visible()
        await relay.inject("bob@gmail.example", subaccount=124)
        (attempt,) = await mta.attempts_reached(1)
        assert attempt.peer_ip == "127.0.0.13"

        await page.get_by_label("IP Pool Id").select_option("")
        await page.get_by_role("button", name="Update Subaccount").click()
        await expect(page.get_by_text("IP Pool ID: none")).to_be_visible()
        assert of(relay, 124).ip_pool is None


@BOTH
async def test_a_new_subaccount_gets_its_pool_and_a_key_that_is_shown_once_and_sends(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """The box "Create API Key" is on, the key is of the subaccount."""
    relay = console.relay
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(LIST)
        await page.get_by_role("link", name="Create Subaccount").click()
        await page.get_by_label("Subaccount Name").fill("Harbour Café")
        await page.get_by_label("IP Pool Id").select_option("marketing")
        await expect(page.get_by_label("Create API Key")).to_be_checked()
        await page.get_by_label("Key Name").fill("first")
        await page.get_by_label("Select").check()
        await page.get_by_label("Send via SMTP").check()
        await page.get_by_label("Allowed IPs").fill("127.0.0.0/8, ::1")
        await page.get_by_role("button", name="Create Subaccount").click()

        await expect(page.get_by_role("status")).to_have_text("Created subaccount Harbour Café.")
        await expect(page.get_by_text("This is the only time that it is shown.")).to_be_visible()
        text = await page.locator("pre").inner_text()
        assert re.fullmatch("[0-9a-f]{40}", text)
        assert text not in page.url
        assert all(text not in (cookie.get("value") or "") for cookie in await page.context.cookies())
        key = relay.inside.directory.snapshot.keys[hash_key(text)]
        assert (key.label, sorted(key.grants)) == ("first", ["smtp/inject"])
        assert key.valid_ips == ("127.0.0.0/8", "::1")
        await page.reload()
        await expect(page.get_by_role("heading", name="It was shown before")).to_be_visible()
        assert text not in await page.content()

    await relay.inject("bob@gmail.example", login=("SMTP_Injection", text))
    (attempt,) = await mta.attempts_reached(1)
    assert attempt.peer_ip in relay.ips_of("marketing")
    assert key.subaccount is not None
    assert of(relay, key.subaccount).name == "Harbour Café"


async def test_a_subaccount_can_be_made_without_a_key(page: Page, console: Console) -> None:
    await console.sign_in(page)
    await page.goto(f"{LIST}/create")
    await page.get_by_label("Create API Key").uncheck()
    await expect(page.get_by_label("Key Name")).to_be_hidden()
    await page.get_by_label("Subaccount Name").fill("Quiet one")
    await page.get_by_role("button", name="Create Subaccount").click()
    await expect(page.get_by_role("heading", name="Quiet one", level=1)).to_be_visible()
    await page.get_by_role("link", name="API Keys", exact=True).last.click()
    await expect(page.get_by_role("heading", name="No keys of its own")).to_be_visible()


GOOD = {
    "name": "New",
    "setup_api_key": "on",
    "key_label": "first",
    "permissions": "all",
    "allowed_ips": "",
    "ip_pool": "",
}


BAD: list[tuple[str, dict[str, str], str]] = [
    ("name", {"name": ""}, "Required"),
    ("name", {"name": "x" * 65}, "Must have 1 to 64 printable characters"),
    ("name", {"name": "a\u0007b"}, "Must have 1 to 64 printable characters"),
    ("key_label", {"key_label": ""}, "Required"),
    ("permissions", {"permissions": "select"}, "Choose at least one permission"),
    ("permissions", {"permissions": "x"}, "Choose all or some permissions"),
    (
        "permissions",
        {"permissions": "select", "grants": "billing/manage"},
        "A subaccount's key cannot have billing/manage",
    ),
    ("allowed_ips", {"allowed_ips": "10.0.0.1, nowhere"}, "Must be a comma separated list of valid IPs"),
    ("allowed_ips", {"allowed_ips": "10.0.0.1/8"}, "Must be a comma separated list of valid IPs"),
    ("ip_pool", {"ip_pool": "news"}, "IP Pool 'news' does not exist."),
]


async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_made(console: Console) -> None:
    before = console.relay.inside.directory.snapshot
    async with console.client() as http:
        for field, bad, said in BAD:
            answer = await http.post(f"{LIST}/create", {**GOOD, **bad})
            assert answer.status_code == 422, bad
            assert f'class="error" id="{field}-error">{escape(said)}<' in answer.text, bad
    assert console.relay.inside.directory.snapshot is before


async def test_all_permissions_of_a_subaccounts_key_are_those_it_may_have(console: Console) -> None:
    async with console.client() as http:
        answer = await http.post(f"{LIST}/create", GOOD)
        assert answer.status_code == 303
    (key,) = [key for key in console.relay.inside.directory.snapshot.keys.values() if key.label == "first"]
    assert key.grants == SUBACCOUNT_GRANTS


@pytest.mark.parametrize("status", ["suspended", "terminated"])
async def test_a_subaccount_that_is_not_active_cannot_send(page: Page, console: Console, status: str) -> None:
    await console.sign_in(page)
    await page.goto(f"{EDIT}/123")
    await page.get_by_label("Status").select_option(status)
    await page.get_by_role("button", name="Update Subaccount").click()
    await expect(page.get_by_text(f"This subaccount is {status}: it cannot send")).to_be_visible()
    with pytest.raises(InjectionRefusedError):
        await console.relay.inject("bob@gmail.example", subaccount=123)
    await page.get_by_label("Status").select_option("Active")
    await page.get_by_role("button", name="Update Subaccount").click()
    await expect(page.get_by_text("Status: Active")).to_be_visible()
    await console.relay.inject("bob@gmail.example", subaccount=123)


async def test_a_pool_that_is_gone_is_shown_as_such_until_another_is_chosen(
    page: Page, console: Console
) -> None:
    """A9: the subaccount keeps the dangling id, and its mail is rejected until it is edited."""
    await console.relay.delete_pool("marketing")
    await console.sign_in(page)
    await page.goto(LIST)
    await expect(page.get_by_text("Mail is rejected: IP Pool 'marketing' does not exist.")).to_be_visible()
    await page.get_by_role("link", name="Joe's Garage").click()
    await expect(page.get_by_text("All mail of this subaccount is rejected:")).to_be_visible()
    await expect(page.locator("option:checked").first).to_have_text("marketing (no longer exists)")
    await page.get_by_label("Subaccount Name").fill("Joe & Sons")
    await page.get_by_role("button", name="Update Subaccount").click()
    await expect(page.get_by_role("heading", name="Joe & Sons", level=1)).to_be_visible()
    assert of(console.relay, 123).ip_pool == "marketing"
    await page.get_by_label("IP Pool Id").select_option("receipts")
    await page.get_by_role("button", name="Update Subaccount").click()
    await expect(page.get_by_text("is rejected")).to_have_count(0)
    await console.relay.inject("bob@gmail.example", subaccount=123)


async def test_a_pool_without_ips_is_warned_of(console: Console) -> None:
    async with console.client() as http:
        text = (await http.get(f"{EDIT}/125")).text
    assert "IP Pool &#39;quiet&#39; is empty." in text


async def test_without_pools_besides_default_nothing_is_asked_and_nothing_written(console: Console) -> None:
    """The picklist is hidden, and `default` is not stored unasked."""
    await make(console, "Only one", 7, account=5)
    async with console.client(account=5) as http:
        shown = await http.get(f"{EDIT}/7")
        assert "IP Pool Id" not in shown.text
        assert "IP Pool Id" not in (await http.get(f"{LIST}/create")).text
        answer = await http.post(f"{EDIT}/7", {"name": "Renamed", "status": "active"})
        assert answer.status_code == 303
    assert (of(console.relay, 7, 5).name, of(console.relay, 7, 5).ip_pool) == ("Renamed", None)


async def test_default_may_be_chosen_and_a_pool_in_other_letters_is_kept(console: Console) -> None:
    """A25."""
    await make(console, "Shouting", 200, pool="MARKETING")
    async with console.client() as http:
        form = {"name": "Shouting", "status": "active", "ip_pool": "marketing"}
        assert '<option value="marketing" selected>' in (await http.get(f"{EDIT}/200")).text
        await http.post(f"{EDIT}/200", form)
        assert of(console.relay, 200).ip_pool == "MARKETING"
        await http.post(f"{EDIT}/200", {**form, "ip_pool": "default"})
    assert of(console.relay, 200).ip_pool == "default"


BAD_CHANGES: list[tuple[dict[str, str], str]] = [
    ({"name": " "}, "Required"),
    ({"status": "sleeping"}, "Choose one of these"),
    ({"ip_pool": "news"}, "IP Pool 'news' does not exist."),
    ({"ip_pool": "a" * 21}, f"IP Pool '{'a' * 21}' does not exist."),
]


async def test_a_bad_change_is_refused_beside_its_field(console: Console) -> None:
    before = of(console.relay, 124)
    async with console.client() as http:
        for bad, said in BAD_CHANGES:
            good = {"name": "Other", "status": "active", "ip_pool": ""}
            answer = await http.post(f"{EDIT}/124", {**good, **bad})
            assert answer.status_code == 422, bad
            assert f'class="error" id="{next(iter(bad))}-error">{escape(said)}<' in answer.text, bad
    assert of(console.relay, 124) == before


async def test_a_subaccount_of_nobody_or_of_another_account_is_not_there(console: Console) -> None:
    await make(console, "Theirs", 77, account=2)
    async with console.client() as http:
        for number in ("999", "77", "0", "-1", "x", "123456789012", "1e3"):
            for tab in ("", "/api-keys", "/sending-domains"):
                assert (await http.get(f"{EDIT}/{number}{tab}")).status_code == 404, number
            form = {"name": "Mine", "status": "active"}
            assert (await http.post(f"{EDIT}/{number}", form)).status_code == 404, number
    assert of(console.relay, 77, 2).name == "Theirs"


async def test_a_reader_sees_all_and_is_offered_no_change(page: Page, console: Console) -> None:
    await console.sign_in(page, "reader")
    await page.goto(LIST)
    await expect(page.get_by_role("link", name="Create Subaccount")).to_have_count(0)
    await page.get_by_role("link", name="Unbound").click()
    await expect(page.get_by_label("IP Pool Id")).to_be_disabled()
    await expect(page.get_by_role("button", name="Update Subaccount")).to_have_count(0)
    answer = await page.goto(f"{LIST}/create")
    assert answer is not None
    assert answer.status == 403


@BOTH
async def test_the_list_is_sorted_filtered_and_paged(chromium: Browser, console: Console, js: bool) -> None:
    snapshot = console.relay.inside.directory.snapshot
    entry = snapshot.subaccounts[AccountId(1), SubaccountId(124)]
    more = [Subaccount(entry.account, SubaccountId(1000 + n), f"Shop {n:02}") for n in range(30)]
    await console.relay.apply(*map(Put, more))
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(f"{LIST}?sort=id&down=1&q=o")
        rows = page.get_by_role("rowheader")
        await expect(rows).to_have_count(25)
        assert await rows.first.inner_text() == "Shop 29"
        await page.get_by_role("link", name="Next").click()
        assert (await rows.all_inner_texts())[-2:] == ["Unbound", "Joe's Garage"]
        await page.get_by_role("searchbox", name="Filter by name or ID").fill("garage")
        if not js:
            await page.get_by_role("button", name="Filter").click()
        await expect(rows).to_have_text(["Joe's Garage"])
        await page.get_by_role("searchbox", name="Filter by name or ID").fill("no such")
        if not js:
            await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("heading", name="No subaccount matches")).to_be_visible()


async def test_an_account_without_subaccounts_is_told_what_they_are_for(page: Page, console: Console) -> None:
    await console.sign_in(page, account=2)
    await page.goto(LIST)
    await expect(page.get_by_role("heading", name="No subaccounts yet")).to_be_visible()
    await page.get_by_role("link", name="Create Subaccount").last.click()
    await expect(page).to_have_url(re.compile(f"{LIST}/create$"))


async def test_names_that_strangers_typed_are_shown_as_text(page: Page, console: Console) -> None:
    evil = "<script>alert(1)</script>\"'><b>"
    await make(console, evil, 300)
    await console.sign_in(page)
    for path in (LIST, f"{EDIT}/300", f"{EDIT}/300/api-keys", f"{EDIT}/300/sending-domains"):
        await page.goto(path)
        await expect(page.get_by_text(evil).first).to_be_visible()
    await page.goto("/account/api-keys/create")
    await expect(page.locator("option", has_text=evil)).to_have_count(1)


PLACES = ("", "/create", "/edit/123", "/edit/125", "/edit/123/api-keys", "/edit/123/sending-domains")


async def test_the_pages_are_accessible_and_fit(page: Page, console: Console) -> None:
    await console.sign_in(page)
    for place in PLACES:
        await page.goto(LIST + place)
        await assert_looks_right(page, f"subaccounts{place.replace('/', '-')}")
