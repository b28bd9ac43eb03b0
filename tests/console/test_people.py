"""Signing in and out: one-time links, passwords, limits on guessing, and what ends a session."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from relay.domain.changes import Remove
from relay.domain.ids import AccountId
from relay.domain.users import BadCredentials, Role
from relay.frames.sign_in import FAILURES_OF_CLIENT, FAILURES_OF_NAME
from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from tests.console.browser import visitor
from tests.console.site import PASSWORD, SESSION_COOKIE, Console

BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])
WRONG = "Name and password do not go together."


async def invite(console: Console, name: str = "ann", role: Role = Role.ADMIN) -> str:
    """The path of a new user's link."""
    account = None if role is Role.OPERATOR else AccountId(1)
    _, token = await console.sign_ins.add_user(name, role, account, "test")
    return f"/sign-in/link/{token}"


async def choose_password(page: Page, password: str = PASSWORD, again: str = "") -> None:
    await page.get_by_label("New password").fill(password)
    await page.get_by_label("The same again").fill(again or password)
    await page.get_by_role("button", name="Set password and sign in").click()


async def sign_in(page: Page, name: str = "ann", password: str = PASSWORD) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def is_signed_in(page: Page) -> None:
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def is_signed_out(page: Page) -> None:
    await page.reload()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@BOTH
async def test_an_invited_person_chooses_a_password_once_and_signs_in_with_it(
    chromium: Browser, console: Console, js: bool
) -> None:
    link = await invite(console)
    async with visitor(chromium, console.url, js=js) as page:
        await page.goto(link)
        await expect(page.get_by_role("heading", name="Welcome, ann")).to_be_visible()
        await choose_password(page, PASSWORD, "something else, really")
        await expect(page.get_by_text("The two are not the same.")).to_be_visible()
        await choose_password(page)
        await is_signed_in(page)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

        await page.goto(link)
        await expect(page.get_by_text("This link was used already, or is too old.")).to_be_visible()
        await page.goto("/account/subaccounts?q=joe")
        await sign_in(page, "ANN")
        await expect(page).to_have_url(f"{console.url}/account/subaccounts?q=joe")
        await expect(page.get_by_role("link", name="Joe's Garage")).to_be_visible()


async def test_a_link_ends_after_a_day(page: Page, console: Console) -> None:
    link = await invite(console)
    console.relay.clock.advance(hours=24, seconds=1)
    answer = await page.goto(link)
    assert answer is not None
    assert answer.status == 404
    await expect(page.get_by_text("Ask for another: relay user link NAME")).to_be_visible()


@BOTH
async def test_a_wrong_password_is_told_without_saying_what_is_wrong_and_guessing_is_limited(
    chromium: Browser, console: Console, js: bool
) -> None:
    await console.sign_ins.follow_link((await invite(console)).rpartition("/")[2], PASSWORD, "127.0.0.1", "x")
    async with visitor(chromium, console.url, js=js) as page:
        await page.goto("/sign-in")
        await sign_in(page, "nobody")
        await expect(page.get_by_role("alert")).to_have_text(WRONG)
        for _ in range(FAILURES_OF_NAME):
            await sign_in(page, "ann", "wrong horse battery staple")
            await expect(page.get_by_role("alert")).to_have_text(WRONG)
            await expect(page.get_by_label("Name")).to_have_value("ann")
            await expect(page.get_by_label("Password")).to_have_value("")
        await sign_in(page)
        await expect(page.get_by_role("alert")).to_have_text(
            "Too many tries. The next one is possible in 15 min."
        )
        console.relay.clock.advance(minutes=15)
        await sign_in(page)
        await is_signed_in(page)


async def test_a_client_that_guesses_many_names_is_stopped_too(console: Console, page: Page) -> None:
    for number in range(FAILURES_OF_CLIENT):
        with pytest.raises(BadCredentials):
            await console.sign_ins.sign_in(f"guess{number}", PASSWORD, "127.0.0.1", "x")
    await page.goto("/sign-in")
    await sign_in(page, "another", PASSWORD)
    await expect(page.get_by_role("alert")).to_contain_text("Too many tries.")


async def test_a_session_ends_when_it_is_idle_or_old(page: Page, console: Console) -> None:
    """12 hours without a request, 7 days in all."""
    clock = console.relay.clock
    await console.sign_in(page)
    await page.goto("/profile")
    clock.advance(hours=11)
    await page.reload()
    clock.advance(hours=11)
    await page.reload()
    await is_signed_in(page)
    clock.advance(hours=12)
    await is_signed_out(page)
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=%2Fprofile$"))
    await sign_in(page, "admin-1")
    token = next(one["value"] for one in await page.context.cookies() if one["name"] == SESSION_COOKIE)
    for _ in range(15):
        clock.advance(hours=11)
        assert await console.sign_ins.of(token) is not None
    await page.reload()
    await is_signed_in(page)
    clock.advance(hours=4)
    await is_signed_out(page)


async def test_sessions_are_listed_ended_one_by_one_and_by_a_new_password(
    chromium: Browser, console: Console
) -> None:
    """With scripts and without."""
    async with (
        visitor(chromium, console.url) as here,
        visitor(chromium, console.url, js=False) as there,
        visitor(chromium, console.url, js=False) as third,
    ):
        for window in (here, there, third):
            await console.sign_in(window)
            await window.goto("/profile")
        await here.reload()
        rows = here.get_by_role("row").filter(has_text="127.0.0.1")
        await expect(rows).to_have_count(3)
        await expect(rows.filter(has_text="this one")).to_have_count(1)
        await here.get_by_role("button", name="End").first.click()
        await expect(here.get_by_role("status")).to_have_text("Session ended.")
        await expect(rows).to_have_count(2)

        await here.get_by_label("Present password").fill("not my password at all")
        await here.get_by_label("New password").fill("another long password")
        await here.get_by_label("The same again").fill("another long password")
        await here.get_by_role("button", name="Change password").click()
        await expect(here.get_by_text("This is not your password.")).to_be_visible()
        await here.get_by_label("Present password").fill(PASSWORD)
        await here.get_by_label("New password").fill("another long password")
        await here.get_by_label("The same again").fill("another long password")
        await here.get_by_role("button", name="Change password").click()
        await expect(here.get_by_role("status")).to_contain_text("Your other sessions have ended.")
        await expect(rows).to_have_count(1)
        for window in (there, third):
            await is_signed_out(window)
        await sign_in(there, "admin-1")
        await expect(there.get_by_role("alert")).to_have_text(WRONG)
        await sign_in(there, "admin-1", "another long password")
        await is_signed_in(there)


async def test_a_short_password_is_refused_by_the_server_too(console: Console) -> None:
    async with console.client() as http:
        for password, said in (("short", "The password has 5 characters"), ("", "has 0 characters")):
            form = {"old": PASSWORD, "password": password, "again": password}
            answer = await http.post("/profile/password", form)
            assert answer.status_code == 422
            assert said in answer.text


async def test_a_disabled_person_is_out_at_once_and_cannot_come_back(page: Page, console: Console) -> None:
    name = await console.sign_in(page)
    await page.goto("/profile")
    await console.sign_ins.set_disabled(name, True, "test")
    await is_signed_out(page)
    await sign_in(page, name)
    await expect(page.get_by_role("alert")).to_have_text(WRONG)
    await console.sign_ins.set_disabled(name, False, "test")
    await sign_in(page, name)
    await is_signed_in(page)


async def test_a_person_whose_account_is_gone_is_signed_out(page: Page, console: Console) -> None:
    await console.sign_in(page, "admin", 5)
    await page.goto("/profile")
    snapshot = console.relay.inside.directory.snapshot
    await console.relay.apply(Remove(snapshot.accounts[AccountId(5)]))
    await is_signed_out(page)


async def test_the_first_operator_comes_in_by_the_link_of_the_command(
    chromium: Browser, mta: FakeMta, tmp_path: Path
) -> None:
    """It is told until somebody has followed it, and each time it is a new one."""
    settings = {"": {"roles": ["smtp", "api", "web", "egress"]}}
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        first = (await relay.run_cli("user", "first-link")).out.strip()
        second = (await relay.run_cli("user", "first-link")).out.strip()
        host, port = relay.http_address
        async with visitor(chromium, f"http://{host}:{port}") as page:
            await page.goto(first)
            await expect(page.get_by_text("This link was used already, or is too old.")).to_be_visible()
            await page.goto(second)
            await choose_password(page)
            await is_signed_in(page)
            await page.get_by_role("link", name="admin", exact=True).click()
            await relay.stop()
            await relay.start()
            await page.reload()
            await is_signed_in(page)
        assert (await relay.run_cli("user", "first-link")).status == 1
