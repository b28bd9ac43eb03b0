"""What a process answers by HTTP depends on its roles; both kinds of address share one listener."""

from pathlib import Path

import httpx
import pytest

from relay.frames.sign_in import csrf_of
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness

PATHS = ("/sign-in", "/api/v1/ip-pools", "/api/docs", "/healthz")
TWICE = {"password": "correct horse battery", "again": "correct horse battery"}


class _Browser:
    """Keeps cookies as a browser does that came by TLS, though the proxy does not (RFC 6265bis §4.1.3.2)."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.cookies: dict[str, str] = {}
        self._csrf = ""

    async def get(self, path: str) -> httpx.Response:
        answer = self._keep(await self._http.get(path, headers=self._headers()))
        self._csrf = answer.text.partition('name="csrf" value="')[2].partition('"')[0] or self._csrf
        return answer

    async def post(self, path: str, **fields: str) -> httpx.Response:
        form = {"csrf": self._csrf, **fields}
        return self._keep(await self._http.post(path, data=form, headers=self._headers()))

    def _headers(self) -> dict[str, str]:
        self._http.cookies.clear()
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        for line in answer.headers.get_list("set-cookie"):
            first, *more = line.split("; ")
            name, _, value = first.partition("=")
            attributes = {one.lower() for one in more}
            assert name.startswith("__Host-"), line
            assert {"secure", "path=/", "httponly"} <= attributes, line
            assert not any(one.startswith("domain") for one in attributes), line
            self.cookies[name] = value
            if "max-age=0" in attributes:
                del self.cookies[name]
        return answer


@pytest.mark.parametrize(
    ("roles", "statuses"),
    [
        pytest.param(["api"], (404, 401, 200, 200), id="REST alone"),
        pytest.param(["web"], (200, 404, 404, 200), id="the console alone"),
        pytest.param(["api", "web"], (200, 401, 200, 200), id="both"),
    ],
)
async def test_each_role_answers_its_own_addresses(
    tmp_path: Path, mta: FakeMta, roles: list[str], statuses: tuple[int, ...]
) -> None:
    async with RelayHarness(tmp_path, mta, settings={"": {"roles": roles}}) as relay:
        url = relay.inside.http_url
        assert url is not None
        async with httpx.AsyncClient(base_url=url) as http:
            assert tuple([(await http.get(path)).status_code for path in PATHS]) == statuses


async def test_behind_a_proxy_with_tls_cookies_never_go_without_it(tmp_path: Path, mta: FakeMta) -> None:
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["web"]},
        "http": {"public_url": "https://relay.example.com/"},
    }
    async with RelayHarness(tmp_path, mta, settings=settings) as relay:
        assert relay.inside.http_url == "https://relay.example.com"
        host, port = relay.http_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
            answer = await http.get("/sign-in")
            assert "strict-transport-security" in answer.headers
            link = await relay.inside.http.first_link()
            assert link is not None
            assert link.startswith("https://relay.example.com/sign-in/link/")
            browser = _Browser(http)
            await browser.get(link.removeprefix("https://relay.example.com"))
            assert set(browser.cookies) == {"__Host-relay_visitor"}
            answer = await browser.post(link.removeprefix("https://relay.example.com"), **TWICE)
            assert answer.status_code == 303
            assert set(browser.cookies) == {"__Host-relay_session"}, "the visitor's is gone"
            await browser.get("/profile")
            answer = await browser.post("/act-for", account="2", next="/")
            assert answer.status_code == 303
            assert set(browser.cookies) == {"__Host-relay_session", "__Host-relay_toast"}
            assert "You now act for" in (await browser.get("/profile")).text
            assert set(browser.cookies) == {"__Host-relay_session"}
            assert (await browser.post("/sign-out")).status_code == 303
            assert browser.cookies == {}


async def test_over_tls_a_cookie_that_another_host_could_have_set_is_none(
    tmp_path: Path, mta: FakeMta
) -> None:
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["web"]},
        "http": {"public_url": "https://relay.example.com"},
    }
    async with RelayHarness(tmp_path, mta, settings=settings) as relay:
        host, port = relay.http_address
        form = {"csrf": csrf_of("planted"), "name": "mallory", "password": "correct horse battery"}
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
            for name in ("relay_visitor", "__Host-relay_visitor"):
                answer = await http.post("/sign-in", data=form, headers={"Cookie": f"{name}=planted"})
                assert answer.status_code == 403
                is_ours = "did not come from this console" not in answer.text
                assert is_ours == name.startswith("__Host-")


async def test_the_first_link_is_there_until_somebody_has_used_it(tmp_path: Path, mta: FakeMta) -> None:
    async with RelayHarness(tmp_path, mta, settings={"": {"roles": ["web"]}}) as relay:
        first = await relay.inside.http.first_link()
        second = await relay.inside.http.first_link()
        assert first is not None
        assert second is not None
        assert first != second
        async with httpx.AsyncClient() as http:
            assert (await http.get(first)).status_code == 404
            assert "Welcome, admin" in (await http.get(second)).text
        token = second.rpartition("/")[2]
        await relay.inside.http.sign_ins.follow_link(token, "correct horse battery", "127.0.0.1", "")
        assert await relay.inside.http.first_link() is None


async def test_behind_a_trusted_proxy_wrong_passwords_of_one_do_not_shut_others_out(
    tmp_path: Path, mta: FakeMta
) -> None:
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["web"]},
        "http": {"trusted_proxies": ["127.0.0.0/8"]},
    }
    async with RelayHarness(tmp_path, mta, settings=settings) as relay:
        url = relay.inside.http_url
        assert url is not None
        statuses = {}
        async with httpx.AsyncClient(base_url=url) as http:
            shown = await http.get("/sign-in")
            csrf = shown.text.split('name="csrf" value="')[1].split('"')[0]
            form = {"csrf": csrf, "name": "ann", "password": "wrong password"}
            for client in (*["192.0.2.7"] * 6, "192.0.2.8"):
                told = {"X-Forwarded-For": f"203.0.113.1, {client}"}
                statuses[client] = (await http.post("/sign-in", data=form, headers=told)).status_code
        assert statuses == {"192.0.2.7": 429, "192.0.2.8": 403}
