"""What composing a content takes, told without composing it."""

from collections.abc import Iterator, Sequence

from relay.domain.transmission import Content, InlineContent, Rfc822Content
from relay.mail.fields import steps_of
from relay.mail.headers import fields_of, split_message

_LIGHT_BYTES, _LIGHT_BRACES = 64 << 10, 200
_LIGHT_FIELDS, _LIGHT_WORDS, _LIGHT_BEYOND = 300, 200, 4 << 10
"""Header fields (or lines of them), encoded words, and characters of fields outside ASCII."""
_LIGHT_STEPS = 10_000
"""Of writing fields that list mailboxes anew: some hundred addresses."""


def estimated_bytes(content: Content) -> int:
    """About what a message will have, without its header section; values that are filled in are not known."""
    if isinstance(content, Rfc822Content):
        return len(content.message)
    texts = sum(
        len(text if text.isascii() else text.encode("utf-8", "replace")) for text in _texts_of(content)
    )
    files = sum(len(file.data) for file in (*content.attachments, *content.inline_images))
    return texts + files * 4 // 3


def is_light(content: Content) -> bool:
    """Whether composing it takes a few milliseconds at most, however it was meant."""
    if estimated_bytes(content) > _LIGHT_BYTES:
        return False
    if isinstance(content, Rfc822Content):
        header, _ = split_message(content.message)
        num_braces, num_lines = content.message.count(b"{{"), header.count(b"\n")
        return num_braces <= _LIGHT_BRACES and num_lines <= _LIGHT_FIELDS and _are_light(_to_be_read(header))
    if len(content.headers) > _LIGHT_FIELDS:
        return False
    fields = [
        ("from", content.from_name),
        ("from", content.from_email),
        ("subject", content.subject),
        ("reply-to", content.reply_to),
        *((name.lower(), text) for name, text in content.headers.items()),
    ]
    texts = [*_texts_of(content), *(text for _, text in fields)]
    is_short = sum(map(len, texts)) <= _LIGHT_BYTES
    return is_short and sum(text.count("{{") for text in texts) <= _LIGHT_BRACES and _are_light(fields)


def _are_light(fields: Sequence[tuple[str, str]]) -> bool:
    """Of lower-case names and what they say."""
    num_beyond = sum(len(text) for _, text in fields if not text.isascii())
    num_words = sum(text.count("=?") for _, text in fields)
    steps = sum(steps_of(name, text) for name, text in fields)
    return num_beyond <= _LIGHT_BEYOND and num_words <= _LIGHT_WORDS and steps <= _LIGHT_STEPS


def _to_be_read(header: bytes) -> list[tuple[str, str]]:
    """The fields that are not passed on as they came, with no more than their octets looked at."""
    return [
        (field.name, field.value.decode("utf-8", "replace"))
        for field in fields_of(header)
        if field.name == "from" or not field.value.isascii() or b"{{" in field.value or b"=?" in field.value
    ]


def _texts_of(content: InlineContent) -> Iterator[str]:
    for text in (content.text, content.html, content.amp_html):
        if text is not None:
            yield text
