"""What composing a content takes, told without composing it."""

from collections.abc import Iterator, Sequence

from relay.domain.transmission import Content, InlineContent, Rfc822Content
from relay.mail.headers import split_message

_LIGHT_BYTES, _LIGHT_BRACES = 64 << 10, 200
_LIGHT_BEYOND, _LIGHT_ADDRESSES = 4 << 10, 50
"""Characters of header fields outside ASCII, and addresses in them: each domain is encoded for itself."""


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
    if isinstance(content, InlineContent) and sum(map(len, _texts_of(content))) > _LIGHT_BYTES:
        return False
    if estimated_bytes(content) > _LIGHT_BYTES:
        return False
    if isinstance(content, Rfc822Content):
        header, _ = split_message(content.message)
        return content.message.count(b"{{") <= _LIGHT_BRACES and _are_light(
            [header.decode("utf-8", "replace")]
        )
    fields = (
        content.from_name,
        content.from_email,
        content.subject,
        content.reply_to,
        *content.headers.values(),
    )
    texts = (*_texts_of(content), *fields)
    return sum(text.count("{{") for text in texts) <= _LIGHT_BRACES and _are_light(fields)


def _are_light(fields: Sequence[str]) -> bool:
    beyond = [text for text in fields if not text.isascii()]
    return (
        sum(map(len, fields)) <= _LIGHT_BYTES
        and sum(map(len, beyond)) <= _LIGHT_BEYOND
        and sum(text.count("@") for text in beyond) <= _LIGHT_ADDRESSES
    )


def _texts_of(content: InlineContent) -> Iterator[str]:
    for text in (content.text, content.html, content.amp_html):
        if text is not None:
            yield text
