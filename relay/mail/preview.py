"""What a recipient would get of a content, shown and not sent: made as messages are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from relay.domain.errors import RelayError
from relay.domain.transmission import Content, InlineContent
from relay.mail.budget import BadTemplate, Budget, OverBudget
from relay.mail.compose import Blueprint, compose
from relay.mail.gate import check_body, check_composed, read_section, split_at_empty_line
from relay.mail.headers import decode_header, fields_of
from relay.mail.mailboxes import Named
from relay.mail.pieces import Data
from relay.mail.template import TemplateKind, compile_template

_BOUNDARY = "=_relay_preview_"
_TEXTS = {"text": TemplateKind.TEXT, "html": TemplateKind.HTML, "amp_html": TemplateKind.AMP}
_ADDED_LATER = {"date": b"Date: now\r\n", "message-id": b"Message-ID: <preview@localhost>\r\n"}
"""Fields that a message gets when it is made, unless the content has them."""


@dataclass
class Unrendered(RelayError):
    """The content cannot be filled in with these values; part: by SparkPost's name, empty when unknown."""

    part: str
    error: BadTemplate


@dataclass(frozen=True, slots=True)
class Preview:
    """A content with values in it, in parts or as a whole as it came."""

    message: str = ""
    sender: Named | None = None
    subject: str = ""
    reply_to: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By their names in the content."""
    headers: Mapping[str, str] = field(default_factory=dict)


def preview(content: Content, data: Data, budget: Budget) -> Preview:
    """budget: of one message.

    Raises BadPart, BadMime, NoSender, Unsendable as a transmission does, Unrendered, OverBudget.
    """
    blueprint = compose(content, _BOUNDARY)
    texts = _rendered(content, data, Budget(budget.steps, budget.octets))
    try:
        filled = blueprint.fill(data, None, budget)
    except OverBudget:
        raise
    except BadTemplate as error:
        raise Unrendered("", error) from error
    message = filled.own_fields + ((blueprint.shared if filled.body is None else filled.body) or b"")
    header = _checked(blueprint, message)
    if not isinstance(content, InlineContent):
        return Preview(message.decode("utf-8", "replace"))
    shown = {one.name: decode_header(one.value) for one in fields_of(header)}
    return Preview(
        sender=blueprint.sender.of(data, Budget()),
        subject=filled.subject,
        reply_to=shown.get("reply-to", ""),
        texts=texts,
        headers={name: shown[name.lower()] for name in content.headers if name.lower() in shown},
    )


def _rendered(content: Content, data: Data, budget: Budget) -> dict[str, str]:
    """The bodies by their names, so that an error can name its part. Raises Unrendered, OverBudget."""
    texts = {}
    for part, text, kind in _parts(content):
        try:
            texts[part] = compile_template(text, kind).render(data, budget)
        except OverBudget:
            raise
        except BadTemplate as error:
            raise Unrendered(part, error) from error
    return {name: texts[name] for name in _TEXTS if name in texts}


def _parts(content: Content) -> Iterator[tuple[str, str, TemplateKind]]:
    if not isinstance(content, InlineContent):
        return
    yield "Header:From", f"{content.from_name}{content.from_email}", TemplateKind.HEADER
    yield "Header:Subject", content.subject, TemplateKind.HEADER
    yield "Header:Reply-To", content.reply_to, TemplateKind.HEADER
    for name, value in content.headers.items():
        yield f"Header:{name}", value, TemplateKind.HEADER
    for name, kind in _TEXTS.items():
        text = getattr(content, name)
        if text is not None:
            yield name, text, kind


def _checked(blueprint: Blueprint, message: bytes) -> bytes:
    """The header section of what may leave. Raises Unsendable, NoSender."""
    header, body = split_at_empty_line(message)
    added = [field for name, field in _ADDED_LATER.items() if name not in blueprint.names]
    check_composed(read_section(b"".join((*added, header))))
    check_body(body)
    return header
