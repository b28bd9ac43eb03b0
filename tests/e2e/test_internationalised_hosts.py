"""SMTPUTF8 is for local parts outside ASCII: all else reaches hosts without it too (RFC 6531 §3.2)."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path

import dkim  # type: ignore[import-untyped] # dkimpy 1.1 has no types
import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, SendingDomain
from relay.domain.events import Bounce
from relay.domain.ids import AccountId, TransmissionId
from relay.mail.dkim import record
from relay.net.records import RsaKeys
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from relay.testing.wire import connect_wire

FIELDS = (
    "From: Jürgen <you@acme.test>\r\nTo: bob@nümlaut.example\r\nSubject: Grüße\r\n"
    "List-Unsubscribe: <mailto:ü@acme.test>\r\n"
)
TEXT = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSchön\r\n"
PLAIN, EIGHT_BIT = ("PIPELINING", "SIZE"), ("PIPELINING", "SIZE", "8BITMIME")
INTERNATIONAL = (*EIGHT_BIT, "SMTPUTF8")


@asynccontextmanager
async def _relay(folder: Path, extensions: tuple[str, ...]) -> AsyncIterator[tuple[RelayHarness, FakeMta]]:
    async with FakeMta(extensions=extensions) as mta, RelayHarness(folder, mta, settings=WITH_API) as relay:
        yield relay, mta


async def _hand_in(relay: RelayHarness, message: str, to: str = "bob@nümlaut.example") -> TransmissionId:
    username, password = relay.login()
    login = b64encode(f"\0{username}\0{password}".encode())
    mail = b"MAIL FROM:<you@acme.test> SMTPUTF8 BODY=8BITMIME"
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        for line in (b"EHLO c.test", b"AUTH PLAIN " + login, mail, f"RCPT TO:<{to}>".encode()):
            said = await wire.ask(line)
            assert said.startswith("2"), said
        await wire.ask(b"DATA")
        said = await wire.ask(message.encode() + b".")
        assert said.startswith("250"), said
        return TransmissionId(said.split()[-1])


@pytest.mark.parametrize("extensions", [PLAIN, EIGHT_BIT], ids=["plain", "8BITMIME"])
@pytest.mark.parametrize("door", ["smtp", "rest"])
async def test_a_host_without_smtputf8_gets_fields_in_ascii(
    tmp_path: Path, door: str, extensions: tuple[str, ...]
) -> None:
    key = await RsaKeys().generate("k1")
    async with _relay(tmp_path, extensions) as (relay, mta):
        await relay.apply(Put(SendingDomain(AccountId(1), "acme.test", dkim=key, dkim_status=Check.VALID)))
        if door == "smtp":
            await _hand_in(relay, FIELDS + TEXT)
        else:
            recipients = [{"address": "bob@nümlaut.example"}]
            asked = {"recipients": recipients, "content": {"email_rfc822": FIELDS + TEXT}}
            async with relay.api() as api:
                assert (await api.post("/transmissions", json=asked)).status_code == 200
        assert await relay.quiet() == []
        (attempt,) = mta.accepted
        assert attempt.recipient == "bob@xn--nmlaut-3ya.example"
        assert "SMTPUTF8" not in attempt.parameters
        assert attempt.content.isascii() == (extensions == PLAIN)
        head = attempt.content.partition(b"\r\n\r\n")[0]
        assert head.isascii()
        assert b"\r\nList-Unsubscribe: <mailto:%C3%BC@acme.test>" in head
        message = message_from_bytes(attempt.content, policy=policy.default)
        assert (message["From"], message["To"], message["Subject"]) == (
            "Jürgen <you@acme.test>",
            "bob@xn--nmlaut-3ya.example",
            "Grüße",
        )
        assert message.get_payload(decode=True) == "Schön\r\n".encode()
        assert attempt.content.count(b"DKIM-Signature:") == 1
        assert dkim.verify(attempt.content, dnsfunc=lambda name, timeout=5: record(key.public).encode())


async def test_a_host_with_smtputf8_gets_it_as_it_came(tmp_path: Path) -> None:
    async with _relay(tmp_path, INTERNATIONAL) as (relay, mta):
        await _hand_in(relay, FIELDS + TEXT)
        assert await relay.quiet() == []
        (attempt,) = mta.accepted
        assert attempt.parameters.endswith(" SMTPUTF8")
        assert attempt.content.endswith((FIELDS + TEXT).encode())


@pytest.mark.parametrize(
    ("fields", "to"),
    [
        (FIELDS + "Cc: bøb@x.test\r\n", "bob@x.test"),
        ("From: you@acme.test\r\n", "bøb@x.test"),
    ],
    ids=["of a field", "of the envelope"],
)
@pytest.mark.parametrize(
    "extensions", [PLAIN, EIGHT_BIT, INTERNATIONAL], ids=["plain", "8BITMIME", "SMTPUTF8"]
)
async def test_a_local_part_outside_ascii_goes_to_hosts_with_smtputf8_alone(
    tmp_path: Path, fields: str, to: str, extensions: tuple[str, ...]
) -> None:
    async with _relay(tmp_path, extensions) as (relay, mta):
        id_ = await _hand_in(relay, fields + TEXT, to)
        assert await relay.quiet() == []
        if extensions == INTERNATIONAL:
            assert [attempt.recipient for attempt in mta.accepted] == [to]
            return
        event = (await relay.inside.store.events.of_transmission(id_))[-1].event
        assert isinstance(event, Bounce)
        assert event.raw_reason.startswith("553 5.6.7 [internal]")
        assert mta.attempts == []
