"""A client's MIME tree: what is read of it, what is refused, and what reading costs."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from relay.mail.mime import (
    MAX_BOUNDARY_BYTES,
    MAX_DEPTH,
    MAX_HEADER_BYTES,
    MAX_PARTS,
    BadMime,
    Leaf,
    check_section,
    read_leaves,
)
from relay.mail.parameters import MAX_PARAMETERS, TooManyParameters, first_word, parameters_of
from tests.support.growth import assert_linear

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def leaves(message: bytes) -> list[Leaf]:
    return list(read_leaves(message))


def texts(message: bytes) -> list[str | None]:
    return [leaf.text for leaf in leaves(message)]


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        (b"text/plain", {}),
        (b"text/plain; charset=utf-8", {"charset": "utf-8"}),
        (b'text/plain;\r\n\tCharset = "a;b\\"c" ; x=y', {"charset": 'a;b"c', "x": "y"}),
        (b"text/plain; charset=a; charset=b", {"charset": "a"}),
        (b'text/plain; x="no end; y=z', {"x": "no end; y=z"}),
        (b'text/plain; =x; "; ;; y=z', {"y": "z"}),
        (b"text/plain; flag; y=z", {"flag": "", "y": "z"}),
        (b"text/plain; charset*=us-ascii'en'utf%2D8", {"charset": "utf-8"}),
        (b"text/plain; x*0*=utf-8''a%20; x*1=b%20; x*2*=c%21", {"x": "a b%20c!"}),
        (b"text/plain; x*1=b; x*0=a; x*3=d", {"x": "ab"}),
        (b"text/plain; x*0=a; x=b", {"x": "b"}),
        (b"text/plain; x*=utf-8''%C3%BC", {"x": "\ufffd\ufffd"}),
    ],
)
def test_parameters_are_read(value: bytes, parameters: dict[str, str]) -> None:
    assert parameters_of(value) == parameters


def test_a_field_has_so_many_parameters() -> None:
    pieces = b"".join(b"; x*%d=a" % number for number in range(MAX_PARAMETERS))
    assert parameters_of(b"a/b" + pieces) == {"x": "a" * MAX_PARAMETERS}
    with pytest.raises(TooManyParameters):
        parameters_of(b"a/b" + pieces + b"; y=z")


def test_the_first_word_has_no_comment() -> None:
    assert first_word(b" Text/Plain (as ever); x=y") == "text/plain"
    assert first_word(b"(first) text/plain") == "(first) text/plain"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param(MIXED + b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\nend", ["one", "two"], id="parts"),
        pytest.param(MIXED + b"before\r\n--b \t\r\n\r\none\r\n--b--", ["one"], id="blanks and a preamble"),
        pytest.param(
            MIXED + b"--b\r\n\r\none\r\n--bx\r\ntwo--b\r\n--b--", ["one\r\n--bx\r\ntwo--b"], id="like"
        ),
        pytest.param(MIXED + b"--b\r\n--b\r\n\r\nx\r\n--b--", ["", "x"], id="nothing between"),
        pytest.param(MIXED + b"--b--\r\n\r\nx", [], id="the last is the first"),
        pytest.param(b"Content-Type: text/pl\xc3\xa4in\r\n\r\nx", [], id="no type"),
        pytest.param(b"Content-Type: nonsense\r\n\r\nx", ["x"], id="the default"),
        pytest.param(b"Content-Type: text/plain; charset=latin1 (as ever)\r\n\r\n\xe4", ["ä"], id="comment"),
    ],
)
def test_texts_are_found(message: bytes, shown: list[str]) -> None:
    assert texts(message) == shown


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "unicode_escape", "a\0b", "x" * 9000, "rot13"]
)
def test_a_text_in_no_known_charset_is_told_when_it_has_braces(charset: str) -> None:
    fields = b'Content-Type: text/plain; charset="' + charset.encode() + b'"\r\n\r\n'
    assert texts(fields + b"a") == []
    assert texts(fields + b"{{ a }}") == [None]


@pytest.mark.parametrize(
    "charset",
    ["UTF-7", "unicode-1-1-utf-7", "utf-32", "UCS-2", "iso-10646-ucs-4", "cp037", "IBM1047", "hz-gb-2312"],
)
def test_a_charset_that_may_hide_braces_counts_as_if_it_did(charset: str) -> None:
    fields = b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n"
    assert texts(fields + b"+AHsAew-a+AH0AfQ-") == [None]
    assert texts(fields) == []


@pytest.mark.parametrize(
    ("charset", "body"), [("utf-16-le", b"{\0{\0a\0}\0}\0x"), ("iso-2022-jp", b"{\x1b(B{a}}\x1b$B\xff")]
)
def test_a_damaged_text_counts_where_braces_may_be_hidden(charset: str, body: bytes) -> None:
    assert texts(b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n" + body) == [None]


@pytest.mark.parametrize("coding", ["x-uuencode", "uuencode", "x-uue", "base32", "yenc", "quoted_printable"])
def test_a_transfer_coding_that_nobody_knows_counts_as_if_it_hid_braces(coding: str) -> None:
    fields = b"Content-Transfer-Encoding: " + coding.encode() + b"\r\n\r\n"
    assert texts(fields + b"begin 644 x\r\n(>WL@;B!]?0H \r\n`\r\nend") == [None]
    assert texts(fields + b"\r\n") == []


@pytest.mark.parametrize("coding", ["8-bit", "7Bits", "BINARY"])
def test_what_codes_nothing_may_be_misspelt(coding: str) -> None:
    assert texts(b"Content-Transfer-Encoding: " + coding.encode() + b"\r\n\r\n{{ a }}") == ["{{ a }}"]


def test_blanks_behind_a_soft_break_hide_nothing() -> None:
    fields = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    assert texts(fields + b"{= \t\r\n{ a =7d=7D") == ["{{ a }}"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"YQ==e3sgYSB9fQ==", "a{{ a }}", id="texts coded each for itself"),
        pytest.param(b"YWE=\r\nYQ==\r\nYQ==", "aaaa", id="at the ends of lines"),
        pytest.param(b"YWFh====YQ=====", "aaaa", id="more of it than needed"),
        pytest.param(b"e3s=YX19", "{{a}}", id="within a pair of braces"),
    ],
)
def test_base64_goes_on_behind_its_padding(body: bytes, text: str) -> None:
    assert texts(b"Content-Transfer-Encoding: base64\r\n\r\n" + body) == [text]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"YQ=e3sgYSB9fQ==", id="too little padding"),
        pytest.param(b"YWFhe3s", id="none at the end"),
        pytest.param(b"YWFhe3tx=xYX19", id="groups that go on over it"),
    ],
)
def test_damaged_padding_hides_no_braces(body: bytes) -> None:
    assert texts(b"Content-Transfer-Encoding: base64\r\n\r\n" + body) == [None]


@pytest.mark.parametrize(
    ("body", "found"), [(b"e3sgYSB9x", [None]), (b"e3sgYSB9", ["{{ a }"]), (b"YWFhYWFhx", [])]
)
def test_damaged_base64_is_told_when_it_has_braces(body: bytes, found: list[str | None]) -> None:
    assert texts(b"Content-Transfer-Encoding: base64\r\n\r\n" + body) == found


def nested(depth: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
        for level in range(depth)
    )


NESTED = nested(30)
LONG_FIELD = b"X: " + b"x" * (MAX_HEADER_BYTES + 10)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (MIXED + b"x", "no part begins with the boundary 'b'"),
        (MIXED.replace(b"=b", b"=" + b"b" * (MAX_BOUNDARY_BYTES + 1)), "a multipart needs a boundary"),
        (MIXED.replace(b"=b", b"*=''a%0Db"), "a multipart needs a boundary"),
        (MIXED + b"--b\r\n\r\n" * (MAX_PARTS + 1), f"more than {MAX_PARTS} parts"),
        (MIXED.replace(b"=b", b"=b" + b"; x=y" * MAX_PARAMETERS), f"more than {MAX_PARAMETERS} parameters"),
        (MIXED + b"--b\r\n" + LONG_FIELD + b"\r\n\r\nx", f"more than {MAX_HEADER_BYTES} bytes"),
        (MIXED + b"--b\r\n" + b"X: y\r\n" * 20_000, f"more than {MAX_HEADER_BYTES} bytes"),
        (nested(MAX_DEPTH + 2), f"more than {MAX_DEPTH} deep"),
        (NESTED + b"\r\n" + b"x" * 2_000_000, "times its bytes"),
        (MIXED + b"--b\r\n\r\n" + b"\r\n--bx" * 1_000_000, "times its bytes"),
    ],
)
def test_what_is_wrong_is_named(message: bytes, reason: str) -> None:
    with pytest.raises(BadMime) as caught:
        leaves(message)
    assert reason in caught.value.reason


def test_a_first_line_that_is_long_is_no_header_section() -> None:
    assert texts(MIXED + b"--b\r\n" + b"/" * (2 * MAX_HEADER_BYTES) + b"\r\n--b--") == [
        "/" * 2 * MAX_HEADER_BYTES
    ]


_CODED = b"Content-Transfer-Encoding: %s\r\n\r\n"


def _typed(parameters: bytes) -> bytes:
    return b"Content-Type: text/plain" + parameters + b"\r\n\r\nx"


@pytest.mark.alone
@pytest.mark.parametrize(
    ("make", "n"),
    [
        pytest.param(lambda n: MIXED + b"--b" * n, 2_000_000, id="boundaries in one line"),
        pytest.param(lambda n: MIXED + b"\r\n--bx" * n, 1_000_000, id="lines like a boundary"),
        pytest.param(lambda n: MIXED + b"\r\n--b" + b" " * n + b"x", 4_000_000, id="blanks"),
        pytest.param(lambda n: _typed(b'; x="' + b"; " * n + b'"'), 120_000, id="semicolons in quotes"),
        pytest.param(lambda n: _typed(b"; " * n + b"="), 120_000, id="semicolons"),
        pytest.param(lambda n: _typed(b'; x="' + b"\\" * n), 240_000, id="backslashes"),
        pytest.param(lambda n: _typed(b"; x" + b" " * n + b"y"), 240_000, id="blanks of a parameter"),
        pytest.param(
            lambda n: _typed(b"".join(b";charset*%d*=u" % number for number in range(n))), 12_000, id="pieces"
        ),
        pytest.param(lambda n: _typed(b"; charset=punycode") + b"a" * n, 4_000_000, id="punycode"),
        pytest.param(lambda n: NESTED + b"\r\n" + b"x\r\n" * n, 2_000_000, id="nested"),
        pytest.param(lambda n: _CODED % b"base64" + b"YQ==" * n, 500_000, id="padding"),
        pytest.param(lambda n: _CODED % b"quoted-printable" + b"= " * n, 2_000_000, id="soft breaks"),
        pytest.param(lambda n: MIXED + b"--b\r\nX: y\r\n" * n, 200_000, id="header sections"),
    ],
)
def test_reading_costs_in_proportion(make: Callable[[int], bytes], n: int) -> None:
    assert_linear(make, _read, n // 2)


def _read(message: bytes) -> None:
    with suppress(BadMime):
        leaves(message)


@pytest.mark.parametrize("message", [b"A: b\r\n", b"A: b\r\n\r\n", b"A: b\r\n\r\nno field\r\n"])
def test_a_header_section_ends_in_an_empty_line_or_with_the_message(message: bytes) -> None:
    check_section(message, b"A: b\r\n")


@pytest.mark.parametrize(
    ("message", "header", "reason"),
    [
        (b"just text\r\n", b"", "does not begin with a header section"),
        (b"\r\nA: b\r\n", b"", "does not begin with a header section"),
        (b"A: b\r\n c\r\nno field\r\n\r\n", b"A: b\r\n c\r\n", "line 3 .* neither a field .* b'no field'"),
        (b"A: b\r\n" + b"x" * 99, b"A: b\r\n", "line 2 .* b'x{40}'"),
    ],
)
def test_another_line_in_it_is_named(message: bytes, header: bytes, reason: str) -> None:
    with pytest.raises(BadMime, match=reason):
        check_section(message, header)
