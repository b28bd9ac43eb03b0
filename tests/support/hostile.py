"""Transmissions and messages whose every field may hold what does not belong there."""

import json
from typing import Any

from hypothesis import strategies as st

Values = dict[str, Any]
Draw = st.DrawFn

_BITS = (
    *("", " ", "\t", "\r\n", "\n", "\r", "\0", "\x0b", "\x1c", "\x85", "\u2028", "\u2029", "\ufeff"),
    *(",", ";", ":", "<", ">", "@", '"', "\\", "(", ")", "[", "]", ".", "%0d%0a", "--b", "="),
    *("Ann", "a", "x@acme.test", "ceo@bank.test", "acme.test", "bank.test", "g: ", "<ceo@bank.test>"),
    *("\r\nFrom: ceo@bank.test", "\nBcc: v@bank.test\n\n", "\r\n.\r\n", "\r\n\r\n<p>", "\r\n "),
    *("> SIZE=1 X=<", "\r\nRCPT TO:<v@bank.test>\r\n", "Content-Type: text/html", '"; name="b'),
    *("=?utf-8?q?", "?=", "=?utf-8?q?=0d=0aFrom:_ceo@bank.test?=", "=?utf-8?q?ceo=40bank.test=2C?="),
    *("=?utf-8?b?DQpGcm9tOiBjZW9AYmFuay50ZXN0?=", "=?utf-7?q?+AA0ACg-X:?=", "=?utf-16?b?DQo=?="),
    *("{{ v }}", "{{{ v }}}", "{{", "}}", "{{ if v }}", "{{ end }}", "{{ email }}", "{{ address.name }}"),
    *("\uff20", "\u3002", "\u202e", "\U0001f600", "é", "\u0130", "\xad", "\u200d", "\ud800"),
    *("w " * 60, "y" * 80, "z" * 990, "z" * 895, "é" * 300, "(" * 300, "<" * 300, "a@b.c, " * 40),
)
TEXT = st.lists(st.sampled_from(_BITS), max_size=5).map("".join) | st.text(max_size=12)
_HOLE = "%"
"""Where a form takes a hostile text, or the expression that stands for one."""
_MAILBOX_FORMS = (
    *("%", "%@acme.test", "x@%", "x%@acme.test", "<%>", "% <x@acme.test>", '"%" <x@acme.test>'),
    *("Ann <%@acme.test>", "Ann <x@acme.test> %", "(%) x@acme.test", "x@acme.test (%)", "x@acme.test, %"),
    *("=?utf-8?q?%?= <x@acme.test>", '"%"@acme.test', "g: x@acme.test; %", "Ann <x@acme.test%>"),
)
_TEXT_FORMS = ("%", "a % b", "%\r\n")
_ADDRESSES = (
    *("b@b.example", "B@B.Example", '"b c"@b.example', '"> SIZE=1 X=<a"@b.example', '"b\\"@,"@b.example'),
    *("bé@b.example", "b@bé.example", "b@b。example", "b+%0d%0a@b.example", '"b\x85c"@b.example'),
    *("b" * 64 + "@b.example", "b@[192.0.2.1]", "b{{v}}@b.example", "b\u2028@b.example", "b@b.example\r\n"),
)
_EXPRESSIONS = ("{{ v }}", "{{{ v }}}", "{{ w.v }}", "{{each l}}{{ loop_var }}{{end}}")
_BENIGN = st.sampled_from(("x", "x@acme.test", "Ann"))
_NAMES = (
    *("X-A", "Cc", "Sender", "Date", "date", "Message-ID", "Message-Id", "MIME-Version", "Received", "DKIM"),
    *("Resent-From", "Resent-To", "Bcc", "bcc", "List-Unsubscribe", "References", "X" * 100, "Return-Path"),
    *("From", "TO", "Content-Type", "X A", "X:", "X\r\nFrom", "é", ""),
)
_TYPES = (
    *("text/plain", 'text/plain; name="b"; charset="\\"', "message/rfc822", "multipart/mixed; boundary=b"),
    *("text/plain\r\nX: y", "a/b; x=" + "y" * 200, "a/b" + '; x="' * 3, "a/b" + "; x=y" * 400),
)
_PLACES = (
    *("from", "from.name", "from.email", "reply_to", "subject", "headers", "text", "html", "amp_html"),
    *("attachments", "inline_images", "recipients", "header_to", "name", "return_path", "tags", "metadata"),
    *("campaign_id", "description", "options", "data"),
)


def _form(draw: Draw, forms: tuple[str, ...]) -> str:
    """One of the forms, with a hostile text in it, or the expression that will give one."""
    inner = draw(TEXT | st.sampled_from(_EXPRESSIONS))
    return draw(st.sampled_from(forms)).replace(_HOLE, inner)


def _data(draw: Draw) -> Values:
    value = draw(_BENIGN | TEXT | st.sampled_from((None, True, 1e300, [], {}, ["a", "\r\n"], {"v": "\n"})))
    more = draw(TEXT)
    return {"v": value, "w": {"v": more}, "l": [more, value], "address": {"name": more}}


@st.composite
def transmissions(draw: Draw) -> Values:
    """The body of a POST in which a few places are hostile, and the rest is right."""
    places = draw(st.sets(st.sampled_from(_PLACES), min_size=1, max_size=4))
    if draw(st.integers(0, 3)) == 0:
        # What of several recipients some may have.
        places.add(draw(st.sampled_from(("from", "from.email"))))
    content: Values = {"from": "x@acme.test", "subject": "s", "text": "t"}
    if draw(st.integers(0, 3)) == 0:
        content = {"email_rfc822": draw(messages())}
    else:
        _alter_content(draw, content, places)
    recipients = [_recipient(draw, number, places) for number in range(draw(st.integers(1, 3)))]
    body: Values = {"content": content, "recipients": recipients}
    if "data" in places or draw(st.booleans()):
        body["substitution_data"] = _data(draw)
    if "metadata" in places:
        body["metadata"] = _data(draw)
    for name, most in (("campaign_id", 64), ("description", 200)):
        if name in places:
            body[name] = draw(TEXT)[:most]
    if "return_path" in places and draw(st.booleans()):
        body["return_path"] = _form(draw, _MAILBOX_FORMS)
    if "options" in places:
        body["options"] = draw(
            st.fixed_dictionaries(
                {}, optional={name: st.booleans() for name in ("inline_css", "perform_substitutions")}
            )
        )
    return body


def _alter_content(draw: Draw, content: Values, places: set[str]) -> None:
    if "from" in places:
        content["from"] = _form(draw, _MAILBOX_FORMS)
    if places & {"from.name", "from.email"}:
        name = _form(draw, _TEXT_FORMS) if "from.name" in places else "Ann"
        email = _form(draw, _MAILBOX_FORMS) if "from.email" in places else "x@acme.test"
        content["from"] = {"name": name, "email": email}
    if "reply_to" in places:
        content["reply_to"] = _form(draw, _MAILBOX_FORMS)
    for name in {"subject", "text", "html", "amp_html"} & places:
        content[name] = _form(draw, _TEXT_FORMS)
    if "headers" in places:
        names = draw(st.lists(st.sampled_from(_NAMES[:18]), min_size=1, max_size=4))
        names += draw(st.lists(st.sampled_from(_NAMES), max_size=1))
        content["headers"] = {
            name: _form(draw, draw(st.sampled_from((_TEXT_FORMS, _MAILBOX_FORMS)))) for name in names
        }
    for name in {"attachments", "inline_images"} & places:
        content[name] = [_file(draw) for _ in range(draw(st.integers(1, 2)))]


def _file(draw: Draw) -> Values:
    return {
        "name": draw(TEXT | st.sampled_from(("a.png", 'a"b.png', "../../a"))) or "a",
        "type": draw(st.sampled_from(_TYPES) | TEXT.map(lambda text: f"a/b; x={text}")),
        "data": "eA0KLg0K",
    }


def _recipient(draw: Draw, number: int, places: set[str]) -> Values:
    address: Values = {"email": f"r{number}@b.example"}
    if "recipients" in places:
        address["email"] = draw(st.sampled_from(_ADDRESSES))
    if "name" in places:
        address["name"] = draw(TEXT)
    if "header_to" in places:
        address["header_to"] = _form(draw, _MAILBOX_FORMS)
    recipient: Values = {"address": address, "substitution_data": _data(draw)}
    if "return_path" in places:
        recipient["return_path"] = _form(draw, _MAILBOX_FORMS)
    if "tags" in places:
        recipient["tags"] = draw(st.lists(TEXT.map(lambda text: text[:60]), max_size=3))
    if "metadata" in places:
        recipient["metadata"] = _data(draw)
    return recipient


@st.composite
def messages(draw: Draw) -> str:
    """A whole message as a client hands it in."""
    names = draw(
        st.lists(
            st.sampled_from(
                (
                    *("To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "Sender", "Bcc", "X-A"),
                    *("Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Resent-From", "Subject "),
                )
            ),
            max_size=4,
        )
    )
    fields = [(name, _form(draw, (*_MAILBOX_FORMS, *_TEXT_FORMS))) for name in names]
    sender = _form(draw, _MAILBOX_FORMS) if draw(st.booleans()) else "x@acme.test"
    fields.insert(draw(st.integers(0, len(fields))), ("From", sender))
    end = draw(st.sampled_from(("\r\n", "\r\n", "\n")))
    body = _form(draw, (*_TEXT_FORMS, f"--b{end}Content-Type: text/plain{end}{end}%{end}--b--{end}"))
    return "".join(f"{name}: {value}{end}" for name, value in fields) + end + body


@st.composite
def options(draw: Draw) -> str:
    """The value of X-MSYS-API with hostile copies; one line."""
    places = draw(st.sets(st.sampled_from(("cc", "bcc", "archive", "campaign_id", "tags", "metadata"))))
    given: Values = {}
    for name in {"cc", "bcc", "archive"} & places:
        given[name] = [
            draw(
                st.sampled_from(_ADDRESSES)
                | st.fixed_dictionaries({"email": st.sampled_from(_ADDRESSES), "name": TEXT})
            )
            for _ in range(draw(st.integers(1, 3)))
        ]
    if "campaign_id" in places:
        given["campaign_id"] = draw(TEXT)
    if "tags" in places:
        given["tags"] = [draw(TEXT)]
    if "metadata" in places:
        given["metadata"] = {"v": draw(TEXT)}
    return json.dumps(given)
