"""`/transmissions`: what is accepted, what is refused and how, and what the next hop sees."""

import base64
import email
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from relay.domain.changes import Put
from relay.domain.classify import ADMIN_FAILURE
from relay.domain.directory import Check, Plan, SendingDomain
from relay.domain.events import Bounce, GenerationFailure, GenerationRejection, Subject
from relay.domain.ids import AccountId, TransmissionId
from relay.net.records import RsaKeys
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.waiting import eventually
from tests.support.mail import build_message

FROM = "news@acme.test"
CONTENT: dict[str, Any] = {"from": FROM, "subject": "Hello", "text": "Hello."}
BOB: dict[str, Any] = {"address": "bob@b.example"}


async def post(
    relay: RelayHarness,
    body: Mapping[str, Any] | bytes,
    account: int = 1,
    subaccount: int | None = None,
    path: str = "/transmissions",
    key: str | None = None,
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if key is None else {"Idempotency-Key": key}
    async with relay.api(account, subaccount=subaccount) as api:
        return await api.post(path, content=content, headers=headers)


def body(*recipients: Any, **more: Any) -> dict[str, Any]:
    """A transmission to these, or to Bob; None takes a field away."""
    made = {"content": CONTENT, "recipients": list(recipients) or [BOB], **more}
    return {name: value for name, value in made.items() if value is not None}


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["results"]
    return found


def refused(answer: httpx.Response) -> tuple[int, str, str, str]:
    """Status and the one error."""
    (error,) = answer.json()["errors"]
    return answer.status_code, error["code"], error["message"], error["description"]


async def received(relay: RelayHarness, mta: FakeMta, to: str) -> EmailMessage:
    await relay.quiet()
    (attempt,) = mta.attempts_for(to)
    message = email.message_from_bytes(attempt.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


# ── sending ──────────────────────────────────────────────────────────────────────────────


async def test_r19_a_transmission_leaves_from_the_pool_it_names(relay: RelayHarness, mta: FakeMta) -> None:
    names = [f"r{number}@b.example" for number in range(4)]
    answer = await post(relay, body(*({"address": one} for one in names), options={"ip_pool": "MARKETING"}))
    results = accepted(answer)
    assert (results["total_accepted_recipients"], results["total_rejected_recipients"]) == (4, 0)
    assert results["id"].isdecimal()
    assert set(answer.json()) == {"results"}
    await relay.quiet()
    sources = [one.peer_ip for name in names for one in mta.attempts_for(name)]
    assert sources == ["127.0.0.11", "127.0.0.12"] * 2, "recipient i takes the i-th turn"


@pytest.mark.parametrize(
    ("account", "subaccount", "options", "pool"),
    [
        pytest.param(1, None, {}, "default", id="R20 nothing named"),
        pytest.param(1, None, {"ip_pool": ""}, "default", id="R20 empty name"),
        pytest.param(1, None, {"ip_pool": "default"}, "default", id="R20 default by name"),
        pytest.param(2, None, {}, "sp_shared", id="R21 empty default, self-serve"),
        pytest.param(6, None, {"ip_pool": "default"}, "sp_shared", id="R21 A7 empty default, manual"),
        pytest.param(1, None, {"ip_pool": "sp_shared"}, "sp_shared", id="A6 sp_shared"),
        pytest.param(1, 123, {}, "marketing", id="R26 subaccount with a pool"),
        pytest.param(1, 123, {"ip_pool": "Marketing"}, "marketing", id="R26 the same pool by name"),
        pytest.param(1, 124, {}, "default", id="R25 subaccount without a pool"),
        pytest.param(
            1, 124, {"ip_pool": "receipts"}, "receipts", id="R24 subaccount without a pool names one"
        ),
    ],
)
async def test_the_pool_is_the_contracts(
    relay: RelayHarness,
    mta: FakeMta,
    account: int,
    subaccount: int | None,
    options: dict[str, str],
    pool: str,
) -> None:
    accepted(await post(relay, body(options=options), account, subaccount))
    await relay.quiet()
    (attempt,) = mta.attempts_for("bob@b.example")
    assert attempt.peer_ip in relay.ips_of(pool, account)


@pytest.mark.parametrize(
    ("account", "subaccount", "asked", "sentence"),
    [
        pytest.param(1, None, "nowhere", "IP Pool 'nowhere' does not exist", id="A8 unknown"),
        pytest.param(1, None, "Quiet", "IP Pool 'quiet' is empty", id="A8 empty"),
        pytest.param(4, None, None, "IP Pool 'default' is empty", id="R22"),
        pytest.param(4, None, "default", "IP Pool 'default' is empty", id="R22 by name"),
        pytest.param(3, None, "sp_shared", "sp_shared is not a valid customer ip pool", id="A6"),
        pytest.param(1, 123, "receipts", "Subaccount 123 is restricted to IP Pool 'marketing'", id="A5 R26"),
        pytest.param(1, 125, None, "IP Pool 'quiet' is empty", id="R26 empty pool of a subaccount"),
    ],
)
async def test_a_pool_that_cannot_send_refuses_the_whole(
    relay: RelayHarness, account: int, subaccount: int | None, asked: str | None, sentence: str
) -> None:
    answer = await post(relay, body(options={"ip_pool": asked}), account, subaccount)
    assert refused(answer) == (422, "1300", "invalid data format/type", sentence)
    assert await relay.queue() == []


async def test_a_scheduled_one_is_judged_as_to_what_can_be_known_now(relay: RelayHarness) -> None:
    """An empty pool may be filled, an unknown one is a mistake."""
    later = (relay.clock.now() + timedelta(hours=1)).isoformat()
    for asked, subaccount, status in (
        ("quiet", None, 200),
        ("nowhere", None, 422),
        ("receipts", 123, 422),
        ("sp_shared", None, 200),
    ):
        options = {"ip_pool": asked, "start_time": later}
        assert (await post(relay, body(options=options), 1, subaccount)).status_code == status, asked
    assert (await post(relay, body(options={"start_time": later}), 4)).status_code == 200, "R22 is for then"


async def test_the_message_is_what_was_asked_for(relay: RelayHarness, mta: FakeMta) -> None:
    data = base64.b64encode(b"%PDF").decode()
    content = {
        "from": {"name": "Acme Größe", "email": FROM},
        "subject": "Hallo {{name}}",
        "text": "Hallo {{name or 'du'}}, {{city}}",
        "html": "<p>{{name}}</p>",
        "reply_to": "Office <office@acme.test>",
        "headers": {"X-Campaign": "{{campaign}}"},
        "attachments": [{"name": "a.pdf", "type": "application/pdf", "data": data}],
    }
    recipient = {
        "address": {"email": "bob@b.example", "name": "Bob"},
        "substitution_data": {"name": "Bob <b>"},
        "metadata": {"city": "Bern"},
    }
    answer = await post(
        relay,
        body(
            recipient,
            content=content,
            substitution_data={"name": "all", "city": "Basel", "campaign": "x"},
            metadata={"city": "Chur"},
        ),
    )
    id_ = accepted(answer)["id"]
    message = await received(relay, mta, "bob@b.example")
    assert message["from"] == "Acme Größe <news@acme.test>"
    assert message["to"] == "Bob <bob@b.example>"
    assert message["subject"] == "Hallo Bob <b>"
    assert message["reply-to"] == "Office <office@acme.test>"
    assert message["x-campaign"] == "x"
    assert message["message-id"].endswith("@relay.test>")
    assert message["date"] is not None
    assert f"with REST id {id_};" in message["received"]
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().strip() == "Hallo Bob <b>, Bern"
    assert html.get_content().strip() == "<p>Bob &lt;b&gt;</p>"
    (file,) = message.iter_attachments()
    assert file.get_content() == b"%PDF"


async def test_reserved_names_are_the_recipients(relay: RelayHarness, mta: FakeMta) -> None:
    text = "{{address.name}} {{address.email}} {{email}} {{email_id}} {{env_from}} {{address.street}}"
    recipient = {
        "address": {"email": "bob@b.example", "name": "Bob"},
        "return_path": "back@acme.test",
        "substitution_data": {"address": {"street": "Main", "email": "not this"}},
    }
    await relay.change_account(1, lambda account: replace(account, bounce_domain="acme.test"))
    accepted(await post(relay, body(recipient, content=CONTENT | {"text": text})))
    message = await received(relay, mta, "bob@b.example")
    shown = "Bob bob@b.example bob@b.example bob@b.example back@acme.test Main"
    assert message.get_content().strip() == shown


async def test_cc_and_bcc_are_recipients_with_header_to(relay: RelayHarness, mta: FakeMta) -> None:
    recipients = [
        {"address": {"email": "to@b.example", "name": "To"}},
        {"address": {"email": "cc@b.example", "header_to": "To <to@b.example>"}},
        {"address": {"email": "bcc@b.example", "header_to": "to@b.example"}},
    ]
    content = CONTENT | {"headers": {"CC": "cc@b.example"}}
    accepted(await post(relay, body(*recipients, content=content)))
    for to, shown in (("to", "To <to@b.example>"), ("cc", "To <to@b.example>"), ("bcc", "to@b.example")):
        message = await received(relay, mta, f"{to}@b.example")
        assert (message["to"], message["cc"], message["bcc"]) == (shown, "cc@b.example", None)


@pytest.mark.parametrize(
    ("header_to", "shown"),
    [
        ("nobody", "nobody:;"),
        ("Doe, John", '"Doe, John":;'),
        ("undisclosed-recipients:", "undisclosed-recipients:;"),
        ("Empfänger:;", "Empfänger:;"),
        ("Freunde: Jürgen <a@x.test>, b@x.test;", "Freunde: Jürgen <a@x.test>, b@x.test;"),
        ("to@b.example; x@y.test;", "to@b.example, x@y.test"),
    ],
)
@pytest.mark.parametrize("is_raw", [False, True], ids=["in parts", "email_rfc822"])
async def test_what_cannot_be_shown_as_it_is_said_loses_no_recipient(
    relay: RelayHarness, mta: FakeMta, header_to: str, shown: str, is_raw: bool
) -> None:
    """And shows no hidden one."""
    recipient = {"address": {"email": "hidden@b.example", "name": "Hidden", "header_to": header_to}}
    raw = {"email_rfc822": "From: news@acme.test\nTo: x@y.test\nSubject: s\n\nt\n"}
    accepted(await post(relay, body(recipient, content=raw if is_raw else CONTENT)))
    message = await received(relay, mta, "hidden@b.example")
    assert message.get_all("to") == [shown]
    assert b"idden" not in mta.attempts_for("hidden@b.example")[0].content.replace(b"for <hidden@", b"")


@pytest.mark.parametrize(
    "given",
    [
        "Jane <news@acme.test> (work)",
        "Jane <news@acme.test> (at (home), <x@y.test>)",
        "Jane <{{ if 1 < 2 }}news@acme.test{{ else }}y@acme.test{{ end }}>",
        '{{ if "<" == "<" }}Jane{{ end }} <{{ box }}@acme.test> ({{ box }})',
        "{{ jane }}",
    ],
)
@pytest.mark.parametrize("is_raw", [False, True], ids=["content.from", "email_rfc822"])
async def test_a_sender_may_have_a_comment_and_braces_with_signs(
    relay: RelayHarness, mta: FakeMta, given: str, is_raw: bool
) -> None:
    raw = {"email_rfc822": f"From: {given}\nSubject: s\n\nt\n"}
    content = raw if is_raw else CONTENT | {"from": given}
    values = {"box": "news", "jane": "Jane <news@acme.test> (work)"}
    accepted(
        await post(relay, body({"address": "bob@b.example", "substitution_data": values}, content=content))
    )
    message = await received(relay, mta, "bob@b.example")
    assert message.get_all("from") == ["Jane <news@acme.test>"]
    assert mta.attempts_for("bob@b.example")[0].mail_from == "news@acme.test"


async def test_a_whole_message_is_sent_as_it_is(relay: RelayHarness, mta: FakeMta) -> None:
    raw = (
        "From: Acme <news@acme.test>\nSubject: {{x}}\nTo: you\nBcc: secret@b.example\n\nLine\n..dots {{x}}\n"
    )
    recipient = BOB | {"substitution_data": {"x": "ü"}}
    accepted(await post(relay, body(recipient, content={"email_rfc822": raw})))
    message = await received(relay, mta, "bob@b.example")
    assert (message["subject"], message["to"], message["bcc"]) == ("ü", "you", None)
    assert message.get_content().splitlines() == ["Line", "..dots ü"]


PATHS: list[dict[str, Any]] = [
    {"address": "own@b.example", "return_path": "own@Bounces.acme.test"},
    {"address": "all@b.example"},
    {"address": "foreign@b.example", "return_path": "default@sparkpostmail.com"},
    {"address": "unverified@b.example", "return_path": "x@acme.test"},
]


OURS, VERP = "bounces.acme.test", "{}-1@bounces.acme.test"


@pytest.mark.parametrize(
    ("plan", "bounce_domain", "paths"),
    [
        pytest.param(Plan.SELF_SERVE, "", (VERP, VERP, FROM, FROM), id="self-serve"),
        pytest.param(
            Plan.MANUAL,
            "b.acme.test",
            (VERP, VERP, "{}-1@b.acme.test", "{}-1@b.acme.test"),
            id="with a bounce domain",
        ),
        pytest.param(
            Plan.ENTERPRISE,
            "b.acme.test",
            ("own@Bounces.acme.test", f"all@{OURS}", "default@sparkpostmail.com", "x@acme.test"),
            id="Enterprise",
        ),
    ],
)
async def test_a_return_path_is_at_a_domain_whose_bounces_come_here(
    relay: RelayHarness, mta: FakeMta, plan: Plan, bounce_domain: str, paths: tuple[str, ...]
) -> None:
    """Its local part is ours; elsewhere the bounce domain, or From, stands in its place."""
    await relay.change_account(1, lambda one: replace(one, plan=plan, bounce_domain=bounce_domain))
    for domain, status in ((OURS, Check.VALID), ("acme.test", Check.UNVERIFIED)):
        entry = SendingDomain(AccountId(1), domain, cname_status=status, dkim_status=Check.VALID)
        await relay.apply(Put(entry))
    sent = body(*PATHS, return_path=f"all@{OURS}", options={"ip_pool": "receipts"})
    id_ = accepted(await post(relay, sent))["id"]
    await relay.quiet()
    for recipient, path in zip(PATHS, paths, strict=True):
        (attempt,) = mta.attempts_for(recipient["address"])
        assert attempt.mail_from == path.format(f"msprvs1={id_}=bounces"), recipient
    told = await relay.inside.store.events.of_transmission(TransmissionId(id_))
    injected = {
        getattr(one.event, "about").rcpt_to: one.submission.mail_from  # noqa: B009 - an event of any kind
        for one in told
        if one.submission is not None
    }
    foreign = "default@sparkpostmail.com" if plan is Plan.ENTERPRISE else FROM
    assert injected["own@b.example"] == "own@Bounces.acme.test"
    assert (injected["all@b.example"], injected["foreign@b.example"]) == (f"all@{OURS}", foreign)


async def test_a_foreign_return_path_of_all_is_replaced_by_the_sender(
    relay: RelayHarness, mta: FakeMta
) -> None:
    recipients = [BOB, {"address": "x@b.example", "return_path": "y@elsewhere.test"}]
    accepted(await post(relay, body(*recipients, return_path="default@sparkpostmail.com")))
    templated = CONTENT | {"from": "{{n}}@acme.test"}
    eve = {"address": "eve@b.example", "substitution_data": {"n": "n"}}
    accepted(await post(relay, body(eve, content=templated, return_path="default@sparkpostmail.com")))
    await relay.quiet()
    assert mta.attempts_for("bob@b.example")[0].mail_from == FROM
    assert mta.attempts_for("x@b.example")[0].mail_from == FROM
    assert mta.attempts_for("eve@b.example")[0].mail_from == "n@acme.test"


async def test_events_tell_what_is_particular_to_a_recipient(relay: RelayHarness) -> None:
    recipient = BOB | {"metadata": {"a": 1}, "tags": [f"t{n}" for n in range(12)]}
    sent = body(recipient, content=CONTENT | {"subject": "{{a}}"}, campaign_id="autumn", metadata={"b": 2})
    id_ = accepted(await post(relay, sent))["id"]
    told = (await relay.inside.store.events.of_transmission(TransmissionId(id_)))[0]
    assert told.submission is not None
    assert (told.submission.recv_method, told.submission.remote_addr) == ("rest", "127.0.0.1")
    assert told.submission.options.campaign_id == "autumn"
    assert told.submission.options.metadata == {"b": 2, "a": 1}
    particulars = getattr(told.event, "about").particulars  # noqa: B009 - an event of any kind
    assert particulars.subject == "1"
    assert particulars.metadata == {"a": 1}
    assert particulars.tags == tuple(f"t{n}" for n in range(10))


async def test_suppressed_recipients_bounce_and_are_never_queued(relay: RelayHarness, mta: FakeMta) -> None:
    from relay.domain.suppression import Kind, Source, Suppression

    now = relay.clock.now()
    entry = Suppression(
        AccountId(1), None, "bob@b.example", Kind.NON_TRANSACTIONAL, Source.MANUALLY_ADDED, "", now, now
    )
    await relay.inside.store.suppressions.put([entry])
    id_ = accepted(await post(relay, body({"address": "BOB@b.example"}, {"address": "eve@b.example"})))["id"]
    await relay.quiet()
    assert mta.attempts_for("BOB@b.example") == []
    assert len(mta.attempts_for("eve@b.example")) == 1
    told = await relay.inside.store.events.of_transmission(TransmissionId(id_))
    (bounce,) = (one.event for one in told if isinstance(one.event, Bounce))
    assert bounce.raw_reason == "554 5.7.1 recipient address was suppressed due to customer policy"
    accepted(await post(relay, body(options={"transactional": True})))
    await relay.quiet()
    assert len(mta.attempts_for("bob@b.example")) == 1


async def test_css_is_inlined_after_substitution(relay: RelayHarness, mta: FakeMta) -> None:
    html = "<style>.{{kind}} { color: red } {{{extra}}}</style><p class=vip>Hello</p><p class=other>!</p>"
    content = CONTENT | {"html": html}
    data = {"kind": "vip", "extra": "i { color: blue }"}
    sent = body(BOB | {"substitution_data": data}, content=content, options={"inline_css": True})
    accepted(await post(relay, sent))
    shown = (await received(relay, mta, "bob@b.example")).get_body(("html",))
    assert isinstance(shown, EmailMessage)
    assert '<p class="vip" style="color: red;">Hello</p><p class="other">!</p>' in shown.get_content()


async def test_css_is_inlined_in_scheduled_mail_too(relay: RelayHarness, mta: FakeMta) -> None:
    start = (relay.clock.now() + timedelta(hours=1)).isoformat()
    content = CONTENT | {"html": "<style>p { color: red }</style><p>Hello</p>"}
    accepted(await post(relay, body(content=content, options={"inline_css": True, "start_time": start})))
    relay.clock.advance(hours=1, seconds=1)

    async def is_there() -> bool:
        return bool(mta.attempts_for("bob@b.example"))

    assert await eventually(is_there, 10)
    shown = (await received(relay, mta, "bob@b.example")).get_body(("html",))
    assert isinstance(shown, EmailMessage)
    assert '<p style="color: red;">Hello</p>' in shown.get_content()


async def test_html_that_is_too_large_to_inline_is_refused(relay: RelayHarness) -> None:
    html = "<style>p { color: red }</style>" + "<p>" * 3000
    answer = await post(relay, body(content=CONTENT | {"html": html}, options={"inline_css": True}))
    assert refused(answer) == (
        422,
        "3000",
        "substitution language syntax error in template content",
        "Error while compiling part html: inline_css takes at most 3000 elements, and there are 3001",
    )
    accepted(await post(relay, body(content=CONTENT | {"html": html})))


async def _signing(relay: RelayHarness, status: Check) -> None:
    key = await RsaKeys().generate("k1")
    await relay.apply(Put(SendingDomain(AccountId(1), "acme.test", dkim=key, dkim_status=status)))


async def test_the_key_of_the_from_domain_may_be_named(relay: RelayHarness, mta: FakeMta) -> None:
    await _signing(relay, Check.VALID)
    accepted(await post(relay, body(options={"dkim_key": "K1"})))
    message = await received(relay, mta, "bob@b.example")
    assert "s=k1" in str(message["DKIM-Signature"])


@pytest.mark.parametrize(
    ("sender", "key", "status", "sentence"),
    [
        (FROM, "k2", Check.VALID, "Invalid DKIM key ID 'k2' for sending domain 'acme.test'"),
        (FROM, "k1", Check.INVALID, "DKIM key 'k1' is not verified for sending domain 'acme.test'"),
        ("a@other.test", "k1", Check.VALID, "Invalid DKIM key ID 'k1' for sending domain 'other.test'"),
    ],
)
async def test_a_key_that_does_not_sign_is_refused(
    relay: RelayHarness, sender: str, key: str, status: Check, sentence: str
) -> None:
    """At once, for scheduled mail too."""
    await _signing(relay, status)
    later = (relay.clock.now() + timedelta(hours=1)).isoformat()
    for start in (None, later):
        options = {"dkim_key": key, "start_time": start}
        answer = await post(relay, body(content=CONTENT | {"from": sender}, options=options))
        assert refused(answer) == (400, "1100", "Invalid DKIM key", sentence)


@pytest.mark.parametrize("name", ["open_tracking", "click_tracking", "initial_open"])
async def test_tracking_is_taken_and_said_not_to_be_here(relay: RelayHarness, name: str) -> None:
    notice = "open and click tracking are not available on this installation"
    assert (await post(relay, body(options={name: True}))).headers["X-Relay-Notice"] == notice
    assert "X-Relay-Notice" not in (await post(relay, body(options={name: False}))).headers


@pytest.mark.parametrize("padding", [0, 70_000], ids=["small", "large"])
@pytest.mark.parametrize("name", ["open_tracking", r"click\u005ftracking", "initial_open"])
async def test_a_replay_has_the_notice_too(relay: RelayHarness, name: str, padding: int) -> None:
    sent = json.dumps(body(options={"NAME": True}, description="x", unknown="x" * padding))
    given = {"Content-Type": "application/json"}
    async with relay.api() as api:
        for key, value in (("k", "true"), ("l", "false")):
            octets = sent.replace('"NAME": true', f'"{name}": {value}')
            headers = {**given, "Idempotency-Key": key}
            first, again = [
                await api.post("/transmissions", content=octets, headers=headers) for _ in range(2)
            ]
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.content == first.content
            assert again.headers.get("X-Relay-Notice") == first.headers.get("X-Relay-Notice")
            assert ("X-Relay-Notice" in again.headers) is (value == "true")


class TestAnInstallationThatRefusesTracking:
    @pytest.fixture
    def relay_settings(self, relay_settings: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        return {**relay_settings, "tracking": {"when_off": "refuse"}}

    @pytest.mark.parametrize("name", ["open_tracking", "click_tracking", "initial_open"])
    async def test_by_rest(self, relay: RelayHarness, name: str) -> None:
        answer = await post(relay, body(options={name: True}))
        assert refused(answer)[:2] == (422, "1300")
        assert refused(answer)[3].endswith("tracking is not available on this installation.")
        accepted(await post(relay, body(options={name: False})))

    @pytest.mark.parametrize("padding", [0, 70_000], ids=["small", "large"])
    async def test_by_rest_with_all_else_that_is_wrong(self, relay: RelayHarness, padding: int) -> None:
        options = {"open_tracking": True, "initial_open": True, "click_tracking": "yes"}
        sent = body(options=options, campaign_id=5, description="d", unknown="x" * padding)
        answer = await post(relay, sent)
        assert (answer.status_code, [error["description"] for error in answer.json()["errors"]]) == (
            422,
            [
                "field 'options.click_tracking' is of type 'string', but needs to be of type 'boolean'",
                "Open tracking is not available on this installation.",
                "Initial open tracking is not available on this installation.",
                "field 'campaign_id' is of type 'number', but needs to be of type 'string'",
            ],
        )

    @pytest.mark.parametrize("name", ["open_tracking", "click_tracking", "initial_open"])
    async def test_by_smtp(self, relay: RelayHarness, name: str) -> None:
        sentence = r"550 5\.6\.0 \w+( open)? tracking is not available on this installation\."
        with pytest.raises(InjectionRefusedError, match=sentence):
            await relay.inject("bob@b.example", msys={"options": {name: True}})
        await relay.inject("bob@b.example", msys={"options": {name: False}})


async def test_options_are_kept_as_they_came(relay: RelayHarness) -> None:
    options = {
        "start_time": (relay.clock.now() + timedelta(hours=1)).isoformat(),
        "open_tracking": False,
        "click_tracking": False,
        "initial_open": False,
        "inline_css": True,
        "sandbox": False,
        "unknown": 1,
    }
    id_ = accepted(await post(relay, body(options=options, description="d", return_path="r@acme.test")))["id"]
    async with relay.api() as api:
        found = (await api.get(f"/transmissions/{id_}")).json()["results"]["transmission"]
    assert found["options"] == options
    assert (found["description"], found["return_path"]) == ("d", "r@acme.test")
    assert (found["num_rcpts"], found["rcpt_list_total_chunks"]) == (1, 1)
    assert found["content"] == {"from": {"email": FROM, "name": ""}, "subject": "Hello", "text": "Hello."}


async def test_mail_by_smtp_and_by_rest_takes_turns_with_each_other(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """A33: one count a pool, whatever door the mail came by."""
    ips = sorted(relay.ips_of("marketing"))
    assert len(ips) == 2
    for number in range(2):
        await relay.inject(f"smtp{number}@b.example", ip_pool="marketing")
        sent = body({"address": f"rest{number}@b.example"}, options={"ip_pool": "marketing"})
        accepted(await post(relay, sent))
    await relay.quiet()
    sources = [
        mta.attempts_for(f"{door}{number}@b.example")[0].peer_ip
        for number in range(2)
        for door in ("smtp", "rest")
    ]
    assert sources == ips * 2


@pytest.mark.parametrize("when", ["now", "2026-01-05T08:59:59+00:00", "2026-01-05T10:00:00+01:00", None])
async def test_a_start_in_the_past_is_now(relay: RelayHarness, mta: FakeMta, when: str | None) -> None:
    accepted(await post(relay, body(options={"start_time": when})))
    await relay.quiet()
    assert len(mta.attempts_for("bob@b.example")) == 1


async def test_a_trailing_slash_changes_nothing(relay: RelayHarness) -> None:
    accepted(await post(relay, body(), path="/transmissions/"))


# ── large ones ───────────────────────────────────────────────────────────────────────────


async def test_many_recipients_are_made_into_messages_after_the_answer(
    relay: RelayHarness, mta: FakeMta
) -> None:
    names = [f"r{number}@b.example" for number in range(1201)]
    content = CONTENT | {"text": "Dear {{email}}"}
    accepted(
        await post(
            relay,
            body(*({"address": name} for name in names), content=content, options={"ip_pool": "marketing"}),
        )
    )

    async def all_there() -> bool:
        return len(mta.accepted) == len(names)

    assert await eventually(all_there, 30)
    sources = [mta.attempts_for(name)[0].peer_ip for name in names[:4]]
    assert sources == ["127.0.0.11", "127.0.0.12"] * 2
    assert b"Dear r1200@b.example" in mta.attempts_for(names[-1])[0].content
    assert await relay.inside.store.transmissions.listed(AccountId(1), relay.clock.now()) == []


async def test_a_large_one_keeps_the_ips_it_was_accepted_with(relay: RelayHarness, mta: FakeMta) -> None:
    """R27, A32: the decision is taken before the 200."""
    names = [f"r{number}@b.example" for number in range(60)]
    accepted(await post(relay, body(*({"address": name} for name in names), options={"ip_pool": "receipts"})))
    await relay.unassign_ip("127.0.0.13")
    await relay.delete_pool("receipts")

    async def all_there() -> bool:
        return len(mta.accepted) == len(names)

    assert await eventually(all_there, 10)
    assert {one.peer_ip for one in mta.accepted} == {"127.0.0.13"}


# ── refusals ─────────────────────────────────────────────────────────────────────────────

FILE = {"name": "a", "type": "a/b", "data": "eA=="}


@pytest.mark.parametrize(
    ("sent", "status", "code", "description"),
    [
        pytest.param(
            body(content={"email_rfc822": "From: a@acme.test\nContent-Type: multipart/mixed\n\nx"}),
            422,
            "3020",
            "content.email_rfc822 cannot be read as a MIME tree: "
            "a multipart needs a boundary of 1 to 200 ASCII characters",
            id="no MIME tree",
        ),
        pytest.param(
            body(content={"email_rfc822": "From: a@acme.test\n" + "Received: x\n" * 101 + "\nx"}),
            422,
            "1300",
            "mail loop detected",
            id="loop",
        ),
        pytest.param(
            body(content=CONTENT | {"html": "x" * (20 << 20)}),
            422,
            "1300",
            "The estimated message size is above the 20 MB message size limit",
            id="20 MB",
        ),
        pytest.param(
            body(content=CONTENT | {"text": "a\n{{if x}}"}),
            422,
            "3000",
            "Error while compiling part text: line 2: 'if' without its 'end'",
            id="substitution syntax",
        ),
    ],
)
async def test_content_that_cannot_be_composed_is_refused(
    relay: RelayHarness, sent: Any, status: int, code: str, description: str
) -> None:
    found = refused(await post(relay, sent))
    assert (found[0], found[1], found[3]) == (status, code, description)
    assert await relay.queue() == []


async def test_each_fault_has_the_status_and_the_class_of_its_code(relay: RelayHarness) -> None:
    rows: list[tuple[Any, int, str, str]] = [
        (body(content=5), 422, "1300", "invalid data format/type"),
        (b'{"a": "\xff"}', 400, "1305", "invalid UTF-8"),
        (body(content=CONTENT | {"template_id": "t"}), 422, "1301", "invalid combination of fields"),
        ({"content": CONTENT}, 422, "1400", "required field is missing"),
        (body(content={"template_id": "t"}), 422, "1603", "Subresource not found"),
        (body(substitution_data={"x": "y" * 100_000}), 422, "2002", "substitution data too large"),
        ({"content": CONTENT, "recipients": []}, 400, "5002", "At least one valid recipient is required"),
        (body(content=CONTENT | {"from": "nobody"}), 400, "7001", "Invalid domain"),
    ]
    for sent, status, code, message in rows:
        assert refused(await post(relay, sent))[:3] == (status, code, message)
    assert await relay.queue() == []


async def test_all_faults_are_told_with_the_status_of_the_first(relay: RelayHarness) -> None:
    sent = body(content={"from": "nobody", "headers": []}, campaign_id=5)
    answer = await post(relay, sent)
    assert (answer.status_code, [error["code"] for error in answer.json()["errors"]]) == (
        400,
        ["7001", "1400", "1400", "1300", "1300"],
    )
    sent = body(content=CONTENT | {"text": "{{", "html": "\n{{x y}}"})
    answer = await post(relay, sent)
    assert (answer.status_code, [(error["part"], error["line"]) for error in answer.json()["errors"]]) == (
        422,
        [("text", 1), ("html", 2)],
    )
    nobody = await post(relay, body({}, {"address": "x"}))
    assert (nobody.status_code, [error["code"] for error in nobody.json()["errors"]]) == (
        400,
        ["5002", "1400", "1300"],
    )


async def test_a_bad_recipient_is_told_and_the_others_get_their_mail(
    relay: RelayHarness, mta: FakeMta
) -> None:
    answer = await post(relay, body({"address": "good@b.example"}, {"address": "x"}))
    results = accepted(answer)
    assert (results["total_accepted_recipients"], results["total_rejected_recipients"]) == (1, 1)
    assert answer.json()["errors"] == [
        {"message": "transmission created, but with validation errors", "code": "2000"}
    ]
    assert results["rcpt_to_errors"] == [
        {
            "message": "invalid data format/type",
            "description": "invalid recipient address.email: x",
            "code": "1300",
        }
    ]
    await relay.quiet()
    assert len(mta.accepted) == 1


async def test_errors_of_recipients_are_told_as_many_as_asked_for(relay: RelayHarness) -> None:
    sent = body(BOB, {}, {}, {})
    for query, number in (("", 3), ("?num_rcpt_errors=2", 2), ("?num_rcpt_errors=0", 0)):
        results = accepted(await post(relay, sent, path=f"/transmissions{query}"))
        assert (len(results["rcpt_to_errors"]), results["total_rejected_recipients"]) == (number, 3)
    answer = await post(relay, sent, path="/transmissions?num_rcpt_errors=x")
    assert refused(answer) == (400, "1200", "invalid params", "param 'num_rcpt_errors' must be an integer")


async def test_no_shared_ip_is_an_outage_and_no_refusal(relay: RelayHarness) -> None:
    from relay.domain.changes import Remove

    await relay.apply(*(Remove(ip) for ip in relay.inside.directory.snapshot.ips.values() if ip.shared))
    answer = await post(relay, body(), account=5)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_a_from_domain_must_be_configured_where_the_account_requires_it(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await relay.change_account(1, lambda account: replace(account, require_sending_domain=True))
    answer = await post(relay, body())
    assert refused(answer)[:3] == (400, "7001", "Invalid domain")
    assert "Unconfigured Sending Domain" in refused(answer)[3]
    await relay.apply(Put(SendingDomain(AccountId(1), "acme.test")))
    accepted(await post(relay, body()))
    recipients = [
        {"address": f"{number}@b.example", "substitution_data": {"d": domain}}
        for number, domain in enumerate(("acme.test", "evil.test"))
    ]
    templated = CONTENT | {"from": "news@{{d}}"}
    id_ = accepted(await post(relay, body(*recipients, content=templated)))["id"]
    told = await relay.inside.store.events.of_transmission(TransmissionId(id_))
    (rejected,) = (one.event for one in told if isinstance(one.event, GenerationRejection))
    assert rejected.raw_reason == "550 5.7.1 Unconfigured Sending Domain <evil.test>"
    await relay.quiet()
    assert len(mta.attempts_for("0@b.example")) == 1
    assert mta.attempts_for("1@b.example") == []


async def test_what_cannot_be_rendered_for_one_recipient_is_told_of_that_one(
    relay: RelayHarness, mta: FakeMta
) -> None:
    content = CONTENT | {"text": "{{each x}}{{loop_var}}{{end}}"}
    recipients = [{"address": "good@b.example"}, BOB | {"substitution_data": {"x": "no array"}}]
    id_ = accepted(await post(relay, body(*recipients, content=content)))["id"]
    told = await relay.inside.store.events.of_transmission(TransmissionId(id_))
    (failed,) = (one.event for one in told if isinstance(one.event, GenerationFailure))
    assert failed.about.rcpt_to == "bob@b.example"
    reason = "550 5.6.0 [internal] substitution failed: line 1: 'each' needs an array"
    assert failed.raw_reason == reason
    assert (await relay.story(failed.about.message_id))[0].event == failed
    alone = await post(relay, body(recipients[1], content=content))
    assert refused(alone) == (400, "1901", "Failed to generate message", reason)
    await relay.quiet()
    assert len(mta.accepted) == 1


# ── frame ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "grant", "status"),
    [
        ("POST", "/transmissions", "transmissions/view", 403),
        ("GET", "/transmissions", "message_events/view", 403),
        ("GET", "/transmissions", "transmissions/view", 200),
        ("GET", "/transmissions", "transmissions/modify", 200),
        ("DELETE", "/transmissions?campaign_id=x", "transmissions/view", 403),
        ("DELETE", "/transmissions/1", "transmissions/view", 403),
        ("DELETE", "/transmissions/1", "transmissions/modify", 404),
    ],
)
async def test_grants(relay: RelayHarness, method: str, path: str, grant: str, status: int) -> None:
    key = await relay.make_key(grants=[grant])
    async with relay.api(key=key) as api:
        assert (await api.request(method, path, content=b"{}")).status_code == status


async def test_methods_that_there_are_not(relay: RelayHarness) -> None:
    async with relay.api() as api:
        answer = await api.put("/transmissions", json={})
    assert refused(answer)[:3] == (405, "1102", "invalid http method")
    assert refused(answer)[3] == "PUT is not supported on /api/v1/transmissions"


async def test_a_campaign_must_be_named(relay: RelayHarness) -> None:
    async with relay.api() as api:
        answer = await api.delete("/transmissions")
    assert refused(answer)[:2] == (400, "1401")


async def test_an_immediate_transmission_cannot_be_had(relay: RelayHarness) -> None:
    id_ = accepted(await post(relay, body()))["id"]
    async with relay.api() as api:
        for answer in (await api.get(f"/transmissions/{id_}"), await api.delete(f"/transmissions/{id_}")):
            assert refused(answer) == (
                404,
                "1600",
                "resource not found",
                f"Resource not found:transmission id {id_}",
            )


async def test_the_list_shows_scheduled_ones_in_scope(relay: RelayHarness) -> None:
    options = {"start_time": (relay.clock.now() + timedelta(hours=1)).isoformat()}
    two = [BOB, {"address": "eve@b.example"}]
    ids = {}
    for name, subaccount in (("mine", None), ("sub", 123)):
        sent = body(*two, options=options, campaign_id=name, description=name)
        ids[name] = accepted(await post(relay, sent, 1, subaccount))["id"]
    accepted(await post(relay, body(options=options)))
    accepted(await post(relay, body(*two, options=options), 2))

    async def listed(subaccount: int | None = None, **params: str) -> list[str]:
        async with relay.api(subaccount=subaccount) as api:
            found = (await api.get("/transmissions", params=params)).json()["results"]
        return [one["id"] for one in found]

    assert await listed() == [ids["mine"], ids["sub"]], "one recipient: not listed"
    assert await listed(0) == [ids["mine"]]
    assert await listed(123) == [ids["sub"]]
    assert await listed(campaign_id="sub") == [ids["sub"]]
    assert await listed(template_id="t") == []
    async with relay.api(subaccount=124) as api:
        assert (await api.get(f"/transmissions/{ids['mine']}")).status_code == 404
    async with relay.api() as api:
        (row,) = (await api.get("/transmissions", params={"campaign_id": "mine"})).json()["results"]
        assert (await api.delete(f"/transmissions/{ids['sub']}")).status_code == 404, "as the account"
    assert row == {
        "id": ids["mine"],
        "state": "submitted",
        "campaign_id": "mine",
        "description": "mine",
        "content": {"template_id": "inline"},
    }
    async with relay.api(subaccount=123) as api:
        assert (await api.delete(f"/transmissions/{ids['sub']}")).status_code == 204


async def test_what_was_set_aside_is_told_as_such(relay: RelayHarness) -> None:
    """In a field of ours: SparkPost's states are four, and its clients know no other."""
    options = {"start_time": (relay.clock.now() + timedelta(hours=1)).isoformat()}
    id_ = accepted(await post(relay, body(BOB, {"address": "eve@b.example"}, options=options)))["id"]
    store, now = relay.inside.store.transmissions, relay.clock.now()
    assert await store.hold_due("other", now + timedelta(hours=1), 60, 10)
    about = Subject.of(build_message(transmission=TransmissionId(id_)))
    event = GenerationFailure(now, about, ADMIN_FAILURE, 554, "554 set aside")
    assert await store.set_aside(TransmissionId(id_), "other", event, now)

    async def shown() -> list[str | None]:
        async with relay.api() as api:
            one = (await api.get(f"/transmissions/{id_}")).json()["results"]["transmission"]
            (row,) = (await api.get("/transmissions")).json()["results"]
        assert one["state"] == row["state"] == "submitted"
        return [one["set_aside_time"], row.get("set_aside_time")]

    assert await shown() == ["2026-01-05T09:00:00Z"] * 2
    assert await store.retry(TransmissionId(id_), now, "test")
    assert await shown() == [None, None]


async def test_a_repeated_request_sends_once(relay: RelayHarness, mta: FakeMta) -> None:
    many = [{"address": f"r{number}@b.example"} for number in range(60)]
    for sent in (body(), body(*many)):
        key = f"key-{len(sent['recipients'])}"
        first = await post(relay, sent, key=key)
        second = await post(relay, sent, key=key)
        assert (first.status_code, first.json()) == (200, second.json())
        assert second.headers["idempotent-replayed"] == "true"

    async def all_there() -> bool:
        return len(mta.accepted) == 61

    assert await eventually(all_there)
    await relay.quiet()
    assert len(mta.accepted) == 61
