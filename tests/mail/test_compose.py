"""Messages composed from a transmission's content: what a reader of mail gets to see."""

import email
from base64 import b64decode
from contextlib import suppress
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.address import parse_mailbox
from relay.domain.errors import MalformedOptions, NoSender
from relay.domain.transmission import Content, File, InlineContent, Rfc822Content
from relay.mail.budget import MAX_STEPS, BadTemplate, Budget, OverBudget
from relay.mail.compose import BadPart, compose
from relay.mail.headers import decode_header
from relay.mail.mime import MAX_DEPTH, BadMime
from relay.mail.sender import show_sender
from relay.mail.to import To
from relay.mail.weight import estimated_bytes, is_light
from relay.mail.words import encode_unstructured, parameter, phrase

BOB = To("", parse_mailbox("bob@b.example"))
PLAIN = InlineContent("from@acme.test", "Hello", text="Hello.\n")


def message_of(
    content: Content,
    data: dict[str, Any] | None = None,
    to: To | None = BOB,
    inlines_css: bool = False,
) -> bytes:
    """The whole message as its recipient gets it."""
    blueprint = compose(content, "=_b", inlines_css=inlines_css)
    filled = blueprint.fill(data or {}, to, Budget())
    body = blueprint.shared if filled.body is None else filled.body
    assert body is not None
    return filled.own_fields + body


def parsed(content: Content, data: dict[str, Any] | None = None, to: To | None = BOB) -> EmailMessage:
    raw = message_of(content, data, to)
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.isascii()
    message = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def types(message: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in message.walk()]


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert isinstance(part, EmailMessage)
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


# ── inline content ───────────────────────────────────────────────────────────────────────


def test_one_text_is_a_message_of_one_part() -> None:
    message = parsed(PLAIN)
    assert (message["from"], message["to"], message["subject"]) == (
        "from@acme.test",
        "bob@b.example",
        "Hello",
    )
    assert message["mime-version"] == "1.0"
    assert types(message) == ["text/plain"]
    assert message["content-transfer-encoding"] == "7bit"
    assert text_of(message, "plain") == "Hello.\n"


def test_html_text_and_amp_stand_beside_each_other_the_richest_last() -> None:
    message = parsed(InlineContent("a@b.test", "s", text="t", html="<p>h</p>", amp_html="<html amp4email>"))
    assert types(message) == ["multipart/alternative", "text/plain", "text/x-amp-html", "text/html"]


@pytest.mark.parametrize("is_raw", [False, True], ids=["in parts", "email_rfc822"])
def test_braces_in_templates_of_amp_are_left_to_the_reader(is_raw: bool) -> None:
    amp = "<p>{{x}}<template type=amp-mustache>{{#x}}{{x}}{{/x}}</template>"
    content: Content = InlineContent("a@b.test", "s", text="t", amp_html=amp)
    if is_raw:
        content = Rfc822Content(f"From: a@b.test\r\nContent-Type: text/x-amp-html\r\n\r\n{amp}".encode())
    filled = compose(content, "=_b").fill({"x": "1"}, None, Budget())
    assert b"<p>1<template type=amp-mustache>{{#x}}{{x}}{{/x}}</template>" in (filled.body or b"")


def test_images_are_related_to_the_html_and_files_are_mixed_with_all() -> None:
    content = InlineContent(
        "a@b.test",
        "s",
        text="t",
        html='<img src="cid:logo">',
        attachments=(File("Prüfung/1.pdf", "application/pdf", b"\x00" * 100),),
        inline_images=(File("logo", "image/png", b"png"),),
    )
    message = parsed(content)
    assert types(message) == [
        "multipart/mixed",
        "multipart/related",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    image, file = (part for part in message.walk() if part.get_filename())
    assert (image["content-id"], image.get_content_disposition()) == ("<logo>", "inline")
    assert image.get_payload(decode=True) == b"png"
    assert (file.get_filename(), file.get_content_disposition()) == ("Prüfung_1.pdf", "attachment")
    assert file.get_payload(decode=True) == b"\x00" * 100
    assert estimated_bytes(content) == 1 + 20 + 103 * 4 // 3


@pytest.mark.parametrize("text", ["süß", "x" * 2000, "nul\0", "short\n" + "y" * 999 + "\n"])
def test_what_cannot_travel_as_it_is_becomes_quoted_printable(text: str) -> None:
    message = parsed(InlineContent("a@b.test", "s", text=text))
    assert message["content-transfer-encoding"] == "quoted-printable"
    assert text_of(message, "plain").rstrip("\n") == text.rstrip("\n")


def test_many_short_lines_stay_as_they_are() -> None:
    assert parsed(InlineContent("a@b.test", "s", text="short\n" * 300))["content-transfer-encoding"] == "7bit"


def test_line_ends_of_all_kinds_become_crlf() -> None:
    assert message_of(InlineContent("a@b.test", "s", text="a\nb\rc\r\nd")).endswith(
        b"\r\n\r\na\r\nb\r\nc\r\nd\r\n"
    )


def test_fields_are_encoded_for_what_they_are() -> None:
    headers = {"CC": "Jöe <joe@c.example>, d@d.example", "X-Note": "grün", "Bcc": "secret@e.example"}
    message = parsed(
        InlineContent(
            "a@b.test",
            "Größe " * 30,
            from_name="Jürgen, Dr.",
            text="t",
            reply_to="Büro <office@b.test>",
            headers=headers,
        )
    )
    assert message["from"] == '"Jürgen, Dr." <a@b.test>'
    assert message["subject"] == ("Größe " * 30).strip()
    assert message["reply-to"] == "Büro <office@b.test>"
    assert message["cc"] == "Jöe <joe@c.example>, d@d.example"
    assert message["x-note"] == "grün"
    assert message["bcc"] is None


def test_a_field_of_mailboxes_that_are_none_is_text() -> None:
    assert parsed(InlineContent("a@b.test", "s", text="t", reply_to="nobody"))["reply-to"] == "nobody"


def test_no_text_can_add_a_field() -> None:
    content = InlineContent("a@b.test", "{{x}}", from_name="{{x}}", text="t", headers={"X-A": "{{x}}"})
    message = parsed(content, {"x": "y\r\nBcc: evil@e.example\r\n\r\nbody"})
    assert message["bcc"] is None
    assert message["subject"] == message["x-a"] == "y Bcc: evil@e.example body"


# ── substitution ─────────────────────────────────────────────────────────────────────────


def test_a_body_without_substitutions_is_shared() -> None:
    blueprint = compose(InlineContent("a@b.test", "Dear {{name}}", text="t"), "=_b")
    assert blueprint.shared is not None
    assert b"Subject" not in blueprint.shared
    filled = blueprint.fill({"name": "Zoë"}, To("", parse_mailbox("z@z.example")), Budget())
    assert filled.body is None
    assert filled.own_fields.startswith(b"To: z@z.example\r\nSubject: =?utf-8?b?")
    assert filled.subject == "Dear Zoë"
    assert not blueprint.is_constant
    assert compose(PLAIN, "=_b").is_constant
    assert not compose(InlineContent("{{a}}@b.test", "s", text="t"), "=_b").is_constant


def test_every_part_is_filled_in_for_its_recipient() -> None:
    content = InlineContent(
        "{{box}}@acme.test",
        "s",
        from_name="{{who}}",
        text="{{x}}",
        html="{{x}}",
        attachments=(File("f", "a/b", b"{{x}}"),),
    )
    message = parsed(content, {"x": "<ü>", "box": "news", "who": "Acme"})
    assert message["from"] == "Acme <news@acme.test>"
    assert text_of(message, "plain") == "<ü>\n"
    assert text_of(message, "html") == "&lt;ü&gt;\n"
    (file,) = (part for part in message.walk() if part.get_filename())
    assert file.get_payload(decode=True) == b"{{x}}"


@pytest.mark.parametrize(
    ("file", "type_", "encoding", "content"),
    [
        (File("m.eml", "message/rfc822", b"From: a@b.test\n\nhi"), "message/rfc822", "7bit", "hi\r\n"),
        (
            File("m.eml", "Message/RFC822", b"From: a@b.test\r\n\r\nhi\r\n"),
            "message/rfc822",
            "7bit",
            "hi\r\n",
        ),
        (File("m", "message/rfc822", b"A: b\n\n\xc3\xbc"), "application/octet-stream", "base64", ""),
        (File("m", "message/rfc822", b"A: b\n\n" + b"x" * 999), "application/octet-stream", "base64", ""),
        (
            File("m", "multipart/mixed; boundary=b", b"--b\n\nx\0\n--b--"),
            "application/octet-stream",
            "base64",
            "",
        ),
    ],
)
def test_messages_and_multiparts_know_no_base64(file: File, type_: str, encoding: str, content: str) -> None:
    """RFC 2045 §6.4: as they are, or as octets of no known kind."""
    message = parsed(InlineContent("a@b.test", "s", text="t", attachments=(file,)))
    part = list(message.walk())[2]
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == (type_, encoding)
    assert part.get_filename() == file.name
    if encoding == "7bit":
        (inner,) = part.iter_parts()
        assert inner.get_content().split() == content.split()
    else:
        assert part.get_payload(decode=True) == file.data


def test_a_file_needs_no_name() -> None:
    file = File("", "text/plain", b"hi")
    message = parsed(InlineContent("a@b.test", "s", text="t", attachments=(file,)))
    part = list(message.walk())[2]
    assert (part.get_filename(), part.get_param("name")) == (None, None)
    assert (part.get_content_disposition(), part.get_payload(decode=True)) == ("attachment", b"hi")


@pytest.mark.parametrize("name", ["invite.ics", "Einladung für Ü.ics"])
def test_the_name_that_a_type_has_is_not_said_again(name: str) -> None:
    for type_ in ('text/calendar; method=REQUEST; name="own.ics"', "text/calendar;NAME=own.ics"):
        file = File(name, type_, b"BEGIN:VCALENDAR")
        content = InlineContent("a@b.test", "s", text="t", attachments=(file,), inline_images=(file,))
        (image, attached) = list(parsed(content).walk())[-2:]
        for part in (image, attached):
            assert part["content-type"].lower().count("name=") == 1
            assert (part.get_param("name"), part.get_filename()) == ("own.ics", name)


def test_a_type_with_more_parameters_than_anybody_needs_is_taken() -> None:
    file = File("n", "a/b" + ";a=b" * 124, b"x")
    assert b';a=b;\r\n name="n"\r\n' in message_of(
        InlineContent("a@b.test", "s", text="t", attachments=(file,))
    )


def test_without_substitution_braces_stay() -> None:
    blueprint = compose(InlineContent("a@b.test", "{{x}}", text="{{ broken"), "=_b", substitutes=False)
    assert blueprint.shared is not None
    assert b"{{ broken" in blueprint.shared
    assert blueprint.fill({"x": "a"}, None, Budget()).own_fields == b"Subject: a\r\n"
    raw = Rfc822Content(b"From: {{x}}@b.test\r\nSubject: {{x}}\r\n\r\n{{x\r\n")
    blueprint = compose(raw, "=_b", substitutes=False)
    filled = blueprint.fill({"x": "a"}, None, Budget())
    assert filled.own_fields == b"From: a@b.test\r\nSubject: a\r\n", "fields are filled in all the same"
    assert blueprint.shared == b"\r\n{{x\r\n"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (InlineContent("a@b.test", "{{", text="t"), "Header:Subject"),
        (InlineContent("{{@b.test", "s", text="t"), "Header:From"),
        (InlineContent("a@b.test", "s", text="t", headers={"X-A": "{{"}), "Header:X-A"),
        (InlineContent("a@b.test", "s", text="{{"), "text"),
        (InlineContent("a@b.test", "s", html="{{"), "html"),
        (Rfc822Content(b"From: a@b.test\r\n\r\n{{\r\n"), "text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_template_that_cannot_be_compiled_names_its_part(content: Content, part: str) -> None:
    with pytest.raises(BadPart) as caught:
        compose(content, "=_b")
    assert caught.value.part == part
    assert caught.value.error.line == 1


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (
            InlineContent("{{@b.test", "{{", text="{{", html="{{if x}}", headers={"X-A": "{{", "X-B": "b"}),
            ["Header:From", "Header:Subject", "Header:X-A", "text", "html"],
        ),
        (Rfc822Content(b"From: a@b.test\r\nSubject: {{\r\n\r\n{{\r\n"), ["Header:Subject", "text"]),
    ],
    ids=["parts", "a message"],
)
def test_all_parts_that_cannot_be_compiled_are_told_at_once(content: Content, parts: list[str]) -> None:
    with pytest.raises(BadPart) as caught:
        compose(content, "=_b")
    assert [bad.part for bad in caught.value.all] == parts


# ── To ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "header_to", "shown"),
    [
        ("", "", b"bob@b.example"),
        ("Bob", "", b"Bob <bob@b.example>"),
        ("Bob", "team@b.example", b"Bob <team@b.example>"),
        ("", "team@b.example", b"team@b.example"),
        ("Bob", "Team <team@b.example>", b"Team <team@b.example>"),
        ("", "a@b.example, Zoe <z@b.example>", b"a@b.example,\r\n Zoe <z@b.example>"),
        ("Bob", " \0", b"Bob <bob@b.example>"),
        ("Bob", "nobody", b"nobody:;"),
        ("", "Friends of Acme", b"Friends of Acme:;"),
        ("", "Doe, John", b'"Doe, John":;'),
        ("", "bob@example.com;", b"bob@example.com"),
        ("", "Undisclosed recipients", b"Undisclosed recipients:;"),
        ("", "undisclosed-recipients:", b"undisclosed-recipients:;"),
        ("", "undisclosed-recipients:;", b"undisclosed-recipients:;"),
        ("", "Empfänger:;", b"=?utf-8?b?RW1wZsOkbmdlcg==?= :;"),
        ("", "Freunde: a@x.test;", b"Freunde: a@x.test;"),
        ("", '"Doe, John" <bob@x.test> (x)', b'"Doe, John" <bob@x.test>'),
        ("", "Doe, John <j@b.example>", b'"Doe, John" <j@b.example>'),
        ("", "Ann <a@x.test>, somebody else", b"Ann <a@x.test>,\r\n somebody else:;"),
        ("", ":;", b"undisclosed-recipients:;"),
        ("", "foo\r\nFrom: ceo@bank.test;", b"foo From: ceo@bank.test;"),
        ("", "foo\r\n\r\nbody", b"foo body:;"),
    ],
)
def test_header_to_stands_for_the_recipient(name: str, header_to: str, shown: bytes) -> None:
    field = To(name, parse_mailbox("bob@b.example"), header_to).field(Budget())
    assert field == b"To: " + shown + b"\r\n"


@pytest.mark.parametrize("content", [PLAIN, InlineContent("a@b.test", "{{x}}", text="t")])
def test_what_it_takes_to_read_header_to_is_counted(content: InlineContent) -> None:
    blueprint = compose(content, "=_b")
    for header_to, least in (("a@b," * 2490, 90_000), ("a@é," * 1990, 300_000), ("x" * 10_000, 10_000)):
        budget = Budget()
        blueprint.fill({}, BOB._replace(header_to=header_to), budget)
        assert least < MAX_STEPS - budget.steps < MAX_STEPS // 2
        with pytest.raises(OverBudget):
            blueprint.fill({}, BOB._replace(header_to=header_to), Budget(steps=least))
    with pytest.raises(OverBudget):
        blueprint.fill({}, BOB._replace(name="x" * 10_000), Budget(steps=9_000))


def test_what_it_takes_to_read_a_from_that_is_filled_in_is_counted() -> None:
    blueprint = compose(InlineContent("{{x}}", "s", text="t"), "=_b")
    with pytest.raises(OverBudget):
        blueprint.fill({"x": "a@b.test, " * 1000}, BOB, Budget(steps=20_000))


# ── whole messages ───────────────────────────────────────────────────────────────────────

MULTIPART = (
    b"From: Acme <a@acme.test>\r\nTo: list@acme.test\r\nSubject: =?utf-8?q?F=C3=BCr_{{name}}?=\r\n"
    b"X-MSYS-API: {}\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="out"\r\n\r\npreamble\r\n--out\r\n'
    b'Content-Type: multipart/alternative; boundary="in"\r\n\r\n--in\r\n'
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"X-Part: 1\r\n\r\nf=FCr {{name}}\r\n--in\r\n"
    b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+e3tuYW1lfX08L2I+\r\n--in--\r\n"
    b"--out \r\nContent-Type: text/plain\r\n"
    b"Content-Disposition: attachment; filename=a.txt\r\n\r\n{{name}}\r\n"
    b"--out\r\nContent-Type: text/plain\r\n\r\nstays\r\n--out--\r\nepilogue {{x}}\r\n"
)


def test_a_clients_message_is_filled_in_and_otherwise_left_alone() -> None:
    message = parsed(Rfc822Content(MULTIPART), {"name": "<Zoë>"}, None)
    assert message["subject"] == "Für <Zoë>"
    assert message["to"] == "list@acme.test"
    assert message["x-msys-api"] is None
    texts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    assert [part.get_payload(decode=True) for part in texts] == [
        "für <Zoë>\r\n".encode(),
        "<b>&lt;Zoë&gt;</b>\r\n".encode(),
        b"{{name}}",
        b"stays",
    ]
    assert texts[0]["x-part"] == "1"
    assert message.preamble == "preamble"
    assert (message.epilogue or "").strip() == "epilogue {{x}}"


def test_a_clients_message_without_substitutions_is_shared_octet_for_octet() -> None:
    raw = MULTIPART.replace(b"{{", b"(").replace(b"e3tuYW1lfX08L2I+", b"PC9iPg==").replace(b"PGI+", b"")
    blueprint = compose(Rfc822Content(raw), "=_b")
    assert blueprint.shared is not None
    assert blueprint.shared.endswith(raw[raw.index(b"\r\n\r\npreamble") :])
    assert blueprint.sender.fixed is not None
    assert show_sender(*blueprint.sender.fixed) == "Acme <a@acme.test>"
    assert blueprint.estimated_bytes == len(raw)


def test_header_to_replaces_what_the_client_wrote() -> None:
    message = parsed(Rfc822Content(MULTIPART), {}, To("", parse_mailbox("other@b.example")))
    assert message.get_all("to") == ["other@b.example"]


def test_a_single_text_is_filled_in() -> None:
    fields = b"From: a@acme.test\r\nContent-Type: text/html; charset=us-ascii\r\nContent-Language: de\r\n"
    raw = fields + b"\r\n<p>{{x}}"
    message = parsed(Rfc822Content(raw), {"x": "ü"})
    assert (message.get_content_type(), message["content-language"]) == ("text/html", "de")
    assert message["mime-version"] == "1.0"
    assert text_of(message, "html") == "<p>ü\n"


@pytest.mark.parametrize("inlines_css", [False, True])
@pytest.mark.parametrize("fields", ["", "Content-Type: text/html; charset=utf-8\n"])
@pytest.mark.parametrize("text", ["Hi {{n}} ü", "Hi {{n}}", "<style>p { color: red }</style><p>{{n}}ü</p>"])
def test_a_text_that_was_made_anew_says_that_it_is_mime(inlines_css: bool, fields: str, text: str) -> None:
    """RFC 2045 §4: without it nobody need decode the text."""
    for version in ("", "Mime-Version: 1.0\n"):
        whole = f"From: you@acme.test\n{version}{fields}Subject: s\n\n{text}\n".replace("\n", "\r\n")
        raw = message_of(Rfc822Content(whole.encode()), {"n": "N"}, inlines_css=inlines_css)
        assert raw.lower().count(b"\r\nmime-version: 1.0\r\n") == 1
        message = email.message_from_bytes(raw, policy=policy.default)
        assert "N" in message.get_content()
        assert ("ü" in message.get_content()) == ("ü" in text)


def test_a_text_that_is_left_as_it_came_gets_no_field() -> None:
    raw = message_of(Rfc822Content("From: a@b.test\r\n\r\nü\r\n".encode()))
    assert b"mime" not in raw.lower()


@pytest.mark.parametrize("is_part", [False, True], ids=["alone", "a part"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            'text/calendar; method=REQUEST;\r\n charset="iso-8859-1"; name="a;b.ics"',
            'method=REQUEST; name="a;b.ics"',
        ),
        ("TEXT/plain; format=flowed; Charset=us-ascii; DelSp=yes", "format=flowed; DelSp=yes"),
        ("text/calendar; charset*0=utf-; charset*1=8; name*=utf-8''%C3%BC.ics", "name*=utf-8''%C3%BC.ics"),
        ('text/calendar; name="\\"ü.ics"; method=REQUEST', "name*=utf-8''%22%C3%BC.ics; method=REQUEST"),
        ("text/calendar; name=ü.ics ", "name*=utf-8''%C3%BC.ics"),
        (
            'text/calendar; name*0="ü"; name*1="ü."; name*2=ics',
            "name*0*=utf-8''%C3%BC; name*1*=%C3%BC.; name*2=ics",
        ),
        ("text/calendar; name*=utf-8''%C3%BCü.ics", "name*=utf-8''%C3%BC%C3%BC.ics"),
        ("text/calendar; ü=x; method", "method"),
    ],
)
def test_a_text_that_is_made_anew_keeps_the_parameters_of_its_type(
    given: str, kept: str, is_part: bool
) -> None:
    """They say what it is for, and how its lines are to be read."""
    top = "From: a@b.test\r\nMIME-Version: 1.0\r\n"
    text = f"Content-Type: {given}\r\n\r\n{{{{x}}}}\r\n"
    if is_part:
        text = f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{text}--b--\r\n"
    raw = message_of(Rfc822Content((top + text).encode()), {"x": "ü"})
    assert raw.isascii()
    described = raw.partition(b"Content-Type: text/")[2].partition(b"\r\nContent-Transfer")[0]
    assert described.partition(b"; charset=utf-8")[2].replace(b"\r\n", b"").decode() == f"; {kept}"


def test_a_message_that_is_all_header_stays_one() -> None:
    assert compose(Rfc822Content(b"From: a@acme.test\r\n"), "=_b").shared == b"From: a@acme.test\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: text/plain; charset=nonsense\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
    ],
)
def test_a_text_that_cannot_be_read_stays_as_it_is_unless_values_go_into_it(fields: bytes) -> None:
    """Braces are never sent."""
    head, body = b"From: a@acme.test\r\n" + fields + b"\r\n", b"e3t4fX0\xff\r\n"
    body = body if b"base64" in fields else b"{{x}}\xff\r\n"
    with pytest.raises(BadMime, match="cannot be decoded"):
        compose(Rfc822Content(head + body), "=_b")
    for message, substitutes in ((head + body, False), (head + b"x\xff\r\n", True)):
        shared = compose(Rfc822Content(message), "=_b", substitutes).shared
        assert shared is not None
        assert shared.endswith(message[len(head) :])


def signed(part: bytes, kind: bytes = b"signed") -> bytes:
    signature = b"Content-Type: application/pgp-signature\r\n\r\nS\r\n"
    inner = b"--i\r\n" + part + b"\r\n--i\r\n" + signature + b"--i--\r\n"
    return (
        b"From: a@acme.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
        b"Content-Type: multipart/" + kind + b"; boundary=i\r\n\r\n" + inner + b"--o--\r\n"
    )


NESTED_TEXT = b"Content-Type: multipart/mixed; boundary=n\r\n\r\n--n\r\n\r\nHi {{x}}\r\n--n--\r\n"
ENCODED_TEXT = b"Content-Transfer-Encoding: base64\r\n\r\ne3t4fX0=\r\n"


@pytest.mark.parametrize(
    "part", [b"\r\nHi {{x}}", NESTED_TEXT, ENCODED_TEXT], ids=["text", "deeper", "encoded"]
)
def test_values_do_not_go_into_what_is_signed(part: bytes) -> None:
    """RFC 1847 §2.1: it is signed octet by octet."""
    message = signed(part)
    with pytest.raises(BadMime, match=r"set options\.perform_substitutions to false"):
        compose(Rfc822Content(message), "=_b")
    shared = compose(Rfc822Content(message), "=_b", substitutes=False).shared
    assert shared is not None
    assert message.endswith(shared.partition(b"\r\n\r\n--o\r\n")[2])
    assert compose(Rfc822Content(signed(part, b"mixed")), "=_b").shared is None


def test_values_go_beside_what_is_signed() -> None:
    part = b"\r\nsigned caf\xc3\xa9\r\n"
    message = signed(part).replace(b"--o--", b"--o\r\n\r\nHi {{x}}\r\n--o--")
    body = compose(Rfc822Content(message), "=_b").fill({"x": "Bob"}, None, Budget()).body
    assert body is not None
    assert b"--i\r\n" + part + b"\r\n--i\r\n" in body
    assert b"Hi Bob" in body


def test_rules_do_not_go_into_what_is_signed() -> None:
    part = b"Content-Type: text/html\r\n\r\n<style>p {color: red}</style><p>x</p>"
    with pytest.raises(BadMime, match=r"set options\.inline_css to false"):
        compose(Rfc822Content(signed(part)), "=_b", inlines_css=True)
    assert compose(Rfc822Content(signed(part)), "=_b").shared is not None


def test_a_part_of_a_digest_is_a_message_and_no_text() -> None:
    """RFC 2046 §5.1.5; one that says what it is, is that."""
    digest = (
        b"From: a@acme.test\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n"
        b"--b\r\n\r\nSubject: {{x}}\r\n\r\n{{x}}\r\n--b\r\nContent-Type: text/plain\r\n\r\n%b\r\n--b--\r\n"
    )
    shared = compose(Rfc822Content(digest % b"as it is"), "=_b").shared
    assert shared is not None
    assert shared.endswith((digest % b"as it is").partition(b"\r\n\r\n")[2])
    body = compose(Rfc822Content(digest % b"{{x}}"), "=_b").fill({"x": "Bob"}, None, Budget()).body
    assert body is not None
    assert b"--b\r\n\r\nSubject: {{x}}\r\n\r\n{{x}}\r\n--b\r\n" in body
    assert b"\r\n\r\nBob\r\n" in body


def test_a_text_that_may_hide_braces_is_sent_only_where_nothing_is_filled_in() -> None:
    message = b"From: a@acme.test\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\nend\r\n"
    with pytest.raises(BadMime, match="cannot be decoded"):
        compose(Rfc822Content(message), "=_b")
    shared = compose(Rfc822Content(message), "=_b", substitutes=False).shared
    assert shared is not None
    assert shared.endswith(b"x-uuencode\r\n\r\nbegin 644 x\r\nend\r\n")


def test_what_is_no_text_stays_as_it_is() -> None:
    raw = b"From: a@acme.test\r\nContent-Type: application/json\r\n\r\n{{x}}\xff\r\n"
    shared = compose(Rfc822Content(raw), "=_b").shared
    assert shared is not None
    assert shared.endswith(b"{{x}}\xff\r\n")


def test_fields_of_a_message_that_are_not_ascii_get_encoded_words() -> None:
    raw = "From: Jürgen <a@acme.test>\r\nSubject: Grüße\r\nCc: Zoë <z@b.test>\r\nX-A: ü\r\n\r\nä\r\n"
    shared = compose(Rfc822Content(raw.encode()), "=_b").shared
    assert shared is not None
    head, _, text = shared.partition(b"\r\n\r\n")
    assert head.isascii()
    message = email.message_from_bytes(shared, policy=email.policy.SMTP)
    assert (message["Subject"], message["Cc"], message["X-A"]) == ("Grüße", "Zoë <z@b.test>", "ü")
    assert message["From"] == "Jürgen <a@acme.test>"
    assert text == "ä\r\n".encode()


@pytest.mark.parametrize(
    "message",
    [
        b"testing an email here",
        b"\r\nFrom: a@acme.test\r\n\r\nx",
        rb"From: A <a@acme.test>\r\nTo: b@c.test\r\n\r\nHello",
        rb"From: a@acme.test\nSubject: s\n\nHello",
        rb"From: a@acme.test\nSubject: s\n\nHello" + b"\r\n",
    ],
)
def test_what_has_no_header_section_is_no_message(message: bytes) -> None:
    with pytest.raises(BadMime):
        compose(Rfc822Content(message), "=_b")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"Content-Type: multipart/mixed\r\n\r\nx\r\n", id="no boundary"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nx\r\n", id="no part"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nx --b\r\n--bc\r\n", id="near misses"),
        pytest.param(
            b"".join(
                b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
                for n in range(MAX_DEPTH + 2)
            ),
            id="too deep",
        ),
        pytest.param(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 1100, id="too many parts"
        ),
        pytest.param(
            b"Content-Type: multipart/mixed; boundary*=utf-8''%C3%BC\r\n\r\n--\xc3\xbc\r\n", id="boundary"
        ),
    ],
)
def test_what_is_no_mime_tree_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMime):
        compose(Rfc822Content(b"From: a@acme.test\r\n" + raw), "=_b")


def test_the_last_part_may_lack_its_end() -> None:
    raw = b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{{x}}\r\n--b"
    assert b"\r\n\r\nfilled\r\n" in message_of(Rfc822Content(raw), {"x": "filled"})
    raw = b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{{x}}"
    assert message_of(Rfc822Content(raw), {"x": "filled"}).endswith(b"\r\n\r\nfilled\r\n")


# ── words ────────────────────────────────────────────────────────────────────────────────


def test_long_text_is_folded() -> None:
    folded = encode_unstructured("word " * 100)
    assert all(len(line) <= 78 for line in folded.split(b"\r\n"))
    assert folded.replace(b"\r\n", b"") == (b"word " * 100).strip()
    assert encode_unstructured("") == b""
    assert encode_unstructured("x" * 1000).startswith(b"=?utf-8?b?")
    assert len("X" * 100 + ": ") + max(map(len, encode_unstructured("x" * 895).split(b"\r\n"))) <= 998


@given(st.text(st.sampled_from("aé€😀"), min_size=43, max_size=200))
def test_encoded_words_are_short_and_split_no_character(text: str) -> None:
    words = phrase(text).split(b"\r\n ")
    assert max(map(len, words)) <= 75
    assert (
        b"".join(b64decode(word[len(b"=?utf-8?b?") : -2], validate=True) for word in words) == text.encode()
    )
    for word in words:
        b64decode(word[len(b"=?utf-8?b?") : -2]).decode()


def test_parameters_are_quoted_or_percent_encoded() -> None:
    assert parameter("name", 'a"b\\c') == rb'name="a\"b\\c"'
    assert parameter("name", "ä b") == b"name*=utf-8''%C3%A4%20b"


def test_a_name_is_quoted_where_it_must_be() -> None:
    assert phrase('a "b"') == b'"a \\"b\\""'


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=?utf-8?q?Z=C3=B6e?=", "Zöe"),
        ("=?utf-8?q?=0d=0aFrom:_ceo@bank.test?=", "From: ceo@bank.test"),
        ("=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=", "=?utf-8?q?a?="),
        ("=?x-nobody?q?a?=", "=?x-nobody?q?a?="),
    ],
)
def test_encoded_words_in_a_name_are_read_and_written_anew(name: str, shown: str) -> None:
    written = phrase(name)
    assert b"=?utf-8?q?" not in written
    assert decode_header(written).strip('"') == shown


def test_mime_version_is_ours_where_the_content_is_in_parts() -> None:
    content = InlineContent("a@b.test", "s", text="x", headers={"Mime-Version": "2.0"})
    assert message_of(content).lower().count(b"mime-version: 1.0\r\n") == 1
    assert b"2.0" not in message_of(content)


@given(st.text(), st.text(max_size=200), st.text(max_size=50))
def test_any_text_arrives_as_it_was_written(text: str, subject: str, name: str) -> None:
    message = parsed(InlineContent("a@b.test", subject, from_name=name, text=text or "x"))
    raw = message.get_payload(decode=True)
    assert isinstance(raw, bytes)
    shown = (text or "x").replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    assert raw.replace(b"\r\n", b"\n").removesuffix(b"\n") == shown.removesuffix(b"\n")


@given(st.binary(max_size=300))
def test_any_octets_are_a_message_or_refused(octets: bytes) -> None:
    raw = b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + octets
    with suppress(BadMime, BadPart, BadTemplate, MalformedOptions):
        assert b"--b" in message_of(Rfc822Content(raw), {})


# ── rules of CSS in elements ─────────────────────────────────────────────────────────────

RULES = "<style>p { color: red }</style>"


def test_rules_go_into_the_elements_of_html_alone() -> None:
    """Not into AMP, which forbids it."""
    content = InlineContent(
        "a@acme.test", "s", text=f"{RULES}<p>", html=f"{RULES}<p>x", amp_html=f"{RULES}<p>"
    )
    message = message_of(content, inlines_css=True)
    assert message.count(b"<p>") == 2
    assert message.count(b'<p style="color: red;">x</p>') == 1
    assert b"color: red;" not in message_of(content)


def test_rules_are_inlined_once_values_are_in_their_places() -> None:
    content = InlineContent("a@acme.test", "s", html="<style>{{tag}} { color: red }</style><p>x</p>")
    assert b'<p style="color: red;">x</p>' in message_of(content, {"tag": "p"}, inlines_css=True)
    assert b"<p>x</p>" in message_of(content, {"tag": "b"}, inlines_css=True)


def test_rules_of_a_whole_message_are_inlined_where_its_html_has_some() -> None:
    plain = b"--b\r\nContent-Type: text/plain\r\n\r\n<style>p {}</style>\r\n"
    html = b"--b\r\nContent-Type: text/html\r\nX-Kept: 1\r\n\r\n%s<p>x</p>\r\n"
    header = b"From: a@acme.test\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    whole = header + plain + html % RULES.encode() + html % b"" + b"--b--\r\n"
    message = message_of(Rfc822Content(whole), inlines_css=True)
    assert message.count(b'<p style="color: red;">x</p>') == 1
    assert message.count(b"X-Kept: 1") == 2
    assert message.endswith(b"\r\n" + html % b"" + b"--b--\r\n")
    assert plain in message
    single = b"From: a@acme.test\r\nContent-Type: text/html\r\n\r\n" + RULES.encode() + b"<p>x</p>\r\n"
    assert b'<p style="color: red;">x</p>' in message_of(Rfc822Content(single), inlines_css=True)
    assert b"<p>x</p>" in message_of(Rfc822Content(single))


@pytest.mark.parametrize("value", ["p {", "{{mark}}"])
def test_html_that_cannot_be_inlined_is_told_of(value: str) -> None:
    content = InlineContent("a@acme.test", "s", html=f"{RULES}<p style='{value}'>x</p>")
    with pytest.raises((BadPart, BadTemplate), match="inline_css cannot read the rules"):
        message_of(content, {"mark": "p {"}, inlines_css=True)


@pytest.mark.parametrize(
    "sender", [b"", b"From: a@b.test\r\nFrom: a@b.test\r\n", b"From: a@b.test, c@d.test\r\n"]
)
def test_a_message_without_one_sender_is_none(sender: bytes) -> None:
    with pytest.raises(NoSender):
        compose(Rfc822Content(sender + b"Subject: s\r\n\r\nt\r\n"), "=_b")


def test_a_blueprint_is_handed_over_whole_when_it_is_the_same_for_everybody() -> None:
    same = compose(InlineContent("a@b.test", "s", text="t"), "=_b")
    assert same.portable() is same
    personal = compose(InlineContent("a@b.test", "{{s}}", text="{{t}}"), "=_b").portable()
    assert not personal.is_whole
    assert not personal.subject.is_constant
    assert personal.subject.source == "{{s}}"
    with pytest.raises(AssertionError, match="not here"):
        personal.subject.render({})


def test_what_is_light_is_short_and_has_few_braces() -> None:
    assert is_light(InlineContent("a@b.test", "s", text="t"))
    assert not is_light(InlineContent("a@b.test", "s", text="t" * 70_000))
    assert not is_light(InlineContent("a@b.test", "s", text="{{a}}" * 300))
    assert not is_light(
        InlineContent("a@b.test", "s", text="t", attachments=(File("f", "a/b", b"x" * 70_000),))
    )
    for value in ("x" * 70_000, "ü" * 5000, "a@b.ü," * 60):
        assert not is_light(InlineContent("a@b.test", "s", text="t", headers={"X-A": value}))
        assert not is_light(Rfc822Content(f"A: {value}\r\n\r\n".encode()))
    assert is_light(
        InlineContent("a@b.test", "s", text="ü@b.ü" * 1000, headers={"X-A": "ü", "X-B": "a@b.c," * 99})
    )
    assert not is_light(Rfc822Content(b"A: b\r\n\r\n" + b"{{a}}" * 300))
    assert is_light(Rfc822Content(b"A: b\r\n\r\n"))


MANY = "a@b, " * 10_000


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(InlineContent(MANY, "s", text="t"), id="From"),
        pytest.param(InlineContent("a@b.test", "s", text="t", reply_to=MANY), id="Reply-To"),
        pytest.param(InlineContent("a@b.test", "s", text="t", headers={"CC": MANY}), id="Cc"),
        pytest.param(
            InlineContent("a@b.test", "s", text="t", headers={f"X-{n}": "" for n in range(9000)}), id="fields"
        ),
        pytest.param(InlineContent("a@b.test", "=?utf-8?q?a?= " * 4000, text="t"), id="words"),
        pytest.param(Rfc822Content(f"From: {MANY}\r\n\r\n".encode()), id="From of a message"),
        pytest.param(Rfc822Content(f"Cc: {MANY} {{{{x}}}}\r\n\r\n".encode()), id="Cc of a message"),
        pytest.param(Rfc822Content(b"X: y\r\n" * 9000 + b"\r\n"), id="fields of a message"),
        pytest.param(
            Rfc822Content(b"Subject:" + b" =?utf-8?q?a?=" * 4000 + b"\r\n\r\n"), id="words of a message"
        ),
    ],
)
def test_what_is_light_has_few_addresses_fields_and_words(content: Content) -> None:
    assert not is_light(content)


def test_an_ordinary_message_is_light() -> None:
    listed = "Ann Smith <ann.smith@example.com>, " * 50
    assert is_light(InlineContent("a@b.test", "s" * 900, text="t" * 9000, headers={"Cc": listed}))
    message = f"From: a@b.test\r\nTo: {listed}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" + "X: y\r\n" * 99
    assert is_light(Rfc822Content(f"{message}\r\nHello {{{{name}}}}\r\n".encode()))


HIDDEN = "=?x-unknown?B?e3t4fX0=?="


@pytest.mark.parametrize("name", ["Subject", "From", "To", "X-A"])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(HIDDEN, id="an unknown charset"),
        pytest.param("=?x-unknown?Q?=7Bx?= =?x-unknown?Q?=7B=7Bx?=", id="among several"),
        pytest.param("=?utf-7?Q?+AHsAew-x+AH0AfQ-?=", id="UTF-7"),
        pytest.param("=?utf-8?B?e3t4fX0x?= =?utf-8?B?/w==?=", id="no UTF-8"),
        pytest.param("=?utf-8?B?e3t4fX0xx?=", id="damaged base64"),
    ],
)
def test_encoded_words_that_may_hide_braces_are_refused(name: str, words: str) -> None:
    fields = {"From": "a@acme.test"} | {name: f"{words} <a@acme.test>"}
    message = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    with pytest.raises(BadMime, match=f"encoded words of its field {name.lower()} cannot be decoded"):
        compose(Rfc822Content(message + b"\r\nx\r\n"), "=_b")


def test_other_words_that_cannot_be_decoded_stay_as_they_are() -> None:
    message = b"From: a@acme.test\r\nSubject: =?x-unknown?B?eHl6?= =?no word\r\n\r\nx\r\n"
    shared = compose(Rfc822Content(message), "=_b").shared
    assert shared is not None
    assert b"Subject: =?x-unknown?B?eHl6?= =?no word\r\n" in shared


def test_an_encoded_word_goes_on_behind_its_padding() -> None:
    message = b"From: a@acme.test\r\nSubject: =?utf-8?B?YQ==e3t4fX0=?=\r\n\r\nx\r\n"
    assert compose(Rfc822Content(message), "=_b").subject.render({"x": "b"}) == "ab"
