"""Rules of a whole message's HTML moved into its elements, and nothing else of it touched."""

import email
from email.policy import default

import pytest

from relay.domain.errors import BadOptions, MessageTooLarge
from relay.mail.inline_css import MAX_ELEMENTS
from relay.mail.restyle import restyle as restyled_within

STYLED = b"<html><head><style>p{color:red}</style></head><body><p>x</p></body></html>"
HTML = b"From: a@acme.test\r\nContent-Type: text/html; charset=utf-8\r\n"
MIXED = (
    b"From:  odd   spacing <a@acme.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/alternative; boundary=b\r\n"
    b"\r\npreamble\r\n--b\r\nContent-Type: text/plain\r\n\r\n<style>no</style>\r\n--b\r\n"
    b"X-Kept: 1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n"
    b"--b--\r\nepilogue\r\n"
)
IN_BASE64 = b"PHN0eWxlPnB7Y29sb3I6cmVkfTwvc3R5bGU+PHA+w7w8L3A+"


def restyled(message: bytes) -> bytes | None:
    return restyled_within(message, 1 << 20)


def refusal(message: bytes) -> str:
    with pytest.raises(BadOptions) as caught:
        restyled(message)
    return caught.value.detail


def test_a_message_that_is_html_is_written_anew() -> None:
    made = restyled(HTML + b"Subject: s\r\n\r\n" + STYLED + b"\r\n")
    assert made is not None
    assert made.startswith(
        b"From: a@acme.test\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/html;"
    )
    assert b'<p style="color: red;">' in made
    again = restyled(HTML + b"mime-version: 1.0\r\n\r\n" + STYLED + b"\r\n")
    assert again is not None
    assert again.lower().count(b"mime-version") == 1


def test_of_several_parts_that_with_rules_alone_is_touched() -> None:
    made = restyled(MIXED % IN_BASE64)
    assert made is not None
    assert made.startswith(MIXED.partition(b"Content-Type: text/html")[0])
    assert made.endswith(b"\r\n--b--\r\nepilogue\r\n")
    assert IN_BASE64 not in made
    part = email.message_from_bytes(made, policy=default).get_body(("html",))
    assert part is not None
    assert (part["X-Kept"], '<p style="color: red;">ü</p>' in part.get_content()) == ("1", True)


@pytest.mark.parametrize(
    "message",
    [
        HTML + b"\r\n<p>x</p>\r\n",
        b"From: a@acme.test\r\n\r\n" + STYLED + b"\r\n",
        HTML + b"Content-Disposition: attachment\r\n\r\n" + STYLED + b"\r\n",
        b"DKIM-Signature: v=1\r\n" + HTML + b"\r\n<p>x</p>\r\n",
        b"no field\r\n",
        b"",
    ],
    ids=["no rules", "no HTML", "a file", "signed, without rules", "no header section", "nothing"],
)
def test_where_there_is_nothing_to_do_it_stays_as_it_came(message: bytes) -> None:
    assert restyled(message) is None


@pytest.mark.parametrize(
    "message",
    [
        b"DKIM-Signature: v=1\r\n" + HTML + b"\r\n" + STYLED,
        b"ARC-Seal: i=1\r\n" + HTML + b"\r\n" + STYLED,
        b"Content-Type:\r\n multipart/signed; boundary=s\r\n\r\n--s\r\n"
        + HTML
        + b"\r\n"
        + STYLED
        + b"\r\n--s--\r\n",
    ],
    ids=["DKIM", "ARC", "a signed part"],
)
def test_no_signature_is_broken(message: bytes) -> None:
    assert refusal(message) == "options.inline_css would break the signature of a message that is signed"


def test_what_cannot_be_done_is_told() -> None:
    assert "cannot be read as a MIME tree: a multipart needs a boundary" in refusal(
        b"Content-Type: multipart/mixed\r\n\r\nx"
    )
    unknown = b"Content-Type: text/html; charset=utf-7\r\n\r\n+ADw-style"
    assert refusal(unknown).endswith("part text/html cannot be decoded as its fields say")
    many = HTML + b"\r\n" + STYLED + b"<p>" * MAX_ELEMENTS
    assert refusal(many).startswith("inline_css takes at most 3000 elements")


def test_what_is_signed_stays_beside_what_is_not() -> None:
    sealed = (
        b"--b\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nsigned\r\n--s--\r\n"
        b"\r\n--b\r\n\r\nContent-Type: multipart/signed\r\n"
    )
    html = b"\r\n--b\r\nContent-Type: text/html\r\n\r\n" + STYLED + b"\r\n--b--\r\n"
    made = restyled(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + sealed + html)
    assert made is not None
    assert sealed in made
    assert b'<p style=3D"color: red;">' in made or b'<p style="color: red;">' in made


@pytest.mark.parametrize("is_part", [False, True], ids=["alone", "a part"])
def test_fields_beyond_ascii_stay_as_they_came(is_part: bool) -> None:
    """What a next hop cannot take of them is converted as it leaves."""
    fields = 'Subject: Grüße\r\nContent-Disposition: inline; filename="Grüße.html"\r\n'.encode()
    message = fields + b"Content-Type: text/html\r\n\r\n<style>p { color: red }</style><p>x</p>\r\n"
    if is_part:
        message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + message + b"--b--\r\n"
    assert fields in (restyled(message) or b"")


def test_what_grows_beyond_the_limit_is_refused_part_by_part() -> None:
    message = MIXED % IN_BASE64
    made = restyled(message)
    assert made is not None
    assert restyled_within(message, len(made)) == made
    with pytest.raises(MessageTooLarge):
        restyled_within(message, len(made) - 1)
