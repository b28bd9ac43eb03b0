"""Events describe the message that was made, where its From is filled in for each recipient."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import dkim  # type: ignore[import-untyped] # dkimpy 1.1 has no types
import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, SendingDomain
from relay.domain.ids import AccountId, SubaccountId
from relay.mail.dkim import record
from relay.net.records import RsaKeys
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from tests.support.rest import refusal, results

INLINE = {"from": "{{n}} <{{from}}>", "subject": "Hi {{n}}", "text": "t"}
IN_PARTS = {"from": {"name": "{{n}}", "email": "{{ from }}"}, "subject": "Hi {{n}}", "text": "t"}
RAW = {"email_rfc822": "From: {{n}} <{{from}}>\nSubject: Hi {{n}}\n\nt\n"}
CONTENTS = pytest.mark.parametrize("content", [INLINE, IN_PARTS, RAW], ids=["text", "parts", "email_rfc822"])
ANN = {"n": "Ann, B.", "from": "ann@News.acme.test"}
TOLD = {
    "msg_from": "ann@News.acme.test",
    "friendly_from": "ann@News.acme.test",
    "sending_domain": "news.acme.test",
    "subject": "Hi Ann, B.",
}


async def send(relay: RelayHarness, content: Mapping[str, Any], *recipients: Any, **more: Any) -> str:
    body = {"content": content, "recipients": list(recipients), **more}
    async with relay.api(1) as api:
        id_: str = results(await api.post("/transmissions", json=body))["id"]
    return id_


async def told(relay: RelayHarness, query: str) -> list[dict[str, Any]]:
    """What is found a moment later, newest first."""
    relay.clock.advance(seconds=1)
    async with relay.api(1) as api:
        found: list[dict[str, Any]] = results(await api.get(f"/events/message?{query}"))
    return found


def of_sender(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in TOLD}


def to(address: str, **values: str) -> dict[str, Any]:
    return {"address": address, "substitution_data": values}


@CONTENTS
async def test_every_event_tells_who_the_message_was_from(
    relay: RelayHarness, mta: FakeMta, content: dict[str, Any]
) -> None:
    mta.answer("late@b.example", "451 4.2.1 later", then="250 2.0.0 ok")
    mta.answer("gone@b.example", "550 5.1.1 unknown")
    names = ("bob@b.example", "late@b.example", "gone@b.example")
    await send(relay, content, *({"address": name} for name in names), substitution_data=ANN)
    await relay.quiet()
    relay.clock.advance(minutes=30)
    await mta.attempts_reached(4)
    await relay.quiet()
    found = await told(relay, "")
    kinds = sorted(event["type"] for event in found)
    assert kinds == ["bounce", "delay", "delivery", "delivery", "injection", "injection", "injection"]
    assert [of_sender(event) for event in found] == [TOLD] * 7
    assert mta.attempts_for("bob@b.example")[0].mail_from == "ann@News.acme.test"


async def test_each_of_many_has_its_own_and_is_found_by_it(relay: RelayHarness, mta: FakeMta) -> None:
    """More than are made at once: they are read from the store."""
    recipients = [
        to(f"r{number}@b.example", n=f"N{number}", **{"from": f"s{number}@d{number}.test"})
        for number in range(60)
    ]
    await send(relay, INLINE, *recipients)
    await send(relay, INLINE | {"from": "other@d7.test"}, {"address": "x@b.example"})
    await mta.attempts_reached(61)
    await relay.quiet()
    for query in ("from_addresses=S7@d7.test", "sending_domains=d7.test&recipients=r7@b.example"):
        found = await told(relay, query)
        assert {event["type"] for event in found} == {"injection", "delivery"}
        assert {event["rcpt_to"] for event in found} == {"r7@b.example"}
        assert {(event["msg_from"], event["subject"]) for event in found} == {("s7@d7.test", "Hi N7")}
    assert len(await told(relay, "sending_domains=D7.test&events=injection")) == 2
    assert await told(relay, "from_addresses={{from}}") == []


async def test_a_scheduled_one_is_told_of_as_it_was_made(relay: RelayHarness, mta: FakeMta) -> None:
    later = (relay.clock.now() + timedelta(hours=1)).isoformat(timespec="seconds")
    await send(relay, INLINE, to("bob@b.example", **ANN), options={"start_time": later})
    relay.clock.advance(hours=2)
    await mta.attempts_reached(1)
    await relay.quiet()
    found = await told(relay, "from_addresses=ann@news.acme.test")
    assert [event["type"] for event in found] == ["delivery", "injection"]
    assert [of_sender(event) for event in found] == [TOLD] * 2


async def test_what_was_never_made_has_no_sender_but_the_one_it_was_refused_for(relay: RelayHarness) -> None:
    await relay.change_account(1, lambda account: replace(account, require_sending_domain=True))
    await relay.apply(Put(SendingDomain(AccountId(1), "acme.test")))
    mine, others = to("a@b.example", n="A", **{"from": "a@acme.test"}), to("b@b.example", n="B")
    evil = to("c@b.example", n="C", **{"from": "c@evil.test"})
    await send(relay, INLINE, mine, others, evil)
    await relay.quiet()
    assert await told(relay, "from_addresses={{from}}") == []
    nobody, somebody = sorted(
        await told(relay, "events=generation_rejection"), key=lambda event: str(event["rcpt_to"])
    )
    assert of_sender(nobody) == dict.fromkeys(TOLD) | {"subject": "Hi {{n}}"}
    assert (somebody["sending_domain"], somebody["subject"]) == ("evil.test", "Hi C")
    assert (await told(relay, "sending_domains=evil.test"))[0]["type"] == "generation_rejection"


async def test_an_empty_subject_is_none_and_not_its_template(relay: RelayHarness) -> None:
    content = INLINE | {"subject": "{{none}}"}
    await send(relay, content, to("bob@b.example", **ANN))
    await relay.quiet()
    assert [event.get("subject") for event in await told(relay, "")] == [None, None]


async def test_a_recipients_own_return_path_is_told_of_that_copy(relay: RelayHarness) -> None:
    content = INLINE | {"from": "news@acme.test"}
    recipients = [{"address": "a@b.example", "return_path": "own@acme.test"}, {"address": "c@b.example"}]
    await relay.change_account(1, lambda account: replace(account, bounce_domain="acme.test"))
    await send(relay, content, *recipients, return_path="all@acme.test")
    await relay.quiet()
    found = await told(relay, "events=delivery")
    assert {event["rcpt_to"]: event["msg_from"] for event in found} == {
        "a@b.example": "own@acme.test",
        "c@b.example": "all@acme.test",
    }


@CONTENTS
@pytest.mark.parametrize("padding", ["", "{{n}}" * 15_000], ids=["here", "in another process"])
async def test_the_sender_is_filled_in_before_the_return_path(
    relay: RelayHarness, mta: FakeMta, content: dict[str, Any], padding: str
) -> None:
    """It is the return path of who may have no other."""
    said = f"{{{{env_from}}}}|{{{{return_path}}}}\n{padding}"
    content = dict(content)
    if "text" in content:
        content |= {"text": said, "headers": {"X-From": "{{env_from}}"}}
    else:
        content["email_rfc822"] = content["email_rfc822"].replace(
            "\nSubject", "\nX-From: {{env_from}}\nSubject"
        )
        content["email_rfc822"] = content["email_rfc822"].removesuffix("t\n") + said
    await relay.change_account(1, lambda account: replace(account, bounce_domain="acme.test"))
    own = to("own@b.example", **ANN) | {"return_path": "back@acme.test"}
    await send(relay, content, to("bob@b.example", **ANN), own)
    await relay.quiet()
    for name, path in (("bob", "ann@News.acme.test"), ("own", "back@acme.test")):
        message = message_from_bytes(mta.attempts_for(f"{name}@b.example")[0].content, policy=policy.default)
        assert message["x-from"] == path
        assert message.get_content().splitlines()[0] == f"{path}|{path}"


async def test_a_bounce_is_told_to_the_sender_that_was_filled_in(relay: RelayHarness, mta: FakeMta) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True))
    mta.answer("gone@b.example", "550 5.1.1 unknown")
    await send(relay, INLINE, to("gone@b.example", **ANN))
    await relay.quiet()
    (dsn,) = mta.attempts_for("ann@News.acme.test")
    assert dsn.mail_from == ""


async def test_a_long_name_does_not_hide_the_address(relay: RelayHarness) -> None:
    long = to("bob@b.example", n="n" * 5000, **{"from": "ann@acme.test"})
    await send(
        relay, INLINE | {"from": {"name": "m" * 1200, "email": "max@acme.test"}}, {"address": "x@y.test"}
    )
    await send(relay, INLINE, long)
    await relay.quiet()
    for address in ("ann@acme.test", "max@acme.test"):
        found = await told(relay, f"from_addresses={address}")
        assert {event["friendly_from"] for event in found} == {address}


async def test_who_a_message_is_from_decides_who_signs_it(relay: RelayHarness, mta: FakeMta) -> None:
    """A domain's own key, for the account's copy and not for the one from a subaccount's domain."""
    key = await RsaKeys().generate("k1")
    for domain, owner in (("acme.test", None), ("other.test", SubaccountId(124))):
        entry = SendingDomain(AccountId(1), domain, subaccount=owner, dkim=key, dkim_status=Check.VALID)
        await relay.apply(Put(entry))
    recipients = [to(f"{d}@b.example", n="N", **{"from": f"a@{d}.test"}) for d in ("acme", "other", "none")]
    await send(relay, INLINE, *recipients)
    await relay.quiet()
    signed = mta.attempts_for("acme@b.example")[0].content
    assert dkim.verify(signed, dnsfunc=lambda name, timeout=5: record(key.public).encode())
    assert b"d=acme.test" in signed
    for other in ("other", "none"):
        assert b"DKIM-Signature" not in mta.attempts_for(f"{other}@b.example")[0].content


async def test_a_key_that_is_asked_for_is_looked_for_at_the_sender_that_was_filled_in(
    relay: RelayHarness, mta: FakeMta
) -> None:
    key = await RsaKeys().generate("k1")
    await relay.apply(Put(SendingDomain(AccountId(1), "acme.test", dkim=key, dkim_status=Check.VALID)))
    await relay.apply(Put(SendingDomain(AccountId(1), "new.test", dkim=key, dkim_status=Check.UNVERIFIED)))
    ours, theirs, new = (to(f"{d}@b.example", n="N", **{"from": f"a@{d}.test"}) for d in ("acme", "b", "new"))
    options = {"dkim_key": "k1"}
    await send(relay, INLINE, ours, theirs, new, options=options)
    await relay.quiet()
    assert b"s=k1" in mta.attempts_for("acme@b.example")[0].content
    reasons = {event["raw_reason"] for event in await told(relay, "events=generation_rejection")}
    assert reasons == {
        "550 5.7.1 Invalid DKIM key ID 'k1' for sending domain 'b.test'",
        "550 5.7.1 DKIM key 'k1' is not verified for sending domain 'new.test'",
    }
    async with relay.api(1) as api:
        for recipients in ([theirs], [theirs, theirs]):
            body = {"content": INLINE, "recipients": recipients, "options": options}
            assert refusal(await api.post("/transmissions", json=body)) == (400, "Invalid DKIM key")
