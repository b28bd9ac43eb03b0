"""Account → SMTP Settings: what a program needs, and lines that send as they stand there."""

import asyncio
import shlex

import pytest
from playwright.async_api import Browser, expect

from relay.domain.changes import Put
from relay.domain.directory import Check, Origin, SendingDomain
from relay.domain.ids import AccountId
from relay.frames.services import Entrance
from relay.resources.accounts.smtp_pages import KEY, doors_of
from relay.sink.fake_mta import FakeMta
from tests.console.browser import visitor
from tests.console.site import Console

BOTH = pytest.mark.parametrize("js", [True, False], ids=["with scripts", "without"])
TO = "someone@example.com"


async def _run(text: str, *changes: tuple[str, str]) -> None:
    """What a person does with the lines: puts their own values in, and lets the shell have them."""
    for old, new in changes:
        text = text.replace(old, new)
    words = shlex.split(text.replace("\\\n", " "))
    child = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        printed, _ = await child.communicate()
    assert child.returncode == 0, printed.decode(errors="replace")


@BOTH
async def test_the_examples_on_the_page_send_mail_from_the_pool_chosen(
    chromium: Browser, console: Console, mta: FakeMta, js: bool
) -> None:
    """R18, R19: swaks, Python and curl, as they stand there, with a key put in."""
    relay = console.relay
    host, port = relay.smtp_address
    key = await relay.make_key(1, ["smtp/inject", "transmissions/modify"])
    async with visitor(chromium, console.url, js=js) as page:
        await console.sign_in(page)
        await page.goto("/account/smtp")
        await expect(page.get_by_role("definition").first).to_have_text(host)
        await expect(page.get_by_text("AUTH LOGIN", exact=True)).to_be_visible()
        await expect(page.get_by_text("SMTP_Injection", exact=True)).to_be_visible()
        await page.get_by_label("IP Pool").select_option("Receipts (id: receipts)")
        if not js:
            await page.get_by_role("button", name="Show").click()
        await expect(page.get_by_label("X-MSYS-API header")).to_have_text(
            'X-MSYS-API: {"options": {"ip_pool": "receipts"}}'
        )
        swaks = await page.get_by_label("swaks").inner_text()
        script = await page.get_by_label("Python").inner_text()
        curl = await page.get_by_label("REST with curl").inner_text()
    assert f"--server {host} --port {port} --tls" in swaks
    assert f"curl {console.url}/api/v1/transmissions" in curl
    await _run(swaks, (KEY, key), (TO, "swaks@gmail.example"))
    await _run(f"curl --fail -s {curl.removeprefix('curl')}", (KEY, key), (TO, "curl@gmail.example"))
    await _run(
        f"python3 -c {shlex.quote(script)}".replace("\\\n", " "), (KEY, key), (TO, "python@gmail.example")
    )
    await mta.attempts_reached(3)
    for program in ("swaks", "curl", "python"):
        (attempt,) = mta.attempts_for(f"{program}@gmail.example")
        assert (attempt.peer_ip, attempt.is_accepted) == ("127.0.0.13", True), program


async def test_the_examples_use_a_domain_that_the_account_may_send_from(console: Console) -> None:
    verified = SendingDomain(AccountId(1), "ok.example", dkim_status=Check.VALID, origin=Origin.LIVE)
    await console.relay.apply(Put(verified))
    async with console.client() as http:
        text = (await http.get("/account/smtp")).text
        assert "--from you@ok.example" in text
        assert "X-MSYS-API" not in text
        unknown = await http.get("/account/smtp", pool="news")
        assert "IP Pool &#39;news&#39; does not exist." in unknown.text
        assert "SMTP_Injection:X-MSYS-SUBACCOUNT=123" in text


def test_a_listener_on_all_addresses_is_named_by_the_host() -> None:
    doors = doors_of(Entrance("mx.example", (("0.0.0.0", 587), ("::", 2525)), (("10.0.0.1", 465),), False))
    assert [(door.host, door.port, door.is_tls) for door in doors] == [
        ("mx.example", 587, False),
        ("mx.example", 2525, False),
        ("10.0.0.1", 465, True),
    ]
