"""From one mail by SMTP to one message for each recipient: who gets a copy, and what each copy says."""

import pytest

from relay.domain.address import parse_mailbox
from relay.domain.dsn import DsnRequest
from relay.domain.message import Copy, Message, Options, RcptType
from tests.service.test_transmit import World
from tests.support.handing import hand_in, smtp_door


def _copies(*addresses: str) -> tuple[Copy, ...]:
    return tuple(Copy(parse_mailbox(one)) for one in addresses)


async def _whole(world: World, message: Message) -> bytes:
    return message.prefix + (await world.store.queue.body(message.id) or b"")


TO, CC, BCC, ARCHIVE = RcptType.TO, RcptType.CC, RcptType.BCC, RcptType.ARCHIVE
BOB, CAROL, DAVE = "bob@b.example", "carol@b.example", "dave@b.example"


@pytest.mark.parametrize(
    ("to", "options", "expected"),
    [
        pytest.param([BOB, CAROL], Options(), {BOB: TO, CAROL: TO}, id="each that RCPT named"),
        pytest.param([BOB, BOB], Options(), {BOB: TO}, id="once, however often named"),
        pytest.param([BOB, "bob@B.example"], Options(), {BOB: TO}, id="once, in whatever case the domain is"),
        pytest.param([BOB, "BOB@b.example"], Options(), {BOB: TO, "BOB@b.example": TO}, id="but for names"),
        pytest.param(
            [BOB],
            Options(cc=_copies(CAROL), bcc=_copies(DAVE), archive=_copies("eve@b.example")),
            {BOB: TO, CAROL: CC, DAVE: BCC, "eve@b.example": ARCHIVE},
            id="those of the options",
        ),
        pytest.param(
            [BOB],
            Options(cc=_copies(BOB, CAROL), bcc=_copies(CAROL, DAVE), archive=_copies(DAVE, BOB)),
            {BOB: TO, CAROL: CC, DAVE: BCC},
            id="once: as the first of To, cc, bcc, archive",
        ),
    ],
)
async def test_a_copy_goes_to(
    world: World, to: list[str], options: Options, expected: dict[str, RcptType]
) -> None:
    await smtp_door(world).accept(hand_in(*to, options=options))
    messages = await world.messages()
    assert [(one.rcpt_to, one.rcpt_type) for one in messages] == list(expected.items())
    assert len({one.pin for one in messages}) == len({one.body_id for one in messages}) == 1


async def test_a_hidden_copy_names_its_own_recipient_and_no_other(world: World) -> None:
    options = Options(cc=_copies(CAROL), bcc=_copies(DAVE, "eve@b.example"))
    fields = b"From: a@acme.test\r\nTo: bob@b.example\r\nCc: old@b.example\r\nBcc: hidden@b.example\r\n"
    await smtp_door(world).accept(hand_in(BOB, fields=fields, options=options))
    for message in await world.messages():
        header = (await _whole(world, message)).partition(b"\r\n\r\n")[0]
        assert (b"dave@b.example" in header) == (message.rcpt_to == DAVE)
        assert (b"eve@b.example" in header) == (message.rcpt_to == "eve@b.example")
        assert b"hidden@b.example" not in header
        assert b"old@b.example" not in header, "the options' cc stands in its place"
        assert header.count(b"carol@b.example") == 1


@pytest.mark.parametrize(
    ("given", "field", "is_kept"),
    [
        (b"Date: Mon, 5 Jan 2026 08:00:00 +0000\r\n", b"\r\nDate: ", True),
        (b"", b"\r\nDate: ", False),
        (b"Message-ID: <x@y.test>\r\n", b"\r\nMessage-ID: ", True),
        (b"", b"\r\nMessage-ID: ", False),
    ],
)
async def test_date_and_message_id_are_there_once(
    world: World, given: bytes, field: bytes, is_kept: bool
) -> None:
    await smtp_door(world).accept(hand_in(fields=given + b"From: a@acme.test\r\n"))
    (message,) = await world.messages()
    whole = await _whole(world, message)
    assert whole.count(field) == 1
    assert (given in whole) == is_kept or not given


@pytest.mark.parametrize("name", ["X-MSYS-API", "Bcc", "Return-Path"])
async def test_what_is_not_for_others_is_not_passed_on(world: World, name: str) -> None:
    fields = f"From: a@acme.test\r\n{name}: secret\r\nSubject: s\r\n".encode()
    await smtp_door(world).accept(hand_in(fields=fields))
    (message,) = await world.messages()
    whole = await _whole(world, message)
    assert b"secret" not in whole
    assert b"\r\nSubject: s\r\n" in whole
    assert whole.startswith(b"Received: ")


ALL, FAILURE = DsnRequest("FULL", "id"), DsnRequest("FULL", "id", "FAILURE", "rfc822;bob")
NEVER = DsnRequest("FULL", "id", "NEVER")


@pytest.mark.parametrize(
    ("asked", "of_copy"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param(DsnRequest(), None, id="nothing in particular"),
        pytest.param(ALL, ALL, id="what was asked for the mail"),
        pytest.param(FAILURE, DsnRequest("FULL", "id", "FAILURE"), id="what was asked for each"),
        pytest.param(NEVER, NEVER, id="that nobody wants to hear of it"),
    ],
)
async def test_of_a_copy_is_told(world: World, asked: DsnRequest | None, of_copy: DsnRequest | None) -> None:
    await smtp_door(world).accept(hand_in(BOB, options=Options(bcc=_copies(CAROL)), asked=asked))
    first, copy = await world.messages()
    assert (first.dsn_request or DsnRequest(), copy.dsn_request) == (asked or DsnRequest(), of_copy)
