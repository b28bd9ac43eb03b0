"""What an SMTP client is told (docs/rules.md#smtp-replies)."""

from relay.domain.errors import MessageTooLarge, NotAuthenticated, NotGranted, OverCapacity, RelayError
from relay.domain.words import Door, find_words, say

FOREIGN_PROTOCOL = "421 4.7.0 This is an SMTP server, closing connection"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"

_MAX_CHARACTERS = 400
"""A reply line has 512 octets (RFC 5321 §4.5.3.1.5); what a client made us quote may not fill more."""


class Complaint(Exception):
    """What the client sent breaks a rule of the wire; `reply` says which."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def reply_for(error: RelayError) -> str | None:
    """The reply that this error has; None for one that no client can be the cause of: a bug of ours."""
    sentence = say(error, Door.SMTP)
    return None if sentence is None else printable(f"{find_words(type(error), 'smtp')} {sentence}")


def internal_reply(reference: str) -> str:
    """A bug of ours is never the sender's permanent failure, and tells nothing but where to look."""
    return f"451 4.3.0 Internal error, try again later; reference {reference}"


def printable(text: str) -> str:
    """The text as one line of ASCII, not too long: fit to stand in a reply."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if " " <= char <= "~" else "?" for char in text)
    return text[:_MAX_CHARACTERS]


def _reply_for(error: RelayError) -> str:
    reply = reply_for(error)
    assert reply is not None
    return reply


RELAYING_DENIED = _reply_for(NotGranted())
NOT_AUTHENTICATED = _reply_for(NotAuthenticated())
TOO_LARGE = _reply_for(MessageTooLarge(0))
NO_ROOM = _reply_for(OverCapacity())
