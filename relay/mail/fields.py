"""Header fields written in ASCII, each as what it is: nothing but a local part can be beyond (RFC 2047)."""

from relay.domain.errors import MalformedAddress
from relay.mail.addresses import read_addresses, write_addresses
from relay.mail.headers import Field, decode_header, decode_words, fields_of, unfold
from relay.mail.parameters import first_word, named_parameters
from relay.mail.words import by_words, encode_unstructured

MAILBOX_FIELDS = frozenset(
    {
        *("from", "sender", "reply-to", "to", "cc", "bcc"),
        *("resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc", "resent-bcc"),
        *("disposition-notification-to", "return-receipt-to", "x-confirm-reading-to", "read-receipt-to"),
        *("mail-followup-to", "mail-reply-to", "errors-to", "apparently-to"),
        *("delivered-to", "x-original-to"),
    }
)
"""Lower-case names of fields whose values list mailboxes."""
_WITH_PARAMETERS = frozenset({"content-type", "content-disposition"})
_MARK_STEPS = {"@": 20, ",": 10, ":": 10, ";": 10, "(": 30, "=?": 30}
"""What each of them takes in a list of mailboxes."""
_LABEL_STEPS, _BEFORE_LABELS = 150, "@.\u3002\uff0e\uff61"
"""What a label of a domain takes that may be outside ASCII, and what stands before it (RFC 3490 §3.1)."""
_FOR_PEOPLE = frozenset({"subject", "comments", "content-description", "thread-topic"})


def value_of(name: str, text: str) -> bytes:
    """The value of the field of that lower-case name that says this.

    text: decoded, but for lists of mailboxes: there encoded words are read with the names.
    """
    if name in _FOR_PEOPLE:
        return encode_unstructured(text)
    if name not in MAILBOX_FIELDS:
        return by_words(text)
    try:
        return write_addresses(read_addresses(text))
    except MalformedAddress:
        return by_words(text if text.isascii() else decode_words(text))


def steps_of(name: str, text: str) -> int:
    """About what `value_of` takes, in steps of a `Budget`."""
    if name in _FOR_PEOPLE:
        return 0
    steps = 0
    if name in MAILBOX_FIELDS:
        steps = 2 * len(text) + sum(each * text.count(mark) for mark, each in _MARK_STEPS.items())
    if not text.isascii():
        steps += 5 * len(text) + (_LABEL_STEPS * sum(map(text.count, _BEFORE_LABELS)) if "@" in text else 0)
    return steps


def text_of(field: Field) -> str:
    """What `value_of` takes."""
    if field.name in MAILBOX_FIELDS:
        return unfold(field.value).decode("utf-8", "replace")
    return decode_header(field.value)


def in_ascii(field: Field) -> bytes:
    """The field as it came, or as much of it in ASCII as can be."""
    if field.raw.isascii():
        return field.raw
    if field.name in _WITH_PARAMETERS:
        word = first_word(field.value).encode("ascii", "replace")
        value = b";\r\n ".join((word, *(written for _, written in named_parameters(field.value))))
    else:
        value = value_of(field.name, text_of(field))
    return field.raw[: len(field.name)] + b": " + value + b"\r\n"


def section_in_ascii(header: bytes) -> bytes:
    """The header section as it came, or as much of it in ASCII as can be; what is not UTF-8 stays."""
    fields = () if header.isascii() else fields_of(header)
    try:
        header.decode()
    except UnicodeDecodeError:
        return header
    is_read = sum(len(field.raw) for field in fields) == len(header)
    return b"".join(map(in_ascii, fields)) if is_read else header
