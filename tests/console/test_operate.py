"""Operate → Accounts, Users, Changes: whose mail is carried, who may sign in, and who changed what."""

import json
import re
from datetime import UTC, datetime

import pytest
from markupsafe import escape
from playwright.async_api import Browser, Page, expect

from relay.domain.changes import Put, Remove
from relay.domain.directory import Account, Plan, Status, Subaccount
from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, Revision, SubaccountId
from relay.domain.users import Role
from relay.ports.directory import AuditLine
from relay.resources.audit.words import change_of
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.console.browser import visitor
from tests.console.looks import assert_looks_right
from tests.console.site import PASSWORD, Console

ACCOUNTS, USERS, CHANGES = "/operate/accounts", "/operate/users", "/operate/changes"
BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


def account_of(relay: RelayHarness, number: int) -> Account:
    return relay.inside.directory.snapshot.accounts[AccountId(number)]


# ── accounts ─────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_an_account_is_made_renamed_suspended_and_acted_for(
    chromium: Browser, console: Console, js: bool
) -> None:
    relay = console.relay
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "operator")
        await page.goto("/")
        await page.get_by_role("link", name="Accounts", exact=True).click()
        await page.get_by_role("link", name="Create Account").click()
        await page.get_by_role("textbox", name="Name").fill("Ginkgo")
        await page.get_by_label("Plan").select_option("Enterprise")
        await page.get_by_role("button", name="Create Account").click()
        await expect(page.get_by_role("status")).to_have_text("Created account Ginkgo (7).")
        assert account_of(relay, 7).plan is Plan.ENTERPRISE

        await page.get_by_role("textbox", name="Name").fill("Ginkgo Ltd")
        await page.get_by_label("Status").select_option("Suspended")
        await page.get_by_role("button", name="Update Account").click()
        await expect(page.get_by_role("heading", name="Ginkgo Ltd (7)")).to_be_visible()
        assert (account_of(relay, 7).name, account_of(relay, 7).status) == ("Ginkgo Ltd", Status.SUSPENDED)

        await page.get_by_role("button", name="IP Pools").click()
        await expect(page.get_by_role("status")).to_have_text("You now act for Ginkgo Ltd.")
        await expect(page.get_by_role("heading", name="IP Pools", level=1)).to_be_visible()
        await page.goto(ACCOUNTS)
        await page.get_by_role("button", name="Act for Birch").click()
        await expect(page.get_by_role("status")).to_have_text("You now act for Birch.")


async def test_a_suspended_account_sends_no_more_but_what_is_queued_leaves(
    console: Console, mta: FakeMta
) -> None:
    relay = console.relay
    mta.answer("bob@gmail.example", "451 4.2.1 later", then="250 2.0.0 ok")
    await relay.inject("bob@gmail.example")
    await relay.quiet()
    async with console.client("operator") as http:
        answer = await http.post(f"{ACCOUNTS}/edit/1", {"name": "Acme", "status": "suspended"})
        assert answer.status_code == 303
    with pytest.raises(InjectionRefusedError):
        await relay.inject("bob@gmail.example")
    relay.clock.advance(hours=1)
    assert await relay.quiet() == []
    assert len(mta.accepted) == 1


async def test_the_list_tells_what_each_account_has_and_finds_it(page: Page, console: Console) -> None:
    console.relay.mta.answer("bob@gmail.example", "451 4.2.1 later")
    await console.relay.inject("bob@gmail.example")
    await console.relay.quiet()
    await console.sign_in(page, "operator")
    await page.goto(ACCOUNTS)
    row = page.get_by_role("row").filter(has_text="Acme")
    cells = [" ".join(text.split()) for text in await row.get_by_role("cell").all_inner_texts()]
    assert cells[:7] == ["1", "Self-serve", "Active", "4 of 4", "4", "3", "1"]
    await expect(page.get_by_role("row").filter(has_text="Cedar")).to_contain_text("Enterprise")
    await page.get_by_role("searchbox", name="Filter by name or number").fill("birch")
    await expect(page.get_by_role("rowheader")).to_have_text(["Birch"])
    await page.get_by_role("searchbox", name="Filter by name or number").fill("zzz")
    await expect(page.get_by_role("heading", name="No account matches")).to_be_visible()


async def test_a_bad_account_is_refused_beside_its_field(console: Console) -> None:
    before = console.relay.inside.directory.snapshot
    async with console.client("operator") as http:
        for path, bad, field, said in (
            ("create", {"name": "", "plan": "free"}, "name", "Required"),
            ("create", {"name": "x" * 65, "plan": "free"}, "name", "Must have 1 to 64 printable characters"),
            ("create", {"name": "New", "plan": "gold"}, "plan", "Choose one of these"),
            ("edit/1", {"name": "", "status": "active"}, "name", "Required"),
            ("edit/1", {"name": "New", "status": "x"}, "status", "Choose one of these"),
        ):
            answer = await http.post(f"{ACCOUNTS}/{path}", bad)
            assert answer.status_code == 422, bad
            assert f'id="{field}-error">{said}<' in answer.text, bad
        for number in ("99", "x", "-1"):
            assert (await http.get(f"{ACCOUNTS}/edit/{number}")).status_code == 404
            assert (await http.post(f"{ACCOUNTS}/{number}/act-for")).status_code == 404
        away = await http.post(f"{ACCOUNTS}/2/act-for", {"next": "//evil.example"})
        assert away.headers["location"] == "/"
    assert console.relay.inside.directory.snapshot is before


# ── users ────────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_user_is_added_comes_in_by_the_link_is_disabled_and_removed(
    chromium: Browser, console: Console, js: bool
) -> None:
    async with (
        visitor(chromium, console.url, js=js) as page,
        visitor(chromium, console.url, js=js) as theirs,
    ):
        await console.sign_in(page, "operator", name="boss")
        await page.goto(USERS)
        await page.get_by_role("link", name="Add User").click()
        await page.get_by_role("textbox", name="Name").fill("Ann / Ä <b>")
        await page.get_by_label("Admin: everything in one account").check()
        await page.get_by_label("Account", exact=True).last.select_option("Birch (2)")
        await page.get_by_role("button", name="Add User").click()
        await expect(page.get_by_role("status")).to_have_text("Added user Ann / Ä <b>.")
        link = await page.locator("pre").inner_text()
        assert link.startswith(f"{console.url}/sign-in/link/")
        assert link.rpartition("/")[2] not in page.url
        await page.reload()
        await expect(page.get_by_role("heading", name="It was shown before")).to_be_visible()

        await theirs.goto(link)
        await theirs.get_by_label("New password").fill(PASSWORD)
        await theirs.get_by_label("The same again").fill(PASSWORD)
        await theirs.get_by_role("button", name="Set password and sign in").click()
        await expect(theirs.get_by_text("Birch", exact=True).first).to_be_visible()

        await page.goto(USERS)
        row = page.get_by_role("row").filter(has_text="Ann / Ä <b>")
        await expect(row).to_contain_text("active")
        await row.get_by_role("button", name="Disable").click()
        await expect(page.get_by_role("status")).to_have_text("Disabled Ann / Ä <b>, who is signed out.")
        await theirs.goto("/")
        await expect(theirs.get_by_role("heading", name="Sign in")).to_be_visible()
        await row.get_by_role("button", name="Enable").click()
        await row.get_by_role("button", name="New link").click()
        assert await page.locator("pre").inner_text() != link
        await page.get_by_role("link", name="Done: Users").click()
        await row.get_by_role("link", name="Remove").click()
        await page.get_by_role("button", name="Remove", exact=True).click()
        await expect(page.get_by_role("status")).to_have_text("Removed user Ann / Ä <b>.")
        await expect(row).to_have_count(0)


async def test_nobody_shuts_out_themselves_or_the_last_operator(console: Console) -> None:
    async with console.client("operator") as http:
        users = {user.name: user for user in await console.sign_ins.users()}
        me = users["operator-1"].id
        assert "The last" not in (await http.get(USERS)).text
        for deed in ("disable", "remove"):
            answer = await http.post(f"{USERS}/{me}/{deed}")
            assert answer.status_code == 409
            assert "You cannot do that to yourself." in answer.text
        user, _ = await console.sign_ins.add_user("second", Role.OPERATOR, None, "test")
        await console.sign_ins.set_disabled("operator-1", True, "test")
    _, link = await console.sign_ins.new_link("second", "test")
    await console.sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "test")
    assert (await console.sign_ins.user("second")).id == user.id


BAD_USERS: list[tuple[dict[str, str], str, str]] = [
    ({"name": "", "role": "reader", "account": "1"}, "name", "Required"),
    ({"name": "x" * 129, "role": "reader", "account": "1"}, "name", "A user's name has 129 characters"),
    ({"name": "a\u0007", "role": "reader", "account": "1"}, "name", "A user's name has characters that"),
    ({"name": "new", "role": "root", "account": "1"}, "role", "Choose one of these"),
    ({"name": "new", "role": "admin", "account": "99"}, "account", "Choose the account"),
    ({"name": "OPERATOR-1", "role": "admin", "account": "1"}, "name", "there is a user operator-1 already"),
]


async def test_a_bad_user_is_refused_beside_its_field(console: Console) -> None:
    async with console.client("operator") as http:
        before = await console.sign_ins.users()
        for bad, field, said in BAD_USERS:
            answer = await http.post(f"{USERS}/create", bad)
            assert answer.status_code in (409, 422), bad
            assert f'id="{field}-error">{escape(said)}' in answer.text, bad
        for number in ("999", "x", "0"):
            for deed in ("link", "disable", "enable", "remove"):
                assert (await http.post(f"{USERS}/{number}/{deed}")).status_code == 404
    assert await console.sign_ins.users() == before


async def test_an_admin_has_the_users_of_the_own_account_and_no_other(console: Console) -> None:
    async with console.client() as http:
        theirs, _ = await console.sign_ins.add_user("theirs", Role.READER, AccountId(2), "test")
        boss, _ = await console.sign_ins.add_user("boss", Role.OPERATOR, None, "test")
        mine, _ = await console.sign_ins.add_user("mine", Role.READER, AccountId(1), "test")
        text = (await http.get("/account/users")).text
        assert ("mine" in text, "theirs" in text, "boss" in text) == (True, False, False)
        for user in (theirs, boss):
            assert (await http.get(f"/account/users/{user.id}/remove")).status_code == 404
            for deed in ("link", "disable", "enable", "remove"):
                assert (await http.post(f"/account/users/{user.id}/{deed}")).status_code == 404
        operator = await http.post("/account/users/create", {"name": "root", "role": "operator"})
        assert operator.status_code == 422
        forged = {"name": "new", "role": "reader", "account": "2"}
        assert (await http.post("/account/users/create", forged)).status_code == 303
        assert (await console.sign_ins.user("new")).account == 1
        assert (await http.post(f"/account/users/{mine.id}/remove")).status_code == 303
        with pytest.raises(UnknownObject):
            await console.sign_ins.user("mine")
    async with console.client("reader") as http:
        assert (await http.get("/account/users")).status_code == 403
        assert "/account/users" not in (await http.get("/account/billing")).text


# ── changes ──────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_changes_tell_who_changed_what_from_what_to_what(
    chromium: Browser, console: Console, js: bool
) -> None:
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "operator")
        await page.goto("/account/subaccounts/edit/124")
        await page.get_by_label("Subaccount Name").fill("<i>New</i> name")
        await page.get_by_label("IP Pool Id").select_option("receipts")
        await page.get_by_role("button", name="Update Subaccount").click()
        await page.get_by_role("link", name="Changes").click()
        row = page.get_by_role("row").nth(1)
        await expect(row).to_contain_text("user:operator-1")
        await expect(row).to_contain_text("Subaccount 124 of account 1")
        items = await row.get_by_role("listitem").all_inner_texts()
        assert items == ["name: Unbound → <i>New</i> name", "ip pool: receipts"]
        await page.get_by_role("searchbox").fill("<I>new")
        if not js:
            await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("row")).to_have_count(2)
        await page.get_by_role("searchbox").fill("no such text")
        if not js:
            await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("heading", name="No change matches")).to_be_visible()


async def test_older_changes_are_on_further_pages_and_a_search_says_how_far_it_looked(
    console: Console,
) -> None:
    relay = console.relay
    entries = [Subaccount(AccountId(1), SubaccountId(1000 + n), f"Bulk {n}") for n in range(2100)]
    await relay.apply(*map(Put, entries))
    async with console.client("operator") as http:
        first = (await http.get(CHANGES)).text
        assert first.count("<time ") == 50
        assert 'rel="next"' in first
        after = re.findall(r"after=(\d+)", first)[0]
        second = (await http.get(CHANGES, after=after)).text
        assert "Newest" in second
        seen = re.findall(r"Subaccount (\d+) of", first + second)
        assert len(seen) == len(set(seen)) > 90
        cut = (await http.get(CHANGES, q="joe's garage")).text
        assert "2,000 changes were looked at." in cut
        rest = (await http.get(CHANGES, q="joe's garage", after=re.findall(r"after=(\d+)", cut)[0])).text
        assert "Joe&#39;s Garage" in rest
        assert 'rel="next"' not in rest
        assert (await http.get(CHANGES, after="x")).status_code == 200
        await console.sign_ins.add_user("eve", Role.READER, AccountId(1), "relay user")
        assert "eve" in (await http.get(CHANGES, q="eve")).text


@pytest.mark.parametrize(
    ("what", "before", "after", "expected"),
    [
        pytest.param(
            "put sending_ip 192.0.2.1",
            {"pool": "news", "weight": 1, "shared": False},
            {"pool": None, "weight": 2, "shared": True},
            "changed Sending IP 192.0.2.1: pool news → None, weight 1 → 2, shared None → yes",
            id="a change",
        ),
        pytest.param(
            "remove api_key 0123456789",
            {"label": "old", "short": "ab12", "grants": ["a/b", "c/d"], "sha256": "0123"},
            None,
            "removed API key old (ab12…): label old → None, short ab12 → None, grants a/b, c/d → None",
            id="a removal",
        ),
        pytest.param(
            "put account 9",
            None,
            {"id": 9, "name": "Ü", "next_plan_at": 1_767_225_600_000_000},
            "added Account 9: name None → Ü, next plan at None → 2026-01-01 00:00:00",
            id="an addition",
        ),
        pytest.param(
            "put link of user ann", None, {"expires": "x"}, "added Link of user ann: expires None → x"
        ),
        pytest.param(
            "retry transmission 7",
            {"account": 1, "state": "set aside", "position": 2},
            {"account": 1, "state": "Generating", "position": 2},
            "retried Transmission 7: state set aside → Generating",
            id="a verb",
        ),
        pytest.param(
            "set routes", [{"patterns": ["*"]}], [], 'changed Routes: routes [{"patterns": ["*"]}] → None'
        ),
    ],
)
def test_an_audit_line_is_told_by_what_is_different(
    what: str, before: object, after: object, expected: str
) -> None:
    def text(value: object) -> str | None:
        return None if value is None else json.dumps(value)

    at = datetime(2026, 1, 5, tzinfo=UTC)
    change = change_of(AuditLine(at, "cli", Revision(1), what, text(before), text(after), 1))
    listed = ", ".join(f"{one.field} {one.before} → {one.after}" for one in change.differences)
    assert f"{change.deed} {change.title}: {listed}" == expected


async def test_the_pages_are_accessible_and_fit(page: Page, console: Console) -> None:
    await console.sign_ins.add_user("ann@example.com", Role.READER, AccountId(2), "relay user")
    await console.relay.delete_pool("quiet")
    places = {
        "accounts": ACCOUNTS,
        "account-create": f"{ACCOUNTS}/create",
        "account-edit": f"{ACCOUNTS}/edit/1",
        "users": USERS,
        "user-add": f"{USERS}/create",
        "account-users": "/account/users",
        "changes": CHANGES,
    }
    await console.sign_in(page, "operator")
    for name, path in places.items():
        await page.goto(path)
        await assert_looks_right(page, name)


async def test_what_an_operator_has_forgotten_stands_where_operators_look(console: Console) -> None:
    relay = console.relay
    no_shared, no_default = "The shared pool has no IPs, and accounts need it.", "No IP in the Default pool."
    async with console.client("operator") as http, console.client("admin") as other:
        for path in ("/", "/operate/ips", "/operate/accounts"):
            text = (await http.get(path)).text
            assert no_shared not in text
            assert no_default in text, "Enterprise, of the lab"
        assert no_default not in (await other.get("/")).text, "the account itself cannot mend it"
        await relay.apply(*(Remove(ip) for ip in relay.inside.directory.snapshot.shared))
        for path in ("/", "/operate/ips", "/operate/accounts"):
            notice = (await http.get(path)).text.split(no_shared)[1].split("</div>")[0]
            assert "Birch (2)" in notice
            assert "Cedar" not in notice
        assert no_shared not in (await other.get("/")).text
