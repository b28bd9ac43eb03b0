"""Who answers what is asked at the wrong path: programs are told where the API is, people get a page."""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from relay.domain.users import Role
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness

KEY = "c100000000000000000000000000000000000001"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"}
HINTS = {
    "api": "; the API is under /api/v1",
    "api web": "; the API is under /api/v1",
    "web": "; this process has no role api, which answers under /api/v1",
}


@asynccontextmanager
async def client(folder: Path, mta: FakeMta, roles: str) -> AsyncIterator[httpx.AsyncClient]:
    async with RelayHarness(folder, mta, settings={"": {"roles": roles.split()}}) as relay:
        url = relay.inside.http_url
        assert url is not None
        async with httpx.AsyncClient(base_url=url) as http:
            http.headers.pop("accept")
            yield http


def basic(user: str, password: str = "") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


BY_PROGRAM: Mapping[str, Mapping[str, str]] = {
    "a body of JSON": {"Content-Type": "Application/JSON; charset=utf-8"},
    "JSON wanted": {"Accept": "application/json, text/plain, */*"},
    "a key": {"Authorization": KEY},
    "a key in capitals": {"Authorization": KEY.upper()},
    "a key behind a scheme": {"Authorization": f"Bearer {KEY}"},
    "a key by HTTP Basic": {"Authorization": basic(KEY)},
    "a key, and a page wanted": {**BROWSER, "Authorization": KEY},
}
BY_PERSON: Mapping[str, Mapping[str, str]] = {
    "nothing said": {},
    "a browser": BROWSER,
    "a form": {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"},
    "anything wanted": {"Accept": "*/*"},
    "a proxy's password": {**BROWSER, "Authorization": basic("ann", "secret")},
    "a proxy's token": {**BROWSER, "Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
    "no base64": {**BROWSER, "Authorization": "Basic ===="},
}


@pytest.mark.parametrize("roles", HINTS)
async def test_a_program_at_the_wrong_path_is_told_the_right_one(
    tmp_path: Path, mta: FakeMta, roles: str
) -> None:
    async with client(tmp_path, mta, roles) as http:
        for kind, headers in BY_PROGRAM.items():
            for method, path in (
                *(
                    ("POST", "/transmissions"),
                    ("GET", "/suppression-list?per_page=1"),
                    ("DELETE", "/webhooks/1"),
                ),
                *(
                    ("PUT", "/ip-pools/x/"),
                    ("PATCH", "/v1/account"),
                    ("OPTIONS", "/transmissions"),
                    ("POST", "/"),
                ),
            ):
                answer = await http.request(method, path, headers=headers, content=b"{}")
                bare = path.partition("?")[0].rstrip("/") or "/"
                assert answer.status_code == 404, (kind, method, path)
                assert answer.headers["content-type"] == "application/json", (kind, method, path)
                assert answer.json() == {
                    "errors": [
                        {
                            "message": "resource not found",
                            "description": f"Resource not found:{bare}{HINTS[roles]}",
                            "code": "1600",
                        }
                    ]
                }
            answer = await http.head("/transmissions", headers=headers)
            assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("roles", HINTS)
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2/transmissions", "/api/transmissions"])
async def test_what_is_under_api_is_of_programs_whoever_asks(
    tmp_path: Path, mta: FakeMta, roles: str, path: str
) -> None:
    async with client(tmp_path, mta, roles) as http:
        for headers in ({}, BROWSER, {"Authorization": KEY}):
            for method in ("GET", "POST", "DELETE"):
                answer = await http.request(method, path, headers=headers)
                (problem,) = answer.json()["errors"]
                assert (answer.status_code, problem["message"]) == (404, "resource not found")
                assert problem["description"] == f"Resource not found:{path.rstrip('/')}{HINTS[roles]}"


@pytest.mark.parametrize("roles", ["web", "api web"])
async def test_a_person_gets_a_page_as_before(tmp_path: Path, mta: FakeMta, roles: str) -> None:
    async with client(tmp_path, mta, roles) as http:
        for kind, headers in BY_PERSON.items():
            for method, path in (("GET", "/transmissions"), ("POST", "/nowhere"), ("GET", "/apis")):
                answer = await http.request(method, path, headers=headers)
                assert answer.status_code == 404, (kind, path)
                assert "There is no such page." in answer.text, (kind, path)
            there = await http.get("/account/billing", headers=headers)
            assert (there.status_code, there.headers["location"]) == (
                303,
                "/sign-in?next=%2Faccount%2Fbilling",
            )


@pytest.mark.parametrize("roles", HINTS)
async def test_the_base_address_names_sparkpost(tmp_path: Path, mta: FakeMta, roles: str) -> None:
    async with client(tmp_path, mta, roles) as http:
        for headers in (*BY_PROGRAM.values(), *BY_PERSON.values()):
            answer = await http.get("/", headers=headers)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/html")
            assert "SparkPost" in answer.text
            assert "content-security-policy" in answer.headers
            head = await http.head("/", headers=headers)
            assert (head.status_code, head.content) == (200, b"")
        shown = await http.get("/")
        if "web" in roles:
            assert re.search(r'<form method="post" action="/sign-in">', shown.text)
            assert "relay_visitor" in http.cookies


async def test_the_base_address_is_the_dashboard_for_who_has_signed_in(tmp_path: Path, mta: FakeMta) -> None:
    async with RelayHarness(tmp_path, mta, settings={"": {"roles": ["web"]}}) as relay:
        link, url = await relay.inside.http.first_link(), relay.inside.http_url
        assert link is not None
        assert url is not None
        password = "correct horse battery"
        token = await relay.inside.http.sign_ins.follow_link(
            link.rpartition("/")[2], password, "127.0.0.1", "test"
        )
        async with httpx.AsyncClient(base_url=url, cookies={"relay_session": token}) as http:
            shown = await http.get("/")
            assert (shown.status_code, "Dashboard" in shown.text) == (200, True)
            assert 'action="/sign-in"' not in shown.text
            assert (await http.head("/")).status_code == 200


async def test_one_signs_in_at_the_base_address(tmp_path: Path, mta: FakeMta) -> None:
    async with RelayHarness(tmp_path, mta, settings={"": {"roles": ["web"]}}) as relay:
        url = relay.inside.http_url
        assert url is not None
        _, link = await relay.inside.http.sign_ins.add_user("ann", Role.OPERATOR, None, "test")
        await relay.inside.http.sign_ins.follow_link(link, "correct horse battery", "127.0.0.1", "test")
        async with httpx.AsyncClient(base_url=url) as http:
            shown = await http.get("/")
            csrf = shown.text.split('name="csrf" value="')[1].split('"')[0]
            form = {"csrf": csrf, "name": "ann", "password": "correct horse battery", "next": "/"}
            answer = await http.post("/sign-in", data=form)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert "Dashboard" in (await http.get("/")).text
