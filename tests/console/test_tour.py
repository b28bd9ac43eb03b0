"""The click path of docs/tour.md on the shipped lab, from the first operator's link."""

import asyncio
import re
import smtplib
from pathlib import Path

from playwright.async_api import Browser, expect

from relay.sink.fake_mta import FakeMta
from relay.testing.process import RelayProcess
from tests.console.browser import visitor
from tests.console.looks import tour_picture

LAB = Path(__file__).parent.parent.parent / "config" / "directory.toml"
ROLES = {"": {"roles": ["smtp", "api", "web", "egress", "feed"]}}
PASSWORD = "correct horse battery staple"
MAIL = "From: shop@spring.example\r\nTo: bob@example.com\r\nSubject: Spring is here\r\n\r\nTulips!\r\n"


async def test_a_newcomer_buys_two_ips_sends_through_them_and_finds_the_story(
    chromium: Browser, tmp_path: Path, mta: FakeMta
) -> None:
    """R3-R11, R17, R23-R26: from the one-time link to "why this IP"."""
    directory = _towards(LAB.read_text(encoding="utf-8"), mta.address)
    async with RelayProcess(tmp_path, mta.address, directory=directory, settings=ROLES) as relay:
        link = (await relay.run_cli("user", "first-link")).out.strip()
        host, port = relay.http_address
        async with visitor(chromium, f"http://{host}:{port}") as page:
            await page.goto(link)
            await tour_picture(page, "1-welcome")
            await page.get_by_label("New password").fill(PASSWORD)
            await page.get_by_label("The same again").fill(PASSWORD)
            await page.get_by_role("button", name="Set password and sign in").click()
            await page.get_by_label("Account", exact=True).select_option(label="Birch (2)")
            await expect(page.get_by_role("status")).to_have_text("You now act for Birch.")

            await page.get_by_role("link", name="Billing").click()
            await tour_picture(page, "2-billing")
            await page.get_by_role("link", name="Purchase Sending IPs").click()
            dialog = page.get_by_role("dialog", name="Purchase Sending IPs")
            await dialog.get_by_label("Quantity").fill("2")
            await dialog.get_by_label("Name your new IP Pool").fill("Spring Sale")
            await expect(dialog.get_by_text("spring_sale")).to_be_visible()
            await tour_picture(page, "3-purchase", 820)
            await dialog.get_by_role("button", name="Confirm Purchases").click()
            await expect(page.locator(".toast")).to_contain_text("Successfully added 2 dedicated IPs!")
            await tour_picture(page, "4-purchased")

            await page.get_by_role("link", name="Subaccounts").click()
            await page.get_by_role("link", name="Create Subaccount").first.click()
            await page.get_by_label("Subaccount Name").fill("Spring shop")
            await page.get_by_label("IP Pool Id").select_option("spring_sale")
            await page.get_by_label("Key Name").fill("shop server")
            await tour_picture(page, "5-subaccount", 860)
            await page.get_by_role("button", name="Create Subaccount").click()
            key = (await page.locator(".copyable pre").first.inner_text()).strip()
            assert re.fullmatch(r"[0-9a-f]{40}", key)

            await asyncio.to_thread(_send, (relay.host, relay.port), key)
            (attempt,) = await mta.attempts_reached(1)

            await page.get_by_role("link", name="Events").click()
            await expect(page.get_by_role("row", name="delivered")).to_be_visible()
            await tour_picture(page, "6-events", 860)
            await (
                page.get_by_role("row", name="delivered").get_by_role("link", name="bob@example.com").click()
            )
            why = page.get_by_role("list", name="Why this IP")
            await expect(why).to_contain_text("is bound to pool spring_sale")
            await expect(why).to_contain_text(attempt.peer_ip)
            await expect(page.get_by_role("list", name="What happened")).to_contain_text("250")
            await tour_picture(page, "7-story", 900)

            await page.get_by_role("link", name="IP Pools").click()
            await page.get_by_role("link", name="Spring Sale").first.click()
            await expect(page.get_by_role("link", name=attempt.peer_ip)).to_be_visible()
            await tour_picture(page, "8-pool")


def _towards(directory: str, smarthost: str) -> str:
    """The lab with this next hop instead of the sink of `make run`."""
    assert '"127.0.0.1:2526"' in directory
    return directory.replace('"127.0.0.1:2526"', f'"{smarthost}"')


def _send(address: tuple[str, int], key: str) -> None:
    """As the shop's server: the key and nothing else says which pool."""
    with smtplib.SMTP(*address, timeout=20) as smtp:
        smtp.login("SMTP_Injection", key)
        smtp.sendmail("shop@spring.example", ["bob@example.com"], MAIL)
