"""API Keys and Sending Domains: who may send, and from which domains."""

import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from markupsafe import escape
from playwright.async_api import Browser, Page, expect

from relay.domain.changes import Put
from relay.domain.directory import GRANTS, Check, Origin, SendingDomain
from relay.domain.ids import AccountId, SubaccountId
from relay.mail.dkim import record
from relay.resources.api_keys.rules import hash_key, key_id
from relay.sink.fake_mta import FakeMta
from relay.testing.clock import HandMovedClock
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.console.browser import visitor
from tests.console.looks import assert_looks_right
from tests.console.site import Console
from tests.support.name_server import Zone, records_of

KEYS, DOMAINS = "/account/api-keys", "/account/sending-domains"
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


@pytest.fixture
def zone() -> Zone:
    """What DNS has; nothing until a test puts it there."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def relay(
    tmp_path: Path,
    mta: FakeMta,
    clock: HandMovedClock,
    zone: Zone,
    relay_settings: dict[str, dict[str, object]],
) -> AsyncIterator[RelayHarness]:
    """A relay that asks a name server of ours."""
    async with (
        records_of(zone) as records,
        RelayHarness(tmp_path, mta, clock=clock, records=records, settings=relay_settings) as relay,
    ):
        yield relay


def domain_of(relay: RelayHarness, name: str, account: int = 1) -> SendingDomain:
    return relay.inside.directory.snapshot.domains[AccountId(account), name]


# ── API keys ─────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_key_is_made_shown_once_used_and_revoked(
    chromium: Browser, console: Console, mta: FakeMta, js: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of the key is in no address, cookie or log."""
    relay = console.relay
    caplog.set_level(logging.DEBUG, "relay")
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/")
        await page.get_by_role("link", name="API Keys").click()
        await page.get_by_role("link", name="Create API Key").click()
        await page.get_by_label("Key Name").fill("newsletter")
        await page.get_by_label("Select").check()
        await page.get_by_label("Send via SMTP").check()
        await page.get_by_role("button", name="Create API Key").click()
        await expect(page.get_by_role("status")).to_have_text("Created API key newsletter.")
        text = await page.locator("pre").inner_text()
        assert re.fullmatch("[0-9a-f]{40}", text)
        assert text not in page.url
        assert all(text not in (cookie.get("value") or "") for cookie in await page.context.cookies())
        await page.get_by_role("link", name="Done: API Keys").click()
        row = page.get_by_role("row").filter(has_text="newsletter")
        await expect(row).to_contain_text(f"{text[:4]}…")
        await expect(row).to_contain_text("Send via SMTP")
        await page.go_back()
        await expect(page.get_by_role("heading", name="It was shown before")).to_be_visible()
        await page.get_by_role("link", name="To API Keys").click()

        await relay.inject("bob@gmail.example", ip_pool="receipts", login=("SMTP_Injection", text))
        await mta.attempts_reached(1)
        await page.get_by_role("link", name="Revoke newsletter").click()
        await expect(page.get_by_role("heading", name="Revoke API key newsletter?")).to_be_visible()
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_role("status")).to_have_text("Revoked API key newsletter.")
        await expect(page.get_by_role("row").filter(has_text="newsletter")).to_have_count(0)
        with pytest.raises(InjectionRefusedError):
            await relay.inject("bob@gmail.example", login=("SMTP_Injection", text))
        assert hash_key(text) not in relay.inside.directory.snapshot.keys
    assert text not in caplog.text


async def test_all_permissions_are_those_of_an_account_and_nobody_becomes_an_operator(
    console: Console,
) -> None:
    async with console.client() as http:
        form = {"key_label": "all", "permissions": "all", "is_operator": "on"}
        answer = await http.post(f"{KEYS}/create", form)
        assert answer.status_code == 303
        shown = await http.get(answer.headers["location"])
        async with console.client("reader") as other:
            assert (await other.get(answer.headers["location"])).status_code == 403
    text = re.findall(">([0-9a-f]{40})<", shown.text)[0]
    key = console.relay.inside.directory.snapshot.keys[hash_key(text)]
    assert (key.grants, key.is_operator, key.account, key.subaccount) == (GRANTS, False, 1, None)
    async with console.relay.api(key=text) as api:
        assert (await api.get("/ip-pools")).status_code == 200


async def test_a_new_key_is_shown_to_the_session_that_made_it_and_to_no_other(console: Console) -> None:
    async with console.client() as http, console.client("operator") as other:
        answer = await http.post(f"{KEYS}/create", {"key_label": "mine", "permissions": "all"})
        path = answer.headers["location"]
        assert (await other.get(path)).status_code == 410
        console.relay.clock.advance(minutes=11)
        assert (await http.get(path)).status_code == 410


BAD_KEYS: list[tuple[str, dict[str, str], str]] = [
    ("key_label", {"key_label": ""}, "Required"),
    ("permissions", {"permissions": ""}, "Choose all or some permissions"),
    ("permissions", {"permissions": "select"}, "Choose at least one permission"),
    ("permissions", {"permissions": "select", "grants": "root"}, "A key cannot have root"),
    ("allowed_ips", {"allowed_ips": "localhost"}, "Must be a comma separated list of valid IPs"),
    ("subaccount", {"subaccount": "999"}, "There is no subaccount 999"),
    ("subaccount", {"subaccount": "x"}, "There is no subaccount x"),
    (
        "permissions",
        {"subaccount": "123", "permissions": "select", "grants": "account/manage"},
        "A subaccount's key cannot have account/manage",
    ),
]


async def test_a_bad_key_is_refused_beside_its_field(console: Console) -> None:
    before = console.relay.inside.directory.snapshot
    async with console.client() as http:
        for field, bad, said in BAD_KEYS:
            good = {"key_label": "new", "permissions": "all", "allowed_ips": "", "subaccount": ""}
            answer = await http.post(f"{KEYS}/create", {**good, **bad})
            assert answer.status_code == 422, bad
            assert f'class="error" id="{field}-error">{escape(said)}<' in answer.text, bad
    assert console.relay.inside.directory.snapshot is before


async def test_keys_of_other_accounts_and_of_operators_are_not_there(console: Console) -> None:
    relay = console.relay
    operators = await relay.make_key(1, is_operator=True)
    theirs = await relay.make_key(2)
    keys = relay.inside.directory.snapshot.keys
    async with console.client() as http:
        for text in (operators, theirs):
            path = f"{KEYS}/{key_id(keys[hash_key(text)])}/revoke"
            assert (await http.get(path)).status_code == 404
            assert (await http.post(path)).status_code == 404
            assert text[:4] + "…" not in (await http.get(KEYS)).text
    async with console.client("operator") as http:
        assert operators[:4] + "…" in (await http.get(KEYS)).text
    assert {hash_key(operators), hash_key(theirs)} <= set(relay.inside.directory.snapshot.keys)


async def test_keys_are_found_by_name_and_a_subaccounts_on_its_own_tab(page: Page, console: Console) -> None:
    await console.sign_in(page)
    await page.goto(KEYS)
    await page.get_by_role("searchbox", name="Filter by name or subaccount").fill("garage")
    await expect(page.get_by_role("rowheader")).to_have_text(["subaccount"])
    await page.get_by_role("link", name="Joe's Garage").click()
    await page.get_by_role("navigation", name="Subaccount").get_by_role("link", name="API Keys").click()
    await expect(page.get_by_role("rowheader")).to_have_text(["subaccount"])
    await page.get_by_role("link", name="Create API Key").click()
    await expect(page.get_by_label("Subaccount", exact=True)).to_have_value("123")


# ── sending domains ──────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_domain_is_added_published_verified_shared_and_removed(
    chromium: Browser, console: Console, zone: Zone, js: bool
) -> None:
    """The record is shown to copy; what DNS lacks is said beside it."""
    relay, name = console.relay, "mail.acme.example"
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(DOMAINS)
        await expect(page.get_by_role("heading", name="No sending domains yet")).to_be_visible()
        await page.get_by_role("link", name="Add a Domain").first.click()
        await page.get_by_label("Domain").fill(f" {name.upper()} ")
        await page.get_by_role("button", name="Add a Domain").click()
        await expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
        await expect(page.get_by_text("Unverified, the domain is removed in 14 d.")).to_be_visible()
        entry = domain_of(relay, name)
        assert entry.dkim is not None
        owner = await page.get_by_label("TXT name").inner_text()
        value = await page.get_by_label("TXT value").inner_text()
        assert owner == f"{entry.dkim.selector}._domainkey.{name}"
        assert value == record(entry.dkim.public)

        await page.get_by_role("button", name="Verify TXT Record").click()
        await expect(page.get_by_role("alert")).to_have_text(f"{owner} has no TXT record.")
        zone[f"{owner}.", "TXT"] = [f'"{value[:200]}" "{value[200:]}"']
        await page.get_by_role("button", name="Verify TXT Record").click()
        await expect(page.get_by_role("status")).to_have_text(f"Verified {name}.")
        assert domain_of(relay, name).dkim_status is Check.VALID

        await page.get_by_label("Shared with all subaccounts").check()
        await page.get_by_role("button", name="Update Sending Domain").click()
        await expect(page.get_by_role("status")).to_have_text(f"Updated {name}.")
        await page.goto("/account/subaccounts/edit/124/sending-domains")
        await expect(page.get_by_role("link", name=name)).to_be_visible()
        await page.get_by_role("link", name=name).click()
        await page.get_by_role("link", name="Remove").click()
        await page.get_by_role("button", name="Remove").click()
        await expect(page.get_by_role("status")).to_have_text(f"Removed {name}.")
    assert relay.inside.directory.snapshot.domains == {}


async def test_a_bounce_domain_needs_its_cname_and_a_new_key_another_look(
    page: Page, console: Console, zone: Zone
) -> None:
    name, relay = "bounces.acme.example", console.relay
    await console.sign_in(page)
    await page.goto(f"{DOMAINS}/create")
    await page.get_by_label("Domain").fill(name)
    await page.get_by_role("button", name="Add a Domain").click()
    await expect(page.get_by_label("Default bounce domain")).to_have_count(0)
    await page.get_by_role("button", name="Verify CNAME Record").click()
    await expect(page.get_by_role("alert")).to_contain_text("it must name relay.test")
    zone[f"{name}.", "CNAME"] = ["relay.test."]
    await page.get_by_role("button", name="Verify CNAME Record").click()
    await page.get_by_label("Default bounce domain").check()
    await page.get_by_role("button", name="Update Sending Domain").click()
    await expect(page.get_by_text("bounce domain", exact=True)).to_be_visible()
    assert relay.inside.directory.snapshot.accounts[AccountId(1)].bounce_domain == name

    before = domain_of(relay, name)
    await relay.apply(Put(replace(before, dkim_status=Check.VALID)))
    await page.get_by_role("link", name="Make a new key").click()
    await page.get_by_role("button", name="Make a New Key").click()
    await expect(page.get_by_role("status")).to_contain_text("Made a new DKIM key")
    after = domain_of(relay, name)
    assert after.dkim != before.dkim
    assert after.dkim_status is Check.UNVERIFIED
    await page.get_by_label("Default bounce domain").uncheck()
    await page.get_by_role("button", name="Update Sending Domain").click()
    await expect(page.get_by_role("status")).to_have_text(f"Updated {name}.")
    assert relay.inside.directory.snapshot.accounts[AccountId(1)].bounce_domain == ""


BAD_DOMAINS: list[tuple[dict[str, str], str]] = [
    ({"domain": ""}, "Required"),
    ({"domain": "nodot"}, "'nodot' is not a valid domain: expected a name such as mail.example.com"),
    ({"domain": "a_b.example"}, "'a_b.example' is not a valid domain"),
    ({"domain": "you@acme.example"}, "'you@acme.example' is not a valid domain"),
    ({"domain": "gmail.com"}, "Domain gmail.com belongs to a mailbox provider."),
    ({"domain": "taken.example"}, "Sending Domain taken.example already registered"),
    ({"domain": "elsewhere.example"}, "Sending Domain elsewhere.example is verified by another account."),
]


async def test_a_bad_domain_is_refused_beside_its_field(console: Console) -> None:
    mine = SendingDomain(AccountId(1), "taken.example", origin=Origin.LIVE)
    theirs = SendingDomain(AccountId(2), "elsewhere.example", dkim_status=Check.VALID, origin=Origin.LIVE)
    await console.relay.apply(Put(mine), Put(theirs))
    before = console.relay.inside.directory.snapshot
    async with console.client() as http:
        for bad, said in BAD_DOMAINS:
            answer = await http.post(f"{DOMAINS}/create", bad)
            assert answer.status_code in (409, 422), bad
            assert f'id="domain-error">{escape(said)}' in answer.text, bad
        answer = await http.post(f"{DOMAINS}/create", {"domain": "new.example", "used_by": "999"})
        assert "There is no subaccount 999" in answer.text
        for path in ("", "/verify", "/key", "/remove"):
            form = {"check": "dkim"}
            assert (await http.post(f"{DOMAINS}/edit/elsewhere.example{path}", form)).status_code == 404
            assert (await http.get(f"{DOMAINS}/edit/elsewhere.example")).status_code == 404
        answer = await http.post(f"{DOMAINS}/edit/taken.example/verify", {"check": "spf"})
        assert answer.status_code == 422
        answer = await http.post(
            f"{DOMAINS}/edit/taken.example", {"settings": "1", "is_default_bounce_domain": "on"}
        )
        assert answer.status_code == 409
        assert "needs a domain verified by its CNAME" in answer.text
    assert console.relay.inside.directory.snapshot is before


async def test_a_domain_given_to_a_subaccount_is_its_alone(page: Page, console: Console) -> None:
    await console.sign_in(page)
    await page.goto("/account/subaccounts/edit/123/sending-domains")
    await page.get_by_role("link", name="Add a Domain").click()
    await expect(page.get_by_label("Who may use it")).to_have_value("123")
    await page.get_by_label("Domain").fill("joes.example")
    await page.get_by_role("button", name="Add a Domain").click()
    await expect(page.get_by_text("Used by Joe's Garage alone.")).to_be_visible()
    await expect(page.get_by_label("Shared with all subaccounts")).to_have_count(0)
    assert domain_of(console.relay, "joes.example").subaccount == SubaccountId(123)
    await page.goto(f"{DOMAINS}/edit/nowhere.example")
    await expect(page.get_by_role("heading", name="There is no such sending domain.")).to_be_visible()


async def test_dns_that_does_not_answer_changes_nothing(console: Console) -> None:
    await console.relay.apply(Put(SendingDomain(AccountId(1), "fail.example", origin=Origin.LIVE)))
    async with console.client() as http:
        answer = await http.post(f"{DOMAINS}/edit/fail.example/verify", {"check": "mx"})
    assert "DNS did not answer, try again later." in answer.text
    assert domain_of(console.relay, "fail.example").mx_status is Check.UNVERIFIED


SEEN = (
    SendingDomain(AccountId(1), "acme.example", dkim_status=Check.VALID, origin=Origin.LIVE),
    SendingDomain(
        AccountId(1), "garage.example", SubaccountId(123), origin=Origin.LIVE, mx_status=Check.INVALID
    ),
)


async def test_the_pages_are_accessible_and_fit(page: Page, console: Console) -> None:
    await console.relay.apply(*map(Put, SEEN))
    async with console.client() as http:
        await http.post(f"{DOMAINS}/create", {"domain": "fresh.example"})
        await http.post(f"{DOMAINS}/edit/fresh.example/verify", {"check": "cname"})
    places = {
        "keys": KEYS,
        "key-create": f"{KEYS}/create?subaccount=123",
        "domains": DOMAINS,
        "domain-create": f"{DOMAINS}/create",
        "domain": f"{DOMAINS}/edit/fresh.example",
        "domain-remove": f"{DOMAINS}/edit/fresh.example/remove",
        "smtp": "/account/smtp?pool=marketing",
    }
    await console.sign_in(page)
    for name, path in places.items():
        await page.goto(path)
        if name == "key-create":
            await page.get_by_label("Select").check()
        await assert_looks_right(page, name)
    await page.goto(f"{KEYS}/create")
    await page.get_by_label("Key Name").fill("x")
    await page.get_by_role("button", name="Create API Key").click()
    await expect(page.get_by_text("This is the only time")).to_be_visible()
    await assert_looks_right(page, "key-once")
