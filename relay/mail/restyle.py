"""A whole message whose HTML gets its rules into its elements; all else of it stays octet by octet."""

from relay.domain.errors import BadOptions, MessageTooLarge
from relay.mail.budget import BadTemplate
from relay.mail.entities import text_entity
from relay.mail.headers import fields_of, split_message
from relay.mail.inline_css import inline_css
from relay.mail.mime import BadMime, Leaf, read_leaves

_HTML = "text/html"
_SEALS = frozenset({"dkim-signature", "arc-seal", "arc-message-signature"})
_WHAT = "options.inline_css"


def restyle(message: bytes, max_bytes: int) -> bytes | None:
    """The message as it is sent; None: as it came, for none of its HTML has rules.

    Raises MalformedOptions where that cannot be done, or would break a signature; MessageTooLarge.
    """
    try:
        leaves = [leaf for leaf in read_leaves(message) if _has_rules(leaf)]
    except BadMime as error:
        raise BadOptions(f"{_WHAT}: the message cannot be read as a MIME tree: {error.reason}") from error
    if not leaves:
        return None
    if any(leaf.is_signed for leaf in leaves) or _is_sealed(message):
        raise BadOptions(f"{_WHAT} would break the signature of a message that is signed")
    pieces: list[bytes] = []
    at = size_bytes = 0
    for leaf in leaves:
        made = [message[at : leaf.header_start], *leaf.kept_fields, _entity(leaf)]
        size_bytes += sum(map(len, made))
        if size_bytes + len(message) - leaf.end > max_bytes:
            raise MessageTooLarge(max_bytes)
        pieces += made
        at = leaf.end
    return b"".join((*pieces, message[at:]))


def _has_rules(leaf: Leaf) -> bool:
    if leaf.type != _HTML:
        return False
    if leaf.text is None:
        raise BadOptions(f"{_WHAT}: the text of a part {_HTML} cannot be decoded as its fields say")
    return "<style" in leaf.text.lower()


def _is_sealed(message: bytes) -> bool:
    header, _ = split_message(message)
    return any(field.name in _SEALS for field in fields_of(header))


def _entity(leaf: Leaf) -> bytes:
    """Raises MalformedOptions."""
    assert leaf.text is not None
    try:
        entity = text_entity(leaf.type, inline_css(leaf.text), leaf.parameters())
    except BadTemplate as error:
        raise BadOptions(str(error)) from error
    is_described = leaf.header_start > 0 or any(
        field[:12].lower() == b"mime-version" for field in leaf.kept_fields
    )
    return entity if is_described else b"MIME-Version: 1.0\r\n" + entity
