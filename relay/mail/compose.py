"""A transmission's content made into messages: composed once, then filled in for each recipient.

What is the same for all recipients is one body that they share in the queue; the fields that
differ go before it. Only where the body itself has substitutions does each message get its own.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from relay.domain.address import Mailbox
from relay.domain.errors import NoSender, RelayError
from relay.domain.transmission import Content, InlineContent, Rfc822Content
from relay.mail.budget import BadTemplate, Budget
from relay.mail.entities import file_entity, multipart
from relay.mail.fields import in_ascii, section_in_ascii, text_of
from relay.mail.headers import (
    Field,
    decode_header,
    decode_words,
    fields_of,
    may_hide_braces,
    split_message,
    unfold,
)
from relay.mail.mailboxes import read_name, split_template
from relay.mail.mime import BadMime, Leaf, check_section, read_leaves
from relay.mail.pieces import Data, Piece, entity_of, field_of, join_pieces, merge_pieces, piece_of
from relay.mail.sender import Sender, from_field, show_sender, sole
from relay.mail.submitted import NOT_PASSED_ON
from relay.mail.template import Elsewhere, Template, TemplateKind, compile_template, literal
from relay.mail.to import To
from relay.mail.weight import estimated_bytes

RETURN_PATH = ("env_from", "return_path")
"""Its names among the values; empty: it is the sender."""
_DROPPED_INLINE = NOT_PASSED_ON | {"mime-version"}
"""Of content in parts, whose MIME is ours."""
_NOT_COPIED = NOT_PASSED_ON | {"from"}
_HTML, _AMP = "text/html", "text/x-amp-html"
_PARTS = {"text/plain": "text", _HTML: "html", _AMP: "amp_html"}
_KINDS = {"text/plain": TemplateKind.TEXT, _HTML: TemplateKind.HTML, _AMP: TemplateKind.AMP}


@dataclass
class BadPart(RelayError):
    """What is wrong with the content and in which part."""

    part: str
    """By SparkPost's name: `text`, `html`, `amp_html`, `Header:Subject`."""
    error: BadTemplate
    more: tuple["BadPart", ...] = ()
    """The other parts that cannot be compiled, each with nothing more."""

    @property
    def all(self) -> tuple["BadPart", ...]:
        return (self, *self.more)


@dataclass(frozen=True, slots=True)
class Filled:
    """What one recipient gets."""

    own_fields: bytes
    """Header fields to go before the body."""
    body: bytes | None
    """Other fields, empty line and body; None: `Blueprint.shared`."""
    subject: str
    sender: Mailbox
    friendly_from: str = ""
    """From, for people. Empty: it is the same for everybody."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A content, composed as far as it is the same for everybody."""

    shared: bytes | None
    """The common fields, the empty line and the body, when no recipient has a body of its own."""
    subject: Template
    sender: Sender
    estimated_bytes: int
    names: frozenset[str]
    """Lower-case, of all fields that the content has."""
    _to: tuple[Piece, ...]
    """As the client wrote it."""
    _own_fields: tuple[Piece, ...]
    _body: tuple[Piece, ...]
    is_whole: bool = True
    """False: it was composed in another process, and can be filled there alone."""
    is_constant: bool = dataclasses.field(init=False)
    """Whether no recipient's values matter."""

    def __post_init__(self) -> None:
        is_same = self.shared is not None and not self._own_fields and self.subject.is_constant
        is_same = is_same and self.sender.fixed is not None and self.is_whole
        is_same = is_same and all(isinstance(piece, bytes) for piece in self._to)
        object.__setattr__(self, "is_constant", is_same)

    def portable(self) -> "Blueprint":
        """What can be handed to another process: whole when it is the same for everybody."""
        if self.is_constant:
            return self
        subject, sender = self.subject.portable(), self.sender.portable()
        return replace(self, subject=subject, sender=sender, is_whole=False, _to=(), _own_fields=(), _body=())

    def fill(self, data: Data, to: To | None, budget: Budget) -> Filled:
        """The copy for the recipient with these values, made within the budget. Raises BadTemplate, NoSender.

        to: None keeps the field that the client wrote.
        """
        given = None if to is None else to.field(budget)
        if self.is_constant and self.sender.fixed is not None:
            header_to = join_pieces(self._to, data, budget) if given is None else given
            return Filled(header_to, None, self.subject.constant, self.sender.fixed[1])
        name, sender = self.sender.of(data, budget)
        own, told = (b"", "") if self.sender.fixed else (from_field(name, sender), show_sender(name, sender))
        data = _with_return_path(data, sender)
        own += join_pieces(self._to, data, budget) if given is None else given
        own += join_pieces(self._own_fields, data, budget)
        body = None if self.shared is not None else join_pieces(self._body, data, budget)
        return Filled(own, body, self.subject.render(data, budget), sender, told)


def compose(
    content: Content, boundary: str, substitutes: bool = True, inlines_css: bool = False
) -> Blueprint:
    """boundary: a text that stands in no part.

    Raises BadPart, BadMime for a message that is none, NoSender for a From that can be no one mailbox.

    substitutes: whether values are filled into the bodies; into fields they are always.
    inlines_css: rules go into the elements of HTML, once the values are in their places.
    """
    make = _Maker(substitutes, inlines_css)
    match content:
        case InlineContent():
            sender = make.sender(content.from_name, content.from_email)
            fields, body = make.inline_fields(content), make.inline_body(content, boundary)
            subject = make.template("Header:Subject", content.subject)
        case Rfc822Content():
            header, _ = split_message(content.message)
            check_section(content.message, header)
            read = fields_of(header)
            sender = make.sender_of(read)
            fields, body = make.client_fields(read), make.client_body(content.message)
            subject = make.template("Header:Subject", _text_of(read, "subject"))
        case _:
            assert_never(content)
    make.check()
    names = frozenset({"from", *(name for name, _ in fields)})
    if sender.fixed is not None:
        fields.insert(0, ("from", from_field(*sender.fixed)))
    to = tuple(piece for name, piece in fields if name == "to")
    others = [piece for name, piece in fields if name != "to"]
    common = [piece for piece in others if isinstance(piece, bytes)]
    own = tuple(piece for piece in others if not isinstance(piece, bytes))
    if "mime-version" not in names and _is_described(body):
        common.append(b"MIME-Version: 1.0\r\n")
    whole = merge_pieces([*common, *body])
    shared = whole[0] if len(whole) == 1 and isinstance(whole[0], bytes) else None
    size = estimated_bytes(content)
    return Blueprint(shared, subject, sender, size, names, to, own, whole)


def unreadable() -> Blueprint:
    """What stands for a content that cannot be composed (any more): nobody gets a copy of it."""
    nothing = literal("")
    return Blueprint(b"\r\n", nothing, Sender(nothing, nothing, None), 0, frozenset(), (), (), ())


def _with_return_path(data: Data, sender: Mailbox) -> Data:
    """Where no other is asked for the return path is the sender, who may be known only now."""
    unknown = [name for name in RETURN_PATH if data.get(name) == ""]
    return {**data, **dict.fromkeys(unknown, sender.text)} if unknown else data


def _text_of(fields: Sequence[Field], name: str) -> str:
    return next((decode_header(field.value) for field in fields if field.name == name), "")


class _Maker:
    """Makes the pieces of one content."""

    def __init__(self, substitutes: bool, inlines_css: bool) -> None:
        self._substitutes, self._inlines_css = substitutes, inlines_css
        self._bad: dict[str, BadTemplate] = {}
        """By the parts that cannot be compiled."""

    def check(self) -> None:
        """Raises BadPart with all that could not be compiled."""
        if self._bad:
            first, *more = (BadPart(part, error) for part, error in self._bad.items())
            raise BadPart(first.part, first.error, tuple(more))

    def template(self, part: str, text: str, kind: TemplateKind = TemplateKind.HEADER) -> Template:
        if kind is not TemplateKind.HEADER and not self._substitutes:
            return literal(text)
        try:
            return compile_template(text, kind)
        except BadTemplate as error:
            # The others are looked at too, and `check` tells of all.
            self._bad.setdefault(part, error)
            return Template(text, (Elsewhere(),))

    def sender(self, name: str, email: str) -> Sender:
        """Raises NoSender."""
        names, addresses = self.template("Header:From", name), self.template("Header:From", email)
        is_fixed = names.is_constant and addresses.is_constant
        return Sender(names, addresses, sole(name, email) if is_fixed else None)

    def sender_of(self, fields: Sequence[Field]) -> Sender:
        """Raises BadMime, NoSender."""
        values = [unfold(field.value).decode("utf-8", "replace") for field in fields if field.name == "from"]
        if len(values) != 1:
            raise NoSender
        if len(fields) == 1 and re.search(r"\\r|\\n", values[0]):
            raise BadMime("its line breaks are written as backslashes and letters")
        _check_words("from", decode_words(values[0]))
        # Words are decoded in names alone: in an address they could not be told from its structure.
        name, email = split_template(values[0])
        name = read_name(name)
        is_template = "{{" in name or "{{" in email
        return self.sender(name, email) if is_template else self.sender("", values[0])

    # ── fields ───────────────────────────────────────────────────────────────────────────

    def inline_fields(self, content: InlineContent) -> list[tuple[str, Piece]]:
        """Name, lower-case, and field."""
        fields = [("subject", self._field("Subject", content.subject))]
        if content.reply_to:
            fields.append(("reply-to", self._field("Reply-To", content.reply_to)))
        for key, value in content.headers.items():
            if key.lower() not in _DROPPED_INLINE:
                fields.append((key.lower(), self._field(key, value)))
        fields.append(("mime-version", b"MIME-Version: 1.0\r\n"))
        return fields

    def client_fields(self, fields: Sequence[Field]) -> list[tuple[str, Piece]]:
        """As the client wrote them, without From, and those that describe the body: these stand with it."""
        made: list[tuple[str, Piece]] = []
        for field in fields:
            if field.name in _NOT_COPIED or field.name.startswith("content-"):
                continue
            name = field.raw[: len(field.name)].decode("ascii")
            made.append(
                (
                    field.name,
                    self._field(name, text) if (text := self._text_made_anew(field)) else field.raw,
                )
            )
        return made

    def _text_made_anew(self, field: Field) -> str:
        """What the field says, when values are to be filled in or it is not ASCII; else empty."""
        is_ascii = field.value.isascii()
        if is_ascii and not (b"{{" in field.value or b"=?" in field.value):
            return ""
        text = decode_header(field.value)
        _check_words(field.name, text)
        if is_ascii and "{{" not in text:
            return ""
        # In a list of mailboxes words are decoded with their names, once it has been read.
        return text_of(field)

    def _field(self, name: str, text: str) -> Piece:
        template = self.template(f"Header:{name}", text)
        return piece_of(partial(field_of, name, template), template.is_constant)

    # ── bodies ───────────────────────────────────────────────────────────────────────────

    def inline_body(self, content: InlineContent, boundary: str) -> list[Piece]:
        """The entity of all parts: its Content- fields, the empty line, and what follows."""
        texts = (
            ("text/plain", content.text, TemplateKind.TEXT),
            (_AMP, content.amp_html, TemplateKind.AMP),
            (_HTML, content.html, TemplateKind.HTML),
        )
        parts = [self._text(type_, text, kind) for type_, text, kind in texts if text is not None]
        entity = parts[0] if len(parts) == 1 else multipart("alternative", f"{boundary}a", parts)
        if content.inline_images:
            images = [[file_entity(image, is_inline=True)] for image in content.inline_images]
            entity = multipart("related", f"{boundary}r", [entity, *images])
        if content.attachments:
            files = [[file_entity(file, is_inline=False)] for file in content.attachments]
            entity = multipart("mixed", f"{boundary}m", [entity, *files])
        return entity

    def client_body(self, message: bytes) -> list[Piece]:
        """The message's own octets, with the texts that have substitutions made anew. Raises BadMime."""
        header, _ = split_message(message)
        described = [field for field in fields_of(header) if _describes_body(field.name)]
        pieces: list[Piece] = [in_ascii(field) for field in described]
        at, is_top = len(header), True
        for leaf in read_leaves(message):
            if self._is_made_anew(leaf) and leaf.text is not None:
                if leaf.header_start == 0:
                    pieces = [raw for raw in pieces if isinstance(raw, bytes) and not _describes_text(raw)]
                else:
                    pieces.append(message[at : leaf.header_start])
                    pieces.append(section_in_ascii(b"".join(leaf.kept_fields)))
                kind = _KINDS.get(leaf.type, TemplateKind.HTML)
                pieces += self._text(leaf.type, leaf.text, kind, leaf.parameters())
                at, is_top = leaf.end, False
        return [*pieces, message[at:]] if is_top or at < len(message) else pieces

    def _is_made_anew(self, leaf: Leaf) -> bool:
        """Raises BadMime when it should be and cannot."""
        if leaf.text is None:
            if self._substitutes:
                raise BadMime(f"the text of a part {leaf.type} cannot be decoded as its fields say")
            return False
        has_rules = self._inlines_css and leaf.type == _HTML and "<style" in leaf.text.lower()
        is_made_anew = has_rules or (self._substitutes and "{{" in leaf.text)
        if is_made_anew and leaf.is_signed:
            remedy = "inline_css" if has_rules else "perform_substitutions"
            raise BadMime(
                f"a part {leaf.type} of its multipart/signed would be changed, and the signature broken: "
                f"set options.{remedy} to false"
            )
        return is_made_anew

    def _text(
        self, type_: str, text: str, kind: TemplateKind, parameters: Sequence[bytes] = ()
    ) -> list[Piece]:
        part = _PARTS.get(type_, type_)
        template = self.template(part, text, kind)
        inlines_css = self._inlines_css and type_ == _HTML
        try:
            make = partial(entity_of, type_, parameters, template, inlines_css)
            return [piece_of(make, template.is_constant)]
        except BadTemplate as error:
            raise BadPart(part, error) from error


def _is_described(body: Sequence[Piece]) -> bool:
    """Whether fields of MIME stand before it: its own, or those of a text that is made anew (RFC 2045 §4)."""
    first = body[0]
    return len(body) > 1 or not isinstance(first, bytes) or first[:8].lower() == b"content-"


def _check_words(name: str, text: str) -> None:
    """text: with its encoded words decoded, as far as they can be. Raises BadMime."""
    if "=?" in text and may_hide_braces(text):
        raise BadMime(f"encoded words of its field {name} cannot be decoded")


def _describes_body(name: str) -> bool:
    return name.startswith("content-") and name not in NOT_PASSED_ON


def _describes_text(raw: bytes) -> bool:
    return raw.partition(b":")[0].strip().lower() in {b"content-type", b"content-transfer-encoding"}
