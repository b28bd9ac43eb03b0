"""Next hops that do not offer 8BITMIME get nothing above 127 (RFC 6152 §3), whoever wrote it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import dkim  # type: ignore[import-untyped] # dkimpy 1.1 has no types
import pytest

from relay.domain.changes import Put
from relay.domain.directory import Check, SendingDomain
from relay.domain.errors import Busy, TooMuchWork
from relay.domain.events import Bounce, Delivery
from relay.domain.ids import DEFAULT_POOL, AccountId
from relay.domain.reply import Phase
from relay.mail.dkim import record
from relay.net.records import RsaKeys
from relay.ports.sandbox import Output
from relay.process.children.pool import ChildPool
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API

TO, FROM = "bob@gmail.example", "alice@acme.test"
HEAD = b"From: alice@acme.test\r\nTo: bob@gmail.example\r\nSubject: t\r\n"
TEXT = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
CAFE = "café\r\n".encode()


@asynccontextmanager
async def _relay(folder: Path, *extensions: str) -> AsyncIterator[tuple[RelayHarness, FakeMta]]:
    async with (
        FakeMta(extensions=("PIPELINING", "SIZE", *extensions)) as mta,
        RelayHarness(folder, mta, settings=WITH_API) as relay,
    ):
        yield relay, mta


@pytest.mark.parametrize("size", [1, 20_000], ids=["short", "long"])
async def test_a_text_arrives_in_quoted_printable(tmp_path: Path, size: int) -> None:
    async with _relay(tmp_path) as (relay, mta):
        await relay.inject(TO, message=HEAD + TEXT + b"\r\n" + CAFE * size)
        assert await relay.quiet() == []
        (attempt,) = mta.accepted
        assert attempt.content.isascii()
        assert attempt.parameters == f"SIZE={len(attempt.content)}"
        assert message_from_bytes(attempt.content).get_payload(decode=True) == CAFE * size


async def test_what_quoted_printable_hid_ends_no_line(tmp_path: Path) -> None:
    """RFC 5321 §2.3.8, §4.1.1.4: else whoever writes the text writes mail of others too."""
    hidden = b"first=0A.=0D=0D.=0D\r\nMAIL FROM:<evil@bank.test>=0D\r\nlast "
    async with _relay(tmp_path) as (relay, mta):
        coded = TEXT.replace(b"8bit", b"quoted-printable")
        await relay.inject(TO, message=HEAD + coded + b"\r\n" + hidden + CAFE)
        assert await relay.quiet() == []
        (attempt,) = mta.accepted
        rest = attempt.content.replace(b"\r\n", b"")
        assert (b"\r" in rest, b"\n" in rest, attempt.content.isascii()) == (False, False, True)
        said = message_from_bytes(attempt.content).get_payload(decode=True)
        assert said == b"first\n.\r\r.\r\r\nMAIL FROM:<evil@bank.test>\r\r\nlast " + CAFE


async def test_a_host_that_offers_8bitmime_gets_it_as_it_came(tmp_path: Path) -> None:
    async with _relay(tmp_path, "8BITMIME") as (relay, mta):
        await relay.inject(TO, message=HEAD + TEXT + b"\r\n" + CAFE)
        await relay.quiet()
        (attempt,) = mta.accepted
        assert attempt.content.endswith(b"\r\n\r\n" + CAFE)
        assert "BODY=8BITMIME" in attempt.parameters


async def test_a_host_that_knows_helo_only_gets_it_converted(tmp_path: Path) -> None:
    async with _relay(tmp_path, "8BITMIME") as (relay, mta):
        mta.say(Phase.EHLO, "502 5.5.1 what?")
        await relay.inject(TO, message=HEAD + TEXT + b"\r\n" + CAFE)
        await relay.quiet()
        assert mta.accepted[0].content.isascii()


@pytest.mark.parametrize("door", ["smtp", "rest"])
async def test_what_the_relay_signs_verifies_in_its_converted_form(tmp_path: Path, door: str) -> None:
    key = await RsaKeys().generate("k1")
    async with _relay(tmp_path) as (relay, mta):
        await relay.apply(Put(SendingDomain(AccountId(1), "acme.test", dkim=key, dkim_status=Check.VALID)))
        message = HEAD + TEXT + b"\r\n" + CAFE
        if door == "smtp":
            await relay.inject(TO, message=message)
        else:
            asked = {"recipients": [{"address": TO}], "content": {"email_rfc822": message.decode()}}
            async with relay.api() as api:
                sent = await api.post("/transmissions", json=asked)
                assert sent.status_code == 200
        assert await relay.quiet() == []
        content = mta.accepted[0].content
        assert content.isascii()
        assert content.count(b"DKIM-Signature:") == 1
        assert dkim.verify(content, dnsfunc=lambda name, timeout=5: record(key.public).encode())


async def test_the_signature_of_another_is_left_as_it_is(tmp_path: Path) -> None:
    field = b"DKIM-Signature: v=1; d=other.test; s=k9; b=xx\r\n"
    async with _relay(tmp_path) as (relay, mta):
        await relay.inject(TO, message=field + HEAD + TEXT + b"\r\n" + CAFE)
        await relay.quiet()
        assert field in mta.accepted[0].content


@pytest.mark.parametrize(
    ("sender", "subaccount"),
    [
        pytest.param("ceo@victim.test", 123, id="a domain that the subaccount may not sign for"),
        pytest.param("alice@acme.test", None, id="a domain of ours that From does not name"),
        pytest.param("ceo@victim.test, alice@acme.test", None, id="From of two domains"),
    ],
)
async def test_a_signature_that_only_looks_like_ours_is_not_made_anew(
    tmp_path: Path, sender: str, subaccount: int | None
) -> None:
    """RFC 6376 §2.5: the key signs what its owner answers for, not what names its selector."""
    key = await RsaKeys().generate("k1")
    field = b"DKIM-Signature: v=1; a=rsa-sha256; d=victim.test; s=k1; h=from; bh=xx; b=yy\r\n"
    head = field + b"From: " + sender.encode() + b"\r\nTo: bob@gmail.example\r\n"
    async with _relay(tmp_path) as (relay, mta):
        await relay.apply(Put(SendingDomain(AccountId(1), "victim.test", dkim=key, dkim_status=Check.VALID)))
        await relay.inject(TO, subaccount=subaccount, message=head + TEXT + b"\r\n" + CAFE)
        await relay.quiet()
        content = mta.accepted[0].content
        assert content.isascii()
        assert field in content
        assert content.count(b"DKIM-Signature:") == 1


@pytest.mark.parametrize(("to", "is_signed"), [("bob@yahoo.example", True), (TO, False)])
async def test_a_signature_for_feedback_loops_is_made_anew_where_one_was_made(
    tmp_path: Path, to: str, is_signed: bool
) -> None:
    key = await RsaKeys().generate("k1")
    async with _relay(tmp_path) as (relay, mta):
        await relay.apply(Put(SendingDomain(AccountId(1), "loop.test", dkim=key, dkim_status=Check.VALID)))
        pool = relay.inside.directory.snapshot.pools[AccountId(1), DEFAULT_POOL]
        await relay.apply(Put(replace(pool, fbl_signing_domain="loop.test")))
        field = b"DKIM-Signature: v=1; d=loop.test; s=k1; b=of the client\r\n"
        await relay.inject(to, message=field + HEAD + TEXT + b"\r\n" + CAFE)
        await relay.quiet()
        content = mta.accepted[0].content
        assert (field in content) is not is_signed
        assert content.count(b"DKIM-Signature:") == 1
        found = dkim.verify(content, dnsfunc=lambda name, timeout=5: record(key.public).encode())
        assert found is is_signed


async def test_what_has_no_encoding_comes_back_and_is_never_sent(tmp_path: Path) -> None:
    async with _relay(tmp_path) as (relay, mta):
        injected = await relay.inject(TO, message="Cc: café@x.test\r\n".encode() + HEAD + b"\r\nx\r\n")
        assert await relay.quiet() == []
        event = (await relay.story(injected.message_id))[-1].event
        assert isinstance(event, Bounce)
        assert event.raw_reason.startswith("554 5.6.3 [internal] the host takes no 8-bit content")
        assert event.bounce_class == 40
        assert mta.attempts == []
        # The session goes on.
        injected = await relay.inject(TO, message=HEAD + b"\r\nx\r\n")
        await relay.quiet()
        assert isinstance((await relay.story(injected.message_id))[-1].event, Delivery)


async def test_a_session_that_ends_while_its_mail_is_converted_is_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _relay(tmp_path) as (relay, mta):
        await relay.inject(TO, message=HEAD + b"\r\nx\r\n")
        await relay.quiet()

        async def slowly(sandbox: ChildPool, *asked: Any) -> Output:
            if mta.connections == 1:
                mta.drop_all()
                await asyncio.sleep(0.1)
            return await run(sandbox, *asked)

        run = ChildPool.run
        monkeypatch.setattr(ChildPool, "run", slowly)
        injected = await relay.inject(TO, message=HEAD + TEXT + b"\r\n" + CAFE * 20_000)
        assert await relay.quiet() == []
        event = (await relay.story(injected.message_id))[-1].event
        assert isinstance(event, Delivery)
        assert (event.num_retries, mta.connections) == (0, 2)


async def test_without_a_place_to_convert_it_mail_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _relay(tmp_path) as (relay, mta):

        async def busy(sandbox: ChildPool, *asked: Any) -> Output:
            raise Busy

        with monkeypatch.context() as patch:
            patch.setattr(ChildPool, "run", busy)
            injected = await relay.inject(TO, message=HEAD + TEXT + b"\r\n" + CAFE * 20_000)
            (waiting,) = await relay.quiet()
            assert waiting.last_reply.startswith("451 4.3.1 [internal] No place to convert it")
            assert (waiting.attempts, mta.attempts) == (0, [])
        relay.clock.advance(seconds=11)
        assert await relay.quiet() == []
        assert isinstance((await relay.story(injected.message_id))[-1].event, Delivery)


async def test_what_takes_too_much_work_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _relay(tmp_path) as (relay, mta):

        async def too_much(sandbox: ChildPool, *asked: Any) -> Output:
            return Output((), TooMuchWork("memory", 384.0))

        monkeypatch.setattr(ChildPool, "run", too_much)
        injected = await relay.inject(TO, message=HEAD + TEXT + b"\r\n" + CAFE * 20_000)
        assert await relay.quiet() == []
        event = (await relay.story(injected.message_id))[-1].event
        assert isinstance(event, Bounce)
        assert event.raw_reason.startswith("554 5.6.3 [internal] the host takes no 8-bit content")
        assert mta.attempts == []


@pytest.mark.parametrize("reply", ["550 5.1.1 Empfänger unbekannt", "550 5.1.1 unknown"])
async def test_a_dsn_of_ours_is_ascii_too(tmp_path: Path, reply: str) -> None:
    async with _relay(tmp_path) as (relay, mta):
        await relay.change_account(1, lambda account: replace(account, dsn=True))
        mta.answer(TO, reply)
        await relay.inject(TO, mail_from=FROM, message=HEAD + TEXT + b"\r\nhello\r\n")
        assert await relay.quiet() == []
        (dsn,) = mta.attempts_for(FROM)
        assert dsn.is_accepted
        assert dsn.content.isascii()
        notice = message_from_bytes(dsn.content).get_payload(0)
        assert not isinstance(notice, str)
        said = notice.get_payload(decode=True)
        assert isinstance(said, bytes)
        assert reply.encode() in said
