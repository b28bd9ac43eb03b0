"""What an SMTP client is told: each RelayError has its sentence here (docs/rules.md#smtp-replies)."""

from collections.abc import Mapping

from relay.domain.errors import (
    Busy,
    HeaderTooLarge,
    MailLoop,
    MalformedAddress,
    MalformedOptions,
    MessageTooLarge,
    NoFreeId,
    NoSender,
    NoSharedPool,
    NotAuthenticated,
    NotGranted,
    OverCapacity,
    PoolEmpty,
    PoolNotAllowed,
    QueueShareFull,
    RelayError,
    SharedNotAllowed,
    StoreUnavailable,
    TooMuchWork,
    UnconfiguredDomain,
    UnknownDkimKey,
    UnknownObject,
    UnknownPool,
    Unsendable,
    UnverifiedDkimKey,
)

RELAYING_DENIED = "550 5.7.1 relaying denied"
NOT_AUTHENTICATED = "535 5.7.8 Sorry. *** No authentication type succeeded"
TOO_LARGE = "552 5.3.4 Message size exceeds fixed limit"
FOREIGN_PROTOCOL = "421 4.7.0 This is an SMTP server, closing connection"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"
NO_ROOM = "452 4.3.1 Insufficient system storage, try again later"

_MAX_CHARACTERS = 400
"""A reply line has 512 octets (RFC 5321 §4.5.3.1.5); what a client made us quote may not fill more."""

SENTENCES: Mapping[type[RelayError], str] = {
    NotAuthenticated: NOT_AUTHENTICATED,
    NotGranted: RELAYING_DENIED,
    MalformedOptions: "550 5.6.0 {0.detail}",
    MalformedAddress: "501 5.1.3 syntax error in an address",
    UnknownDkimKey: ("550 5.6.0 X-MSYS-API Invalid DKIM key ID '{0.key}' for sending domain '{0.domain}'"),
    UnverifiedDkimKey: (
        "550 5.6.0 X-MSYS-API DKIM key '{0.key}' is not verified for sending domain '{0.domain}'"
    ),
    NoSender: "550 5.7.1 From must name exactly one mailbox, of a sending domain",
    Unsendable: "550 5.6.0 {0.detail}",
    UnconfiguredDomain: "550 5.7.1 Unconfigured Sending Domain <{0.domain}>",
    UnknownPool: "550 5.7.1 IP Pool '{0.pool}' does not exist",
    PoolEmpty: "550 5.7.1 IP Pool '{0.pool}' is empty",
    PoolNotAllowed: "550 5.7.1 Subaccount {0.subaccount} is restricted to IP Pool '{0.assigned}'",
    SharedNotAllowed: "550 5.7.1 sp_shared is not a valid customer ip pool",
    MessageTooLarge: TOO_LARGE,
    HeaderTooLarge: "552 5.3.4 Header section exceeds fixed limit",
    TooMuchWork: "550 5.6.0 The message takes more than {0.limit:g} {0.unit} of {0.what}",
    MailLoop: "554 5.4.6 mail loop detected",
    # The account or subaccount went away after AUTH.
    UnknownObject: RELAYING_DENIED,
    NoSharedPool: "451 4.3.0 No shared IP pool is configured, try again later",
    StoreUnavailable: "451 4.3.0 Queue unavailable, try again later",
    NoFreeId: "421 4.3.3 [internal] smtpapi unable to generate unique transmission id",
    OverCapacity: NO_ROOM,
    QueueShareFull: (
        "452 4.3.1 The account has reached its share of the queue, {0.limit_bytes} bytes of mail, "
        "try again later"
    ),
    Busy: "451 4.3.2 Too much to do, try again later",
}


class Complaint(Exception):
    """What the client sent breaks a rule of the wire; `reply` says which."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def reply_for(error: RelayError) -> str | None:
    """The reply that this error has; None for one that no client can be the cause of: a bug of ours."""
    sentence = SENTENCES.get(type(error))
    return None if sentence is None else printable(sentence.format(error))


def internal(reference: str) -> str:
    """A bug of ours is never the sender's permanent failure, and tells nothing but where to look."""
    return f"451 4.3.0 Internal error, try again later; reference {reference}"


def printable(text: str) -> str:
    """The text as one line of ASCII, not too long: fit to stand in a reply."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if " " <= char <= "~" else "?" for char in text)
    return text[:_MAX_CHARACTERS]
