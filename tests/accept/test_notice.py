"""Who is told by mail what became of his mail, of what, and with how much of it."""

import email
import logging
from dataclasses import replace
from email.message import Message as Parsed

import pytest

from relay.accept.notice import Notifier
from relay.domain.changes import Put
from relay.domain.directory import Check, SendingDomain
from relay.domain.dsn import DsnRequest
from relay.domain.ids import AccountId, MessageId
from relay.domain.lifecycle import Finish, Notice, expire, settle
from relay.domain.message import Message
from relay.domain.outcome import Bounced, Delivered, Outcome, Peer
from relay.domain.reply import Phase, Reply
from relay.domain.retry import RetryPolicy
from relay.net.records import RsaKeys
from tests.service.test_transmit import ACME, World
from tests.support.handing import hand_in, smtp_door

PEER = Peer("192.0.2.1")


def _failed(code: int = 550, text: str = "5.1.1 no such user") -> Outcome:
    return Bounced(Reply(code, text, Phase.RCPT), PEER)


def _taken(text: str = "2.0.0 Ok", *, is_reporting: bool = False) -> Outcome:
    return Delivered(Reply(250, text, Phase.BODY), PEER, is_reporting)


@pytest.fixture(autouse=True)
async def _wants_notices(world: World) -> None:
    await world.live.apply([Put(replace(world.live.snapshot.accounts[ACME], dsn=True))], "t")


async def _sent(world: World, asked: DsnRequest | None = None, **mail: object) -> Message:
    handed = hand_in(asked=asked, **mail)  # type: ignore[arg-type] # the tests name real parameters
    await smtp_door(world).accept(handed)
    (message,) = await world.messages()
    return replace(message, attempts=1)


async def _composed(world: World, message: Message, end: Outcome | Finish) -> Notice | None:
    now = world.clock.now()
    finish = end if isinstance(end, Finish) else settle(message, end, RetryPolicy(), now)
    assert isinstance(finish, Finish)
    queue, events = world.store.queue, world.store.events
    notifier = Notifier(queue, events, world.live, world.clock, world.ids, RetryPolicy(), "relay.test")
    return await notifier.compose(message, finish)


async def _told(world: World, message: Message, end: Outcome | Finish) -> tuple[Notice, list[Parsed]]:
    """The notice and its three parts: for people, for programs, what it is about."""
    notice = await _composed(world, message, end)
    assert notice is not None
    parts = email.message_from_bytes(notice.body.content).get_payload()
    assert isinstance(parts, list)
    return notice, [part for part in parts if isinstance(part, Parsed)]


def _field(status: Parsed, name: str) -> str:
    return str(next(block[name] for block in status.walk() if block[name] is not None))


SUCCESS = DsnRequest(notify="SUCCESS,FAILURE")


@pytest.mark.parametrize(
    ("asked", "end"),
    [
        pytest.param(DsnRequest(notify="NEVER"), _failed(), id="of nothing"),
        pytest.param(DsnRequest(notify="SUCCESS"), _failed(), id="of success alone"),
        pytest.param(None, _taken(), id="and nobody asked for success"),
        pytest.param(SUCCESS, _taken(is_reporting=True), id="and the next hop tells of success itself"),
    ],
)
async def test_who_wants_to_hear_nothing_hears_nothing(
    world: World, asked: DsnRequest | None, end: Outcome
) -> None:
    assert await _composed(world, await _sent(world, asked), end) is None


async def test_an_account_that_wants_no_notices_gets_none(world: World) -> None:
    message = await _sent(world)
    await world.live.apply([Put(replace(world.live.snapshot.accounts[ACME], dsn=False))], "t")
    assert await _composed(world, message, _failed()) is None


async def test_an_account_that_is_gone_gets_no_notice(world: World) -> None:
    message = replace(await _sent(world), account=AccountId(9))
    assert await _composed(world, message, _failed()) is None


async def test_a_notice_is_never_answered_with_another(world: World) -> None:
    assert await _composed(world, await _sent(world, mail_from=""), _failed()) is None


async def test_a_null_sender_gets_no_notice_whatever_the_next_hop_was_shown(world: World) -> None:
    """With a bounce domain MAIL FROM is rewritten; what was handed in counts."""
    message = replace(await _sent(world, mail_from=""), mail_from="bounces@bounce.test")
    assert await _composed(world, message, _failed()) is None


async def test_mail_whose_story_was_forgotten_is_told_to_nobody(world: World) -> None:
    message = replace(await _sent(world), id=MessageId("f" * 20))
    assert await _composed(world, message, _failed()) is None


async def test_a_sender_at_no_domain_gets_no_notice(world: World) -> None:
    assert await _composed(world, await _sent(world, mail_from="a@b..test"), _failed()) is None


async def test_a_notice_that_may_not_leave_is_left_and_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    message = await _sent(world, mail_from="a\r\nTo: b@acme.test")
    with caplog.at_level(logging.WARNING, "relay.dsn"):
        assert await _composed(world, message, _failed()) is None
    (record,) = caplog.records
    assert str(message.id) in record.getMessage()
    assert "nobody is told" in record.getMessage()


@pytest.mark.parametrize(
    ("end", "action", "status"),
    [
        pytest.param(_failed(), "failed", "5.1.1", id="as the next hop said"),
        pytest.param(_failed(550, "no such user"), "failed", "5.0.0", id="a refusal without a code"),
        pytest.param(_failed(550, "4.2.2 full"), "failed", "5.0.0", id="a code of another class"),
        pytest.param(_taken("2.1.5 Ok"), "relayed", "2.1.5", id="taken"),
        pytest.param(_taken("Ok"), "relayed", "2.0.0", id="taken without a code"),
    ],
)
async def test_the_status_is_the_one_of_the_reply(
    world: World, end: Outcome, action: str, status: str
) -> None:
    notice, (_, told, _) = await _told(world, await _sent(world, SUCCESS), end)
    assert (_field(told, "Action"), _field(told, "Status")) == (action, status)
    assert _field(told, "Remote-MTA") == "dns; [192.0.2.1]"
    assert notice.submission.recv_method == "dsn"


async def test_mail_that_waited_too_long_is_told_with_our_own_reason(world: World) -> None:
    message = await _sent(world)
    _, (_, told, _) = await _told(world, message, expire(message, message.expires))
    assert _field(told, "Status") == "5.4.7"
    assert "message timeout" in _field(told, "Diagnostic-Code")


async def test_a_notice_goes_back_over_the_same_ip_with_a_null_sender(world: World) -> None:
    message = await _sent(world, mail_from="Sender@acme.test")
    notice, _ = await _told(world, message, _failed())
    made = notice.message
    assert (made.mail_from, made.rcpt_to, made.domain) == ("", "Sender@acme.test", "acme.test")
    assert (made.pin, made.account, made.due) == (message.pin, ACME, world.clock.now())
    assert (made.prefix, made.size_bytes) == (b"", len(notice.body.content))
    assert (made.smtputf8, made.eight_bit) == (False, False)
    assert notice.event.about.message_id == made.id


async def test_a_sender_beyond_ascii_is_told_in_utf8(world: World) -> None:
    message = await _sent(world, mail_from="jürgen@acme.test")
    notice, (_, told, _) = await _told(world, message, _failed())
    assert told.get_content_type() == "message/global-delivery-status"
    assert notice.message.smtputf8
    assert notice.message.eight_bit


FULL, HEADERS = DsnRequest(ret="FULL", notify="SUCCESS,FAILURE"), DsnRequest(ret="HDRS")
BROKEN = b"From: a@acme.test\r\nContent-Type: multipart/mixed\r\n"
"""Which nobody can turn into 7 bits: the parts are not to be found."""


@pytest.mark.parametrize(
    ("asked", "mail", "end", "kind"),
    [
        pytest.param(FULL, {}, _failed(), "message/rfc822", id="all"),
        pytest.param(HEADERS, {}, _failed(), "text/rfc822-headers", id="the header section alone"),
        pytest.param(None, {}, _failed(), "text/rfc822-headers", id="as it is said to nobody"),
        pytest.param(FULL, {}, _taken(), "text/rfc822-headers", id="that was taken"),
        pytest.param(
            FULL, {"body": b"x\r\n" * 30_000}, _failed(), "text/rfc822-headers", id="that is too large"
        ),
        pytest.param(
            FULL,
            {"fields": BROKEN, "body": "ü\r\n".encode()},
            _failed(),
            "text/rfc822-headers",
            id="that a next hop of 7 bits could not take",
        ),
    ],
)
async def test_so_much_of_the_mail_goes_back(
    world: World, asked: DsnRequest | None, mail: dict[str, bytes], end: Outcome, kind: str
) -> None:
    message = await _sent(world, asked, **mail)
    _, (_, _, returned) = await _told(world, message, end)
    assert returned.get_content_type() == kind
    is_whole = kind == "message/rfc822"
    assert ("Hello." in returned.as_string()) == is_whole
    assert "From: a@acme.test" in returned.as_string()


@pytest.mark.parametrize("status", [Check.VALID, Check.INVALID])
async def test_a_notice_is_signed_as_mail_from_our_host_name_is(world: World, status: Check) -> None:
    key = await RsaKeys().generate("k1")
    await world.live.apply([Put(SendingDomain(ACME, "relay.test", dkim=key, dkim_status=status))], "t")
    notice, _ = await _told(world, await _sent(world), _failed())
    assert (b" d=relay.test;" in notice.message.prefix) == (status is Check.VALID)
    assert notice.message.size_bytes == len(notice.message.prefix) + len(notice.body.content)
