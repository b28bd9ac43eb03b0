"""What another site, another account or a reader might try: forged forms, fixed sessions, frames."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.routing import Route

from relay.domain.ids import AccountId
from relay.domain.users import Role
from relay.service.sign_in import csrf_of
from relay.testing.harness import RelayHarness
from relay.web.views import VIEWS
from tests.console.site import PASSWORD, SESSION_COOKIE, Console

ROUTES = [route for pages in VIEWS for route in pages.routes]
OPEN_TO_ALL = ("/sign-in",)


def walk(method: str) -> list[str]:
    """All paths that take the method, but those for people who have not signed in."""
    return sorted(
        {
            route.path
            for route in ROUTES
            if method in (route.methods or ()) and not route.path.startswith(OPEN_TO_ALL)
        }
    )


def concrete(path: str, **values: str) -> str:
    """The path of a route with something for each of its names."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values.get(found[1], "1"), path)


@asynccontextmanager
async def client(console: Console, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    cookies = {SESSION_COOKIE: token} if token else {}
    async with httpx.AsyncClient(base_url=console.url, cookies=cookies, timeout=20) as http:
        yield http


async def session(console: Console, role: Role, account: int = 1) -> str:
    """The token of somebody who has just signed in."""
    belongs_to = None if role is Role.OPERATOR else AccountId(account)
    _, link = await console.sign_ins.add_user(f"{role.value} of {account}", role, belongs_to, "test")
    return await console.sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "test")


async def state(relay: RelayHarness) -> object:
    """All that a person can change, and how often it was."""
    inside = relay.inside
    snapshot = await inside.store.directory.snapshot()
    return snapshot, await inside.store.directory.audit(1), await relay.queue()


async def test_nobody_sees_or_changes_anything_without_signing_in(console: Console) -> None:
    before = await state(console.relay)
    async with client(console) as http:
        for path in walk("GET"):
            answer = await http.get(concrete(path))
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in"), path
        for path in walk("POST"):
            answer = await http.post(concrete(path), data={"name": "x"})
            assert answer.status_code == 303, path
            assert answer.headers["location"] == "/sign-in", path
    assert await state(console.relay) == before


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({}, id="no token"),
        pytest.param({"csrf": ""}, id="an empty token"),
        pytest.param({"csrf": csrf_of("another session")}, id="another session's token"),
    ],
)
async def test_a_form_that_did_not_come_from_the_console_is_refused(
    console: Console, forged: dict[str, str]
) -> None:
    token = await session(console, Role.OPERATOR)
    before = await state(console.relay)
    async with client(console, token) as http:
        for path in walk("POST"):
            answer = await http.post(concrete(path), data=forged)
            assert answer.status_code == 403, path
            assert "did not come from this console" in answer.text, path
    assert await state(console.relay) == before


async def test_a_browser_that_says_the_form_came_from_another_site_is_believed(console: Console) -> None:
    token = await session(console, Role.OPERATOR)
    async with client(console, token) as http:
        for site in ("cross-site", "same-site"):
            good = {"csrf": csrf_of(token), "account": "2", "next": "/"}
            answer = await http.post("/act-for", data=good, headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 403


async def test_a_form_shown_for_another_account_changes_nothing(console: Console) -> None:
    """An operator chose another account in a second window."""
    token = await session(console, Role.OPERATOR)
    await console.sign_ins.act_for(token, AccountId(2))
    before = await state(console.relay)
    async with client(console, token) as http:
        form = {"csrf": csrf_of(token), "for_account": "1", "name": "Mine"}
        answer = await http.post("/account/ip-pools/create", data=form)
    assert answer.status_code == 409
    assert await state(console.relay) == before


async def test_a_reader_changes_nothing(console: Console) -> None:
    token = await session(console, Role.READER)
    before = await state(console.relay)
    own = ("/sign-out", "/profile/")
    async with client(console, token) as http:
        for path in walk("POST"):
            if not path.startswith(own):
                answer = await http.post(concrete(path), data={"csrf": csrf_of(token)})
                assert answer.status_code == 403, path
    assert await state(console.relay) == before


async def test_pages_for_operators_are_closed_to_others(console: Console) -> None:
    token = await session(console, Role.ADMIN)
    async with client(console, token) as http:
        for path in [path for path in walk("GET") if path.startswith("/operate")]:
            assert (await http.get(concrete(path))).status_code == 403, path
        for path in [path for path in walk("POST") if path.startswith(("/operate", "/act-for"))]:
            answer = await http.post(concrete(path), data={"csrf": csrf_of(token), "account": "2"})
            assert answer.status_code == 403, path


async def test_every_page_forbids_frames_scripts_from_elsewhere_and_keeping(console: Console) -> None:
    """Clickjacking, injected scripts, and the next person at the same machine."""
    token = await session(console, Role.OPERATOR)
    async with client(console, token) as http:
        for path in [*walk("GET"), "/no-such-page"]:
            answer = await http.get(concrete(path))
            assert answer.status_code < 500, path
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store", path
            assert " style=" not in answer.text, path
            assert "<script>" not in answer.text, path
            assert not re.search(r"""(src|href|action)=["'](https?:)?//""", answer.text), path


async def test_signing_in_makes_a_new_session_and_ends_the_one_that_was_brought_along(
    console: Console,
) -> None:
    """Session fixation: whoever put a token into the browser is left with nothing."""
    planted = await session(console, Role.READER)
    _, link = await console.sign_ins.add_user("ann", Role.ADMIN, AccountId(1), "test")
    await console.sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "test")
    async with client(console) as http:
        shown = await http.get("/sign-in")
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', shown.text)
        assert found is not None
        http.cookies.set(SESSION_COOKIE, planted)
        form = {"csrf": found[1], "name": "ann", "password": PASSWORD, "next": "/profile"}
        answer = await http.post("/sign-in", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/profile")
        given = answer.cookies[SESSION_COOKIE]
    assert given != planted
    assert await console.sign_ins.of(planted) is None
    signed_in = await console.sign_ins.of(given)
    assert signed_in is not None
    assert signed_in.user.name == "ann"


async def test_the_session_cookie_is_closed_to_scripts_and_to_other_sites(console: Console) -> None:
    _, link = await console.sign_ins.add_user("ann", Role.ADMIN, AccountId(1), "test")
    async with client(console) as http:
        shown = await http.get(f"/sign-in/link/{link}")
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', shown.text)
        assert found is not None
        form = {"csrf": found[1], "password": PASSWORD, "again": PASSWORD}
        answer = await http.post(f"/sign-in/link/{link}", data=form)
    (cookie,) = [value for value in answer.headers.get_list("set-cookie") if value.startswith(SESSION_COOKIE)]
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert "domain" not in cookie.lower()


@pytest.mark.parametrize(
    "asked",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=1",
        "",
    ],
)
async def test_after_signing_in_nobody_is_sent_to_another_site(console: Console, asked: str) -> None:
    token = await session(console, Role.ADMIN)
    async with client(console, token) as http:
        answer = await http.get("/sign-in", params={"next": asked})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_a_session_that_was_signed_out_is_dead_everywhere(console: Console) -> None:
    token = await session(console, Role.ADMIN)
    async with client(console, token) as http:
        assert (await http.get("/")).status_code == 200
        await http.post("/sign-out", data={"csrf": csrf_of(token)})
    async with client(console, token) as http:
        assert (await http.get("/")).status_code == 303


OTHERS: list[tuple[str, dict[str, str]]] = [
    ("/account/ip-pools/edit/{pool}", {"pool": "news"}),
    ("/account/ip-pools/edit/{pool}/delete", {"pool": "news"}),
    ("/account/ip-pools/edit/{pool}/{ip}", {"pool": "news", "ip": "127.0.0.21"}),
    ("/account/ip-pools/edit/{pool}/{ip}", {"pool": "marketing", "ip": "127.0.0.21"}),
]
"""What account 2 has, under addresses that account 1 might try. Each part's tests have more."""


@pytest.mark.parametrize(("path", "values"), OTHERS)
async def test_what_another_account_has_is_not_there(
    console: Console, path: str, values: dict[str, str]
) -> None:
    token = await session(console, Role.ADMIN)
    async with client(console, token) as http:
        theirs = await http.get(concrete(path, **values))
        nobodys = await http.get(concrete(path, pool="nowhere", ip="127.0.0.250"))
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text == nobodys.text


def test_every_route_is_on_the_walk() -> None:
    """The tests above see all pages, since each part is listed."""
    assert all(isinstance(route, Route) for route in ROUTES)
    assert len(walk("GET")) > 5
