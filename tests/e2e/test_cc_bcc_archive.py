"""cc, bcc and archive (docs/rules.md#copies), judged by the octets that the next hop received."""

import json
from email import message_from_bytes
from email.message import Message as Mime
from pathlib import Path

import pytest

from relay.domain.events import Bounce, Injection
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError

MSYS = {
    "cc": ["cleo@cc.example", {"email": "cy@cc.example", "name": "Cy Young"}],
    "bcc": [{"email": "beth@bcc.example", "name": "Beth"}, "ben@bcc.example"],
    "archive": [{"email": "ann@archive.example"}, "al@archive.example"],
    "options": {"ip_pool": "marketing"},
}
TYPES = {
    "tom@to.example": "",
    "cleo@cc.example": "cc",
    "cy@cc.example": "cc",
    "beth@bcc.example": "bcc",
    "ben@bcc.example": "bcc",
    "ann@archive.example": "archive",
    "al@archive.example": "archive",
}
EVERYBODY_HIDDEN = (b"beth@", b"ben@", b"ann@", b"al@")
MESSAGE = (
    b"From: Acme <news@acme.test>\r\nTo: Tom <tom@to.example>\r\n"
    b"BCC: sly@hidden.example\r\nResent-Bcc: sly@hidden.example\r\n"
    b"x-msys-api: %s\r\nX-Binding: old\r\nSubject: All of it\r\nDate: Mon, 5 Jan 2026 09:00:00 +0000\r\n"
    b"Message-ID: <1@acme.test>\r\n\r\nHello all.\r\n"
)


async def _copies(relay: RelayHarness, mta: FakeMta, value: bytes) -> dict[str, Mime]:
    """Inject MESSAGE with that X-MSYS-API; the copy that each recipient got."""
    await relay.inject("tom@to.example", message=MESSAGE % value)
    assert await relay.quiet() == []
    return {attempt.recipient: message_from_bytes(attempt.content) for attempt in mta.accepted}


async def test_every_listed_recipient_gets_one_copy_with_the_headers_of_its_kind(
    relay: RelayHarness, mta: FakeMta
) -> None:
    copies = await _copies(relay, mta, _folded(MSYS))
    assert copies.keys() == TYPES.keys()
    assert len(mta.accepted) == len(TYPES)
    for recipient, copy in copies.items():
        assert copy.get_all("To") == ["Tom <tom@to.example>"]
        (cc,) = copy.get_all("Cc", [])
        assert "".join(cc.split()) == "cleo@cc.example,CyYoung<cy@cc.example>"
        (attempt,) = mta.attempts_for(recipient)
        if TYPES[recipient] == "bcc":
            (bcc,) = copy.get_all("Bcc", [])
            assert recipient in bcc
        else:
            assert copy.get_all("Bcc") is None
        for hidden in EVERYBODY_HIDDEN:
            assert (hidden in attempt.content) == (
                TYPES[recipient] == "bcc"
                and recipient.encode() in (hidden + recipient.partition("@")[2].encode(),)
            )
        assert b"sly@hidden.example" not in attempt.content
        assert attempt.content.endswith(b"\r\n\r\nHello all.\r\n")


async def test_steering_fields_are_in_no_copy(relay: RelayHarness, mta: FakeMta) -> None:
    for copy in (await _copies(relay, mta, _folded(MSYS))).values():
        assert "X-MSYS-API" not in copy
        assert "X-Binding" not in copy


async def test_all_copies_leave_from_one_ip_and_are_one_transmission(
    relay: RelayHarness, mta: FakeMta
) -> None:
    injected = await relay.inject("tom@to.example", message=MESSAGE % _folded(MSYS))
    await relay.quiet()
    assert len({attempt.peer_ip for attempt in mta.accepted}) == 1, "A30"
    told = await relay.inside.store.events.of_transmission(injected.transmission_id)
    injections = [one.event for one in told if isinstance(one.event, Injection)]
    assert {event.about.rcpt_to: event.about.rcpt_type for event in injections} == TYPES


async def test_an_archive_copy_equals_the_recipients_own(relay: RelayHarness, mta: FakeMta) -> None:
    await _copies(relay, mta, _folded(MSYS))
    (original,) = mta.attempts_for("tom@to.example")
    for recipient in ("ann@archive.example", "al@archive.example"):
        (archived,) = mta.attempts_for(recipient)
        assert archived.content == original.content


async def test_a_recipient_listed_several_times_gets_one_copy_of_the_first_kind(
    relay: RelayHarness, mta: FakeMta
) -> None:
    value = (
        b'{"cc": ["tom@to.example", "cleo@cc.example"], "bcc": ["cleo@CC.example", "ann@archive.example"],'
        b'\r\n "archive": ["ann@archive.example", "tom@to.example"]}'
    )
    copies = await _copies(relay, mta, value)
    assert sorted(copies) == ["ann@archive.example", "cleo@cc.example", "tom@to.example"]
    assert len(mta.accepted) == 3
    assert "Bcc" in copies["ann@archive.example"]
    assert "Bcc" not in copies["cleo@cc.example"]


async def test_several_recipients_share_the_list_copies(relay: RelayHarness, mta: FakeMta) -> None:
    await relay.inject(["tom@to.example", "tim@to.example"], message=MESSAGE % _folded(MSYS))
    assert await relay.quiet() == []
    assert sorted(attempt.recipient for attempt in mta.accepted) == sorted([*TYPES, "tim@to.example"])


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b'{"cc": ["cleo@cc.example", "not an address"]}', id="an entry that is no address"),
        pytest.param(b'{"bcc": [{"name": "Beth"}]}', id="an entry without email"),
        pytest.param(b'{"archive": "ann@archive.example"}', id="a list that is no array"),
        pytest.param(b'{"cc": ["cleo@cc.example"], "options": {"ip_pool": "quiet"}}', id="an empty pool"),
        pytest.param(b'{"cc": ["cleo@cc.example"]', id="truncated JSON"),
    ],
)
async def test_a_refused_transaction_queues_no_copy(relay: RelayHarness, mta: FakeMta, value: bytes) -> None:
    with pytest.raises(InjectionRefusedError) as refused:
        await relay.inject(["tom@to.example", "tim@to.example"], message=MESSAGE % value)
    assert refused.value.code == 550
    assert await relay.quiet() == []
    assert mta.attempts == []


async def test_more_than_1000_list_copies_are_refused_and_1000_are_not(
    relay: RelayHarness, mta: FakeMta
) -> None:
    for count, taken in ((1001, False), (1000, True)):
        lists = [f'"c{number}@cc.example"' for number in range(count)]
        thirds = lists[:300], lists[300:600], lists[600:]
        value = ",\r\n ".join(
            f'"{name}": [' + ",\r\n ".join(entries) + "]"
            for name, entries in zip(("cc", "bcc", "archive"), thirds, strict=True)
        )
        message = MESSAGE % b"".join((b"{", value.encode(), b"}"))
        if taken:
            injected = await relay.inject("tom@to.example", message=message)
            assert len(injected.messages) == 1001
        else:
            with pytest.raises(InjectionRefusedError, match=r"^550 5\.6\.0 "):
                await relay.inject("tom@to.example", message=message)
            assert await relay.queue() == []
    assert await relay.quiet(timeout_s=20) == []
    assert len(mta.accepted) == 1001


INTERNATIONAL = [
    pytest.param({"cc": ["ü@cc.example", "cy@cc.example"], "bcc": ["beth@bcc.example"]}, id="cc"),
    pytest.param({"bcc": ["ü@bcc.example"]}, id="bcc"),
]


@pytest.mark.parametrize("lists", INTERNATIONAL)
async def test_a_copy_says_smtputf8_where_the_relay_wrote_utf8_into_its_header(
    tmp_path: Path, lists: dict[str, list[str]]
) -> None:
    """RFC 6531 §3.1: whatever the client said, and whether its own octets are ASCII."""
    extensions = ("PIPELINING", "8BITMIME", "SMTPUTF8")
    async with FakeMta(extensions=extensions) as mta, RelayHarness(tmp_path, mta) as relay:
        await _copies(relay, mta, _folded(lists))
        assert len(mta.accepted) == 1 + sum(map(len, lists.values()))
        for attempt in mta.accepted:
            header = attempt.content.partition(b"\r\n\r\n")[0]
            assert header.isascii() is not ("cc" in lists or not attempt.recipient.isascii())
            expected = "" if header.isascii() else "BODY=8BITMIME SMTPUTF8"
            assert attempt.parameters == expected


async def test_a_host_without_smtputf8_gets_no_utf8_that_the_relay_wrote(tmp_path: Path) -> None:
    async with FakeMta(extensions=("8BITMIME",)) as mta, RelayHarness(tmp_path, mta) as relay:
        lists = {"cc": ["ü@cc.example"], "archive": ["al@archive.example"]}
        injected = await relay.inject("tom@to.example", message=MESSAGE % _folded(lists))
        assert await relay.quiet() == []
        assert mta.attempts == []
        told = await relay.inside.store.events.of_transmission(injected.transmission_id)
        reasons = [one.event.raw_reason for one in told if isinstance(one.event, Bounce)]
        assert [reason[:9] for reason in reasons] == ["553 5.6.7"] * 3


def _folded(value: object) -> bytes:
    """The JSON, folded so that no line passes 998 octets."""
    return json.dumps(value).replace(", ", ",\r\n ").encode()
