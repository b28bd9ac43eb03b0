"""Header fields as this relay reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.headers import (
    decode_header,
    fields_of,
    first,
    from_address,
    own_mailbox,
    split_message,
    unfold,
)

LINES = st.lists(
    st.sampled_from(
        [
            b"From: a@b.test",
            b"Subject : x",
            b" folded",
            b"\tfolded",
            b"",
            b"no field",
            b": x",
            b"X:",
            b"\xff: y",
        ]
    )
)


def address_in(value: str, *more: str) -> str | None:
    return from_address(fields_of("".join(f"From: {text}\r\n" for text in (value, *more)).encode()))


@pytest.mark.parametrize(
    ("message", "header", "body"),
    [
        pytest.param(b"A: b\r\n\r\nbody\r\n", b"A: b\r\n", b"body\r\n", id="both"),
        pytest.param(b"\r\nbody\r\n", b"", b"body\r\n", id="no header"),
        pytest.param(b"A: b\r\n", b"A: b\r\n", b"", id="all header"),
        pytest.param(b"A: b\r\n\r\n", b"A: b\r\n", b"", id="empty body"),
        pytest.param(b"", b"", b"", id="nothing"),
        pytest.param(
            b"A: b\r\n\r\n\r\nx\r\n", b"A: b\r\n", b"\r\nx\r\n", id="body begins with an empty line"
        ),
        pytest.param(b"A: b\r\n c\r\n\td\r\n\r\n", b"A: b\r\n c\r\n\td\r\n", b"", id="folded"),
        pytest.param(
            b"A: b\r\nHello\r\nC: d\r\n", b"A: b\r\n", b"Hello\r\nC: d\r\n", id="a line without colon"
        ),
        pytest.param(b" x\r\nA: b\r\n", b"", b" x\r\nA: b\r\n", id="a continuation of nothing"),
        pytest.param(b"A B: c\r\n\r\nx", b"", b"A B: c\r\n\r\nx", id="a name with a space"),
    ],
)
def test_the_body_begins_where_the_fields_end(message: bytes, header: bytes, body: bytes) -> None:
    assert split_message(message) == (header, body)


@given(LINES)
def test_no_octet_is_lost_in_taking_a_message_apart(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    header, body = split_message(message)
    assert message in (header + body, header + b"\r\n" + body)
    assert b"".join(field.raw for field in fields_of(header)) == header


def test_a_field_has_its_name_in_lower_case_its_value_and_its_octets() -> None:
    one, two = fields_of(b"X-MSYS-API : {\r\n  }\r\nto:c@d\r\n")
    assert (one.name, one.value, one.raw) == ("x-msys-api", b" {\r\n  }", b"X-MSYS-API : {\r\n  }\r\n")
    assert (two.name, two.value, two.raw) == ("to", b"c@d", b"to:c@d\r\n")


def test_of_several_fields_the_first_counts() -> None:
    fields = fields_of(b"A: 1\r\nB: 2\r\nb: 3\r\n")
    found = first(fields, "b")
    assert found is not None
    assert found.value == b" 2"
    assert first(fields, "c") is None


def test_a_line_break_and_the_white_space_behind_it_is_one_space() -> None:
    """A24."""
    assert unfold(b'{"campaign_id": "my_awes\r\n   ome",\r\n\t\t"a": 1}') == (
        b'{"campaign_id": "my_awes ome", "a": 1}'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(b" Hello", "Hello", id="plain"),
        pytest.param(b" a\r\n  b ", "a b", id="folded"),
        pytest.param("Grüße".encode(), "Grüße", id="UTF-8"),
        pytest.param(b"Gr\xfc\xdfe", "Gr\ufffd\ufffde", id="not UTF-8"),
        pytest.param(b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= x", "Grüße x", id="quoted printable"),
        pytest.param(b"=?UTF-8*de?B?R3LDvMOfZQ==?=", "Grüße", id="base64 with a language"),
        pytest.param(b"=?utf-8?b?R3I?=", "Gr", id="base64 without padding"),
        pytest.param(
            b"=?utf-8?q?Gr=C3?=\r\n =?utf-8?q?=BC=C3=9Fe?=", "Grüße", id="a character over two words"
        ),
        pytest.param(b"=?utf-8?q?a?= =?iso-8859-1?q?=FC?=", "aü", id="two charsets"),
        pytest.param(b"=?utf-8?q?a_b?=", "a b", id="underscore"),
        pytest.param(b"=?x-none?q?a?=", "=?x-none?q?a?=", id="unknown charset"),
        pytest.param(b"=?rot13?q?a?=", "=?rot13?q?a?=", id="a codec that is no charset"),
        pytest.param(b"=?iso-8859-99?q?a?=", "=?iso-8859-99?q?a?=", id="no such charset"),
        pytest.param(b"=?utf-8?q?=FF?=", "=?utf-8?q?=FF?=", id="not in its charset"),
        pytest.param(b"=?utf-8?b?A?=", "=?utf-8?b?A?=", id="not base64"),
        pytest.param(b"a\0b=?utf-8?q?=0D=0ABcc:?=", "a b  Bcc:", id="control characters"),
    ],
)
def test_a_value_is_decoded_for_a_reader(value: bytes, text: str) -> None:
    assert decode_header(value) == text


@given(st.binary() | st.text("=?utf-8bqBQ_ \r\n\0ACF").map(str.encode))
def test_decoding_never_fails_and_gives_one_line(value: bytes) -> None:
    assert not set("\r\n\0") & set(decode_header(value))


@pytest.mark.parametrize(
    ("value", "address"),
    [
        pytest.param("bob@acme.test", "bob@acme.test", id="bare"),
        pytest.param("Bob <bob@acme.test>", "bob@acme.test", id="with a name"),
        pytest.param("<bob@acme.test>", "bob@acme.test", id="only brackets"),
        pytest.param("Bob\r\n <bob@acme.test>", "bob@acme.test", id="folded"),
        pytest.param('"Bob, \\"B\\"" <bob@acme.test>', "bob@acme.test", id="quoted name"),
        pytest.param("=?utf-8?q?Bob?= <bob@acme.test>", "bob@acme.test", id="encoded name"),
        pytest.param("Bøb <bøb@acme.test>", "bøb@acme.test", id="UTF-8"),
        pytest.param('"<eve@evil.test>" <bob@acme.test>', "bob@acme.test", id="an address as name"),
        pytest.param('"b b"@acme.test', '"b b"@acme.test', id="quoted local part"),
        pytest.param("bob@[127.0.0.1]", "bob@[127.0.0.1]", id="address literal"),
        pytest.param("a@acme.test, b@ACME.test", "a@acme.test", id="two of one domain"),
        pytest.param("a@ΣΑΣ.test, b@σασ.test", "a@ΣΑΣ.test", id="two of one domain, in Greek"),
        pytest.param("a@ΣΑΣ.test, b@σας.test", None, id="a final sigma is another letter"),
        pytest.param("a@bücher.test, b@xn--bcher-kva.test", "a@bücher.test", id="a domain in two spellings"),
        pytest.param("(x (y) \\) z) Bob (<e@e>) <bob@acme.test> (c)", "bob@acme.test", id="comments"),
        pytest.param('"(" <bob@acme.test>', "bob@acme.test", id="a bracket in quotes"),
        pytest.param("bob@acme.test (never ends", "bob@acme.test", id="a comment without end"),
        pytest.param('(") eve@evil.test (") <bob@acme.test>', None, id="quotes in comments"),
        pytest.param('(") <bob@acme.test>', "bob@acme.test", id="a quote in a comment"),
        pytest.param(") bob@acme.test (x)", None, id="a closing bracket too many"),
        pytest.param("a@acme.test, b@evil.test", None, id="two domains"),
        pytest.param("a@acme.test b@acme.test", None, id="two without a comma"),
        pytest.param("Bob", None, id="no address"),
        pytest.param("", None, id="empty"),
        pytest.param("a@acme.test,", None, id="nothing behind the comma"),
        pytest.param("team: a@acme.test;", None, id="a group"),
        pytest.param("<a@acme.test> <b@acme.test>", None, id="two in brackets"),
        pytest.param("a@b@acme.test", None, id="two at signs"),
        pytest.param("x" * 10_000 + "@acme.test", None, id="too long"),
    ],
)
def test_the_address_in_from_is_the_one_that_speaks(value: str, address: str | None) -> None:
    assert address_in(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("bob@acme.test (ends)", "bob@acme.test"),
        ("bob@acme.test (never ends", None),
        ("bob@acme.test, a@acme.test", None),
        ("bob@acme.test (a) (, eve@evil.test", None),
    ],
)
def test_one_mailbox_is_read_in_one_way(value: str, address: str | None) -> None:
    assert own_mailbox(fields_of(b"From: " + value.encode() + b"\r\n")) == address


def test_nobody_speaks_for_a_message_with_two_from_fields_or_none() -> None:
    assert address_in("a@acme.test", "a@acme.test") is None
    assert from_address(()) is None


@given(st.text('<>()[]@,:;."\\ ab\r\n'))
def test_no_from_field_is_too_odd_to_be_judged(value: str) -> None:
    address = address_in(value.replace("\r", "").replace("\n", "\r\n "))
    assert address is None or "@" in address


@pytest.mark.timeout(5)
@pytest.mark.parametrize("unit", ["a ", '"', "<", "(", "a@b,", '"a" ', "\\", "=?utf-8?q?a?= "])
def test_a_hostile_field_costs_no_more_than_its_length(unit: str) -> None:
    value = unit * (9_000 // len(unit))
    address_in(value)
    decode_header(value.encode())
    split_message(f"From: {value}".encode())
