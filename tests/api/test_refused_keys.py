"""What the log says of keys that were refused: the client's address, and no word of its own."""

import base64
import logging
from pathlib import Path

import httpx
import pytest

from relay.domain.changes import Remove
from relay.resources.api_keys.rules import hash_key
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from relay.testing.wire import connect_wire
from tests.api.test_auth import FORBIDDEN, KEY, UNAUTHORIZED, basic
from tests.support.rest import refusal

OURS = "relay.refused"


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == OURS]


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        pytest.param("nobodys-key", "key", id="no such key"),
        pytest.param("", "key", id="empty"),
        pytest.param("Basic %%%", "malformed", id="no base64"),
        pytest.param(basic(f"{KEY}:secret"), "malformed", id="a password"),
        pytest.param(basic("x\nclient=192.0.2.66 door=rest:"), "key", id="a name that looks like a line"),
    ],
)
async def test_a_refused_key_is_told(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture, shown: str, reason: str
) -> None:
    async with relay.api(key=shown) as api:
        # Who is no proxy names no other address.
        answer = await api.get("/ip-pools", headers={"X-Forwarded-For": "192.0.2.66"})
    assert refusal(answer) == UNAUTHORIZED
    assert _told(caplog) == [f"client=127.0.0.1 door=rest reason={reason}"]


async def test_a_key_that_was_revoked_is_told_apart_at_every_door(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    key = await relay.make_key(1, ["ip_pools/view", "smtp/inject"])
    await relay.apply(Remove(relay.inside.directory.snapshot.keys[hash_key(key)]))
    async with relay.api(key=key) as api:
        assert refusal(await api.get("/ip-pools")) == UNAUTHORIZED
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        await wire.ask(b"EHLO client.test")
        shown = base64.b64encode(b"\0SMTP_Injection\0" + key.encode())
        assert (
            await wire.ask(b"AUTH PLAIN " + shown) == "535 5.7.8 Sorry. *** No authentication type succeeded"
        )
    assert _told(caplog) == [f"client=127.0.0.1 door={door} reason=revoked_key" for door in ("rest", "smtp")]
    assert key not in caplog.text


async def test_a_key_from_another_address_than_its_own_is_told(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    key = await relay.make_key(1, ["ip_pools/view"], valid_ips=("192.0.2.7",))
    async with relay.api(key=key) as api:
        assert refusal(await api.get("/ip-pools")) == FORBIDDEN
    assert _told(caplog) == [f"client=127.0.0.1 door=rest reason=valid_ips account=1 key={key[:4]}"]


async def test_what_a_right_key_lacks_is_told_elsewhere_once_a_minute(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = await relay.make_key(1, ["ip_pools/view"])
    async with relay.api(key=key) as api:
        for _ in range(3):
            assert refusal(await api.post("/ip-pools", json={"name": "News"})) == FORBIDDEN
    said = [record.getMessage() for record in caplog.records if record.name == "relay.api"]
    lacks = "the key lacks the grant ip_pools/manage"
    assert said == [f"client=127.0.0.1 forbidden account=1 key={key[:4]}: {lacks}"]
    assert _told(caplog) == [], "nobody is banned for it"


async def test_what_is_no_guess_is_not_told(relay: RelayHarness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    key = await relay.make_key(1, ["ip_pools/view"])
    async with relay.api(key=key) as api:
        assert refusal(await api.post("/ip-pools", json={"name": "News"})) == FORBIDDEN
        del api.headers["authorization"]
        assert refusal(await api.get("/ip-pools")) == UNAUTHORIZED
    assert _told(caplog) == []


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        pytest.param("10.0.0.5", "192.0.2.66, 192.0.2.7", "192.0.2.7", id="a proxy"),
        pytest.param("10.0.0.5", "192.0.2.66, nonsense", "10.0.0.5", id="a proxy that names no address"),
        pytest.param("10.0.0.5", "2001:DB8::7%x", "2001:db8::7", id="a proxy, IPv6"),
        pytest.param("192.0.2.8", "192.0.2.66", "192.0.2.8", id="who is no proxy"),
        pytest.param("::ffff:192.0.2.8", "", "192.0.2.8", id="IPv4 by an IPv6 socket"),
    ],
)
async def test_the_address_is_that_of_the_client(
    tmp_path: Path, mta: FakeMta, caplog: pytest.LogCaptureFixture, peer: str, told: str, client: str
) -> None:
    settings = {**WITH_API, "http": {"listen": "127.0.0.1:0", "trusted_proxies": ["10.0.0.0/8"]}}
    async with RelayHarness(tmp_path, mta, settings=settings) as relay:
        transport = httpx.ASGITransport(relay.inside.http_app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://relay.test/api/v1") as api:
            headers = {"Authorization": "nobodys-key", "X-Forwarded-For": told}
            assert refusal(await api.get("/ip-pools", headers=headers)) == UNAUTHORIZED
    assert _told(caplog) == [f"client={client} door=rest reason=key"]
