"""Whom an account must not write to again, and why."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relay.domain.address import Mailbox, plain_local
from relay.domain.classify import ADMIN_FAILURE, HARD
from relay.domain.events import Bounce, Subject
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.message import Message
from relay.domain.outcome import Peer

CUSTOMER_POLICY = "554 5.7.1 recipient address was suppressed due to customer policy"
SYSTEM_POLICY = "554 5.7.1 recipient address was suppressed due to system policy"
"""For entries that the account may not remove."""
MAX_DESCRIPTION = 1024
"""Characters of why an entry is there."""


class Kind(StrEnum):
    """The mail that an entry stops. An address may have an entry of each."""

    TRANSACTIONAL = "transactional"
    NON_TRANSACTIONAL = "non_transactional"

    @classmethod
    def of(cls, transactional: bool | None) -> "Kind":
        """What a message is whose option says so."""
        return cls.TRANSACTIONAL if transactional else cls.NON_TRANSACTIONAL


class Source(StrEnum):
    """How an entry came about."""

    SPAM_COMPLAINT = "Spam Complaint"
    LIST_UNSUBSCRIBE = "List Unsubscribe"
    BOUNCE_RULE = "Bounce Rule"
    UNSUBSCRIBE_LINK = "Unsubscribe Link"
    MANUALLY_ADDED = "Manually Added"
    COMPLIANCE = "Compliance"


@dataclass(frozen=True, slots=True)
class Suppression:
    """An entry of an account's list, or of a subaccount's: each has its own and inherits nothing."""

    account: AccountId
    subaccount: SubaccountId | None
    recipient: str
    """As `key_of` makes it."""
    kind: Kind
    source: Source
    description: str
    created: datetime
    updated: datetime
    list_id: str = ""
    """The mailing list that it was made for, kept and shown; empty: none. It stops other mail too."""


def key_of(mailbox: Mailbox) -> str:
    """The form in which recipients are listed: case does not tell mailboxes apart, domains are A-labels."""
    return _key(mailbox.text, mailbox.domain)


def key_of_message(message: Message) -> str:
    """The key of whom the message goes to."""
    return _key(message.rcpt_to, message.domain)


def _key(address: str, domain: str) -> str:
    """Of what an earlier version stored too, which kept needless quotes."""
    local = address.rpartition("@")[0]
    if local.startswith('"'):
        local = plain_local(local) or local
    return f"{local.lower()}@{domain}"


def bounce_suppressed(message: Message, source: Source, now: datetime) -> Bounce:
    """What is told of a message that was accepted for a suppressed recipient: it never was in the queue."""
    reason = SYSTEM_POLICY if source is Source.COMPLIANCE else CUSTOMER_POLICY
    return Bounce(now, Subject.of(message), 0, 0, Peer(), ADMIN_FAILURE, 554, reason)


def after_bounce(bounce: Bounce) -> tuple[Suppression, ...]:
    """The entries that a hard bounce gives rise to: for mail of both kinds, the address takes none."""
    if bounce.bounce_class not in HARD:
        return ()
    about = bounce.about
    recipient = _key(about.rcpt_to, about.domain)
    return tuple(
        Suppression(
            about.account,
            about.subaccount,
            recipient,
            kind,
            Source.BOUNCE_RULE,
            bounce.raw_reason[:MAX_DESCRIPTION],
            bounce.at,
            bounce.at,
        )
        for kind in Kind
    )


@dataclass(frozen=True, slots=True)
class WantedEntry:
    """An entry to be made."""

    recipient: str
    kind: Kind
    description: str
    list_id: str
