"""The kit of this folder, tried on pages whose faults are known."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from relay.net.http_server import HttpServer
from tests.console.browser import visitor
from tests.console.looks import TOUR_WIDTH, assert_accessible, picture, tour_picture

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STYLE = """
:root { color-scheme: light dark }
body { background: #fff; color: #111 } nav { display: none }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } }
@media (max-width: 600px) { nav { display: block } }
"""
HEAD = '<!doctype html><html lang="en"><head><title>Kit</title><link rel="icon" href="data:,">'
GOOD = (
    f'{HEAD}<link rel="stylesheet" href="/kit.css"><script src="/kit.js" defer></script></head>'
    "<body><main><h1>Kit</h1><nav>small</nav><p id=state>plain</p>"
    "<form method=post><label>Name <input name=name></label> <button>Save</button></form></main>"
)
SCRIPT = "document.querySelector('#state').textContent = 'scripted'"


def _with(body: str) -> str:
    return f"{HEAD}</head><body><main><h1>Kit</h1>{body}</main></body></html>"


FAULTY = {
    "inline-style": (_with('<p style="color: red">x</p>'), "Content Security Policy"),
    "inline-script": (_with("<script>1</script>"), "Content Security Policy"),
    "throws": (_with('<script src="/throws.js"></script>'), "uncaught: Error: broken"),
    "rejects": (_with('<script src="/rejects.js"></script>'), "uncaught: Error: nobody waits"),
    "logs": (_with('<script src="/logs.js"></script>'), "console: it is wrong"),
    "missing": (_with('<img src="/nowhere.png" alt="">'), "404 (Not Found) ("),
    "abroad": (_with('<img src="http://elsewhere.test/x.png" alt="">'), "another server is asked"),
}
SCRIPTS = {
    "kit": SCRIPT,
    "throws": "throw new Error('broken')",
    "rejects": "Promise.reject(new Error('nobody waits'))",
    "logs": "console.error('it is wrong')",
}
GREY = _with('<p class="faint">faint</p><input><link rel="stylesheet" href="/grey.css">')


async def _page(request: Request) -> Response:
    name = request.path_params.get("name", "")
    if request.method == "POST":
        return HTMLResponse(GOOD, 422, {"Content-Security-Policy": POLICY})
    text = FAULTY[name][0] if name in FAULTY else {"": GOOD, "grey": GREY}.get(name)
    return HTMLResponse(text or _with("Nothing"), 200 if text else 404, {"Content-Security-Policy": POLICY})


async def _script(request: Request) -> Response:
    return Response(SCRIPTS[request.path_params["name"]], media_type="text/javascript")


async def _style(request: Request) -> Response:
    return Response(
        STYLE if request.path_params["name"] == "kit" else ".faint { color: #ccc }", media_type="text/css"
    )


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def url() -> AsyncIterator[str]:
    """A site with one good page and some others."""
    routes = [
        Route("/{name}.js", _script),
        Route("/{name}.css", _style),
        Route("/", _page, methods=["GET", "POST"]),
        Route("/{name}", _page),
    ]
    server = HttpServer("127.0.0.1", 0, None, 1)
    await server.bind()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run(Starlette(routes=routes)))
        host, port = server.address
        yield f"http://{host}:{port}"
        await server.close()


async def test_a_visitor_works_with_a_good_page(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url) as page:
        await page.goto("/")
        await expect(page.get_by_text("scripted")).to_be_visible()
        await expect(page.get_by_role("navigation")).to_be_hidden()
        await page.get_by_label("Name").fill("Ann")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Kit")).to_be_visible()


async def test_a_page_that_is_itself_refused_is_no_complaint(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url) as page:
        answer = await page.goto("/nowhere")
        assert answer is not None
        assert answer.status == 404


@pytest.mark.parametrize("name", FAULTY)
async def test_what_a_browser_complains_of_ends_the_test(chromium: Browser, url: str, name: str) -> None:
    with pytest.raises(AssertionError) as failed:
        async with visitor(chromium, url) as page:
            await page.goto(f"/{name}")
    assert FAULTY[name][1] in str(failed.value)


async def test_a_complaint_that_a_test_provokes_is_tolerated(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url, tolerated=["it is wrong"]) as page:
        await page.goto("/logs")


async def test_another_window_of_the_same_visitor_is_heard_too(chromium: Browser, url: str) -> None:
    async def open_another() -> None:
        async with visitor(chromium, url) as page:
            other = await page.context.new_page()
            await other.goto("/logs")

    with pytest.raises(AssertionError, match="it is wrong"):
        await open_another()


async def test_a_failed_test_tells_of_its_own_failure(chromium: Browser, url: str) -> None:
    async def fail() -> None:
        async with visitor(chromium, url) as page:
            await page.goto("/logs")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()


async def test_visitors_do_not_share_cookies(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url) as one, visitor(chromium, url) as other:
        await one.context.add_cookies([{"name": "a", "value": "b", "url": url}])
        assert (len(await one.context.cookies()), await other.context.cookies()) == (1, [])


async def test_a_visitor_without_scripts_sees_the_page_as_it_was_sent(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url, js=False) as page:
        await page.goto("/")
        await expect(page.get_by_text("plain")).to_be_visible()
    with pytest.raises(AssertionError, match="Content Security Policy"):
        async with visitor(chromium, url, js=False) as page:
            await page.goto("/inline-style")


async def test_a_visitor_may_like_it_dark_and_narrow(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url, dark=True, width=390) as page:
        await page.goto("/")
        await expect(page.get_by_role("navigation")).to_be_visible()
        await expect(page.locator("body")).to_have_css("background-color", "rgb(17, 17, 17)")
        await assert_accessible(page)


async def test_a_good_page_is_accessible_under_a_strict_policy(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url) as page:
        await page.goto("/")
        await assert_accessible(page)


async def test_grave_faults_are_named_with_their_place(chromium: Browser, url: str) -> None:
    async with visitor(chromium, url) as page:
        await page.goto("/grey")
        with pytest.raises(AssertionError) as failed:
            await assert_accessible(page)
    told = str(failed.value)
    assert f"{url}/grey is not accessible" in told
    assert "color-contrast (serious): " in told
    assert '  p <p class="faint">faint</p>: Element has insufficient color contrast of 1.6' in told
    assert "label (critical): " in told
    assert "  input <input>: " in told


async def test_pictures_go_to_the_folder_that_the_environment_names(
    chromium: Browser, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELAY_PICTURES", raising=False)
    monkeypatch.delenv("RELAY_TOUR_PICTURES", raising=False)
    async with visitor(chromium, url) as page:
        await page.goto("/")
        await picture(page, "none")
        await tour_picture(page, "none")
        monkeypatch.setenv("RELAY_PICTURES", str(tmp_path / "all"))
        monkeypatch.setenv("RELAY_TOUR_PICTURES", str(tmp_path / "tour"))
        await picture(page, "kit")
        await tour_picture(page, "kit", 300)
        assert page.viewport_size == {"width": 1280, "height": 800}
    assert _sizes(tmp_path) == {"all/kit.png": (1280, 800), "tour/kit.png": (TOUR_WIDTH, 300)}


def _sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Width and height of each picture, as the header of the PNG says."""
    return {
        path.relative_to(folder).as_posix(): struct.unpack(">II", path.read_bytes()[16:24])
        for path in folder.rglob("*.png")
    }


async def test_text_has_glyphs(chromium: Browser, url: str) -> None:
    """Without a font every character is the same box."""
    async with visitor(chromium, url) as page:
        await page.goto("/")
        widths = await page.evaluate(
            "['iiii', 'WWWW'].map(text => new OffscreenCanvas(1, 1).getContext('2d').measureText(text).width)"
        )
        assert 0 < widths[0] < widths[1]
