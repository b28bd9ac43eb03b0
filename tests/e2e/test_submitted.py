"""What becomes of a message as a client hands it in, by SMTP and by REST: what the next hop gets."""

from email import message_from_bytes
from email.message import Message
from typing import Any

import httpx
import pytest

from relay.testing.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API

TO = "bob@b.example"
HEAD = b"From: a@acme.test\r\nTo: bob@b.example\r\nSubject: s\r\n"


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in WITH_API.items()}


async def post(relay: RelayHarness, content: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"options": {"ip_pool": "marketing"}, "recipients": [{"address": TO}], "content": content, **more}
    async with relay.api(1) as api:
        return await api.post("/transmissions", json=body)


async def by_smtp(relay: RelayHarness, mta: FakeMta, message: bytes) -> bytes:
    """What the next hop gets of it."""
    await relay.inject(TO, message=message)
    return await came(relay, mta)


async def by_rest(relay: RelayHarness, mta: FakeMta, message: bytes) -> bytes:
    response = await post(relay, {"email_rfc822": message.decode()})
    assert response.status_code == 200, response.text
    return await came(relay, mta)


async def came(relay: RelayHarness, mta: FakeMta) -> bytes:
    """The one message that the next hop got."""
    assert await relay.quiet() == []
    (attempt,) = mta.accepted
    mta.attempts.clear()
    return attempt.content


DOORS = pytest.mark.parametrize("door", [by_smtp, by_rest], ids=["SMTP", "REST"])


def header_of(octets: bytes) -> Message:
    return message_from_bytes(octets.partition(b"\r\n\r\n")[0])


# ── fields of other servers ──────────────────────────────────────────────────────────────


@DOORS
async def test_what_the_last_server_writes_is_not_for_clients(
    relay: RelayHarness, mta: FakeMta, door: Any
) -> None:
    """RFC 5321 §4.4."""
    for name in ("Return-Path", "RETURN-PATH", "Envelope-To", "Delivery-date", "Content-Length"):
        for rest in (b": <old@other.test>\r\n", b" :\r\n <old@other.test>\r\n"):
            field = name.encode() + rest
            text = b"Return-Path: <is@text.test>\r\n"
            octets = await door(relay, mta, field + HEAD + field + b"X: y\r\n\r\n" + text)
            assert name not in header_of(octets)
            assert b"old@other.test" not in octets
            assert header_of(octets)["X"] == "y"
            assert octets.endswith(b"\r\n\r\n" + text)


@DOORS
async def test_what_tells_of_loops_stays(relay: RelayHarness, mta: FakeMta, door: Any) -> None:
    octets = await door(
        relay, mta, b"Delivered-To: c@c.example\r\nReceived: by x; now\r\n" + HEAD + b"\r\nx\r\n"
    )
    assert header_of(octets)["Delivered-To"] == "c@c.example"
    assert b"Received: by x; now\r\n" in octets


async def test_content_in_parts_names_no_return_path(relay: RelayHarness, mta: FakeMta) -> None:
    headers = {"return-path": "old@other.test", "Envelope-To": "{{address}}", "X-A": "b"}
    content = {"from": "a@acme.test", "subject": "s", "text": "t", "headers": headers}
    assert (await post(relay, content)).status_code == 200
    header = header_of(await came(relay, mta))
    assert (header["Return-Path"], header["Envelope-To"], header["X-A"]) == (None, None, "b")
