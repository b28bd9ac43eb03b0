"""What a process answers by HTTP depends on its roles; both kinds of address share one listener."""

from pathlib import Path

import httpx
import pytest

from relay.testing.fake_mta import FakeMta
from relay.testing.harness import RelayHarness

PATHS = ("/sign-in", "/api/v1/ip-pools", "/api/docs", "/healthz")


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
            assert "secure" in answer.headers["set-cookie"].lower()
            assert "strict-transport-security" in answer.headers
            link = await relay.inside.http.first_link()
            assert link is not None
            assert link.startswith("https://relay.example.com/sign-in/link/")


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
