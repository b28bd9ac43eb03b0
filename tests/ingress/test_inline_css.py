"""`options.inline_css` in X-MSYS-API: the message that leaves has its rules in its elements."""

import asyncio

import pytest

from relay.domain.errors import StoreUnavailable
from relay.ingress.replies import NO_ROOM
from relay.testing import FakeMta, InjectionRefusedError, RelayHarness
from tests.ingress.conftest import Served, send

INLINE = b'X-MSYS-API: {"options": {"inline_css": true}}\r\n'
HTML = (
    b"From: sender@acme.test\r\nSubject:  kept  as it is\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n<style>p{color:red}</style><p>%b</p>\r\n"
)


async def test_rules_go_into_the_elements_of_what_leaves(relay: RelayHarness, relay_mta: FakeMta) -> None:
    await relay.inject(["ann@b.example", "bob@b.example"], message=INLINE + HTML % "ü".encode())
    await relay.quiet()
    for name in ("ann", "bob"):
        (mail,) = relay_mta.attempts_for(f"{name}@b.example")
        assert mail.content is not None
        assert b'<p style=3D"color: red;">=C3=BC</p>' in mail.content
        assert b"Subject:  kept  as it is\r\n" in mail.content
        assert mail.content.count(b"Content-Type") == mail.content.count(b"MIME-Version") == 1
        assert b"X-MSYS-API" not in mail.content


@pytest.mark.parametrize("begin", [b"", INLINE.replace(b"true", b"false")])
async def test_unless_it_is_asked_for_nothing_is_touched(
    relay: RelayHarness, relay_mta: FakeMta, begin: bytes
) -> None:
    await relay.inject("ann@b.example", message=begin + HTML % b"x")
    await relay.quiet()
    (mail,) = relay_mta.attempts_for("ann@b.example")
    assert mail.content is not None
    assert mail.content.endswith(b"\r\n\r\n<style>p{color:red}</style><p>x</p>\r\n")


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (b"DKIM-Signature: v=1\r\n" + HTML % b"x", "550 5.6.0 options.inline_css would break the signature"),
        (HTML % (b"<p>" * 3000), "550 5.6.0 inline_css takes at most 3000 elements"),
    ],
)
async def test_what_cannot_be_inlined_is_refused(relay: RelayHarness, message: bytes, reply: str) -> None:
    with pytest.raises(InjectionRefusedError, match=reply):
        await relay.inject("ann@b.example", message=INLINE + message)
    assert await relay.queue() == []


class TestASmallLimit:
    @pytest.fixture
    def relay_settings(self) -> dict[str, dict[str, object]]:
        return {"smtp": {"max_message_bytes": 50_000}}

    async def test_what_grows_beyond_it_is_refused(self, relay: RelayHarness) -> None:
        with pytest.raises(InjectionRefusedError, match="552"):
            await relay.inject("ann@b.example", message=INLINE + HTML % (b"</p><p>" * 2000))


GROWS = INLINE + HTML.replace(b"color:red", b"--a:" + b"x" * 1000) % (b"</p><p>" * 1000)
"""9 kB that become a megabyte."""


@pytest.mark.parametrize("failure", [None, StoreUnavailable(), RuntimeError("bug")])
async def test_what_it_becomes_counts_until_it_is_stored(smtp: Served, failure: Exception | None) -> None:
    smtp.core.failure = failure
    smtp.core.gate.clear()
    async with smtp.open() as wire, asyncio.TaskGroup() as tasks:
        sent = tasks.create_task(send(wire, GROWS), name="sent")
        await smtp.core.entered.wait()
        assert 2_000_000 < smtp.budget.taken_bytes < 2_500_000, "once more as it is stored"
        smtp.core.gate.set()
        assert (await sent)[:1] == ("2" if failure is None else "4")
        assert smtp.budget.taken_bytes == 0


async def test_what_grows_and_finds_no_room_is_for_later(smtp: Served) -> None:
    others = smtp.budget.total_bytes - 1_000_000
    smtp.budget.count(others)
    async with smtp.open() as wire:
        assert await send(wire, GROWS) == NO_ROOM
        assert smtp.budget.taken_bytes == others
        smtp.budget.give_back(others)
        assert (await send(wire, GROWS))[:3] == "250"
    assert smtp.budget.taken_bytes == 0
