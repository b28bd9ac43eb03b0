"""Where a message ends, and that it can be read in one way only (ADR 3)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.accept.budget import BodyBudget
from relay.ingress.data import DataReader, take_parts, unstuff
from relay.ingress.replies import NO_ROOM, TOO_LARGE, Complaint
from relay.mail.submitted import repair
from tests.ingress.conftest import Served

ALPHABET = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\r\n.\r\n", b".."])).map(b"".join)


def read(pieces: list[bytes], max_bytes: int = 1000) -> tuple[bytes | None, bytes | None]:
    """The content and what stood behind it; None and None while it has not ended."""
    reader = DataReader(BodyBudget(10_000), max_bytes)
    for index, piece in enumerate(pieces):
        behind = reader.feed(piece)
        if behind is not None:
            return reader.content(), behind + b"".join(pieces[index + 1 :])
    return None, None


def plain(content: bytes) -> bytes:
    return b"".join(unstuff(content))


def whole(content: bytes) -> bytes:
    """Header and body as they are stored."""
    parts = take_parts(plain(content), 1_000_000, is_plain=False)
    body = b"".join(repair(parts.body))
    return parts.header + b"\r\n" + body if parts.header or body else b""


def stuffed(content: bytes) -> bytes:
    """As it goes out (RFC 5321 §4.5.2)."""
    return re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"


@given(ALPHABET, st.lists(st.integers(1, 6), min_size=1))
def test_the_end_is_found_however_the_octets_are_cut(octets: bytes, cuts: list[int]) -> None:
    content, end, behind = (b"\r\n" + octets).partition(b"\r\n.\r\n")
    pieces: list[bytes] = []
    at = turn = 0
    while at < len(octets):
        length = cuts[turn % len(cuts)]
        pieces.append(octets[at : at + length])
        at, turn = at + length, turn + 1
    assert read(pieces) == (((content + b"\r\n")[2:], behind) if end else (None, None))


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        pytest.param(b"..", b".", id="a dot"),
        pytest.param(b"..a\r\n..b\r\nc.", b".a\r\n.b\r\nc.", id="dots at line starts"),
        pytest.param(b".a\r\n...", b"a\r\n..", id="one dot is taken from each line, no more"),
        pytest.param(b"a\r\n..\r\n", b"a\r\n.\r\n", id="a line that is a dot"),
        pytest.param(b"a.\r\nb", b"a.\r\nb", id="none at a line start"),
    ],
)
def test_dot_stuffing_is_undone(wire: bytes, message: bytes) -> None:
    content, _ = read([wire + b"\r\n.\r\n"])
    assert content is not None
    assert plain(content) == message + b"\r\n"


@given(ALPHABET, st.lists(st.integers(1, 9), min_size=1))
def test_content_that_needs_no_cleaning_is_known_without_looking_twice(
    octets: bytes, cuts: list[int]
) -> None:
    """However it is cut; the reader may err on the side of a second look, never on the other."""
    content = (b"\r\n" + octets + b"\r\n.\r\n").partition(b"\r\n.\r\n")[0][2:]
    reader, rest, turn = DataReader(BodyBudget(10_000), 1000), content + b"\r\n.\r\n", 0
    while rest:
        length = cuts[turn % len(cuts)]
        reader.feed(rest[:length])
        rest, turn = rest[length:], turn + 1
    taken = reader.content()
    assert taken == content + b"\r\n"
    if not reader.is_dotted:
        assert plain(taken) == taken
    if reader.has_crlf_alone:
        assert b"".join(repair(taken)) == taken


def test_most_mail_needs_no_cleaning() -> None:
    reader = DataReader(BodyBudget(10_000), 1000)
    reader.feed(b"Subject: hello\r\n\r\nHello.\r\n.\r\n")
    assert reader.has_crlf_alone
    assert not reader.is_dotted


@given(ALPHABET)
def test_what_is_stored_has_only_crlf_and_ends_in_one(octets: bytes) -> None:
    content, _ = read([octets + b"\r\n.\r\n"])
    assert content is not None
    stored = whole(content)
    assert stored.count(b"\r\n") == stored.count(b"\r") == stored.count(b"\n")
    assert stored.endswith(b"\r\n") or not stored


@given(ALPHABET, st.integers(1, 7))
def test_content_is_cleaned_the_same_however_it_is_sliced(octets: bytes, slice_octets: int) -> None:
    without_dots = (octets[1:] if octets.startswith(b".") else octets).replace(b"\r\n.", b"\r\n")
    slices = list(unstuff(octets, slice_octets))
    assert b"".join(slices) == without_dots
    mended = list(repair(octets, slice_octets))
    assert b"".join(mended) == re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    assert max(map(len, slices + mended), default=0) <= 2 * (slice_octets + 1)


SMUGGLED = (
    b"MAIL FROM:<eve@evil.test>\r\nRCPT TO:<victim@gmail.example>\r\nDATA\r\nFrom: ceo@acme.test\r\n\r\nPay."
)
LENIENT_END = re.compile(rb"(?:\r\n|\n|\r)\.(?:\r\n|\n|\r)")
"""What one or another server has taken for the end of data."""


@pytest.mark.parametrize(
    "sequence",
    [
        b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n",
        b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\n\n.\r\n", b"\r\n.\n\r\n", b"\r\n. \r\n",
        b"\n..\n", b"\r\n..\n",
    ],
    ids=lambda sequence: repr(sequence)[2:-1],
)  # fmt: skip
async def test_no_sequence_but_crlf_dot_crlf_ends_a_message(smtp: Served, sequence: bytes) -> None:
    """SMTP smuggling: one message in is one message here, and at any next hop, however lenient."""
    async with smtp.open() as wire:
        await wire.send(b"MAIL FROM:<alice@acme.test>", b"RCPT TO:<bob@gmail.example>", b"DATA")
        assert [(await wire.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        await wire.write(b"From: alice@acme.test\r\n\r\nHello" + sequence + SMUGGLED + b"\r\n.\r\nNOOP\r\n")
        first, second = (await wire.reply())[:9], await wire.reply()
        assert second == "250 2.0.0 OK", "the reply to NOOP: nothing in between was a command"
    if b"\0" in sequence:
        assert (first, smtp.core.handed) == ("550 5.6.0", [])
        return
    assert first == "250 2.0.0"
    (handed,) = smtp.core.handed
    assert [mailbox.text for mailbox in handed.envelope.recipients] == ["bob@gmail.example"]
    assert handed.envelope.mail_from == "alice@acme.test"
    assert b"MAIL FROM:<eve@evil.test>" in handed.body
    outbound = stuffed(b"".join(field.raw for field in handed.fields) + b"\r\n" + handed.body)
    ends = list(LENIENT_END.finditer(outbound))
    assert [found.end() for found in ends] == [len(outbound)], "the next hop sees one end, the last"


def test_the_budget_is_taken_in_pieces_and_given_back_once() -> None:
    budget = BodyBudget(100)
    reader = DataReader(budget, 1000)
    reader.feed(b"x" * 60)
    assert budget.taken_bytes == 60
    assert reader.feed(b"y\r\n.\r\n") == b""
    assert budget.taken_bytes == 66
    assert reader.content() == b"x" * 60 + b"y\r\n"
    assert budget.taken_bytes == 132, "in memory until the reader is closed, and once more as it is stored"
    reader.close()
    reader.close()
    assert budget.taken_bytes == 0


def test_one_message_alone_finds_room_for_the_copy_that_is_stored() -> None:
    budget = BodyBudget(100)
    reader = DataReader(budget, 1000)
    reader.feed(b"x" * 60 + b"\r\n.\r\n")
    assert reader.content() == b"x" * 60 + b"\r\n"
    other = DataReader(budget, 1000)
    other.feed(b"y\r\n.\r\n")
    with pytest.raises(Complaint) as complaint:
        other.content()
    assert complaint.value.reply == NO_ROOM
    reader.close()
    other.close()
    assert budget.taken_bytes == 0


def test_over_the_budget_nothing_is_kept_and_the_rest_is_read() -> None:
    budget = BodyBudget(100)
    reader = DataReader(budget, 1000)
    for _ in range(5):
        assert reader.feed(b"x" * 60) is None
    assert budget.taken_bytes == 0
    assert reader.feed(b"\r\n.\r\nQUIT") == b"QUIT"
    with pytest.raises(Complaint) as complaint:
        reader.content()
    assert complaint.value.reply == NO_ROOM


def test_too_large_is_the_answer_even_when_there_was_no_room() -> None:
    """A client that is told to come again would come in vain."""
    reader = DataReader(BodyBudget(10), 100)
    for _ in range(5):
        reader.feed(b"x" * 60)
    assert reader.feed(b"\r\n.\r\n") == b""
    with pytest.raises(Complaint) as complaint:
        reader.content()
    assert complaint.value.reply == TOO_LARGE


@pytest.mark.parametrize(("excess", "refused"), [(0, False), (1, True)])
def test_the_limit_is_that_of_the_content(excess: int, refused: bool) -> None:
    content, _ = read([b"x" * (98 + excess) + b"\r\n.\r\n"], max_bytes=100)
    assert content is not None
    if refused:
        with pytest.raises(Complaint, match="552"):
            take_parts(content, 100)
    else:
        assert take_parts(content, 100) == (b"", content, False)
