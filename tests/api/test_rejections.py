"""Transmissions that are refused leave an event in the account that asked: who, what and why."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from relay.accept.rejections import A_MINUTE
from relay.domain.changes import Remove
from relay.domain.directory import Status
from relay.domain.events import PolicyRejection
from relay.resources.api_keys.rules import hash_key
from relay.testing.harness import RelayHarness
from relay.testing.waiting import eventually
from tests.api import test_events
from tests.support.rest import results

CONTENT = {"from": "news@acme.test", "subject": "Hello", "text": "Hello."}
ONE = [{"address": "Bob@B.example"}]
NOWHERE = {"options": {"ip_pool": "Nowhere"}, "content": CONTENT, "recipients": ONE}


async def search(relay: RelayHarness, query: str = "events=policy_rejection") -> list[dict[str, Any]]:
    relay.clock.advance(seconds=1)
    return await test_events.search(relay, query)


async def refused(relay: RelayHarness, body: Any, key: str | None = None, **headers: str) -> dict[str, Any]:
    """The one event that a refused request leaves in account 1, which must be about its answer."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **headers}
    async with relay.api(key=key) as api:
        answer = await api.post("/transmissions", content=octets, headers=given)
    assert answer.status_code >= 400, answer.text
    (event,) = await search(relay)
    assert event["error_code"] == str(answer.status_code)
    said = "; ".join(
        ": ".join(filter(None, (problem["message"], problem.get("description"))))
        for problem in answer.json()["errors"][:3]
    )
    assert event["raw_reason"].removesuffix(" (first of 3 recipients)") == f"{answer.status_code} {said}"
    return event


async def test_a_refused_transmission_tells_who_what_and_why(relay: RelayHarness) -> None:
    event = await refused(relay, NOWHERE)
    del event["event_id"], event["timestamp"]
    assert event == {
        "type": "policy_rejection",
        "customer_id": "1",
        "rcpt_to": "bob@b.example",
        "raw_rcpt_to": "Bob@B.example",
        "recipient_domain": "b.example",
        "msg_from": "news@acme.test",
        "remote_addr": "127.0.0.1",
        "recv_method": "rest",
        "ip_pool_raw": "Nowhere",
        "bounce_class": "25",
        "error_code": "422",
        "raw_reason": "422 invalid data format/type: IP Pool 'Nowhere' does not exist",
        "reason": "422 invalid data format/type: IP Pool 'Nowhere' does not exist",
    }
    for query in ("recipients=bob@b.example", "recipient_domains=B.example", "reasons=pool", "subaccounts=0"):
        assert len(await search(relay, query)) == 1, query
    assert await search(relay, "recipient_domains=c.example") == []


SHORT: Mapping[str, tuple[Any, dict[str, str]]] = {
    "no subject": ({"content": {"from": "news@acme.test", "text": "x"}, "recipients": ONE}, {}),
    "another type": (NOWHERE, {"Content-Type": "text/plain"}),
    "no such subaccount": (NOWHERE, {"X-MSYS-SUBACCOUNT": "999"}),
    "a key that may not be one": (NOWHERE, {"Idempotency-Key": "x" * 300}),
    "no recipient": ({"content": CONTENT, "recipients": []}, {}),
    "no address": ({"content": CONTENT, "recipients": [{"address": "nobody"}]}, {}),
    "no JSON": (b"{", {}),
    "nothing": (b"", {}),
    "no UTF-8": (b'{"a": "\xff"}', {}),
    "half a character": (b'{"recipients": [{"address": "\\ud800@b.example"}]}', {}),
    "strange": ({"content": [], "recipients": {"address": 5}, "options": "x"}, {}),
}


@pytest.mark.parametrize("case", SHORT)
async def test_whatever_is_wrong_with_the_request_it_is_told(relay: RelayHarness, case: str) -> None:
    body, headers = SHORT[case]
    event = await refused(relay, body, **headers)
    assert event.get("rcpt_to") in {
        "no subject": ["bob@b.example"],
        "no address": ["nobody"],
    }.get(case, [None, "bob@b.example"])


async def test_one_event_tells_of_all_recipients(relay: RelayHarness) -> None:
    event = await refused(
        relay, {**NOWHERE, "recipients": [{"address": f"r{n}@b.example"} for n in range(3)]}
    )
    assert event["rcpt_to"] == "r0@b.example"
    assert event["raw_reason"].endswith(" (first of 3 recipients)")


@pytest.mark.parametrize("pool", ["Nowhere", 5])
async def test_a_large_one_too(relay: RelayHarness, pool: object) -> None:
    """Its recipients are read elsewhere; one that is not understood is looked at where they begin."""
    many = [{"address": {"email": f"r{number}@b.example"}} for number in range(3000)]
    body = {**NOWHERE, "options": {"ip_pool": pool}, "recipients": many}
    async with relay.api() as api:
        assert (await api.post("/transmissions", json=body)).status_code == 422
    (event,) = await search(relay)
    assert event["rcpt_to"] == "r0@b.example"
    assert event["raw_reason"].endswith(" (first of 3000 recipients)") is (pool == "Nowhere")


async def test_a_key_that_may_not_send_is_told_to_its_account(relay: RelayHarness) -> None:
    viewer = await relay.make_key(1, ["transmissions/view"], subaccount=123)
    event = await refused(relay, NOWHERE, viewer)
    assert event["raw_reason"] == "403 Forbidden.: the key lacks the grant transmissions/modify"
    assert event["subaccount_id"] == "123"


async def test_a_key_from_elsewhere_is_told_to_its_account(relay: RelayHarness) -> None:
    key = await relay.make_key(1, ["transmissions/modify"], valid_ips=("192.0.2.7",))
    event = await refused(relay, NOWHERE, key)
    assert (event["error_code"], event["remote_addr"]) == ("403", "127.0.0.1")


async def test_a_suspended_account_finds_its_refusals(relay: RelayHarness) -> None:
    await relay.change_account(1, lambda account: replace(account, status=Status.SUSPENDED))
    event = await refused(relay, NOWHERE)
    assert event["raw_reason"] == "403 Forbidden.: account 1 is suspended"


async def test_a_slip_of_the_operators_is_told_with_503(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = relay.inside.directory.snapshot
    await relay.apply(*(Remove(ip) for ip in snapshot.shared))
    event = await refused(relay, {"options": {"ip_pool": "sp_shared"}, "content": CONTENT, "recipients": ONE})
    assert event["raw_reason"] == "503 No shared IP pool is configured, try again later"
    assert "account=1 mail is refused: no shared sending IP is configured" in caplog.text


async def test_an_operators_key_is_told_to_the_account_that_it_acts_for(relay: RelayHarness) -> None:
    operator = await relay.make_key(2, is_operator=True)
    event = await refused(relay, NOWHERE, operator, **{"X-Relay-Account": "1"})
    assert event["customer_id"] == "1"


async def test_what_is_nobodys_or_no_mail_leaves_no_event(relay: RelayHarness) -> None:
    key = await relay.make_key(1, ["transmissions/modify"])
    gone = await relay.make_key(1, ["transmissions/modify"])
    await relay.apply(Remove(relay.inside.directory.snapshot.keys[hash_key(gone)]))
    async with relay.api(key=gone) as api:
        assert (await api.post("/transmissions", json=NOWHERE)).status_code == 401
    async with relay.api(key=key) as api:
        assert (await api.get("/transmissions/77")).status_code == 404
        assert (await api.delete("/transmissions")).status_code == 400
        assert (await api.post("/ip-pools", json={"name": "News"})).status_code == 403
        good = {"content": CONTENT, "recipients": ONE}
        for _ in range(2):
            results(await api.post("/transmissions", json=good, headers={"Idempotency-Key": "k"}))
    assert await search(relay) == []


async def test_each_recipient_that_an_accepted_transmission_is_not_for_is_told(relay: RelayHarness) -> None:
    bad: list[dict[str, Any]] = [
        {"address": "nobody"},
        {"address": {"name": "x"}},
        {"address": "c@b.example"},
    ]
    bad[2]["tags"] = "x"
    body = {"content": CONTENT, "recipients": [*bad, *ONE], "options": {"ip_pool": "marketing"}}
    async with relay.api() as api:
        for _ in range(2):
            answer = await api.post("/transmissions", json=body, headers={"Idempotency-Key": "k"})
            assert results(answer)["total_rejected_recipients"] == 3
    events = await search(relay)
    assert {event["raw_reason"] for event in events} == {
        "1300 invalid data format/type: invalid recipient address.email: nobody",
        "1400 required field is missing: address.email is required for each recipient",
        "1300 invalid data format/type: field 'tags' is of type 'string', "
        "but needs to be of type 'json_array'",
    }
    seen = sorted((event["error_code"], event.get("raw_rcpt_to", "")) for event in events)
    assert seen == [("1300", "c@b.example"), ("1300", "nobody"), ("1400", "")]
    assert {(event["msg_from"], event["ip_pool_raw"], event["recv_method"]) for event in events} == {
        ("news@acme.test", "marketing", "rest")
    }
    assert len(await search(relay, "events=policy_rejection&recipients=c@b.example")) == 1


async def test_of_many_bad_recipients_a_hundred_are_told_and_the_rest_counted(relay: RelayHarness) -> None:
    body = {"content": CONTENT, "recipients": [*[{"address": "nobody"}] * 12_000, *ONE]}
    async with relay.api() as api:
        assert results(await api.post("/transmissions", json=body))["total_rejected_recipients"] == 12_000
    assert len(await search(relay, "events=policy_rejection&per_page=1000")) == A_MINUTE
    await relay.restart()
    recent = [told.event for told in await relay.inside.store.events.recent(300)]
    reasons = [event.raw_reason for event in recent if isinstance(event, PolicyRejection)]
    counts = [reason.partition("nobody ")[2] for reason in reasons if "more" in reason]
    assert counts == ["(11900 more within a minute)"]


async def test_of_a_whole_message_from_is_told(relay: RelayHarness) -> None:
    message = "From: Jane @ Acme <you@acme.test>\n\nx"
    event = await refused(relay, NOWHERE | {"content": {"email_rfc822": message}})
    assert event["msg_from"] == "you@acme.test"


async def test_a_sender_that_waits_for_values_is_not_told(relay: RelayHarness) -> None:
    event = await refused(relay, NOWHERE | {"content": CONTENT | {"from": "{{from}}"}})
    assert event.get("msg_from", "") == ""


async def test_of_one_kind_a_hundred_a_minute_are_told_and_the_rest_counted(relay: RelayHarness) -> None:
    async with relay.api() as api:
        for _ in range(A_MINUTE + 5):
            assert (await api.post("/transmissions", json=NOWHERE)).status_code == 422
        other = {"content": CONTENT, "recipients": []}
        assert (await api.post("/transmissions", json=other)).status_code == 400
    assert len(await search(relay, "events=policy_rejection&per_page=1000")) == A_MINUTE + 1
    events = relay.inside.store.events
    await relay.restart()
    last = (await relay.inside.store.events.recent(5))[0]
    assert events is not relay.inside.store.events
    assert isinstance(last.event, PolicyRejection)
    assert last.event.raw_reason.endswith("does not exist (5 more within a minute)")


async def test_by_smtp_what_is_refused_for_now_is_found_too(
    relay: RelayHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    await relay.apply(*(Remove(ip) for ip in relay.inside.directory.snapshot.shared))
    with pytest.raises(Exception, match=r"451 4.3.0 No shared IP pool"):
        await relay.inject("Bob@B.example", ip_pool="sp_shared")
    assert "account=1 mail is refused: no shared sending IP is configured" in caplog.text
    to = [f"r{number}@b.example" for number in range(1001)]
    with pytest.raises(Exception, match=r"452 4\.5\.3 Too many recipients"):
        await relay.inject(to)

    async def found() -> bool:
        return len(await search(relay)) == 2

    await eventually(found)
    many, shared = await search(relay)
    assert (many["error_code"], many["rcpt_to"]) == ("452", "r1000@b.example")
    assert (shared["error_code"], shared["ip_pool_raw"], shared["recv_method"]) == (
        "451",
        "sp_shared",
        "esmtp",
    )
