"""Header fields in ASCII: each keeps what programs read in it, and says to people what it said."""

import email
from email import policy
from email.utils import parseaddr

import pytest

from relay.domain.transmission import InlineContent, Rfc822Content
from relay.mail.budget import MAX_STEPS, Budget
from relay.mail.compose import compose
from relay.mail.fields import in_ascii, section_in_ascii, value_of
from relay.mail.headers import decode_header, fields_of
from tests.mail.test_compose import message_of, parsed

JURGEN = b"=?utf-8?b?SsO8cmdlbg==?="


@pytest.mark.parametrize(
    "name",
    [
        *("Reply-To", "Cc", "Sender", "Resent-Sender", "Resent-Reply-To", "Disposition-Notification-To"),
        *("Return-Receipt-To", "Mail-Followup-To", "Mail-Reply-To", "Errors-To", "X-Confirm-Reading-To"),
    ],
)
def test_the_address_of_a_mailbox_is_never_in_an_encoded_word(name: str) -> None:
    """RFC 2047 §5 (3)."""
    assert value_of(name.lower(), "Jürgen <a@x.test>") == JURGEN + b" <a@x.test>"
    assert value_of(name.lower(), "Freunde: Jürgen <a@x.test>, b@x.test;") == (
        b"Freunde: " + JURGEN + b" <a@x.test>,\r\n b@x.test;"
    )
    assert value_of(name.lower(), '"Jürgen, B." <a@nümlaut.example> (ü)').endswith(
        b" <a@xn--nmlaut-3ya.example>"
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("reply-to", "Jürgen nobody a@x.test", JURGEN + b" nobody a@x.test"),
        ("reply-to", "=?utf-8?q?J=C3=BCrgen?= ü nobody", b"=?utf-8?b?SsO8cmdlbiDDvA==?= nobody"),
        ("list-unsubscribe", "<mailto:ü@acme.test>", b"<mailto:%C3%BC@acme.test>"),
        (
            "list-unsubscribe",
            "<https://acme.test/ü?a=b%20c>,<mailto:a@b.test>",
            b"<https://acme.test/%C3%BC?a=b%20c> , <mailto:a@b.test>",
        ),
        (
            "list-unsubscribe",
            "<https://a.test/ü>, (Jürgen)",
            b"<https://a.test/%C3%BC> , =?utf-8?b?KErDvHJnZW4p?=",
        ),
        ("references", "<ü@a.test> <b@c.test>", b"<%C3%BC@a.test> <b@c.test>"),
        ("message-id", "<x@nümlaut.example>", b"<x@xn--nmlaut-3ya.example>"),
        ("list-id", "Jürgen <l.acme.test>", JURGEN + b" <l.acme.test>"),
        ("list-id", "Jürgen<l.acme.test>", JURGEN + b" <l.acme.test>"),
        ("x-sender", "Jürgen <a@x.test>", JURGEN + b" <a@x.test>"),
        ("x-note", "von Jürgen an a", b"von " + JURGEN + b" an a"),
        ("x-note", "=?utf-8?q?a?= ü <ü", b"=?utf-8?b?PT91dGYtOD9xP2E/PSDDvCA8w7w=?="),
        ("x-note", "a <b> c", b"a <b> c"),
        ("subject", "an Jürgen", b"=?utf-8?b?YW4gSsO8cmdlbg==?="),
    ],
)
def test_no_more_is_encoded_than_must_be(name: str, text: str, value: bytes) -> None:
    assert value_of(name, text) == value


@pytest.mark.parametrize("joiner", ["\u00ad", "\u200b", "\u200d", "\u2060"])
def test_what_joins_two_words_is_kept_and_makes_no_other_address_of_them(joiner: str) -> None:
    text = f"a@pay{joiner}pal.test"
    value = value_of("reply-to", text)
    assert decode_header(value) == text
    assert parseaddr(value.decode())[1] != "a@paypal.test"
    assert decode_header(value_of("subject", f"x{joiner}y")) == f"x{joiner}y"


def test_a_long_uri_is_folded_and_not_encoded() -> None:
    """RFC 2369 §2: white space in the brackets is nothing."""
    uri = "https://acme.test/" + "a" * 2000
    value = value_of("list-unsubscribe", f"<{uri}>")
    assert max(map(len, value.split(b"\r\n"))) <= 898
    assert value.replace(b"\r\n ", b"").decode() == f"<{uri}>"


def test_a_local_part_is_all_that_stays_outside_ascii() -> None:
    assert value_of("to", "Jürgen <ü@nümlaut.example>") == JURGEN + " <ü@xn--nmlaut-3ya.example>".encode()


@pytest.mark.parametrize(
    ("field", "written"),
    [
        (
            'Content-Disposition: attachment; size=3;\r\n filename="Prüfung.pdf"',
            "Content-Disposition: attachment;\r\n size=3;\r\n filename*=utf-8''Pr%C3%BCfung.pdf",
        ),
        (
            "Content-Type: Text/Plain; name=ü; charset=utf-8",
            "Content-Type: text/plain;\r\n name*=utf-8''%C3%BC;\r\n charset=utf-8",
        ),
        ("Content-Disposition: attachment ü", "Content-Disposition: attachment ??"),
        ("Content-Description: Prüfung", "Content-Description: =?utf-8?b?UHLDvGZ1bmc=?="),
        ("Content-ID: <ü@a.test>", "Content-ID: <%C3%BC@a.test>"),
        ("Subject: =?utf-8?q?a?= b", "Subject: =?utf-8?q?a?= b"),
    ],
)
def test_a_field_is_written_as_what_it_is(field: str, written: str) -> None:
    (given,) = fields_of(f"{field}\r\n".encode())
    assert in_ascii(given) == f"{written}\r\n".encode()


def test_a_section_is_converted_as_a_whole_or_stays() -> None:
    section = "Received: by x.test\r\n\twith ESMTP\r\nTo: bob@nümlaut.example\r\nSubject: Grüße\r\n".encode()
    made = section_in_ascii(section)
    assert made.startswith(
        b"Received: by x.test\r\n\twith ESMTP\r\nTo: bob@xn--nmlaut-3ya.example\r\nSubject: =?"
    )
    assert [decode_header(field.value) for field in fields_of(made)][2] == "Grüße"
    latin = b"Subject: Gr\xfc\xdfe\r\n"
    assert section_in_ascii(latin) == latin
    assert section_in_ascii(made) == made
    no_field = "Grüße\r\nSubject: Grüße\r\n".encode()
    assert section_in_ascii(no_field) == no_field


@pytest.mark.parametrize("name", ["X-A", "Reply-To"])
def test_fields_that_take_long_are_counted(name: str) -> None:
    """A domain outside ASCII is encoded for itself."""
    content = InlineContent("a@b.test", "ü", text="t", headers={name: "{{x}}"})
    blueprint, budget = compose(content, "=_b"), Budget()
    blueprint.fill({"x": "Ü <a@b.ü>, " * 100}, None, budget)
    assert 30_000 < MAX_STEPS - budget.steps < 50_000


# ── in whole messages ────────────────────────────────────────────────────────────────────


def test_fields_of_a_content_are_written_as_what_they_are() -> None:
    headers = {
        "Disposition-Notification-To": "{{name}} <a@x.test>",
        "List-Unsubscribe": "<mailto:{{name}}@acme.test>",
        "References": "<ü@acme.test> <b@acme.test>",
    }
    content = InlineContent(
        "a@b.test", "s", text="t", reply_to="Freunde: {{name}} <a@x.test>, b@x.test;", headers=headers
    )
    raw = message_of(content, {"name": "Jürgen"})
    assert raw.isascii()
    assert b"Reply-To: Freunde: " + JURGEN + b" <a@x.test>,\r\n b@x.test;\r\n" in raw
    assert b"Disposition-Notification-To: " + JURGEN + b" <a@x.test>\r\n" in raw
    assert b"List-Unsubscribe: <mailto:J%C3%BCrgen@acme.test>\r\n" in raw
    assert b"References: <%C3%BC@acme.test> <b@acme.test>\r\n" in raw


@pytest.mark.parametrize("text", ["plain", "{{x}}"], ids=["left alone", "filled in"])
def test_what_describes_the_body_is_in_ascii_too(text: str) -> None:
    whole = (
        "From: a@b.test\r\nContent-Type: text/plain; charset=utf-8; name=ü.txt\r\n"
        'Content-Disposition: inline; filename="Prüfung.txt"\r\n'
        f"Content-Description: Prüfung\r\nTo: Gruppe Ü: ü <a@b.test>;\r\n\r\n{text}\r\n"
    )
    message = parsed(Rfc822Content(whole.encode()), {"x": "ü"}, None)
    assert (message.get_param("name"), message.get_filename()) == ("ü.txt", "Prüfung.txt")
    assert message["content-description"] == "Prüfung"
    assert message["to"].groups[0].display_name == "Gruppe Ü"


def test_fields_of_a_part_that_is_made_anew_are_in_ascii_too() -> None:
    whole = (
        "From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        'Content-Disposition: inline; filename="Prüfung.txt"\r\n\r\n{{x}}\r\n--b--\r\n'
    )
    raw = message_of(Rfc822Content(whole.encode()), {"x": "ü"})
    assert raw.isascii()
    (part,) = email.message_from_bytes(raw, policy=policy.default).iter_parts()
    assert part.get_filename() == "Prüfung.txt"
