"""Paths and addresses as clients spell them, and the form in which they leave (RFC 5321 §4.1.2, §4.5.1)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.domain.directory import Plan
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError, inject_by_smtp
from relay.testing.lab import WITH_API
from relay.testing.wire import connect_wire
from tests.ingress.conftest import plain

MESSAGE = b"From: a@acme.test\r\nSubject: s\r\n\r\nt\r\n"


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in WITH_API.items()}


async def hand_in(relay: RelayHarness, mail: str, *paths: str) -> list[str]:
    """Code of the reply to MAIL, to each RCPT and to the dot, for paths with their brackets."""
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        await wire.ask(b"EHLO client.example")
        user, password = relay.login()
        assert (await wire.ask(b"AUTH PLAIN " + plain(password, user)))[:3] == "235"
        said = [await wire.ask(f"MAIL FROM:{mail} SMTPUTF8".encode())]
        said += [await wire.ask(f"RCPT TO:{path}".encode()) for path in paths]
        if (await wire.ask(b"DATA"))[:3] == "354":
            await wire.write(MESSAGE + b".\r\n")
            said.append(await wire.reply())
        return [reply[:3] for reply in said]


async def test_every_form_of_a_path_is_read_and_leaves_in_the_plain_one(
    relay: RelayHarness, mta: FakeMta
) -> None:
    forms = {
        "<postmaster>": "postmaster@relay.test",
        "<@x.test,@y.test:bob@b.example>": "bob@b.example",
        '<@x.test:"c.d"@b.example>': "c.d@b.example",
        '<"e\\f"@b.example>': "ef@b.example",
        '<"g h"@b.example>': '"g h"@b.example',
        '<"@i:"@b.example>': '"@i:"@b.example',
        "<a..b@b.example>": '"a..b"@b.example',
        "<a.@b.example>": '"a."@b.example',
        "<.j@b.example>": '".j"@b.example',
        "<k@[127.0.0.9]>": "k@[127.0.0.9]",
        "<l@[ipv6:::1]>": "l@[ipv6:::1]",
        "<m@BÜCHER.example>": "m@xn--bcher-kva.example",
        "<Postmaster@b.example>": "Postmaster@b.example",
    }
    assert set(await hand_in(relay, '<@x.test:"s"@acme.test>', *forms)) == {"250"}
    await relay.quiet()
    assert {attempt.recipient for attempt in mta.accepted} == set(forms.values())
    assert {attempt.mail_from for attempt in mta.accepted} == {"s@acme.test"}


async def test_one_mailbox_gets_one_copy_however_it_is_spelled(relay: RelayHarness, mta: FakeMta) -> None:
    forms = ["<bob@b.example>", '<"bob"@B.example>', "<@x.test:bob@b.example>", '<"b\\ob"@b.example>']
    forms += ["<a..b@b.example>", '<"a..b"@b.example>', "<postmaster>", "<POSTMASTER>", '<"Postmaster">']
    assert set(await hand_in(relay, "<>", *forms)) == {"250"}
    await relay.quiet()
    assert sorted(attempt.recipient for attempt in mta.accepted) == [
        '"a..b"@b.example',
        "bob@b.example",
        "postmaster@relay.test",
    ]


async def test_a_path_that_is_none_is_refused_and_the_others_are_not(
    relay: RelayHarness, mta: FakeMta
) -> None:
    paths = [
        "<bob>",
        "<@x.test:bob>",
        "<postmaster@>",
        "<@x.test>",
        "<l@[IPv6:fe80::1%eth0]>",
        "<b@b.example>",
    ]
    assert await hand_in(relay, "<s@acme.test>", *paths) == ["250", *["501"] * 5, "250", "250"]
    assert (await hand_in(relay, "<postmaster>", "<b@b.example>"))[0] == "501"
    await relay.quiet()
    assert [attempt.recipient for attempt in mta.accepted] == ["b@b.example"]


async def test_the_postmaster_is_whom_the_settings_name(tmp_path: Path, mta: FakeMta) -> None:
    settings = {"smtp": {"postmaster": "Ops..team@acme.test"}}
    async with RelayHarness(tmp_path, mta, settings=settings) as relay:
        assert await hand_in(relay, "<s@acme.test>", "<postmaster>") == ["250", "250", "250"]
        await relay.quiet()
        with pytest.raises(InjectionRefusedError) as refused:
            await inject_by_smtp(relay.smtp_address, None, "s@acme.test", ["<postmaster>"], MESSAGE)
        assert refused.value.code == 550, "only who may send at all writes to the postmaster"
    assert [attempt.recipient for attempt in mta.accepted] == ['"Ops..team"@acme.test']


async def test_copies_and_recipients_of_rest_are_read_as_those_of_smtp(
    relay: RelayHarness, mta: FakeMta
) -> None:
    copies = {
        "cc": ['"bob"@b.example', "a..b@b.example"],
        "bcc": ['"a..b"@b.example', {"email": "c.@b.example"}],
    }
    await relay.inject("bob@b.example", msys=copies)
    await relay.quiet()
    assert sorted(attempt.recipient for attempt in mta.accepted) == [
        '"a..b"@b.example',
        '"c."@b.example',
        "bob@b.example",
    ]
    mta.attempts.clear()
    body: dict[str, Any] = {
        "options": {"ip_pool": "marketing"},
        "recipients": [{"address": "a..b@b.example"}, {"address": {"email": '"bob"@b.example', "name": "B"}}],
        "return_path": "r..@acme.test",
        "content": {"from": "x..y@acme.test", "reply_to": "z.@acme.test", "subject": "s", "text": "t"},
    }
    await relay.change_account(1, lambda account: replace(account, plan=Plan.ENTERPRISE))
    async with relay.api(1) as api:
        assert (await api.post("/transmissions", json=body)).status_code == 200
        await relay.quiet()
        relay.clock.advance(minutes=1)
        for address in ("a..b@b.example", '"a..b"@b.example'):
            found = await api.get("/events/message", params={"recipients": address, "events": "delivery"})
            assert {event["rcpt_to"] for event in found.json()["results"]} == {'"a..b"@b.example'}
    assert {attempt.recipient for attempt in mta.accepted} == {'"a..b"@b.example', "bob@b.example"}
    assert {attempt.mail_from for attempt in mta.accepted} == {'"r.."@acme.test'}
    header = mta.accepted[0].content.partition(b"\r\n\r\n")[0]
    assert b'From: "x..y"@acme.test\r\n' in header
    assert b'Reply-To: "z."@acme.test\r\n' in header


async def test_a_suppressed_recipient_is_so_in_every_spelling(relay: RelayHarness, mta: FakeMta) -> None:
    async with relay.api(1) as api:
        for path in ('"bob"@b.example', "a..b@b.example"):
            put = await api.put(f"/suppression-list/{path}", json={"type": "non_transactional"})
            assert put.status_code == 200
        listed = (await api.get("/suppression-list")).json()["results"]
        assert {entry["recipient"] for entry in listed} == {"bob@b.example", '"a..b"@b.example'}
        forms = ["<bob@b.example>", '<"b\\ob"@b.example>', '<"a..b"@b.example>', "<A..b@b.example>"]
        assert set(await hand_in(relay, "<s@acme.test>", *forms)) == {"250"}
        assert await relay.quiet() == []
        assert mta.attempts == []
        gone = await api.delete('/suppression-list/"a..b"@b.example')
        assert gone.status_code == 204
    assert set(await hand_in(relay, "<s@acme.test>", "<a..b@b.example>")) == {"250"}
    await relay.quiet()
    assert [attempt.recipient for attempt in mta.accepted] == ['"a..b"@b.example']
