"""Names and addresses as people and programs write them, and that one text never means another mailbox."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.errors import MalformedAddress
from relay.mail.addresses import write_addresses
from relay.mail.headers import Field, fields_of, own_mailbox
from relay.mail.mailboxes import read_mailbox, sole_mailbox, split_template
from relay.mail.words import mailbox
from tests.support.growth import assert_linear

PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "a@b.test",
                "<a@b.test>",
                ",",
                '"',
                "\\",
                "(",
                ")",
                "<",
                ">",
                ":",
                ";",
                "@",
                " ",
                "Ann",
                "=?utf-8?q?",
            ),
            *("=2C?=", "\r\n", "\0", "\u2028", "\ud800", "ü", ".", "{{ a }}"),
        ]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a@b.test", [("", "a@b.test")]),
        ("<a@b.test>", [("", "a@b.test")]),
        ("Ann <a@b.test>", [("Ann", "a@b.test")]),
        ('"Doe, John" <j@b.test>', [("Doe, John", "j@b.test")]),
        ('"a \\"b\\" c" <j@b.test>', [('a "b" c', "j@b.test")]),
        ("a@b.test (Ann)", [("Ann", "a@b.test")]),
        ("Jane @ Acme <you@acme.test>", [("Jane @ Acme", "you@acme.test")]),
        ("Acme: News <you@acme.test>", [("Acme: News", "you@acme.test")]),
        ("Acme [News] <you@acme.test>", [("Acme [News]", "you@acme.test")]),
        ("A; B <you@acme.test>", [("A; B", "you@acme.test")]),
        ("Doe, John <j@b.test>", [("Doe, John", "j@b.test")]),
        ("Jane@acme.test <x@other.test>", [("Jane@acme.test", "x@other.test")]),
        ("A <b@c.test> <d@e.test>", [("A <b@c.test>", "d@e.test")]),
        ("a@b.test, c@d.test", [("", "a@b.test"), ("", "c@d.test")]),
        ("a@b.test,, c@d.test ,", [("", "a@b.test"), ("", "c@d.test")]),
        ("ceo@bank.test, x <x@acme.test>", [("", "ceo@bank.test"), ("x", "x@acme.test")]),
        ('"a>, b" <x@y.test>, c@d.test', [("a>, b", "x@y.test"), ("", "c@d.test")]),
        ("x" * 400 + " <a@b.test>, c@d.test", [("x" * 400, "a@b.test"), ("", "c@d.test")]),
        ("=?utf-8?q?ceo=40bank.test=2C?= N <x@acme.test>", [("ceo@bank.test, N", "x@acme.test")]),
        ("Ann\r\n <a@b.test>", [("Ann", "a@b.test")]),
        ("Jane <you@acme.test> (work)", [("Jane", "you@acme.test")]),
        ("Jane <you@acme.test> (a (b)) (c > <d@e.test>)", [("Jane", "you@acme.test")]),
        ("Jane <you@acme.test>(x \\) y)", [("Jane", "you@acme.test")]),
        ("you@acme.test (a (b))", [("", "you@acme.test")]),
        ("Ann <a@b.test> (x, y), c@d.test", [("Ann", "a@b.test"), ("", "c@d.test")]),
        ("x" * 400 + " <a@b.test> (w), c@d.test", [("x" * 400, "a@b.test"), ("", "c@d.test")]),
    ],
)
def test_a_mailbox_is_read_and_several_are_not_one(text: str, read: list[tuple[str, str]]) -> None:
    if len(read) == 1:
        name, address = sole_mailbox(text)
        assert [(name, address.text)] == read
    else:
        with pytest.raises(MalformedAddress):
            sole_mailbox(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "a", "a@", "@b.test", "a@b.test x", "<a@b.test", "a@b.test>", "a@b.test; c@d.test"),
        *(
            "g: a@b.test;",
            "foo\r\nFrom: ceo@bank.test;",
            "<@r.test:a@b.test>",
            "a@b.test, c",
            "x" * 400 + ", a@b.test",
        ),
        *('5" disk <a@b.test>, c@d.test', "x <a@b.test> SIZE=1", "a@b.test\nX: y@acme.test", "(" * 400),
        *("Jane <a@b.test> (x", "Jane <a@b.test> x)", "Jane <a@b.test> (x\\)", "(x)", "(a@b.test) c"),
    ],
)
def test_what_is_no_list_of_mailboxes_is_none(text: str) -> None:
    with pytest.raises(MalformedAddress):
        sole_mailbox(text)


def test_one_is_one() -> None:
    assert sole_mailbox("Ann, B. <a@b.test>")[0] == "Ann, B."
    with pytest.raises(MalformedAddress):
        sole_mailbox("a@b.test, c@d.test")


def test_a_name_is_split_off_before_its_values_are_known() -> None:
    assert split_template("{{ n }} <{{ from }}>") == ("{{ n }}", "{{ from }}")
    assert split_template(" {{ from }} ") == ("", "{{ from }}")


@pytest.mark.parametrize(
    ("text", "name", "email"),
    [
        (
            "Jane <{{ if a < b }}x@acme.test{{ else }}y@acme.test{{ end }}>",
            "Jane",
            "{{ if a < b }}x@acme.test{{ else }}y@acme.test{{ end }}",
        ),
        ('{{ if a > "<" }}A{{ end }} <{{{from}}}> ({{x}})', '{{ if a > "<" }}A{{ end }}', "{{{from}}}"),
        ("{{from}} (Ann)", "Ann", "{{from}}"),
        ("{{ if a < b }}x@acme.test{{ end }}", "", "{{ if a < b }}x@acme.test{{ end }}"),
        ("{{ a <x@acme.test>", "{{ a", "x@acme.test"),
    ],
)
def test_what_stands_in_braces_is_no_structure(text: str, name: str, email: str) -> None:
    assert split_template(text) == (name, email)


@given(PIECES)
def test_what_is_written_is_read_by_everybody_as_it_was_meant(text: str) -> None:
    """Our own writing, by the grammar of RFC 5322 and in one line or properly folded ones."""
    try:
        named = sole_mailbox(text)
    except MalformedAddress:
        return
    value = mailbox(*named)
    assert not re.search(rb"[\r\n\0](?!\n )(?<!\r\n)", value)
    (field,) = fields_of(b"From: " + value + b"\r\n")
    assert own_mailbox([Field("from", field.value, field.raw)]) == named[1].text
    assert read_mailbox(value.decode())[1] == named[1]


@given(st.lists(PIECES, min_size=1, max_size=4).map(", ".join))
def test_a_mailbox_that_was_written_is_read_as_the_same(text: str) -> None:
    try:
        named = sole_mailbox(text)
    except MalformedAddress:
        return
    _, again = sole_mailbox(write_addresses([named]).decode())
    assert again == named[1]


@pytest.mark.alone
@pytest.mark.parametrize(
    "make",
    [
        lambda n: '"a <b@c.test>,' * n,
        lambda n: "<a@b.test>," * n,
        lambda n: "a," * n,
        lambda n: "," * n,
        lambda n: "(" * n,
        lambda n: "<" * n + ",",
        lambda n: '"' + '\\"' * n,
        lambda n: "a b " * n + ",",
        lambda n: "=?utf-8?q?" * n + " <a@b.test>",
        lambda n: "a@b.test (" + "x" * n,
        lambda n: "<a@b.test>" + "(x)" * n,
        lambda n: "<a@b.test>" + "(" * n + ")" * n,
        lambda n: "<a@b.test> (x)," * n,
    ],
    ids=[
        *("an open quote", "mailboxes", "words", "commas", "comments", "brackets", "escapes", "a name"),
        "encoded",
        *("comment", "comments behind", "comments in comments", "mailboxes with comments"),
    ],
)
def test_reading_takes_as_long_as_the_text_is(make: object) -> None:
    def read(text: str) -> None:
        with suppress(MalformedAddress):
            sole_mailbox(text)

    assert callable(make)
    assert_linear(lambda n: make(n), read, 20_000)
