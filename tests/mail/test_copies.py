"""Cc and Bcc as the copies carry them (docs/rules.md#copies)."""

from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import getaddresses

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import parse_mailbox
from relay.domain.message import Copy
from relay.mail.copies import bcc_field, cc_field

BOB = parse_mailbox("bob@example.com")


def read_back(field: bytes) -> list[tuple[str, str]]:
    """The field as the standard library's parser understands it: (name, address) pairs."""
    value = message_from_bytes(field + b"\r\n").get_all("cc", [])
    return [(str(make_header(decode_header(name))), address) for name, address in getaddresses(value)]


def test_an_entry_without_a_name_is_the_bare_address() -> None:
    assert cc_field([Copy(BOB), Copy(parse_mailbox("a@b.test"))]) == b"Cc: bob@example.com,\r\n a@b.test\r\n"


def test_names_are_plain_quoted_or_encoded_as_they_need() -> None:
    names = ["Bob B", 'Bob "B" \\ Co., Ltd', "Bøb", "x" * 60]
    field = cc_field([Copy(BOB, name) for name in names])
    assert b'"Bob \\"B\\" \\\\ Co., Ltd"' in field
    assert read_back(field) == [(name, "bob@example.com") for name in names]


@given(st.text(max_size=120))
def test_no_name_can_break_out_of_its_field(name: str) -> None:
    field = cc_field([Copy(BOB, name)])
    assert field.endswith(b"<bob@example.com>\r\n" if name else b"bob@example.com\r\n")
    lines = field.removesuffix(b"\r\n").split(b"\r\n")
    assert all(line.startswith(b" ") for line in lines[1:])
    assert not set(b"\r\n\0") & set(b"".join(lines))
    assert max(map(len, lines)) < 200


def test_a_bcc_copy_names_only_its_own_address() -> None:
    assert bcc_field(parse_mailbox("bøb@example.com")) == "Bcc: bøb@example.com\r\n".encode()
