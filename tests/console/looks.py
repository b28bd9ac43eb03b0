"""How a page looks: pictures of it for people, and axe-core's judgement of it."""

import asyncio
import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.console.browser import find_program

AXE = "axe-core@4"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""WCAG 2.0 to 2.2, levels A and AA."""
GRAVE = ("serious", "critical")
PATIENCE_S = 20
"""playwright waits for ever for what a page evaluates."""
TOUR_WIDTH = 1100


async def picture(page: Page, name: str) -> None:
    """The whole page as name.png in the folder RELAY_PICTURES of the environment; nothing without it."""
    if (path := _place("RELAY_PICTURES", name)) is not None:
        await page.screenshot(path=path, full_page=True, animations="disabled")


async def tour_picture(page: Page, name: str, height: int = 700) -> None:
    """The top of the page as name.png in the folder RELAY_TOUR_PICTURES; nothing without it.

    It is TOUR_WIDTH wide. height: in pixels.
    """
    if (path := _place("RELAY_TOUR_PICTURES", name)) is None:
        return
    before = page.viewport_size
    await page.set_viewport_size({"width": TOUR_WIDTH, "height": height})
    await page.screenshot(path=path, animations="disabled")
    if before is not None:
        await page.set_viewport_size(before)


def _place(variable: str, name: str) -> Path | None:
    if not (folder := os.environ.get(variable)):
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder) / f"{name}.png"


async def assert_accessible(page: Page) -> None:
    """axe-core finds no serious or critical fault by WCAG A and AA in the page as it stands now.

    The page must run scripts. Its Content-Security-Policy does not matter: the debugger brings axe in.
    Raises AssertionError with each fault: the rule, what it asks, and every place where it is broken.
    """
    await page.evaluate(await asyncio.to_thread(_axe))
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await page.evaluate("options => axe.run(document, options)", options)
    except TimeoutError as error:
        raise AssertionError(f"{page.url}: axe does not come to an end; it cannot without scripts") from error
    faults = [_told(fault) for fault in found["violations"] if fault["impact"] in GRAVE]
    assert faults == [], f"{page.url} is not accessible\n" + "\n".join(faults)


async def assert_looks_right(page: Page, name: str) -> None:
    """The page as it stands is accessible in light and dark, and no wider than a desk's window or a phone's.

    Takes the pictures name-1280, name-1280-dark and name-390, and leaves the page light and wide.
    """
    for dark, width in ((False, 390), (True, 1280), (False, 1280)):
        await page.emulate_media(color_scheme="dark" if dark else "light")
        await page.set_viewport_size({"width": width, "height": 800})
        if width > 390:
            await assert_accessible(page)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        await picture(page, f"{name}-{width}{'-dark' if dark else ''}")


def _told(fault: dict[str, Any]) -> str:
    """The rule and what it asks, then each place with what is wrong there."""
    lines = [f"{fault['id']} ({fault['impact']}): {fault['help']}"]
    for node in fault["nodes"]:
        reasons = "; ".join(check["message"] for kind in ("all", "any", "none") for check in node[kind])
        lines.append(f"  {' '.join(map(str, node['target']))} {node['html']}: {reasons}")
    return "\n".join(lines)


@functools.cache
def _axe() -> str:
    """The script as npm brings it; npm keeps what it downloads, so that another run needs no network."""
    npm = find_program("npm", "npm")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", AXE]
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90
        )
        if done.returncode != 0:
            pytest.fail(f"npm cannot install {AXE}: {done.stdout}{done.stderr}")
        return (Path(folder) / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
