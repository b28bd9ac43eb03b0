"""What may leave: octets that can be read in one way only, and of our own making what a message must have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.errors import NoSender, Unsendable
from relay.mail.gate import (
    check_body,
    check_composed,
    check_header,
    check_stored,
    has_crlf_alone,
    read_section,
    split_at_empty_line,
)

GOOD = b"From: a@b.test\r\nDate: now\r\nMessage-ID: <1@b.test>\r\n"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"A: b\r\n",
        b"A:\r\n",
        b"A : b\r\n",
        b"A: b\r\n c\r\n\td\r\n",
        b"A: \xff\r\n",
        b"A: b\r\n \r\n",
    ],
)
def test_a_section_of_fields_and_their_folds_passes(header: bytes) -> None:
    check_header(header)


@pytest.mark.parametrize(
    "header",
    [
        *(b"A: b", b"A: b\n", b"A: b\r", b"A\r\n", b" a\r\n", b"A: b\r\n\r\n", b"A: b\nC: d\r\n"),
        *(b"A: b\rC: d\r\n", b"A: b\0\r\n", b"A: b\r\nhello\r\n", b"\r\n", b"A b: c\r\n", b": c\r\n"),
        b"A: b\r\n c\nD: e\r\n",
    ],
)
def test_any_other_line_does_not(header: bytes) -> None:
    with pytest.raises(Unsendable, match="header section"):
        check_header(header)


@pytest.mark.parametrize("body", [b"", b"a", b"a\r\n", b"\r\n\r\n", b"\xff"])
def test_a_body_of_crlf_lines_passes(body: bytes) -> None:
    check_body(body)


@pytest.mark.parametrize(
    "body", [b"a\nb", b"a\rb", b"\r", b"\n", b"a\r\n.\r.\r\n", b"a\r\r\n", b"a\0b", b"a\r\n\n"]
)
def test_a_body_with_other_line_ends_or_nul_does_not(body: bytes) -> None:
    with pytest.raises(Unsendable):
        check_body(body)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b""])))
def test_bare_line_ends_are_found_wherever_they_stand(pieces: list[bytes]) -> None:
    octets = b"".join(pieces)
    rest = octets.replace(b"\r\n", b"")
    is_bare = b"\r" in rest or b"\n" in rest
    assert (has_crlf_alone(octets), has_crlf_alone(*pieces)) == (not is_bare, not is_bare)


@pytest.mark.parametrize("end", [b"\n", b"", b"x"])
def test_a_cr_at_the_end_of_what_is_looked_at_belongs_to_the_next_lf(end: bytes) -> None:
    octets = b"x" * (256 * 1024 - 1) + b"\r" + end
    assert has_crlf_alone(octets) is (end == b"\n")


def test_a_message_of_ours_has_the_fields_that_it_must_have_once_each() -> None:
    more = b"To: x\r\nCc: y\r\nSubject: z\r\nReply-To: r\r\nX: 1\r\nX: 2\r\n"
    check_composed(read_section(GOOD + more))
    check_composed(read_section(more), read_section(GOOD))


@pytest.mark.parametrize(
    "header",
    [
        GOOD.replace(b"Date: now\r\n", b""),
        GOOD.replace(b"Message-ID: <1@b.test>\r\n", b""),
        *(
            GOOD + twice
            for twice in (b"DATE: now\r\n", b"Message-Id : <2@b.test>\r\n", b"from: c@d.test\r\n")
        ),
        *(GOOD + 2 * twice for twice in (b"To: x\r\n", b"Cc: x\r\n", b"subject: x\r\n", b"Reply-To: x\r\n")),
        GOOD + b"X: y\r\n" * 5_000,
        GOOD + b"X:" + b" y\r\n" * 5_000,
        GOOD + b"X: " + b"y" * 102_400 + b"\r\n",
        GOOD + (b"X: " + b"y" * 90_000 + b"\r\n") * 3,
    ],
)
def test_nothing_else_of_our_own_making_leaves(header: bytes) -> None:
    with pytest.raises(Unsendable):
        check_composed(read_section(header))
    with pytest.raises(Unsendable):
        check_composed(read_section(GOOD), read_section(header.removeprefix(GOOD)))


def test_a_piece_does_not_begin_with_the_rest_of_another_ones_field() -> None:
    with pytest.raises(Unsendable, match="neither a field nor"):
        read_section(b" folded\r\nTo: x\r\n")


@pytest.mark.parametrize(
    "sender", [b"", b"a@b.test, c@d.test", b"g: a@b.test;", b"Ann @ B <a@b.test>", b"Ann, B. <a@b.test>"]
)
def test_from_is_one_mailbox_to_all_who_read_it(sender: bytes) -> None:
    with pytest.raises(NoSender):
        check_composed(read_section(GOOD.replace(b"a@b.test", sender)))


@pytest.mark.parametrize(
    ("message", "header", "body"),
    [
        (b"A: b\r\n\r\nc", b"A: b\r\n", b"c"),
        (b"A: b\r\nno field\r\n\r\nc", b"A: b\r\nno field\r\n", b"c"),
        (b"\r\nA: b\r\n\r\nc", b"", b"A: b\r\n\r\nc"),
        (b"A: b\r\n", b"A: b\r\n", b""),
    ],
)
def test_the_first_empty_line_ends_the_header(message: bytes, header: bytes, body: bytes) -> None:
    assert split_at_empty_line(message) == (header, body)


def test_what_was_stored_before_is_looked_at_as_a_whole() -> None:
    check_stored(b"", b"Subject: hello\r\n\r\nHello.\r\n", is_composed=False)
    check_stored(GOOD, b"\r\nHello.\r\n", is_composed=True)
    for body in (
        b"A: b\r\n\r\na\nb\r\n",
        b"A: b\rC: d\r\n\r\n",
        b"A: b\r\n\r\n\0",
        b"A: b\r\n",
        b"no\r\n\r\n",
    ):
        with pytest.raises(Unsendable):
            check_stored(b"", body, is_composed=False)
    with pytest.raises(Unsendable):
        check_stored(GOOD, b"Date: now\r\n\r\n", is_composed=True)
