"""What a tenant writes, and what the next hop reads: one sender, one message, no field slipped in."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from relay.domain.changes import Put
from relay.domain.directory import SendingDomain
from relay.domain.events import GenerationRejection
from relay.domain.ids import AccountId, TransmissionId
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import WITH_API
from tests.support import judged

Values = dict[str, Any]
EVIL, ACME = "ceo@bank.test", frozenset({"acme.test"})


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {section: dict(values) for section, values in WITH_API.items()}


@pytest.fixture
async def only_acme(relay: RelayHarness) -> RelayHarness:
    """The first account may send from acme.test alone."""
    await relay.change_account(1, lambda account: replace(account, require_sending_domain=True))
    await relay.apply(Put(SendingDomain(AccountId(1), "acme.test")))
    return relay


async def post(
    relay: RelayHarness, content: Values, data: Values | None = None, **address: str
) -> httpx.Response:
    body = {
        "options": {"ip_pool": "marketing"},
        "recipients": [{"address": {"email": "bob@b.example", **address}, "substitution_data": data or {}}],
        "content": content,
    }
    async with relay.api(1) as api:
        return await api.post("/transmissions", json=body)


def inline(sender: object = "a@acme.test", **more: object) -> Values:
    return {"from": sender, "subject": "s", "text": "t", **more}


def rfc822(head: str) -> Values:
    return {"email_rfc822": f"{head}Subject: s\r\n\r\nt\r\n"}


@pytest.mark.parametrize(
    ("content", "data"),
    [
        (inline({"email": "{{e}}"}), {"e": f"{EVIL}\r\nX: y@acme.test"}),
        (inline({"email": "{{e}}"}), {"e": f"{EVIL}, x@acme.test"}),
        (inline("{{e}}"), {"e": f"{EVIL}, x@acme.test"}),
        (inline("{{e}}"), {"e": f"x@acme.test, {EVIL}"}),
        (inline("{{e}}"), {"e": f"g: {EVIL}, x@acme.test;"}),
        (inline("{{e}}"), {"e": ""}),
        (inline("{{e}}"), {"e": EVIL}),
        (inline("{{e}}"), {"e": f"x@acme.test <{EVIL}>"}),
        (inline("{{e}}"), {"e": "x@acme.test\n.\nMAIL FROM:<a@b.test>"}),
        (inline("{{e}}"), {"e": "x@acme.test\r.\rQUIT"}),
        (inline("{{e}}"), {"e": "a@acme.test> SIZE=1 X=<y"}),
        (inline(f"{EVIL}, x@acme.test"), {}),
        (rfc822("From: {{a}}\r\n"), {"a": f"{EVIL},\r\n x@acme.test"}),
        (rfc822(f"From: {EVIL},\r\n x@acme.test\r\n"), {}),
        (rfc822("From: x@acme.test\r\nFrom: y@acme.test\r\n"), {}),
        (rfc822(f"From: g: {EVIL};\r\n"), {}),
        (rfc822(""), {}),
    ],
)
async def test_a_from_that_is_not_one_mailbox_of_the_account_is_refused(
    only_acme: RelayHarness, mta: FakeMta, content: Values, data: Values
) -> None:
    answer = await post(only_acme, content, data)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["code"] == "7001"
    await only_acme.quiet()
    assert mta.attempts == []


@pytest.mark.parametrize(
    ("content", "data", "sender"),
    [
        (inline({"name": "{{a}}", "email": "x@acme.test"}), {"a": f"{EVIL},"}, f'"{EVIL}," <x@acme.test>'),
        (inline("{{a}} <x@acme.test>"), {"a": "Ann, B."}, '"Ann, B." <x@acme.test>'),
        (
            inline("{{a}} <x@{{d}}>"),
            {"a": "Ann\r\nBcc: v@evil.test", "d": "acme.test"},
            '"Ann Bcc: v@evil.test" <x@acme.test>',
        ),
        (inline("{{a}}"), {"a": "Ann, B. <x@acme.test>"}, '"Ann, B." <x@acme.test>'),
        (inline("Jane @ Acme <x@acme.test>"), {}, '"Jane @ Acme" <x@acme.test>'),
        (inline({"name": "\u2028\r\n\0Ann", "email": "x@acme.test"}), {}, "Ann <x@acme.test>"),
        (rfc822("From: {{a}} <x@acme.test>\r\n"), {"a": f"{EVIL},"}, f'"{EVIL}," <x@acme.test>'),
        (
            rfc822("From: =?utf-8?q?ceo=40bank.test=2C?= {{z}} <x@acme.test>\r\n"),
            {},
            f'"{EVIL}," <x@acme.test>',
        ),
        (rfc822("From: =?utf-8?q?{{z}}=2C?= <x@acme.test>\r\n"), {"z": "Zoe"}, '"Zoe," <x@acme.test>'),
        (rfc822("From: =?utf-8?q?ceo=40bank.test=2C?= <x@acme.test>\r\n"), {}, f'"{EVIL}," <x@acme.test>'),
        (rfc822("From: {{a}}\r\n"), {"a": "x@acme.test"}, "x@acme.test"),
    ],
)
async def test_what_was_read_as_from_is_what_is_written(
    only_acme: RelayHarness, mta: FakeMta, content: Values, data: Values, sender: str
) -> None:
    answer = await post(only_acme, content, data)
    assert answer.status_code == 200, answer.text
    await only_acme.quiet()
    (attempt,) = mta.accepted
    assert judged.of_composed(attempt, ACME) == []
    assert f"\r\nFrom: {sender}\r\n".encode() in b"\r\n" + attempt.content
    assert attempt.mail_from == "x@acme.test"


@pytest.mark.parametrize(
    ("header_to", "shown"),
    [
        (f"foo\r\nFrom: {EVIL};", f"foo From: {EVIL};"),
        ("foo\r\nBcc: victim@evil.test;", "foo Bcc: victim@evil.test;"),
        ("foo\r\n\r\nx;", "foo x:;"),
        ("foo\0;", "foo:;"),
        ("a@b.test\r\n.\r\n", '"a@b.test .":;'),
    ],
)
async def test_to_says_mailboxes_or_groups_and_nothing_else(
    only_acme: RelayHarness, mta: FakeMta, header_to: str, shown: str
) -> None:
    answer = await post(only_acme, inline(), header_to=header_to)
    assert answer.status_code == 200, answer.text
    await only_acme.quiet()
    (attempt,) = mta.accepted
    assert judged.of_composed(attempt, ACME) == []
    assert f"\r\nTo: {shown}\r\n".encode() in attempt.content


@pytest.mark.parametrize(
    "content",
    [
        inline(reply_to=f"a@acme.test\r\nFrom: {EVIL}"),
        inline(subject=f"s\r\nFrom: {EVIL}\r\n\r\n.\r\n"),
        inline(headers={"X-A": f"b\r\nFrom: {EVIL}", "Cc": "(" * 5000, "Sender": f"a\nFrom: {EVIL}"}),
        inline(text="a\rb\nc\r\n.\r\n\0", html="<p>\r.\r"),
        inline(attachments=[{"name": 'a"\r\nX: y', "type": "text/plain", "data": "eA=="}]),
        rfc822(f"From: x@acme.test\r\nTo: {{{{a}}}}{'(' * 5000}\r\nReply-To: {{{{a}}}}\r\n"),
    ],
)
async def test_hostile_texts_of_other_fields_are_texts(
    only_acme: RelayHarness, mta: FakeMta, content: Values
) -> None:
    answer = await post(only_acme, content, {"a": f"v\r\nFrom: {EVIL}"})
    assert answer.status_code == 200, answer.text
    await only_acme.quiet()
    (attempt,) = mta.accepted
    assert judged.of_composed(attempt, ACME) == []


@pytest.mark.parametrize(
    "message",
    [
        "From: x@acme.test\nDate: a\nDate: b\nSubject: s\n\nt\n",
        "From: x@acme.test\nSubject: s\nSubject: t\n\nt\n",
        "From: x@acme.test\nMessage-ID: <a@b>\nMessage-ID: <c@d>\n\nt\n",
        "From: x@acme.test\nSubject: s\n\na\0b\n",
        "From: x@acme.test\nSubject: a\0b\n\nb\n",
        f"From: x@acme.test\nno field\nFrom: {EVIL}\n\nb\n",
        "From: x@acme.test\nSubject: s\nno empty line",
    ],
)
async def test_a_message_of_the_client_that_is_none_is_refused(
    only_acme: RelayHarness, mta: FakeMta, message: str
) -> None:
    answer = await post(only_acme, {"email_rfc822": message})
    assert answer.status_code == 422, answer.text
    await only_acme.quiet()
    assert mta.attempts == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (inline("{{ e }}"), 400),
        (inline(f"{{{{ none }}}} <{EVIL}>"), 400),
        (inline("a{{ none }}@bank.test"), 400),
        (inline(headers={"Date": "a", "date": "b"}), 422),
        (rfc822("From: x@acme.test\r\nSubject: t\r\n"), 422),
        ({"email_rfc822": "From: x@acme.test\n\na\0"}, 422),
    ],
)
async def test_what_is_so_for_all_is_refused_with_the_request(
    only_acme: RelayHarness, mta: FakeMta, content: Values, status: int
) -> None:
    recipients = [{"address": f"{number}@b.example"} for number in range(3)]
    async with only_acme.api(1) as api:
        answer = await api.post("/transmissions", json={"content": content, "recipients": recipients})
    assert answer.status_code == status, answer.text
    await only_acme.quiet()
    assert mta.attempts == []


async def test_for_one_of_several_it_is_told_by_an_event(only_acme: RelayHarness, mta: FakeMta) -> None:
    body = {
        "recipients": [
            {"address": f"{number}@b.example", "substitution_data": {"e": value}}
            for number, value in enumerate(("x@acme.test", f"{EVIL}, x@acme.test", EVIL))
        ],
        "content": inline("{{e}}"),
    }
    async with only_acme.api(1) as api:
        answer = await api.post("/transmissions", json=body)
    id_ = TransmissionId(answer.json()["results"]["id"])
    told = [one.event for one in await only_acme.inside.store.events.of_transmission(id_)]
    reasons = [event.raw_reason for event in told if isinstance(event, GenerationRejection)]
    assert reasons == [
        "550 5.7.1 [internal] From is not one mailbox",
        "550 5.7.1 Unconfigured Sending Domain <bank.test>",
    ]
    await only_acme.quiet()
    assert [attempt.recipient for attempt in mta.accepted] == ["0@b.example"]


@pytest.mark.parametrize(
    ("sender", "taken"),
    [
        ("a@acme.test", True),
        ("Ann <a@acme.test>", True),
        ('"Ann, B." <a@acme.test>', True),
        ("=?utf-8?q?a@b,c?= <a@acme.test>", True),
        ("Ann (x, y@z.test) <a@acme.test>", True),
        ("a@acme.test, b@acme.test", False),
        ("Ann, B. <a@acme.test>", False),
        ("Ann @ B <a@acme.test>", False),
        ("g: a@acme.test;", False),
        ("<@r.test:a@acme.test>", False),
        ("a@evil.test", False),
    ],
)
async def test_by_smtp_from_is_one_mailbox_where_its_domain_is_judged(
    only_acme: RelayHarness, mta: FakeMta, sender: str, taken: bool
) -> None:
    message = f"From: {sender}\r\nSubject: s\r\n\r\nt\r\n".encode()
    if not taken:
        with pytest.raises(InjectionRefusedError, match=r"550 5\.7\.1"):
            await only_acme.inject("bob@b.example", message=message)
        return
    await only_acme.inject("bob@b.example", message=message)
    await only_acme.quiet()
    assert f"From: {sender}\r\n".encode() in mta.accepted[0].content


async def test_by_smtp_mail_leaves_as_it_came_where_it_is_not(relay: RelayHarness, mta: FakeMta) -> None:
    head = b"From: a@b.test, c@d.test\r\nSubject : obsolete\r\nSubject: twice\r\nTo: (((\r\n"
    head += b"Received: x\r\n y\r\n"
    body = b"\r\n.dot\r\n" + bytes(range(128, 256)) + b"\r\n"
    await relay.inject("bob@b.example", message=head + b"\r\n" + body)
    await relay.quiet()
    content = mta.accepted[0].content
    assert content.endswith(head + b"\r\n" + body)
