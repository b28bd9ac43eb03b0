"""An account that asks is told of every bounce, at the address it injected from (RFC 3464)."""

from dataclasses import replace
from email import message_from_bytes
from email.message import Message as Mime

import dkim  # type: ignore[import-untyped] # dkimpy 1.1 has no types
import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, SendingDomain
from relay.domain.ids import AccountId, PoolId
from relay.mail.dkim import record
from relay.net.records import RsaKeys
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness

TO = "nobody@gmail.example"
FROM = "alice@acme.test"


@pytest.mark.parametrize("bounce_domain", ["", "bounces.acme.test"], ids=["as injected", "bounce domain"])
async def test_a_bounce_is_told_to_the_injected_mail_from(
    relay: RelayHarness, mta: FakeMta, bounce_domain: str
) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True, bounce_domain=bounce_domain))
    mta.answer(TO, "550 5.1.1 No such user here")
    await relay.inject(
        TO,
        ip_pool="receipts",
        mail_from=FROM,
        headers={"Subject": "Lost"},
        msys={"bcc": ["hidden@gmail.example"]},
        text="Secret body.\r\n",
    )
    assert await relay.quiet() == []

    (refused,) = mta.attempts_for(TO)
    if bounce_domain:
        assert refused.mail_from != FROM
        assert refused.mail_from.endswith(f"bounces-{AccountId(1)}@{bounce_domain}")
    else:
        assert refused.mail_from == FROM

    (dsn,) = mta.attempts_for(FROM)
    assert dsn.is_accepted
    assert dsn.mail_from == "", "RFC 3464 §2: the null reverse-path"
    assert dsn.peer_ip == refused.peer_ip == "127.0.0.13"
    report = message_from_bytes(dsn.content)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["To"] == FROM
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["Date"]
    assert report["Message-ID"]
    notice, status, original = _parts(report)
    assert notice.get_content_type() == "text/plain"
    assert TO in _text(notice)
    assert status.get_content_type() == "message/delivery-status"
    per_message, per_recipient = _parts(status)
    assert per_message["Reporting-MTA"] == "dns; relay.test"
    assert per_message["Arrival-Date"]
    assert per_recipient["Final-Recipient"] == f"rfc822; {TO}"
    assert per_recipient["Action"] == "failed"
    assert per_recipient["Status"] == "5.1.1"
    assert per_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user here"
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: Lost" in _text(original)
    assert b"hidden@" not in dsn.content
    assert b"X-MSYS-API" not in dsn.content
    assert b"Secret body." not in dsn.content


@pytest.mark.parametrize(
    ("signer", "pool_signs"), [("relay.test", False), ("acme.test", True)], ids=["our host name", "the pool"]
)
async def test_a_dsn_is_signed_as_other_mail_is(
    relay: RelayHarness, mta: FakeMta, signer: str, pool_signs: bool
) -> None:
    """By the domain in From, which is our host name, else by the pool's signing domain."""
    await relay.change_account(1, lambda account: replace(account, dsn=True))
    key = await RsaKeys().generate("k1")
    await relay.apply(Put(SendingDomain(AccountId(1), signer, dkim=key, dkim_status=Check.VALID)))
    if pool_signs:
        pool = relay.inside.directory.snapshot.pools[AccountId(1), PoolId("receipts")]
        await relay.apply(Put(replace(pool, signing_domain=signer)))
    mta.answer(TO, "550 5.1.1 No such user here")
    await relay.inject(TO, ip_pool="receipts", mail_from=FROM)
    assert await relay.quiet() == []
    (dsn,) = mta.attempts_for(FROM)
    assert len(message_from_bytes(dsn.content).get_all("DKIM-Signature", [])) == 1
    asked: list[bytes] = []

    def dns(name: bytes, timeout: float = 5) -> bytes:
        asked.append(name)
        return record(key.public).encode()

    assert dkim.verify(dsn.content, dnsfunc=dns)
    assert asked == [f"k1._domainkey.{signer}.".encode()]


async def test_an_expired_message_is_told_too(relay: RelayHarness, mta: FakeMta) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True))
    mta.answer(TO, "451 4.2.1 later")
    await relay.inject(TO, ip_pool="receipts", mail_from=FROM)
    for _ in range(8):
        (waiting,) = await relay.quiet()
        relay.clock.advance_to(waiting.due)
        await relay.clock.settle()
    assert await relay.quiet() == []
    (dsn,) = mta.attempts_for(FROM)
    assert b"Diagnostic-Code: smtp; 554 5.4.7 [internal] message timeout" in dsn.content


@pytest.mark.parametrize("bounce_domain", ["", "bounces.acme.test"], ids=["as injected", "bounce domain"])
async def test_the_null_sender_is_told_nothing(relay: RelayHarness, mta: FakeMta, bounce_domain: str) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True, bounce_domain=bounce_domain))
    mta.answer(TO, "550 5.1.1 No such user here")
    await relay.inject(TO, mail_from="")
    assert await relay.quiet() == []
    assert [attempt.mail_from for attempt in mta.attempts] == [""]


async def test_a_dsn_that_bounces_is_the_end_of_it(relay: RelayHarness, mta: FakeMta) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True))
    mta.answer(TO, "550 5.1.1 No such user here")
    mta.answer(FROM, "550 5.1.1 No such user here")
    await relay.inject(TO, mail_from=FROM)
    assert await relay.quiet() == []
    assert [attempt.recipient for attempt in mta.attempts] == [TO, FROM]


async def test_an_account_that_does_not_ask_is_told_nothing(relay: RelayHarness, mta: FakeMta) -> None:
    mta.answer(TO, "550 5.1.1 No such user here")
    await relay.inject(TO, mail_from=FROM)
    assert await relay.quiet() == []
    assert len(mta.attempts) == 1


def _parts(message: Mime) -> list[Mime]:
    payload = message.get_payload()
    assert isinstance(payload, list)
    return [part for part in payload if isinstance(part, Mime)]


def _text(part: Mime) -> str:
    payload = part.get_payload()
    assert isinstance(payload, str)
    return payload
