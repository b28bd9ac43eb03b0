"""A message's page: what it is, where it stands, why it leaves from that IP, and what happened to it."""

from dataclasses import replace

import aiosmtplib
import pytest
from playwright.async_api import Browser, Page, expect

from relay.domain.changes import Put
from relay.domain.directory import Pool
from relay.domain.ids import AccountId, IpAddress, MessageId, PoolId
from relay.domain.message import State
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually
from tests.console.browser import visitor
from tests.console.looks import assert_accessible, picture
from tests.console.site import Console

WHY = "450 4.2.1 <script>alert('why')</script> \"later\""
TO = "bob@gmail.example"
JS = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])


async def deferred(relay: RelayHarness, mta: FakeMta, *, pool: str = "marketing") -> MessageId:
    """The id of a message of account 1 that was put off once."""
    mta.answer(TO, WHY)
    injected = await relay.inject(
        TO,
        ip_pool=pool,
        headers={"Subject": "Spring <script>alert('s')</script>"},
        msys={"campaign_id": "<b>c"},
    )
    await mta.attempts_reached(1)
    await relay.quiet()
    return injected.message_id


async def message_state(relay: RelayHarness) -> State:
    (message,) = await relay.queue()
    return message.state


@JS
async def test_a_message_tells_its_whole_story_and_why_it_leaves_from_its_ip(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """R18, R27."""
    id_ = await deferred(console.relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page, "reader")
        await page.goto(f"/messages/{id_}")
        standing = page.locator("#standing")
        await expect(standing).to_contain_text("Queued")
        await expect(standing).to_contain_text("in 20 min")
        await expect(standing).to_contain_text(WHY)
        await expect(standing.get_by_role("link", name="marketing")).to_be_visible()
        why = page.get_by_role("list", name="Why this IP")
        await expect(why).to_contain_text("ip_pool asked for: marketing")
        await expect(why).to_contain_text("turn 0 goes to 127.0.0.11")
        await expect(why).to_contain_text("pinned to 127.0.0.11 of pool marketing, for every attempt")
        happened = page.get_by_role("list", name="What happened").get_by_role("listitem")
        await expect(happened.nth(0)).to_contain_text("accepted")
        await expect(happened.nth(1)).to_contain_text("delayed")
        await expect(happened.nth(1)).to_contain_text("class 70, Transient Failure (Soft)")
        await expect(happened.nth(1)).to_contain_text("attempt 1 · 127.0.0.1, clear text")
        await expect(page.get_by_text("Spring <script>alert('s')</script>").first).to_be_visible()
        await expect(page.get_by_role("button", name="Hold")).to_have_count(0)


@JS
async def test_a_message_is_held_released_retried_and_cancelled_with_buttons(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    relay = console.relay
    id_ = await deferred(relay, mta)
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto(f"/messages/{id_}")
        await page.get_by_role("button", name="Hold").click()
        await expect(page.get_by_role("status")).to_have_text("Held the message.")
        await expect(page.locator("#standing")).to_contain_text("then it expires, unless it was released")
        assert await message_state(relay) is State.HELD
        await page.get_by_role("button", name="Release").click()
        await expect(page.get_by_role("status")).to_have_text("Released the message: it is due now.")
        await mta.attempts_reached(2)
        await relay.quiet()
        await page.reload()
        await page.get_by_role("button", name="Retry now").click()
        await expect(page.get_by_role("status")).to_have_text("The message is due now.")
        await mta.attempts_reached(3)
        await relay.quiet()
        await page.get_by_role("link", name="Cancel").click()
        await expect(page.get_by_role("heading", name="Cancel this message?")).to_be_visible()
        await page.get_by_role("button", name="Cancel message").click()
        await expect(page.get_by_role("status")).to_have_text("Cancelled the message.")
        await eventually(lambda: _is_gone(relay))
        await page.goto(f"/messages/{id_}")
        story = page.get_by_role("list", name="What happened")
        for words in (
            "held",
            "by user:admin-1",
            "released",
            "retried",
            "cancelled",
            "class 25, Admin Failure (Admin)",
        ):
            await expect(story).to_contain_text(words)
        await expect(page.locator("#standing")).to_contain_text("bounced")
        await expect(page.get_by_role("button", name="Hold")).to_have_count(0)


async def test_a_message_tells_what_its_client_asked_to_be_told(
    page: Page, console: Console, mta: FakeMta
) -> None:
    id_ = await deferred(console.relay, mta)
    await console.sign_in(page, "reader")
    await page.goto(f"/messages/{id_}")
    await expect(page.get_by_text("Reports asked for")).to_have_count(0)

    host, port = console.relay.smtp_address
    async with aiosmtplib.SMTP(hostname=host, port=port, start_tls=False) as client:
        await client.login(*console.relay.login())
        await client.mail("sender@acme.test", options=["RET=HDRS", "ENVID=<b>x"])
        await client.rcpt(TO, options=["NOTIFY=NEVER"])
        await client.data(b"Subject: x\r\n\r\nHello.\r\n")
    await console.relay.quiet()
    asked = next(message.id for message in await console.relay.queue() if message.dsn_request)
    await page.goto(f"/messages/{asked}")
    await expect(page.get_by_text("RET=HDRS ENVID=<b>x NOTIFY=NEVER")).to_be_visible()


async def _is_gone(relay: RelayHarness) -> bool:
    return not await relay.queue()


async def test_an_operator_repins_a_message_and_its_page_tells_who_did(
    page: Page, console: Console, mta: FakeMta
) -> None:
    id_ = await deferred(console.relay, mta)
    async with console.client() as http:
        assert (await http.get(f"/messages/{id_}/repin")).status_code == 403
        assert (await http.post(f"/messages/{id_}/repin", {"to": "127.0.0.12"})).status_code == 403
        assert (await http.post(f"/messages/{id_}/vanish")).status_code == 404
    async with console.client("operator") as http:
        for to in ("", "127.0.0.21", "nonsense"):
            assert (await http.post(f"/messages/{id_}/repin", {"to": to})).status_code == 422
    await console.sign_in(page, "operator")
    await page.goto(f"/messages/{id_}")
    await page.get_by_role("link", name="Re-pin…").click()
    await page.get_by_label("Sending IP to use instead").select_option("127.0.0.13")
    await page.get_by_role("button", name="Re-pin message").click()
    await expect(page.get_by_role("status")).to_have_text("Re-pinned the message.")
    why = page.get_by_role("list", name="Why this IP")
    await expect(why).to_contain_text("pinned to 127.0.0.11")
    await expect(why).to_contain_text("user:operator-1 gave it another sending IP, to 127.0.0.13")
    await expect(page.locator("#standing")).to_contain_text("127.0.0.13")


def link(rule: str) -> str:
    return f'<a href="/guide/rules#{rule.lower()}">{rule}</a>'


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param("move", f"127.0.0.11 was moved to pool receipts since ({link('R28')}).", id="R28"),
        pytest.param(
            "unassign", f"127.0.0.11 was unassigned from the account since ({link('R27')}).", id="R27"
        ),
        pytest.param("delete", f"Pool marketing was deleted since ({link('R29')}).", id="R29"),
        pytest.param("drain", "127.0.0.11 takes no new mail", id="draining"),
    ],
)
async def test_what_became_of_pool_and_ip_is_told_and_the_pin_stays(
    console: Console, mta: FakeMta, change: str, told: str
) -> None:
    relay = console.relay
    id_ = await deferred(relay, mta)
    match change:
        case "move":
            await relay.move_ip("127.0.0.11", "receipts")
        case "unassign":
            await relay.unassign_ip("127.0.0.11")
        case "delete":
            await relay.delete_pool("marketing")
        case _:
            ip = relay.inside.directory.snapshot.ips[IpAddress("127.0.0.11")]
            await relay.apply(Put(replace(ip, is_draining=True)))
    async with console.client("reader") as http:
        text = (await http.get(f"/messages/{id_}")).text
        assert told in text
        assert "The message still leaves from its IP." in text
        assert "127.0.0.11" in text


async def test_messages_of_other_accounts_are_not_there(console: Console, mta: FakeMta) -> None:
    id_ = await deferred(console.relay, mta)
    async with console.client("admin", 2) as http:
        for path in (id_, f"{id_}?all=on", f"{id_}/cancel", "0123", "<script>", "a" * 500):
            answer = await http.get(f"/messages/{path}")
            assert answer.status_code == 404
            assert "<script>" not in answer.text.replace('<script src="/static', "")
        for verb in ("hold", "release", "retry", "cancel"):
            assert (await http.post(f"/messages/{id_}/{verb}?all=on")).status_code == 404
    async with console.client("operator", 2) as http:
        assert (await http.get(f"/messages/{id_}")).status_code == 404
        text = (await http.get(f"/messages/{id_}?all=on")).text
        assert "This message is of the account Acme (1)" in text
        assert f"/messages/{id_}/hold" not in text
        assert (await http.post(f"/messages/{id_}/hold?all=on")).status_code == 404
        moved = await http.post("/act-for", {"account": "1", "next": f"/messages/{id_}"})
        assert moved.headers["location"] == f"/messages/{id_}"
        assert (await http.get(f"/messages/{id_}")).status_code == 200
    assert await message_state(console.relay) is State.QUEUED
    async with console.client("reader") as http:
        assert (await http.post(f"/messages/{id_}/hold")).status_code == 403
        assert (await http.get(f"/messages/{id_}/cancel")).status_code == 403


async def test_what_never_came_to_be_a_message_has_a_page_too(console: Console) -> None:
    """R33: a rejection when the scheduled time has come."""
    relay = console.relay
    async with relay.api(4) as api:
        when = relay.clock.now().replace(microsecond=0).isoformat()
        content = {"from": "a@dogwood.test", "subject": "s", "text": "t"}
        later = f"{when[:11]}23:59:00+00:00"
        answer = await api.post(
            "/transmissions",
            json={
                "recipients": [{"address": "x@gmail.example"}],
                "content": content,
                "options": {"start_time": later, "ip_pool": "quiet"},
            },
        )
        assert answer.status_code == 200, answer.text
    relay.clock.advance(hours=24)

    async def rejected() -> list[str]:
        told = await relay.inside.store.events.recent(50)
        about = [one.event.about for one in told if hasattr(one.event, "about")]
        return [one.message_id for one in about if one.account == 4]

    (id_,) = await eventually(rejected)
    async with console.client("reader", 4) as http:
        answer = await http.get(f"/messages/{id_}")
        assert answer.status_code == 200
        assert "none: it never came to be in the queue" in answer.text
        assert "is empty" in answer.text


async def test_stored_script_is_text_on_the_page_of_a_message(console: Console, mta: FakeMta) -> None:
    relay = console.relay
    hostile = Pool(AccountId(1), PoolId("<script>alert('p')</script>"), "x")
    await relay.apply(Put(hostile))
    await relay.move_ip("127.0.0.11", hostile.id)
    id_ = await deferred(relay, mta, pool=hostile.id)
    async with console.client("operator") as http:
        await http.post(f"/messages/{id_}/hold")
        for path in (f"/messages/{id_}", f"/messages/{id_}/cancel", f"/messages/{id_}/repin"):
            answer = await http.get(path)
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text
            assert "<b>c" not in answer.text
        assert "&lt;script&gt;alert(&#39;s&#39;)" in (await http.get(f"/messages/{id_}")).text


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_page_of_a_message_is_accessible(
    chromium: Browser, console: Console, mta: FakeMta, dark: bool
) -> None:
    id_ = await deferred(console.relay, mta)
    async with visitor(chromium, console.url, dark=dark) as page:
        await console.sign_in(page)
        await page.goto(f"/messages/{id_}")
        await assert_accessible(page)
        await picture(page, "message-dark" if dark else "message")
        if not dark:
            await console.relay.move_ip("127.0.0.11", "receipts")
            await page.set_viewport_size({"width": 390, "height": 800})
            await page.reload()
            await picture(page, "message-390")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await page.get_by_role("link", name="Cancel").click()
            await expect(page.get_by_role("button", name="Cancel message")).to_be_visible()
            await assert_accessible(page)
            await picture(page, "message-cancel-390")
