"""A real Chromium for tests of the web console, and the people who visit with it."""

import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    async_playwright,
)

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Whatever a page names, nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
PATIENCE_MS = 5000
"""How long an element may take to appear."""
_PLACES = "/usr/local/bin:/usr/bin:/bin"
_HTTP_REFUSAL = re.compile(r"Failed to load resource: the server responded with a status of \d+")


def find_program(name: str, package: str) -> str:
    """The path of a program that a test needs. Its absence fails the test, with the way to mend it."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PLACES}")
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install --no-install-recommends {package}")
    return path


@asynccontextmanager
async def open_chromium() -> AsyncIterator[Browser]:
    """One process of the system's Chromium; it belongs to the loop that opened it."""
    program = find_program("chromium", "chromium")
    async with (
        async_playwright() as driver,
        await driver.chromium.launch(executable_path=program, args=list(FLAGS)) as browser,
    ):
        yield browser


@asynccontextmanager
async def visitor(
    chromium: Browser,
    url: str,
    *,
    js: bool = True,
    dark: bool = False,
    width: int = 1280,
    height: int = 800,
    tolerated: Sequence[str] = (),
) -> AsyncIterator[Page]:
    """A person at url in a window of their own: nobody else's cookies, and `page.goto("/queue")` stays there.

    At the end, raises AssertionError with what the browser complained of: an uncaught error or a console
    error of any page (a violated Content-Security-Policy is one), a resource that failed to load, a request
    to another server. That a page itself is answered with 4xx or 5xx is for the test to judge.
    tolerated: parts of complaints that the test provokes.
    """
    context = await chromium.new_context(
        base_url=url,
        java_script_enabled=js,
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    async with context:
        context.set_default_timeout(PATIENCE_MS)
        complaints = _Complaints(url, tuple(tolerated))
        complaints.listen(context)
        yield await context.new_page()
        # Complaints come before the answers to what is asked after them.
        for page in context.pages:
            await page.evaluate("0")
        assert complaints.told == [], "\n".join(complaints.told)


# No slots: playwright 1.65 keeps what it wraps a bound method in as an attribute of the object.
@dataclass
class _Complaints:
    """What the browser has to say against the pages of one window."""

    url: str
    tolerated: tuple[str, ...]
    told: list[str] = field(default_factory=list)
    _documents: set[str] = field(default_factory=set)

    def listen(self, context: BrowserContext) -> None:
        context.on("request", self._hear_request)
        context.on("console", self._hear_console)
        context.on("weberror", self._hear_error)

    def _tell(self, complaint: str) -> None:
        if not any(part in complaint for part in self.tolerated):
            self.told.append(complaint)

    def _hear_request(self, request: Request) -> None:
        if request.is_navigation_request():
            self._documents.add(request.url)
        if not request.url.startswith((self.url.rstrip("/") + "/", "data:", "blob:", "about:")):
            self._tell(f"another server is asked: {request.method} {request.url}")

    def _hear_console(self, message: ConsoleMessage) -> None:
        place = message.location["url"]
        is_of_page = _HTTP_REFUSAL.match(message.text) is not None and place in self._documents
        if message.type in {"error", "assert"} and not is_of_page:
            self._tell(f"console: {message.text} ({place})")

    def _hear_error(self, error: WebError) -> None:
        self._tell(f"uncaught: {error.error.stack or error.error}")
