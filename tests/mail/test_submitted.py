"""How a message is read that a client hands in: where its lines and its header section end."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.errors import HeaderTooLarge, MalformedOptions, Unsendable
from relay.mail.gate import MAX_HEADER_OCTETS, check_body, check_header, has_crlf_alone
from relay.mail.headers import fields_of, split_message
from relay.mail.submitted import NOT_PASSED_ON, Parts, check_no_stray_options, repair, take_apart, tidy

BOM = b"\xef\xbb\xbf"
FIELD = b"A: b\r\n"
LINES = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b" ", b"A: b", b"C:", b"no field", b"From x", b">From y", BOM, b":"]
    )
)


def taken(content: bytes) -> Parts:
    """As by SMTP, whose content ends in CRLF."""
    parts = take_apart(content, has_crlf_alone(content))
    return parts._replace(body=b"".join(repair(parts.body)))


@pytest.mark.parametrize(
    ("content", "header", "body", "is_closed"),
    [
        pytest.param(b"A: b\r\n\r\nx\r\n", FIELD, b"x\r\n", True, id="CRLF"),
        pytest.param(b"A: b\r\n", FIELD, b"", True, id="header alone"),
        pytest.param(b"A: b\r\n\r\n", FIELD, b"", True, id="header and empty line"),
        pytest.param(b"\r\nA: b\r\n", b"", b"A: b\r\n", True, id="an empty line first"),
        pytest.param(b"A: b\r\nno\r\nC: d\r\n", FIELD, b"no\r\nC: d\r\n", False, id="no field"),
        pytest.param(b" x\r\nA: b\r\n", b"", b" x\r\nA: b\r\n", False, id="a fold of nothing"),
        # ── LF ──
        pytest.param(b"A: b\n c\n\nx\ny\r\n", b"A: b\r\n c\r\n", b"x\r\ny\r\n", True, id="LF"),
        pytest.param(b"A: b\nC: d\n\n\r\n", b"A: b\r\nC: d\r\n", b"\r\n", True, id="LF and no body"),
        pytest.param(b"A: b\nC: d\r\n", b"A: b\r\nC: d\r\n", b"", True, id="LF, header alone"),
        pytest.param(b"A: b\n\r\n", FIELD, b"", True, id="LF, empty body"),
        pytest.param(b"A: b\nno\nC: d\r\n", FIELD, b"no\r\nC: d\r\n", False, id="LF, no field"),
        pytest.param(b"\nA: b\r\n", b"", b"A: b\r\n", True, id="LF, an empty line first"),
        pytest.param(b"A: b\rC: d\nE: f\n\nx\r\n", b"A: b C: d\r\nE: f\r\n", b"x\r\n", True, id="LF, a CR"),
        pytest.param(b"A: b\nC: d\re\n\nx\r\n", b"A: b\r\nC: d e\r\n", b"x\r\n", True, id="LF, then a CR"),
        pytest.param(b"A: b\r\r\r\nE: f\r\n\r\n", b"A: b\r\nE: f\r\n", b"", True, id="CR CR CRLF"),
        pytest.param(
            b"A: b\r\r\nE: f\r\r\n\r\r\nx\r\r\n", b"A: b\r\nE: f\r\n", b"x\r\n\r\n", True, id="CRCRLF"
        ),
        # ── bare CR and LF in a message of CRLF ──
        pytest.param(b"A: b\rC: d\r\n\r\n", b"A: b C: d\r\n", b"", True, id="a bare CR"),
        pytest.param(b"A: b\nC: d\r\n\r\n", b"A: b C: d\r\n", b"", True, id="a bare LF"),
        pytest.param(b"A: b\n\nC: d\r\n\r\n", b"A: b  C: d\r\n", b"", True, id="two LF"),
        pytest.param(b"A: b\n\rC: d\r\n\r\n", b"A: b  C: d\r\n", b"", True, id="LF CR"),
        pytest.param(b"A: b\r\r\n", FIELD, b"", True, id="CR before the last CRLF"),
        pytest.param(b"A: b\r\r\n\r\n", FIELD, b"", True, id="CR before a CRLF"),
        pytest.param(b"A: b\r\n \rC: d\r\n\r\n", b"A: b\r\n  C: d\r\n", b"", True, id="a CR in a fold"),
        pytest.param(b"A: b\r\n\nC: d\r\n", FIELD, b"\r\nC: d\r\n", False, id="LF at the front of a line"),
        pytest.param(b"A: b\r\n\rC: d\r\n", FIELD, b"\r\nC: d\r\n", False, id="CR at the front of a line"),
        pytest.param(b"A\r: b\r\n\r\n", b"", b"A\r\n: b\r\n\r\n", False, id="CR in a name"),
        pytest.param(b"A: b\rC: d\r\r\n", b"A: b C: d\r\n", b"", True, id="CR alone"),
        pytest.param(b"A: b\r\n\r\nx\ny\rz\r\n", FIELD, b"x\r\ny\r\nz\r\n", True, id="in the body"),
        # ── in front ──
        pytest.param(BOM + b"A: b\r\n\r\n", FIELD, b"", True, id="BOM"),
        pytest.param(BOM * 2 + b"\r\nx\r\n", b"", b"x\r\n", True, id="BOM and no header"),
        pytest.param(BOM + b"A: b\n\nx\r\n", FIELD, b"x\r\n", True, id="BOM, LF"),
        pytest.param(
            b"From x y\r\nA: b\r\n\r\n", b"X-Mailbox-Line: From x y\r\nA: b\r\n", b"", True, id="From"
        ),
        pytest.param(
            b"From x y\nA: b\n\r\n", b"X-Mailbox-Line: From x y\r\nA: b\r\n", b"", True, id="From, LF"
        ),
        pytest.param(
            b">>From x\r\n c\r\n",
            b"X-Mailbox-Line: >>From x\r\n c\r\n",
            b"",
            True,
            id="From, quoted and folded",
        ),
        pytest.param(
            b"From x\nA: b\r\n\r\n", b"X-Mailbox-Line: From x A: b\r\n", b"", True, id="From, a bare LF"
        ),
        pytest.param(
            BOM + b"From x\r\n" + BOM + b">From y\r\n" + BOM + FIELD,
            b"X-Mailbox-Line: From x\r\nX-Mailbox-Line: >From y\r\nA: b\r\n",
            b"",
            True,
            id="From, several",
        ),
        pytest.param(b"From x\r\n\r\ny\r\n", b"X-Mailbox-Line: From x\r\n", b"y\r\n", True, id="From alone"),
        pytest.param(b"From : x\r\n\r\n", b"From : x\r\n", b"", True, id="From as a field"),
        pytest.param(b">From: x\r\n\r\n", b">From: x\r\n", b"", True, id="a field of that name"),
        pytest.param(b"A: b\r\nFrom x\r\nC: d\r\n", FIELD, b"From x\r\nC: d\r\n", False, id="From, within"),
        pytest.param(b"from x\r\nC: d\r\n", b"", b"from x\r\nC: d\r\n", False, id="from"),
    ],
)
def test_a_message_is_taken_apart(content: bytes, header: bytes, body: bytes, is_closed: bool) -> None:
    assert taken(content) == (header, body, is_closed)


@given(LINES)
def test_whatever_comes_leaves_as_fields_and_a_body_of_crlf_lines(lines: list[bytes]) -> None:
    parts = taken(b"".join(lines) + b"\r\n")
    check_header(parts.header)
    check_body(parts.body)
    assert b"".join(field.raw for field in fields_of(parts.header)) == parts.header


@given(LINES)
def test_a_message_that_was_read_is_read_the_same_again(lines: list[bytes]) -> None:
    parts = taken(b"".join(lines) + b"\r\n")
    again = taken(parts.header + b"\r\n" + parts.body)
    assert (again.header, again.body) == (parts.header, parts.body)


@given(LINES)
def test_both_doors_read_alike(lines: list[bytes]) -> None:
    content = b"".join(lines) + b"\r\n"
    header, body, is_closed = taken(content)
    assert tidy(content) == header + b"\r\n" * is_closed + body


@given(LINES)
def test_no_bare_line_end_makes_a_field(lines: list[bytes]) -> None:
    """In a message of CRLF each field begins where a line does."""
    content = FIELD + b"".join(lines) + b"\r\n\r\n"
    begun = {re.match(rb"[^\r\n]*", line)[0] for line in content.split(b"\r\n")}  # type: ignore[index]  # always
    for field in fields_of(taken(content).header):
        if field.name != "x-mailbox-line":
            assert any(line.startswith(field.raw.split(b":")[0]) for line in begun)


@pytest.mark.parametrize(
    ("message", "whole"),
    [
        (b"A: b\nC: d", b"A: b\r\nC: d\r\n\r\n"),
        (b"A: b\r\n\r\nx", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\n\nx\r", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\nno\n\nx\n", b"A: b\r\nno\r\n\r\nx\r\n"),
        (b"A: b\rC: d\r\rx", b"A: b C: d  x\r\n\r\n"),
    ],
)
def test_a_message_that_no_server_took_in_ends_in_crlf_too(message: bytes, whole: bytes) -> None:
    assert tidy(message) == whole


@pytest.mark.parametrize(
    "content",
    [
        *(b"A: b\r\n\r\na\0b\r\n", b"A: \0\r\n\r\n", b"A: b\n\na\0b\r\n", b"A: \0\rb\r\n\r\n"),
        *(b"A: b\r\n\r\n" + b"x" * 200_000 + b"\r\n", b"A: b\n\n" + b"x" * 200_000 + b"\r\n"),
        *(b"A: " + b"x" * 110_000 + b"\r\n", b"A: " + b"x\n" * 55_000 + b"\r\n\r\n"),
        *(b"A: b\r\n" * 6_000 + b"\r\n", b"A: b\n" * 6_000 + b"\r\n", b"From \r\n" * 6_000),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_nul_octets_and_lines_without_end_are_for_neither_door(content: bytes) -> None:
    with pytest.raises(Unsendable):
        tidy(content)


@pytest.mark.parametrize("line", [b"A: b\r\n", b"A: b\n", b"A: b\r\r\n", b"A:\r\n b\n\r\n"])
def test_a_header_section_of_any_length_is_refused_before_it_is_taken_apart(line: bytes) -> None:
    with pytest.raises(HeaderTooLarge):
        tidy(line * (MAX_HEADER_OCTETS // len(line) + 1))


@pytest.mark.parametrize("body", [b"x\r\n" * 100_000, b"x\n" * 150_000, b"\n" + b"x\r\r\n" * 100_000])
def test_a_long_body_needs_no_empty_line_but_the_one_before_it(body: bytes) -> None:
    assert tidy(b"\r\n" + body).startswith(b"\r\n")
    assert tidy(b"A: b\r\n\r\n" + body).startswith(b"A: b\r\n\r\n")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"me, Mon Jan 5\r\nX-MSYS-API: {}\r\n\r\n", id="below a line that is no field"),
        pytest.param(b"A: b\r\nS\xfcbject: x\r\nx-msys-api : {}\r\n", id="below a name that is not ASCII"),
        pytest.param(b" x\r\nX-Msys-API:{}\r\n\r\nbody\r\n", id="below a continuation of nothing"),
        pytest.param(b"\r\n\r\nX-MSYS-API: {}\r\n\r\nbody\r\n", id="below empty lines that come first"),
        pytest.param(b"me\rX-MSYS-API: {}\r\n\r\n", id="behind a bare CR"),
    ],
)
def test_an_x_msys_api_that_would_be_text_of_the_body_is_refused(content: bytes) -> None:
    """It would be obeyed by nobody, and tell every recipient who got hidden copies."""
    with pytest.raises(MalformedOptions):
        check_no_stray_options(taken(content))


@pytest.mark.parametrize(
    "content",
    [
        b"A: b\r\n\r\nX-MSYS-API: {}\r\n",
        b"A: b\r\nHello\r\n\r\nX-MSYS-API: {}\r\n",
        b"\r\nHello\r\n\r\nX-MSYS-API: {}\r\n",
        b"Hello\r\n",
    ],
)
def test_a_body_may_speak_of_x_msys_api(content: bytes) -> None:
    check_no_stray_options(taken(content))


def test_what_is_taken_out_is_named_as_fields_are() -> None:
    assert {name.lower() for name in NOT_PASSED_ON} == NOT_PASSED_ON
    header, _ = split_message(b"Return-Path : <a@b.test>\r\n")
    assert fields_of(header)[0].name in NOT_PASSED_ON
