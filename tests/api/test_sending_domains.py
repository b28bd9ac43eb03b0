"""`/sending-domains`: whose domain it is, by DNS, and the signatures that follow from it."""

import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import dkim  # type: ignore[import-untyped] # dkimpy 1.1 has no types
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.domain.changes import Put
from relay.domain.directory import Origin, SendingDomain
from relay.domain.ids import AccountId, PoolId
from relay.mail.dkim import encode_key, record
from relay.process.directory.export import export
from relay.sink.fake_mta import FakeMta
from relay.testing.clock import HandMovedClock
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from tests.support.name_server import Zone, records_of
from tests.support.rest import refusal, results

PATH = "/sending-domains"
HOSTNAME = "relay.test"


@pytest.fixture
def zone() -> Zone:
    """What DNS has; nothing until a test puts it there."""
    return {}


@pytest_asyncio.fixture
async def relay(
    tmp_path: Path,
    mta: FakeMta,
    clock: HandMovedClock,
    zone: Zone,
    relay_settings: dict[str, dict[str, object]],
) -> AsyncIterator[RelayHarness]:
    """A relay that asks a name server of ours."""
    async with (
        records_of(zone) as records,
        RelayHarness(tmp_path, mta, clock=clock, records=records, settings=relay_settings) as relay,
    ):
        yield relay


async def create(relay: RelayHarness, domain: str = "acme.test", account: int = 1, **body: Any) -> Any:
    async with relay.api(account) as client:
        return results(await client.post(PATH, json={"domain": domain, **body}))


def publish(zone: Zone, domain: str, dkim_: dict[str, str]) -> None:
    """The key, in strings of 255 octets at most (RFC 6376 §3.6.2.2)."""
    text = record(dkim_["public"])
    strings = [f'"{text[start : start + 200]}"' for start in range(0, len(text), 200)]
    zone[f"{dkim_['selector']}._domainkey.{domain}.", "TXT"] = [" ".join(strings)]


async def verify(relay: RelayHarness, domain: str = "acme.test", account: int = 1, **checks: bool) -> Any:
    async with relay.api(account) as client:
        return results(await client.post(f"{PATH}/{domain}/verify", json=checks))


async def create_verified(
    relay: RelayHarness, zone: Zone, domain: str = "acme.test", account: int = 1, **body: Any
) -> dict[str, str]:
    """The key of a domain that may sign."""
    key: dict[str, str] = (await create(relay, domain, account, **body))["dkim"]
    publish(zone, domain, key)
    assert (await verify(relay, domain, account, dkim_verify=True))["dkim_status"] == "valid"
    return key


# ── the resource ─────────────────────────────────────────────────────────────────────────


async def test_a_domain_is_registered_with_a_key_of_its_own(relay: RelayHarness) -> None:
    created = await create(relay, "ACME.test", shared_with_subaccounts=True)
    key = created["dkim"]
    assert created == {"message": "Successfully Created domain.", "domain": "acme.test", "dkim": key}
    assert key["selector"] == f"scph{relay.clock.now():%m%y}"
    assert key["signing_domain"] == "acme.test"
    assert len(key["public"]) == 392
    async with relay.api() as client:
        shown = results(await client.get(f"{PATH}/acme.test"))
        assert results(await client.get(PATH)) == [shown]
    assert shown == {
        "domain": "acme.test",
        "status": {
            "ownership_verified": False,
            "dkim_status": "unverified",
            "cname_status": "unverified",
            "mx_status": "unverified",
            "spf_status": "unverified",
            "abuse_at_status": "unverified",
            "postmaster_at_status": "unverified",
            "verification_mailbox_status": "unverified",
            "compliance_status": "valid",
        },
        "dkim": key,
        "shared_with_subaccounts": True,
        "is_default_bounce_domain": False,
        "creation_time": relay.clock.now().isoformat(timespec="seconds"),
    }


async def test_a_customer_may_bring_a_key_or_want_none(relay: RelayHarness) -> None:
    private, public = encode_key(rsa.generate_private_key(65537, 1024))
    brought = await create(relay, "a.test", dkim={"private": private, "selector": "Mine"})
    assert (brought["dkim"]["public"], brought["dkim"]["selector"]) == (public, "mine")
    assert "dkim" not in await create(relay, "b.test", generate_dkim=False)
    async with relay.api() as client:
        bad = await client.post(PATH, json={"domain": "c.test", "dkim": {"private": "c2VjcmV0"}})
        assert refusal(bad)[0] == 422
        assert bad.json()["errors"][0]["description"] == "dkim.private is not a private key"
        assert "c2VjcmV0" not in bad.text


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        pytest.param(
            {},
            422,
            {
                "message": "required field is missing",
                "description": "field 'domain' is required",
                "code": "1400",
            },
            id="no domain",
        ),
        pytest.param(
            {"domain": 5},
            422,
            {
                "message": "invalid data format/type",
                "description": "field 'domain' is of type 'number', but needs to be of type 'string'",
                "code": "1300",
            },
            id="a number",
        ),
        *(
            pytest.param(
                {"domain": text},
                400,
                {
                    "message": "Invalid domain",
                    "description": f"'{text}' is not a valid domain",
                    "code": "7001",
                },
                id=text,
            )
            for text in ("acme", "a b.test", "[192.0.2.1]", "a_b.test", "192.0.2.1", "-a.test/")
        ),
        pytest.param(
            {"domain": "gmail.com"},
            400,
            {
                "message": "Restricted domain",
                "description": "Domain gmail.com belongs to a mailbox provider",
                "code": "7000",
            },
            id="a provider's",
        ),
        pytest.param(
            {"domain": "acme.test"},
            409,
            {
                "message": "resource conflict",
                "description": "Sending Domain acme.test already registered",
                "code": "1602",
            },
            id="there already",
        ),
    ],
)
async def test_what_is_no_new_domain_is_refused(
    relay: RelayHarness, body: dict[str, Any], status: int, problem: dict[str, str]
) -> None:
    await create(relay)
    async with relay.api() as client:
        answer = await client.post(PATH, json=body)
        assert (answer.status_code, answer.json()["errors"]) == (status, [problem])
        assert len(results(await client.get(PATH))) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/verify")],
)
@pytest.mark.parametrize("domain", ["nowhere.test", "no%20domain"])
async def test_a_domain_that_is_not_there(relay: RelayHarness, method: str, path: str, domain: str) -> None:
    async with relay.api() as client:
        answer = await client.request(method, f"{PATH}/{domain}{path}", content=b"{}")
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["code"]) == (404, "1600")
    assert problem["description"] == f"Domain '{domain.replace('%20', ' ')}' does not exist"


async def test_a_domain_is_changed_and_removed(relay: RelayHarness) -> None:
    await create(relay)
    async with relay.api() as client:
        changed = await client.put(f"{PATH}/acme.test", json={"tracking_domain": "Track.acme.test"})
        assert results(changed) == {"message": "Successfully Updated Domain.", "domain": "acme.test"}
        assert results(await client.get(f"{PATH}/acme.test"))["tracking_domain"] == "track.acme.test"
        results(await client.put(f"{PATH}/acme.test", json={"tracking_domain": "", "generate_dkim": None}))
        assert "tracking_domain" not in results(await client.get(f"{PATH}/acme.test"))
        assert (await client.delete(f"{PATH}/acme.test")).status_code == 204
        assert results(await client.get(PATH)) == []


async def test_domains_are_listed_by_status(relay: RelayHarness, zone: Zone) -> None:
    await create_verified(relay, zone)
    await create(relay, "other.test")
    async with relay.api() as client:
        for query, number in (
            ("dkim_status=valid", 1),
            ("dkim_status=unverified", 1),
            ("cname_status=unverified", 2),
            ("compliance_status=blocked", 0),
            ("ownership_verified=true", 1),
            ("ownership_verified=false&dkim_status=valid", 0),
        ):
            assert len(results(await client.get(f"{PATH}?{query}"))) == number
        for query in ("dkim_status=x", "ownership_verified=x"):
            assert refusal(await client.get(f"{PATH}?{query}")) == (400, "invalid params")


async def test_an_account_has_no_end_of_domains(relay: RelayHarness) -> None:
    account = AccountId(1)
    many = [Put(SendingDomain(account, f"d{number}.test", origin=Origin.LIVE)) for number in range(1000)]
    await relay.apply(*many)
    async with relay.api() as client:
        answer = await client.post(PATH, json={"domain": "acme.test"})
    assert refusal(answer) == (400, "You can have at most 1000 sending domains.")


# ── verification ─────────────────────────────────────────────────────────────────────────


async def test_the_owner_is_who_publishes_the_key(relay: RelayHarness, zone: Zone) -> None:
    key = (await create(relay))["dkim"]
    name = f"{key['selector']}._domainkey.acme.test"
    missing = await verify(relay, dkim_verify=True)
    assert (missing["ownership_verified"], missing["dkim_status"]) == (False, "invalid")
    assert missing["dns"] == {"dkim_error": f"{name} has no TXT record."}
    publish(zone, "acme.test", {**key, "public": key["public"][:-8] + "AAAAAQAB"})
    wrong = await verify(relay, dkim_verify=True)
    assert wrong["dns"]["dkim_error"] == f"The TXT record of {name} has another key."
    publish(zone, "acme.test", key)
    right = await verify(relay, dkim_verify=True)
    assert (right["ownership_verified"], right["dkim_status"]) == (True, "valid")
    assert right["dns"] == {"dkim_record": record(key["public"])}


@pytest.mark.parametrize(("kind", "value"), [("cname", f"{HOSTNAME}."), ("mx", f"10 {HOSTNAME}.")])
async def test_a_bounce_domain_names_this_relay(
    relay: RelayHarness, zone: Zone, kind: str, value: str
) -> None:
    await create(relay, "bounces.acme.test")
    check = {f"{kind}_verify": True}
    missing = await verify(relay, "bounces.acme.test", **check)
    assert missing["dns"][f"{kind}_error"].endswith(f"does not exist; it must name {HOSTNAME}.")
    zone["bounces.acme.test.", kind.upper()] = [value.replace(HOSTNAME, "other.test")]
    wrong = await verify(relay, "bounces.acme.test", **check)
    assert wrong[f"{kind}_status"] == "invalid"
    zone["bounces.acme.test.", kind.upper()] = [value]
    right = await verify(relay, "bounces.acme.test", **check)
    assert (right["ownership_verified"], right[f"{kind}_status"]) == (True, "valid")
    assert right["dns"] == {f"{kind}_record": HOSTNAME}


async def test_what_dns_does_not_answer_changes_nothing(relay: RelayHarness, zone: Zone) -> None:
    await create(relay, "fail.test")
    asked = await verify(relay, "fail.test", cname_verify=True, mx_verify=True)
    assert (asked["cname_status"], asked["mx_status"]) == ("unverified", "unverified")
    assert asked["dns"]["cname_error"] == "DNS did not answer, try again later."


async def test_a_key_that_is_gone_from_dns_signs_no_more(
    relay: RelayHarness, zone: Zone, mta: FakeMta
) -> None:
    await create_verified(relay, zone)
    zone.clear()
    assert (await verify(relay, dkim_verify=True))["dkim_status"] == "invalid"
    assert b"DKIM-Signature" not in await content_of(relay, mta)


async def test_a_new_key_must_be_verified_again(relay: RelayHarness, zone: Zone, mta: FakeMta) -> None:
    old = await create_verified(relay, zone)
    async with relay.api() as client:
        results(await client.put(f"{PATH}/acme.test", json={"generate_dkim": True}))
        shown = results(await client.get(f"{PATH}/acme.test"))
    assert shown["dkim"]["public"] != old["public"]
    assert shown["status"]["dkim_status"] == "unverified"
    assert b"DKIM-Signature" not in await content_of(relay, mta)


BY_MAILBOX = [
    pytest.param({"postmaster_at_verify": True}, id="postmaster"),
    pytest.param({"abuse_at_verify": True}, id="abuse"),
    pytest.param({"verification_mailbox_verify": True, "verification_mailbox": "susan"}, id="a mailbox"),
    pytest.param({"postmaster_at_token": "a1b2"}, id="a token"),
    pytest.param({"abuse_at_token": "a1b2"}, id="a token of abuse"),
    pytest.param({"verification_mailbox_token": "a1b2"}, id="a token of a mailbox"),
]


@pytest.mark.parametrize("body", BY_MAILBOX)
@pytest.mark.parametrize("beside", [{}, {"dkim_verify": False}, {"spf_verify": True}])
async def test_a_mailbox_alone_is_refused_for_no_mail_will_come(
    relay: RelayHarness, body: dict[str, object], beside: dict[str, object]
) -> None:
    await create(relay)
    async with relay.api() as client:
        answer = await client.post(f"{PATH}/acme.test/verify", json={**body, **beside})
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["message"], problem["code"]) == (400, "invalid params", "1200")
    told = f"{next(iter(body))}: verification by mailbox is not available on this installation"
    assert problem["description"] == told


@pytest.mark.parametrize("body", BY_MAILBOX)
async def test_beside_a_mailbox_what_can_be_checked_is_checked(
    relay: RelayHarness, zone: Zone, body: dict[str, object]
) -> None:
    publish(zone, "acme.test", (await create(relay))["dkim"])
    async with relay.api() as client:
        answer = await client.post(f"{PATH}/acme.test/verify", json={"dkim_verify": True, **body})
        seen = results(answer)
        shown = results(await client.get(f"{PATH}/acme.test"))["status"]
    told = f"{next(iter(body))}: verification by mailbox is not available on this installation"
    assert answer.headers["X-Relay-Notice"] == told
    assert seen["dns"]["dkim_record"]
    for status in (seen, shown):
        assert (status["ownership_verified"], status["dkim_status"]) == (True, "valid")
        for box in ("postmaster_at", "abuse_at", "verification_mailbox", "spf"):
            assert status[f"{box}_status"] == "unverified"


@pytest.mark.parametrize("dns", ["cname", "mx"])
async def test_another_look_beside_a_mailbox_tells_what_it_found(relay: RelayHarness, dns: str) -> None:
    await create(relay)
    async with relay.api() as client:
        asked = {f"{dns}_verify": True, "postmaster_at_verify": True, "abuse_at_verify": True}
        seen = results(await client.post(f"{PATH}/acme.test/verify", json=asked))
    assert (seen[f"{dns}_status"], seen["ownership_verified"]) == ("invalid", False)
    assert (seen["postmaster_at_status"], seen["abuse_at_status"]) == ("unverified", "unverified")


@pytest.mark.parametrize(
    ("field", "value", "needed"),
    [
        *((f"{kind}_verify", "yes", "boolean") for kind in ("dkim", "cname", "mx", "spf", "postmaster_at")),
        *((f"{kind}_verify", 1, "boolean") for kind in ("abuse_at", "verification_mailbox")),
        ("verification_mailbox", ["susan"], "string"),
        *((f"{kind}_token", {}, "string") for kind in ("postmaster_at", "abuse_at", "verification_mailbox")),
    ],
)
async def test_a_check_of_another_type_is_told_with_its_name(
    relay: RelayHarness, field: str, value: object, needed: str
) -> None:
    await create(relay)
    async with relay.api() as client:
        answer = await client.post(f"{PATH}/acme.test/verify", json={"dkim_verify": True, field: value})
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["code"]) == (422, "1300")
    assert problem["description"].startswith(f"field '{field}' is of type ")
    assert problem["description"].endswith(f"needs to be of type '{needed}'")


async def test_without_a_mailbox_there_is_no_notice(relay: RelayHarness) -> None:
    await create(relay)
    asked = {"dkim_verify": True, "postmaster_at_verify": False, "abuse_at_token": None}
    async with relay.api() as client:
        answer = await client.post(f"{PATH}/acme.test/verify", json=asked)
    assert results(answer)["dkim_status"] == "invalid"
    assert "X-Relay-Notice" not in answer.headers


async def test_the_default_bounce_domain_is_verified_and_then_used(
    relay: RelayHarness, zone: Zone, mta: FakeMta
) -> None:
    await create(relay, "bounces.acme.test")
    async with relay.api() as client:
        body = {"is_default_bounce_domain": True}
        assert refusal(await client.put(f"{PATH}/bounces.acme.test", json=body))[0] == 422
        zone["bounces.acme.test.", "CNAME"] = [f"{HOSTNAME}."]
        await verify(relay, "bounces.acme.test", cname_verify=True)
        results(await client.put(f"{PATH}/bounces.acme.test", json=body))
        assert results(await client.get(f"{PATH}/bounces.acme.test"))["is_default_bounce_domain"] is True
        await content_of(relay, mta)
        assert mta.attempts[-1].mail_from.endswith("@bounces.acme.test")
        assert (await client.delete(f"{PATH}/bounces.acme.test")).status_code == 204
    await content_of(relay, mta)
    assert mta.attempts[-1].mail_from == "sender@acme.test"


# ── who may send ─────────────────────────────────────────────────────────────────────────


async def test_only_a_verified_domain_may_send(relay: RelayHarness, zone: Zone) -> None:
    await relay.change_account(1, lambda account: replace(account, require_sending_domain=True))
    key = (await create(relay))["dkim"]
    with pytest.raises(InjectionRefusedError, match=r"550 5\.7\.1 Unconfigured Sending Domain <acme\.test>"):
        await relay.inject("bob@b.example")
    publish(zone, "acme.test", key)
    await verify(relay, dkim_verify=True)
    await relay.inject("bob@b.example")


async def test_what_the_operators_file_lists_is_verified(relay: RelayHarness) -> None:
    await relay.apply(Put(SendingDomain(AccountId(1), "listed.test")))
    async with relay.api() as client:
        status = results(await client.get(f"{PATH}/listed.test"))["status"]
    assert (status["ownership_verified"], status["dkim_status"]) == (True, "unverified")


async def test_a_domain_has_one_verified_owner(relay: RelayHarness, zone: Zone) -> None:
    key = (await create(relay))["dkim"]
    others = (await create(relay, account=2))["dkim"]
    publish(zone, "acme.test", key)
    await verify(relay, dkim_verify=True)
    publish(zone, "acme.test", others)
    async with relay.api(2) as birch, relay.api(3) as cedar:
        late = await birch.post(f"{PATH}/acme.test/verify", json={"dkim_verify": True})
        assert (late.status_code, late.json()["errors"][0]["code"]) == (400, "7004")
        new = await cedar.post(PATH, json={"domain": "acme.test"})
        assert (new.status_code, new.json()["errors"][0]["code"]) == (400, "7004")


async def test_a_subaccounts_domain_is_its_own(relay: RelayHarness) -> None:
    async with (
        relay.api(subaccount=124) as part,
        relay.api(subaccount=123) as other,
        relay.api(subaccount=0) as alone,
        relay.api() as whole,
    ):
        results(await part.post(PATH, json={"domain": "part.test"}))
        results(await alone.post(PATH, json={"domain": "acme.test"}))
        assert results(await part.get(f"{PATH}/part.test"))["subaccount_id"] == 124
        assert [entry["domain"] for entry in results(await part.get(PATH))] == ["part.test"]
        assert [entry["domain"] for entry in results(await alone.get(PATH))] == ["acme.test"]
        assert len(results(await whole.get(PATH))) == 2
        for client in (other, alone):
            assert (await client.get(f"{PATH}/part.test")).status_code == 404
            assert (await client.delete(f"{PATH}/part.test")).status_code == 404
        both = await part.put(f"{PATH}/part.test", json={"shared_with_subaccounts": True})
        assert refusal(both)[0] == 422


async def test_another_accounts_domain_is_not_there(relay: RelayHarness) -> None:
    await create(relay)
    async with relay.api(2) as birch:
        assert results(await birch.get(PATH)) == []
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/verify")):
            answer = await birch.request(method, f"{PATH}/acme.test{path}", content=b"{}")
            assert answer.status_code == 404


async def test_the_grant_is_needed(relay: RelayHarness) -> None:
    key = await relay.make_key(grants=["ip_pools/view"])
    async with relay.api(key=key) as client:
        assert refusal(await client.get(PATH)) == (403, "Forbidden.")


async def test_a_private_key_never_leaves(
    relay: RelayHarness, zone: Zone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by REST, export, audit line or log."""
    caplog.set_level(logging.DEBUG)
    await create_verified(relay, zone)
    await content_of(relay, relay.mta)
    snapshot = relay.inside.directory.snapshot
    entry = snapshot.domains[AccountId(1), "acme.test"]
    assert entry.dkim is not None
    secret = entry.dkim.private[200:260]
    text = export(snapshot)
    async with relay.api() as client:
        told = [(await client.get(path)).text for path in (PATH, f"{PATH}/acme.test", "/account")]
    audit = audit_of(tmp_path)
    assert "put sending_domain 1/acme.test" in audit
    assert "DKIM key scph0126, which is not in this file" in text
    for seen in (text, audit, repr(snapshot), caplog.text, *told):
        assert secret not in seen


def audit_of(folder: Path) -> str:
    (database,) = folder.glob("**/relay.db")
    with closing(sqlite3.connect(database)) as connection:
        return json.dumps(connection.execute("SELECT what, before, after FROM audit").fetchall())


async def test_an_export_vouches_for_nobody(relay: RelayHarness) -> None:
    """What a file lists counts as verified, so what nobody verified is not in it."""
    await create(relay)
    assert "acme.test" not in export(relay.inside.directory.snapshot)


# ── signatures ───────────────────────────────────────────────────────────────────────────


async def content_of(relay: RelayHarness, mta: FakeMta, **message: Any) -> bytes:
    """What the next hop got of one message."""
    before = len(mta.attempts)
    await relay.inject("bob@b.example", **message)
    await relay.quiet()
    return mta.attempts[before].content


def signers(content: bytes, zone: Zone) -> list[str]:
    """The domains of the signatures of a message, each of which is valid."""

    def lookup(name: bytes, timeout: float = 0) -> bytes:
        strings = zone.get((name.decode(), "TXT"), [""])[0]
        return strings.replace('" "', "").strip('"').encode()

    number = content.count(b"DKIM-Signature:")
    judge = dkim.DKIM(content)
    found = []
    for index in range(number):
        assert judge.verify(index, dnsfunc=lookup)
        found.append(judge.domain.decode())
    return found


async def test_mail_is_signed_by_the_domain_in_from(relay: RelayHarness, zone: Zone, mta: FakeMta) -> None:
    await create_verified(relay, zone)
    content = await content_of(relay, mta, headers={"From": "News <news@ACME.test>"}, text="a  b \r\n\r\n")
    assert signers(content, zone) == ["acme.test"]


@pytest.mark.parametrize(
    ("sender", "ip_pool", "expected"),
    [
        pytest.param("a@acme.test", "marketing", ["acme.test"], id="the domain of From goes first"),
        pytest.param("a@elsewhere.test", "marketing", ["pool.test"], id="else the pool's"),
        pytest.param("a@elsewhere.test", "receipts", [], id="a pool without one"),
        pytest.param("a@part.test", "marketing", ["pool.test"], id="a subaccount's is not the account's"),
    ],
)
async def test_the_pool_signs_for_domains_that_cannot(
    relay: RelayHarness, zone: Zone, mta: FakeMta, sender: str, ip_pool: str, expected: list[str]
) -> None:
    for domain in ("acme.test", "pool.test"):
        await create_verified(relay, zone, domain)
    async with relay.api(subaccount=124) as part:
        key = results(await part.post(PATH, json={"domain": "part.test"}))["dkim"]
        publish(zone, "part.test", key)
        results(await part.post(f"{PATH}/part.test/verify", json={"dkim_verify": True}))
    async with relay.api() as client:
        results(
            await client.put("/ip-pools/marketing", json={"name": "Marketing", "signing_domain": "pool.test"})
        )
    content = await content_of(relay, mta, headers={"From": sender}, ip_pool=ip_pool)
    assert signers(content, zone) == expected


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        pytest.param("bob@b.example", ["acme.test"], id="others"),
        pytest.param("bob@yahoo.example", ["loop.test", "acme.test"], id="a provider with such a loop"),
    ],
)
async def test_a_second_signature_is_for_feedback_loops(
    relay: RelayHarness, zone: Zone, mta: FakeMta, to: str, expected: list[str]
) -> None:
    for domain in ("acme.test", "loop.test"):
        await create_verified(relay, zone, domain)
    pool = relay.inside.directory.snapshot.pools[AccountId(1), PoolId("marketing")]
    await relay.apply(Put(replace(pool, fbl_signing_domain="loop.test")))
    await relay.inject(to, ip_pool="marketing", headers={"From": "a@acme.test"})
    await relay.quiet()
    assert signers(mta.attempts[0].content, zone) == expected


async def test_every_copy_verifies(relay: RelayHarness, zone: Zone, mta: FakeMta) -> None:
    """Copies for cc, bcc and archive have the body and its signature in common."""
    await create_verified(relay, zone)
    lists = {"cc": ["c@c.example"], "bcc": ["d@d.example"], "archive": ["e@e.example"]}
    await relay.inject("bob@b.example", msys=lists)
    await relay.quiet()
    assert len(mta.attempts) == 4
    for attempt in mta.attempts:
        assert signers(attempt.content, zone) == ["acme.test"]
        assert (b"Bcc: d@d.example" in attempt.content) is (attempt.recipient == "d@d.example")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b".dots\r\n..\r\n.\r\n"[:-3], id="dots"),
        pytest.param("grüß Gott\r\n".encode(), id="8 bits"),
        pytest.param(b"words and  more words\r\n" * 20_000, id="hashed in a thread"),
    ],
)
async def test_any_body_survives_the_way(relay: RelayHarness, zone: Zone, mta: FakeMta, body: bytes) -> None:
    await create_verified(relay, zone)
    content = await content_of(relay, mta, message=b"From: a@acme.test\r\nSubject: x\r\n\r\n" + body)
    assert signers(content, zone) == ["acme.test"]


async def test_transmissions_are_signed_too(relay: RelayHarness, zone: Zone, mta: FakeMta) -> None:
    """Whether all recipients share a body or each has its own."""
    await create_verified(relay, zone)
    for text in ("Hello.", "Hello {{name}}."):
        body = {
            "recipients": [
                {"address": f"{name}@b.example", "substitution_data": {"name": name}}
                for name in ("bob", "eve")
            ],
            "content": {"from": "News <news@acme.test>", "subject": "For {{name}}", "text": text},
        }
        async with relay.api() as client:
            results(await client.post("/transmissions", json=body))
    for attempt in await mta.attempts_reached(4):
        assert signers(attempt.content, zone) == ["acme.test"]
