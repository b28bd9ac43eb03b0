"""What another site, another account or a reader might try: forged forms, fixed sessions, frames."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from starlette.routing import Route

from relay.domain.changes import Put
from relay.domain.directory import SendingDomain, Subaccount
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.users import Role
from relay.frames.console.app import build_console
from relay.frames.services import Services
from relay.frames.sign_in import csrf_of
from relay.process.mount import VIEWS
from relay.resources.api_keys.rules import key_id
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.console.site import PASSWORD, SESSION_COOKIE, Console

ROUTES = [route for pages in VIEWS for route in pages.routes]
OPEN_TO_ALL = ("/sign-in",)
VISITOR_COOKIE = "relay_visitor"
"""Of whoever has not signed in."""


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
        first = await http.get("/")
        assert (first.status_code, 'action="/sign-in"' in first.text) == (200, True)
        for path in walk("GET"):
            if path == "/":
                continue
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


async def test_nobody_is_signed_in_as_somebody_else_by_a_form_of_another_site(console: Console) -> None:
    """No cookie comes along with such a form, and anybody can make the token of none."""
    _, link = await console.sign_ins.add_user("mallory", Role.ADMIN, AccountId(2), "test")
    for path in ("/sign-in", f"/sign-in/link/{link}"):
        for cookies in ({}, {VISITOR_COOKIE: ""}):
            async with httpx.AsyncClient(base_url=console.url, cookies=cookies) as http:
                form = {"csrf": csrf_of(""), "name": "mallory", "password": PASSWORD, "again": PASSWORD}
                answer = await http.post(path, data=form)
            assert answer.status_code == 403, path
            assert "did not come from this console" in answer.text, path


async def test_a_browser_that_says_the_form_came_from_another_site_is_believed(console: Console) -> None:
    token = await session(console, Role.OPERATOR)
    async with client(console, token) as http:
        for site in ("cross-site", "same-site"):
            good = {"csrf": csrf_of(token), "account": "2", "next": "/"}
            answer = await http.post("/act-for", data=good, headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 403


def test_no_form_with_a_token_is_sent_as_an_address() -> None:
    """Addresses stay in histories and in the logs of proxies."""
    forms = re.compile(r"<form\b.*?</form>", re.DOTALL)
    found = 0
    for template in Path(str(files("relay"))).rglob("*.html"):
        for form in forms.findall(template.read_text(encoding="utf-8")):
            if "kit.guard" in form or "kit.csrf" in form or 'name="csrf"' in form:
                found += 1
                assert re.match(r'<form method="post"', form), template
                assert "formmethod" not in form, template
    assert found > 20


async def test_counting_what_would_be_repinned_starts_nothing(console: Console) -> None:
    async with console.client("operator") as http:
        looked = await http.post("/queue/bulk/repin", {"to": "127.0.0.12", "look": "on"})
    assert looked.status_code == 200
    assert "would touch 0 messages" in looked.text
    assert console.relay.inside.http.bulk.of(AccountId(1)) == []


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


async def test_no_host_field_makes_a_page_of_an_account_one_of_the_installation(console: Console) -> None:
    """Both are made by the same code, which must not ask the client where it is."""
    token = await session(console, Role.ADMIN)
    await session(console, Role.OPERATOR)
    async with client(console, token) as http:
        for host in ("x/operate/", "x/operate/users?", "[", "evil.example"):
            shown = await http.get("/account/users", headers={"Host": host})
            assert "operator of 1" not in shown.text, host
            form = {"csrf": csrf_of(token), "name": "root", "role": "operator"}
            made = await http.post("/account/users/create", data=form, headers={"Host": host})
            assert made.status_code == 422, host
            assert "evil" not in shown.text
    assert "root" not in [user.name for user in await console.sign_ins.users()]


async def test_a_bug_is_told_as_a_page_with_a_reference_and_the_usual_headers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = build_console(cast(Services, SimpleNamespace(is_secure=False)), VIEWS)
    transport, cookies = httpx.ASGITransport(broken), {SESSION_COOKIE: "x"}
    async with httpx.AsyncClient(transport=transport, base_url="http://relay", cookies=cookies) as http:
        with caplog.at_level(logging.ERROR):
            answer = await http.get("/queue")
    assert answer.status_code == 500
    assert "AttributeError" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    (record,) = [record for record in caplog.records if record.name == "relay.web"]
    reference = re.search(r"<code>(\w+)</code>", answer.text)
    assert reference is not None
    assert f"reference={reference[1]} " in record.getMessage()
    assert record.exc_info is not None


async def test_a_form_that_breaks_off_is_no_bug(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody could fill the log with them."""
    reader, writer = await asyncio.open_connection(*console.relay.http_address)
    writer.write(
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname="
    )
    writer.write_eof()
    with caplog.at_level(logging.WARNING):
        await reader.read()
        writer.close()
        async with client(console) as http:
            assert (await http.get("/sign-in")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


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
        assert (await http.get("/profile")).status_code == 200
        await http.post("/sign-out", data={"csrf": csrf_of(token)})
    async with client(console, token) as http:
        assert (await http.get("/profile")).status_code == 303


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


async def things_of_birch(console: Console, mta: FakeMta) -> Mapping[str, str]:
    """What account 2 has, for each name in a path, after the part of the console where it is."""
    relay, number = console.relay, AccountId(2)
    await relay.apply(
        Put(Subaccount(number, SubaccountId(77), "Birch's own")),
        Put(SendingDomain(number, "birch-own.example")),
    )
    mta.answer("e@birch-rcpt.example", "450 4.2.1 birch's reply")
    injected = await relay.inject("e@birch-rcpt.example", account=2, ip_pool="news")
    await mta.attempts_reached(1)
    await relay.quiet()
    async with console.client("admin", account=2) as theirs:
        run = (await theirs.post("/queue/bulk/retry")).headers["location"].rpartition("/")[2]
        form = {"key_label": "birch", "permissions": "all"}
        made = await theirs.post("/account/api-keys/create", form)
    snapshot = relay.inside.directory.snapshot
    (user,) = await console.sign_ins.users(number)
    (signed_in, *_) = await console.sign_ins.sessions(user)
    return {
        "pool": "news",
        "ip": "127.0.0.21",
        "domain": "birch-own.example",
        "key": next(key_id(key) for key in snapshot.keys.values() if key.account == number),
        "verb": "hold",
        "name": made.headers["location"].rpartition("/")[2],
        "messages/id": injected.message_id,
        "runs/id": run,
        "subaccounts/id": "77",
        "users/id": str(user.id),
        "sessions/id": signed_in.id,
        "invoices/id": f"2-{relay.clock.now():%Y%m}01",
    }


async def test_nothing_of_another_account_is_found_by_its_name_on_any_route(
    console: Console, mta: FakeMta
) -> None:
    known = await things_of_birch(console, mta)
    token = await session(console, Role.ADMIN)
    before, runs = await state(console.relay), console.relay.inside.http.bulk.of(AccountId(2))
    async with client(console, token) as http:
        for method in ("GET", "POST"):
            for path in [path for path in walk(method) if "{" in path and not path.startswith("/operate")]:
                if path == "/queue/bulk/{verb}":
                    continue  # Its verb is nobody's; whose mail it is done to, the next test shows.
                part = next((key for key in known if "/" in key and key.split("/")[0] in path), "")
                asked = concrete(path, **known, id=known.get(part, "1"))
                form = {"csrf": csrf_of(token), "pool": "default", "name": "Mine", "status": "terminated"}
                answer = await (http.get(asked) if method == "GET" else http.post(asked, data=form))
                # Re-pinning is for operators; of a secret nobody says more than that it is not shown.
                assert answer.status_code in (403 if "repin" in path else 404, 410), (method, asked)
                assert "irch" not in answer.text.replace(asked, ""), (method, asked)
    assert await state(console.relay) == before
    assert console.relay.inside.http.bulk.of(AccountId(2)) == runs


@pytest.mark.parametrize("role", [Role.ADMIN, Role.READER])
async def test_only_operators_see_all_accounts(console: Console, mta: FakeMta, role: Role) -> None:
    known = await things_of_birch(console, mta)
    everywhere = {"ip": "127.0.0.21", "pool": "news", "subaccount": "77"}
    async with client(console, await session(console, role)) as http:
        for path in ("/", "/queue", "/queue/messages", "/events", "/events.csv", "/explain", "/queue/runs"):
            for query in ({}, {"by": "domain"}, everywhere, {"messages": known["messages/id"]}):
                answer = await http.get(path, params={"all": "on", "account": "2", **query})
                assert answer.status_code in (200, 422), path
                assert "birch" not in answer.text, (path, query)
    async with client(console, await session(console, Role.OPERATOR)) as http:
        for path in ("/queue/messages", "/events", "/events.csv"):
            assert "e@birch-rcpt.example" in (await http.get(path, params={"all": "on"})).text, path


async def test_a_verb_on_all_mail_is_done_to_the_mail_of_ones_own_account(
    console: Console, mta: FakeMta
) -> None:
    await things_of_birch(console, mta)
    async with console.client("admin") as http:
        form = {"all": "on", "account": "2", "ip": "127.0.0.21"}
        answer = await http.post("/queue/bulk/cancel", form)
        run = await http.get(answer.headers["location"])
    assert "0 messages touched" in run.text
    (message,) = await console.relay.queue()
    assert message.rcpt_to == "e@birch-rcpt.example"


def test_every_route_is_on_the_walk() -> None:
    """The tests above see all pages, since each part is listed."""
    assert all(isinstance(route, Route) for route in ROUTES)
    assert len(walk("GET")) > 5
