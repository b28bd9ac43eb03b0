"""Domains outside ASCII by IDNA2008 (RFC 5891) at every door: no name becomes another."""

from base64 import b64encode
from pathlib import Path

import pytest

from relay.config.problems import ConfigError
from relay.process.directory.file import load_directory
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from relay.testing.wire import connect_wire

STREET, KNOWN = "straße.x.test", "xn--strae-oqa.x.test"
ODD = [
    pytest.param("pay\u200dpal.test", id="joiner"),
    pytest.param("pay\u00adpal.test", id="soft hyphen"),
    pytest.param("pay\u2060pal.test", id="word joiner"),
]


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in WITH_API.items()}


async def _by_smtp(relay: RelayHarness, to: str) -> str:
    """The reply to the dot, or to the recipient that was refused."""
    username, password = relay.login()
    login = b64encode(f"\0{username}\0{password}".encode())
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        for line in (b"EHLO c.test", b"AUTH PLAIN " + login, b"MAIL FROM:<a@acme.test> SMTPUTF8"):
            said = await wire.ask(line)
            assert said.startswith("2"), said
        said = await wire.ask(f"RCPT TO:<{to}>".encode())
        if said.startswith("2"):
            await wire.ask(b"DATA")
            said = await wire.ask(b"From: a@acme.test\r\nSubject: s\r\n\r\nt\r\n.")
        return said


async def test_mail_by_either_door_goes_to_the_name_that_was_meant(relay: RelayHarness, mta: FakeMta) -> None:
    assert (await _by_smtp(relay, f"u@{STREET}")).startswith("250")
    content = {"from": "a@acme.test", "subject": "s", "text": "t"}
    async with relay.api() as api:
        asked = {"recipients": [{"address": f"v@{STREET}"}], "content": content}
        assert (await api.post("/transmissions", json=asked)).status_code == 200
    assert await relay.quiet() == []
    assert sorted(attempt.recipient for attempt in mta.accepted) == [f"u@{KNOWN}", f"v@{KNOWN}"]


@pytest.mark.parametrize("domain", ODD)
async def test_a_name_that_has_no_a_label_is_refused_by_either_door(
    relay: RelayHarness, mta: FakeMta, domain: str
) -> None:
    assert (await _by_smtp(relay, f"u@{domain}")).startswith("5")
    content = {"from": "a@acme.test", "subject": "s", "text": "t"}
    async with relay.api() as api:
        asked = {"recipients": [{"address": f"v@{domain}"}], "content": content}
        assert (await api.post("/transmissions", json=asked)).status_code in {400, 422}
        put = await api.put(f"/suppression-list/u@{domain}", json={"type": "non_transactional"})
        assert put.status_code in {400, 422}
        domains = await api.post("/sending-domains", json={"domain": domain})
        assert domains.status_code in {400, 422}
    assert await relay.quiet() == []
    assert mta.attempts == []


async def test_a_suppressed_mailbox_is_found_by_both_of_its_names(relay: RelayHarness) -> None:
    async with relay.api() as api:
        put = await api.put(f"/suppression-list/u@{STREET}", json={"type": "non_transactional"})
        assert put.status_code == 200
        for name in (STREET, KNOWN):
            (entry,) = (await api.get(f"/suppression-list/u@{name}")).json()["results"]
            assert entry["recipient"] == f"u@{KNOWN}"
        assert (await api.get("/suppression-list/u@strasse.x.test")).status_code == 404


@pytest.mark.parametrize("key", ["domains", "smarthost"])
@pytest.mark.parametrize("domain", ODD)
def test_a_route_of_such_a_name_is_refused(tmp_path: Path, domain: str, key: str) -> None:
    file = tmp_path / "directory.toml"
    route = {"domains": f'["{domain}"]\nmx = true', "smarthost": f'"{domain}:25"\ndomains = ["*"]'}[key]
    file.write_text(f"[[route]]\n{key} = {route}\n")
    with pytest.raises(ConfigError):
        load_directory(file)


def test_a_route_covers_the_name_in_either_spelling(tmp_path: Path) -> None:
    file = tmp_path / "directory.toml"
    file.write_text('[[route]]\ndomains = ["*.STRASSE.test", "*.straße.test"]\nmx = true\n')
    (route,) = load_directory(file).routes
    assert route.patterns == ("*.strasse.test", "*.xn--strae-oqa.test")


async def test_the_name_in_the_header_is_the_name_of_the_envelope(relay: RelayHarness, mta: FakeMta) -> None:
    content = {"from": {"email": f"a@{STREET}"}, "subject": "s", "text": "t"}
    async with relay.api() as api:
        asked = {"recipients": [{"address": f"v@{STREET}"}], "content": content}
        assert (await api.post("/transmissions", json=asked)).status_code == 200
    await relay.quiet()
    (attempt,) = mta.accepted
    assert f"To: v@{KNOWN}".encode() in attempt.content
    assert f"a@{KNOWN}".encode() in attempt.content
