"""What the log says of passwords and links that the console refused."""

from pathlib import Path

import httpx
import pytest

from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness

PASSWORD, WRONG = "correct horse battery", "wrong-password-0123"
FORGED = "ann\nclient=192.0.2.66 door=console"


def _csrf(page: httpx.Response) -> str:
    return page.text.split('name="csrf" value="')[1].split('"')[0]


async def test_each_refused_password_and_link_is_told_with_the_clients_address_and_nothing_of_its_own(
    tmp_path: Path, mta: FakeMta, caplog: pytest.LogCaptureFixture
) -> None:
    async with RelayHarness(tmp_path, mta, settings={"": {"roles": ["web"]}}) as relay:
        link = await relay.inside.http.first_link()
        assert link is not None
        token = link.rpartition("/")[2]

        def told() -> list[str]:
            messages = [record.getMessage() for record in caplog.records if record.name == "relay.refused"]
            assert not any(said in caplog.text for said in (WRONG, "192.0.2.66"))
            caplog.clear()
            return [message.removeprefix("client=127.0.0.1 door=console ") for message in messages]

        headers = {"X-Forwarded-For": "192.0.2.66"}
        async with httpx.AsyncClient(base_url=relay.inside.http_url or "", headers=headers) as http:
            csrf = _csrf(await http.get("/sign-in"))

            async def sign_in(name: str, password: str, csrf: str = csrf) -> int:
                form = {"csrf": csrf, "name": name, "password": password}
                return (await http.post("/sign-in", data=form)).status_code

            both = {"csrf": csrf, "password": PASSWORD, "again": PASSWORD}
            assert (await http.post(f"/sign-in/link/{token}x", data=both)).status_code == 404
            assert told() == ["reason=link"]
            assert (await http.post(f"/sign-in/link/{token}", data=both)).status_code == 303
            assert (await http.get(f"/sign-in/link/{token}")).status_code == 404
            assert told() == ["reason=link"]

            changed = {"csrf": _csrf(await http.get("/profile")), "old": WRONG}
            changed |= {"password": PASSWORD, "again": PASSWORD}
            assert (await http.post("/profile/password", data=changed)).status_code == 422
            assert told() == ["reason=password user=1"]
            http.cookies.delete("relay_session")

            csrf = _csrf(await http.get("/sign-in"))
            assert await sign_in("admin", PASSWORD, "a form that is too old") == 403
            assert told() == []
            for name in ("admin", "admin", "admin", FORGED, "x" * 5000):
                assert await sign_in(name, WRONG, csrf) == 403
            assert await sign_in("admin", WRONG, csrf) == 403
            wrong = "reason=password user=1"
            assert told() == [wrong, wrong, wrong, "reason=user_name", "reason=user_name", wrong]
            statuses = [await sign_in("admin", WRONG, csrf) for _ in range(4)]
            assert statuses == [403, 429, 429, 429]
            assert told() == [wrong], "the tenth of this minute"
    assert told() == ["more=3"]
