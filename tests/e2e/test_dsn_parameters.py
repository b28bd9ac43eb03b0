"""Who asks by RET, ENVID, NOTIFY and ORCPT is told by the hop that can, else by the relay (RFC 3461)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.message import Message as Mime
from pathlib import Path

import aiosmtplib
import pytest

from relay.ports.queue import MailFilter
from relay.sink.fake_mta import FakeMta
from relay.sink.orders import EXTENSIONS
from relay.testing.clock import HandMovedClock
from relay.testing.harness import RelayHarness
from relay.testing.injection import compose_mail
from relay.testing.lab import WITH_API, lab_directory

TO, OTHER = "bob@gmail.example", "eve@gmail.example"
FROM = "alice@acme.test"
NO_SUCH_USER = "550 5.1.1 No such user here"

knows_dsn = pytest.mark.parametrize("mta", [("DSN",)], indirect=True, ids=["a hop with DSN"])


@pytest.fixture
async def mta(request: pytest.FixtureRequest) -> AsyncIterator[FakeMta]:
    async with FakeMta(extensions=(*EXTENSIONS, *getattr(request, "param", ()))) as mta:
        yield mta


async def hand_in(
    relay: RelayHarness,
    *recipients: tuple[str, Sequence[str]],
    mail: Sequence[str] = (),
    mail_from: str = FROM,
    msys: Mapping[str, object] | None = None,
    text: str = "Secret body.\r\n",
    headers: Mapping[str, str] | None = None,
) -> None:
    """One message; each recipient with parameters of its own."""
    host, port = relay.smtp_address
    async with aiosmtplib.SMTP(hostname=host, port=port, start_tls=False, timeout=20) as client:
        await client.login(*relay.login())
        await client.mail(mail_from, options=mail, encoding="utf-8")
        for recipient, options in recipients:
            words = [f"TO:<{recipient}>", *options]
            said = await client.execute_command(b"RCPT", *[word.encode() for word in words])
            assert said.code == 250, said
        message = compose_mail(
            recipients[0][0], FROM, ip_pool="receipts", msys=msys, text=text, headers=headers
        )
        await client.data(message)


async def tell_account(relay: RelayHarness) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True))


def reports(mta: FakeMta) -> list[Mime]:
    """Those that came to the sender, each with its fields of the recipient."""
    return [message_from_bytes(attempt.content) for attempt in mta.attempts_for(FROM)]


def parts_of(message: Mime) -> list[Mime]:
    payload = message.get_payload()
    assert isinstance(payload, list)
    return [part for part in payload if isinstance(part, Mime)]


def status_of(report: Mime) -> tuple[Mime, Mime]:
    """The fields about the message, and those about the recipient."""
    _, status, _ = parts_of(report)
    about_mail, about_recipient = parts_of(status)
    return about_mail, about_recipient


def actions(mta: FakeMta) -> dict[str, str]:
    told = [status_of(report)[1] for report in reports(mta)]
    return {fields["Final-Recipient"].split("; ")[1]: fields["Action"] for fields in told}


# ── to a hop that offers DSN ─────────────────────────────────────────────────────────────


@knows_dsn
async def test_all_is_passed_on_as_it_came_each_recipients_own(relay: RelayHarness, mta: FakeMta) -> None:
    await tell_account(relay)
    await hand_in(
        relay,
        (TO, ["NOTIFY=Success,delay", "ORCPT=rfc822;Bob+2Bx@acme.test"]),
        (OTHER, ["NOTIFY=NEVER"]),
        ("zoe@gmail.example", []),
        mail=["RET=hdrs", "ENVID=QQ+2B314"],
    )
    assert await relay.quiet() == []
    assert {attempt.parameters.split(" ", 1)[1] for attempt in mta.attempts} == {"RET=HDRS ENVID=QQ+2B314"}
    assert {attempt.recipient: attempt.rcpt_parameters for attempt in mta.attempts} == {
        TO: "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@acme.test",
        OTHER: "NOTIFY=NEVER",
        "zoe@gmail.example": "",
    }
    assert reports(mta) == [], "the hop reports from there on"


@knows_dsn
async def test_two_messages_keep_their_own_ret_and_envid(relay: RelayHarness, mta: FakeMta) -> None:
    await hand_in(relay, (TO, []), mail=["RET=FULL", "ENVID=one"])
    await hand_in(relay, (OTHER, []), mail=["ENVID=two"])
    assert await relay.quiet() == []
    (one,), (two,) = mta.attempts_for(TO), mta.attempts_for(OTHER)
    assert one.parameters.endswith(" RET=FULL ENVID=one")
    assert two.parameters.endswith(" ENVID=two")
    assert "RET" not in two.parameters


@knows_dsn
async def test_nothing_is_asked_that_nobody_asked(relay: RelayHarness, mta: FakeMta) -> None:
    await tell_account(relay)
    mta.answer(OTHER, NO_SUCH_USER)
    await hand_in(relay, (TO, []), (OTHER, []), mail=["BODY=8BITMIME"])
    assert await relay.quiet() == []
    assert {attempt.recipient for attempt in mta.attempts} == {TO, OTHER, FROM}
    for attempt in mta.attempts:
        assert attempt.rcpt_parameters == ""
        assert "RET" not in attempt.parameters
        assert "ENVID" not in attempt.parameters


@knows_dsn
@pytest.mark.parametrize("relay_settings", [WITH_API])
async def test_mail_by_rest_asks_nothing(relay: RelayHarness, mta: FakeMta) -> None:
    async with relay.api() as api:
        content = {"from": FROM, "subject": "Hello", "text": "Hello."}
        answer = await api.post("/transmissions", json={"recipients": [{"address": TO}], "content": content})
    assert answer.status_code == 200
    assert await relay.quiet() == []
    (attempt,) = mta.attempts_for(TO)
    assert (attempt.rcpt_parameters, "RET" in attempt.parameters) == ("", False)


@knows_dsn
@pytest.mark.parametrize(
    ("wishes", "of_copies"),
    [
        pytest.param(("NOTIFY=NEVER", "NOTIFY=NEVER"), "NOTIFY=NEVER", id="all agree"),
        pytest.param(("NOTIFY=NEVER", "NOTIFY=SUCCESS"), "", id="they differ"),
        pytest.param(("NOTIFY=NEVER", ""), "", id="one did not say"),
    ],
)
async def test_a_copy_has_what_was_asked_for_all(
    relay: RelayHarness, mta: FakeMta, wishes: Sequence[str], of_copies: str
) -> None:
    """RET and ENVID are of the mail; ORCPT is of one recipient; NOTIFY only where all RCPT agree."""
    copies = {kind: [f"{kind}@gmail.example"] for kind in ("cc", "bcc", "archive")}
    await hand_in(
        relay,
        (TO, ["ORCPT=rfc822;x@y.test", *filter(None, wishes[:1])]),
        (OTHER, [*filter(None, wishes[1:])]),
        mail=["RET=FULL", "ENVID=QQ314"],
        msys=copies,
    )
    assert await relay.quiet() == []
    for kind in copies:
        (attempt,) = mta.attempts_for(f"{kind}@gmail.example")
        assert attempt.rcpt_parameters == of_copies
        assert attempt.parameters.endswith(" RET=FULL ENVID=QQ314")


@knows_dsn
async def test_of_a_recipient_named_twice_the_first_counts(relay: RelayHarness, mta: FakeMta) -> None:
    await hand_in(relay, (TO, ["NOTIFY=NEVER"]), (TO, ["NOTIFY=SUCCESS"]))
    assert await relay.quiet() == []
    assert [attempt.rcpt_parameters for attempt in mta.attempts_for(TO)] == ["NOTIFY=NEVER"]


@knows_dsn
async def test_it_outlives_a_retry_a_hold_and_a_restart(relay: RelayHarness, mta: FakeMta) -> None:
    mta.answer(TO, "451 4.2.1 later", then="250 2.0.0 Ok")
    await hand_in(relay, (TO, ["NOTIFY=DELAY", "ORCPT=rfc822;b@acme.test"]), mail=["ENVID=QQ314"])
    (waiting,) = await relay.quiet()
    now, only = relay.clock.now(), MailFilter(None, ids=(waiting.id,))
    await relay.inside.store.queue.hold(only, now, now + timedelta(days=1), "ann")
    await relay.restart()
    await relay.inside.store.queue.release(only, now, "ann")
    relay.clock.advance(hours=1)
    await relay.clock.settle()
    assert await relay.quiet() == []
    for attempt in mta.attempts_for(TO):
        assert attempt.parameters.endswith(" ENVID=QQ314")
        assert attempt.rcpt_parameters == "NOTIFY=DELAY ORCPT=rfc822;b@acme.test"
    assert len(mta.attempts_for(TO)) == 2


@knows_dsn
async def test_utf8_is_passed_on_where_smtputf8_is(relay: RelayHarness, mta: FakeMta) -> None:
    """RFC 6533 §3."""
    await hand_in(relay, ("bøb@gmail.example", ["ORCPT=utf-8;jürgen@acme.test"]), mail=["SMTPUTF8"])
    assert await relay.quiet() == []
    (attempt,) = mta.attempts
    assert attempt.rcpt_parameters == "ORCPT=utf-8;jürgen@acme.test"


@pytest.mark.parametrize("ignored", [[], ["DSN"]], ids=["as offered", "ignored"])
async def test_a_hop_whose_dsn_is_ignored_is_one_without(
    tmp_path: Path, clock: HandMovedClock, ignored: list[str]
) -> None:
    async with FakeMta(extensions=(*EXTENSIONS, "DSN")) as mta:
        route = f'domains = ["*"]\nsmarthost = "{mta.address}"\ntls = "off"\nehlo_ignore = {ignored}'
        directory = f"{lab_directory()}\n[[route]]\n{route}\n"
        async with RelayHarness(tmp_path, mta, clock=clock, directory=directory) as relay:
            await tell_account(relay)
            await hand_in(relay, (TO, ["NOTIFY=SUCCESS"]), mail=["RET=HDRS"])
            assert await relay.quiet() == []
        (attempt,) = mta.attempts_for(TO)
        assert (attempt.rcpt_parameters, "RET=HDRS" in attempt.parameters) == (
            ("", False) if ignored else ("NOTIFY=SUCCESS", True)
        )
        assert actions(mta) == ({TO: "relayed"} if ignored else {})


# ── what the relay tells itself ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wish", "reply", "told"),
    [
        pytest.param("", NO_SUCH_USER, "failed", id="failed, nothing said: as ever"),
        pytest.param("NOTIFY=FAILURE", NO_SUCH_USER, "failed", id="failed, FAILURE"),
        pytest.param("NOTIFY=SUCCESS,FAILURE", NO_SUCH_USER, "failed", id="failed, both"),
        pytest.param("NOTIFY=NEVER", NO_SUCH_USER, "", id="failed, NEVER"),
        pytest.param("NOTIFY=SUCCESS,DELAY", NO_SUCH_USER, "", id="failed, others"),
        pytest.param("ORCPT=rfc822;a@b.test", NO_SUCH_USER, "failed", id="failed, ORCPT alone"),
        pytest.param("", "250 2.1.5 Ok", "", id="taken, nothing said"),
        pytest.param("NOTIFY=SUCCESS", "250 2.1.5 Ok", "relayed", id="taken, SUCCESS"),
        pytest.param("NOTIFY=FAILURE,DELAY", "250 2.1.5 Ok", "", id="taken, others"),
        pytest.param("NOTIFY=NEVER", "250 2.1.5 Ok", "", id="taken, NEVER"),
    ],
)
@pytest.mark.parametrize("mta", [(), ("DSN",)], indirect=True, ids=["without DSN", "with DSN"])
async def test_a_sender_is_told_what_it_asked_for(
    relay: RelayHarness, mta: FakeMta, wish: str, reply: str, told: str
) -> None:
    await tell_account(relay)
    mta.answer(TO, reply)
    await hand_in(relay, (TO, [*filter(None, [wish])]))
    assert await relay.quiet() == []
    hop_tells = any(attempt.rcpt_parameters for attempt in mta.attempts)
    if told == "relayed" and hop_tells:
        told = ""
    assert actions(mta) == ({TO: told} if told else {})


@pytest.mark.parametrize("reply", [NO_SUCH_USER, "250 2.1.5 Ok"])
async def test_an_account_that_does_not_want_it_is_told_nothing(
    relay: RelayHarness, mta: FakeMta, reply: str
) -> None:
    mta.answer(TO, reply)
    await hand_in(relay, (TO, ["NOTIFY=SUCCESS,FAILURE"]), mail=["RET=FULL", "ENVID=x"])
    assert await relay.quiet() == []
    assert [attempt.recipient for attempt in mta.attempts] == [TO]


@pytest.mark.parametrize("reply", [NO_SUCH_USER, "250 2.1.5 Ok"])
async def test_the_null_sender_asks_in_vain(relay: RelayHarness, mta: FakeMta, reply: str) -> None:
    await tell_account(relay)
    mta.answer(TO, reply)
    await hand_in(relay, (TO, ["NOTIFY=SUCCESS,FAILURE"]), mail_from="")
    assert await relay.quiet() == []
    assert [attempt.recipient for attempt in mta.attempts] == [TO]


async def test_each_recipient_of_one_transaction_is_reported_as_was_asked(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await tell_account(relay)
    mta.answer("a@gmail.example", NO_SUCH_USER)
    mta.answer("b@gmail.example", NO_SUCH_USER)
    await hand_in(
        relay,
        ("a@gmail.example", ["NOTIFY=NEVER"]),
        ("b@gmail.example", ["NOTIFY=FAILURE"]),
        ("c@gmail.example", ["NOTIFY=SUCCESS"]),
        ("d@gmail.example", []),
    )
    assert await relay.quiet() == []
    assert actions(mta) == {"b@gmail.example": "failed", "c@gmail.example": "relayed"}


async def test_an_expired_message_that_nobody_wants_to_hear_of_is_not_told(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await tell_account(relay)
    mta.answer(TO, "451 4.2.1 later")
    await hand_in(relay, (TO, ["NOTIFY=NEVER"]))
    for _ in range(8):
        (waiting,) = await relay.quiet()
        relay.clock.advance_to(waiting.due)
        await relay.clock.settle()
    assert await relay.quiet() == []
    assert reports(mta) == []


@pytest.mark.parametrize("bounce_domain", ["", "bounces.acme.test"], ids=["as injected", "bounce domain"])
async def test_a_report_names_mail_and_recipient_as_the_client_did(
    relay: RelayHarness, mta: FakeMta, bounce_domain: str
) -> None:
    await relay.change_account(1, lambda account: replace(account, dsn=True, bounce_domain=bounce_domain))
    await hand_in(
        relay,
        (TO, ["NOTIFY=SUCCESS", "ORCPT=rfc822;Bob+2Bx@acme.test"]),
        mail=["RET=FULL", "ENVID=QQ+2B314+20x"],
    )
    assert await relay.quiet() == []
    (report,) = reports(mta)
    about_mail, about_recipient = status_of(report)
    assert about_mail["Original-Envelope-Id"] == "QQ+314 x"
    assert about_recipient["Original-Recipient"] == "rfc822; Bob+x@acme.test"
    assert (about_recipient["Action"], about_recipient["Status"]) == ("relayed", "2.0.0")
    assert about_recipient["Remote-MTA"] == "dns; [127.0.0.1]"
    assert report["Subject"] == "Mail Passed On Without Further Reports"
    _, _, returned = parts_of(report)
    assert returned.get_content_type() == "text/rfc822-headers", "RFC 3461 §4.3: RET is for failures"


@pytest.mark.parametrize(
    ("ret", "size_bytes", "is_whole"),
    [
        pytest.param([], 10, False, id="not said"),
        pytest.param(["RET=HDRS"], 10, False, id="HDRS"),
        pytest.param(["RET=FULL"], 10, True, id="FULL"),
        pytest.param(["RET=FULL"], 70_000, False, id="FULL of a large one"),
    ],
)
async def test_ret_says_how_much_comes_back(
    relay: RelayHarness, mta: FakeMta, ret: Sequence[str], size_bytes: int, is_whole: bool
) -> None:
    await tell_account(relay)
    mta.answer(TO, NO_SUCH_USER)
    text = "Secret bödy.\r\n" + "x\r\n" * (size_bytes // 3)
    msys = {"bcc": ["hidden@gmail.example"]}
    await hand_in(relay, (TO, []), mail=ret, text=text, msys=msys)
    assert await relay.quiet() == []
    (dsn,) = mta.attempts_for(FROM)
    (report,) = reports(mta)
    _, _, returned = parts_of(report)
    assert returned.get_content_type() == ("message/rfc822" if is_whole else "text/rfc822-headers")
    assert (text.encode() in dsn.content) == is_whole
    assert b"Subject: Hello" in dsn.content
    assert b"hidden@" not in dsn.content
    assert b"X-MSYS-API" not in dsn.content
    assert ("BODY=8BITMIME" in dsn.parameters) == is_whole


async def test_a_whole_message_of_8_bits_comes_back_by_a_hop_of_7(
    tmp_path: Path, clock: HandMovedClock
) -> None:
    async with (
        FakeMta(extensions=("PIPELINING",)) as mta,
        RelayHarness(tmp_path, mta, clock=clock) as relay,
    ):
        await tell_account(relay)
        mta.answer(TO, NO_SUCH_USER)
        await hand_in(relay, (TO, []), mail=["RET=FULL"], text="Secret bödy.\r\n")
        assert await relay.quiet() == []
        (dsn,) = mta.attempts_for(FROM)
    assert dsn.content.isascii()
    _, _, returned = parts_of(message_from_bytes(dsn.content))
    assert returned.get_content_type() == "message/rfc822"
    (original,) = parts_of(returned)
    assert original.get_payload(decode=True) == "Secret bödy.\r\n".encode()


async def test_of_what_has_no_7_bits_the_header_comes_back(tmp_path: Path, clock: HandMovedClock) -> None:
    """What is signed is not encoded anew, and a notice of it must arrive all the same."""
    headers = {"MIME-Version": "1.0", "Content-Type": "multipart/signed; boundary=b"}
    signed = "--b\r\n\r\nSecret bödy.\r\n--b--\r\n"
    async with (
        FakeMta(extensions=("PIPELINING",)) as mta,
        RelayHarness(tmp_path, mta, clock=clock) as relay,
    ):
        await tell_account(relay)
        await hand_in(relay, (TO, []), mail=["RET=FULL"], text=signed, headers=headers)
        assert await relay.quiet() == []
        (dsn,) = mta.attempts_for(FROM)
    _, status, returned = parts_of(message_from_bytes(dsn.content))
    assert b"Status: 5.6.3" in status.as_bytes()
    assert returned.get_content_type() == "text/rfc822-headers"
    assert b"Subject: Hello" in dsn.content
