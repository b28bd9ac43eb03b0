"""What a content would become for a recipient, and which part of it cannot."""

from dataclasses import replace

import pytest

from relay.domain.errors import Unsendable
from relay.domain.transmission import InlineContent, Rfc822Content
from relay.mail.budget import Budget, OverBudget
from relay.mail.preview import Unrendered, preview

DATA = {"name": "Nora", "many": [0] * 100}
CONTENT = InlineContent(
    "a@b.test",
    "Hi {{name}}",
    "Shop",
    "t {{name}}",
    "<b>{{name}}</b>",
    None,
    "r@b.test",
    {"X-One": "{{name}}"},
)


def test_parts_are_shown_by_their_names() -> None:
    shown = preview(CONTENT, DATA, Budget())
    assert shown.sender is not None
    assert (shown.sender[0], shown.sender[1].text) == ("Shop", "a@b.test")
    assert (shown.subject, shown.reply_to) == ("Hi Nora", "r@b.test")
    assert shown.texts == {"text": "t Nora", "html": "<b>Nora</b>"}
    assert shown.headers == {"X-One": "Nora"}
    assert preview(replace(CONTENT, text="t", html=None), DATA, Budget()).texts == {"text": "t"}
    assert preview(replace(CONTENT, headers={"X-MSYS-API": "{}"}), DATA, Budget()).headers == {}


@pytest.mark.parametrize(
    "fields", [b"", b"Date: Mon, 05 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@b.test>\r\n"]
)
def test_a_whole_message_is_shown_whole(fields: bytes) -> None:
    message = b"From: a@b.test\r\n" + fields + b"\r\n{{name}}"
    assert preview(Rfc822Content(message), DATA, Budget()).message.endswith("\r\n\r\nNora\r\n")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (replace(CONTENT, html="{{-name}}"), "html"),
        (replace(CONTENT, reply_to="{{-name}}"), "Header:Reply-To"),
        (Rfc822Content(b"From: a@b.test\r\n\r\n{{-name}}"), ""),
    ],
)
def test_what_cannot_be_rendered_names_its_part(content: InlineContent | Rfc822Content, part: str) -> None:
    with pytest.raises(Unrendered) as raised:
        preview(content, DATA, Budget())
    assert raised.value.part == part


@pytest.mark.parametrize(
    "content",
    [
        replace(CONTENT, html="{{each many}}{{name}}{{end}}"),
        Rfc822Content(b"From: a@b.test\r\n\r\n{{each many}}{{name}}{{end}}"),
    ],
)
def test_what_takes_too_much_is_not_rendered(content: InlineContent | Rfc822Content) -> None:
    with pytest.raises(OverBudget):
        preview(content, DATA, Budget(steps=100))


def test_what_could_not_leave_is_not_shown() -> None:
    with pytest.raises(Unsendable):
        preview(Rfc822Content(b"From: a@b.test\r\nTo: x@b.test\r\nTo: y@b.test\r\n\r\nt"), DATA, Budget())
