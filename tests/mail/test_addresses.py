"""Lists of mailboxes and groups as people write them, and what is made of them for readers."""

import email
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.errors import MalformedAddress
from relay.mail.addresses import Address, Group, read_addresses, read_forgivingly, write_addresses
from tests.mail.test_mailboxes import PIECES


def told(address: Address) -> object:
    """Names and addresses alone."""
    if isinstance(address, Group):
        return address.name, [(name, mailbox.text) for name, mailbox in address.members]
    return address[0], address[1].text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Freunde: a@x.test;", [("Freunde", [("", "a@x.test")])]),
        ("Freunde: Jürgen <a@x.test>, b@x.test;", [("Freunde", [("Jürgen", "a@x.test"), ("", "b@x.test")])]),
        ("A:;, B: ;", [("A", []), ("B", [])]),
        (
            "x@y.test, G: a@b.test;, Ann <c@d.test>",
            [("", "x@y.test"), ("G", [("", "a@b.test")]), ("Ann", "c@d.test")],
        ),
        ("G: , a@b.test,,;", [("G", [("", "a@b.test")])]),
        ('"G: x": a@b.test; ; c@d.test', [("G: x", [("", "a@b.test")]), ("", "c@d.test")]),
        ("=?utf-8?q?J=C3=B6e?=: a@b.test;", [("Jöe", [("", "a@b.test")])]),
        ("x@[IPv6:::1], G: <y@[IPv6:::1]>;", [("", "x@[IPv6:::1]"), ("G", [("", "y@[IPv6:::1]")])]),
        ("undisclosed-recipients:", [("undisclosed-recipients", [])]),
        ("Freunde: a@x.test, b@x.test", [("Freunde", [("", "a@x.test"), ("", "b@x.test")])]),
        # Names of shops and people hold such signs too.
        ("Acme: News <a@b.test>", [("Acme: News", "a@b.test")]),
        ("Acme: News <a@b.test>, c@d.test", [("Acme: News", "a@b.test"), ("", "c@d.test")]),
        ("Acme: News <a@b.test>, G: c@d.test;", [("Acme: News", "a@b.test"), ("G", [("", "c@d.test")])]),
        ("Acme: News; X <a@b.test>", [("Acme: News; X", "a@b.test")]),
        ("A; B <a@b.test>", [("A; B", "a@b.test")]),
        ("A: B: C <a@b.test>", [("A: B: C", "a@b.test")]),
        ("a@b.test; Ann <c@d.test>;", [("", "a@b.test"), ("Ann", "c@d.test")]),
        ("Ann <a@b.test> (x; y), c@d.test", [("Ann", "a@b.test"), ("", "c@d.test")]),
        (r"a\, b <a@b.test>", [(r"a\, b", "a@b.test")]),
    ],
)
def test_mailboxes_and_groups_are_read(text: str, read: object) -> None:
    assert [told(address) for address in read_addresses(text)] == read


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nobody", b"nobody:;"),
        ("a@b.test, nobody;", b"a@b.test,\r\n nobody:;"),
        ("G: nobody;", b'"G: nobody":;'),
        ("G: a@b.test, x; c@d.test", b'"G: a@b.test":;,\r\n "x; c@d.test":;'),
        (":a@b.test x;", b'"a@b.test x":;'),
        (" , ;", b"undisclosed-recipients:;"),
        ("é" * 60, b" :;"),
    ],
)
def test_what_is_no_address_is_shown_as_a_group_of_nobody(text: str, shown: bytes) -> None:
    with pytest.raises(MalformedAddress):
        read_addresses(text)
    assert write_addresses(read_forgivingly(text)).endswith(shown)


@given(st.lists(PIECES, min_size=1, max_size=4).map(";".join))
def test_any_text_is_shown_in_a_field_that_is_read_as_it_was_meant(text: str) -> None:
    shown = read_forgivingly(text)
    value = write_addresses(shown)
    assert read_addresses(value.decode()) == read_addresses(
        write_addresses(read_addresses(value.decode())).decode()
    )
    members = [told(one) for one in read_addresses(value.decode())]
    assert [one[1] for one in members] == [one[1] for one in map(told, shown)]  # type: ignore[index]
    assert not {0, 10, 13} & set(value.replace(b"\r\n ", b""))


def test_other_readers_find_the_same_groups() -> None:
    value = write_addresses(read_addresses("Freunde: Jürgen <a@x.test>, b@x.test;, Empfänger:;, c@d.test"))
    message = email.message_from_bytes(b"To: " + value + b"\r\n\r\n", policy=policy.default)
    assert [
        (group.display_name, [one.addr_spec for one in group.addresses]) for group in message["to"].groups
    ] == [
        ("Freunde", ["a@x.test", "b@x.test"]),
        ("Empfänger", []),
        (None, ["c@d.test"]),
    ]
