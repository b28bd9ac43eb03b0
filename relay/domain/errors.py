"""What cannot be done, as one tree. Errors carry facts; the sentences belong to the edges.

RelayError
├── Refused                  the request can never succeed as sent           SMTP 5yz   HTTP 4xx
│   ├── NotAuthenticated
│   ├── NotGranted
│   ├── BeyondMaker          a key that may do more than the one in use
│   ├── MalformedOptions     X-MSYS-API or a request body that is not as it must be
│   │   └── BadOptions       what a reader found
│   ├── MalformedAddress
│   ├── NoSender             From is not one mailbox
│   ├── Unsendable           what would go out is no message that we send
│   ├── HeaderTooLarge       more octets of header than any message has
│   ├── UnconfiguredDomain   the From domain may not be used by this account
│   ├── UnknownDkimKey       the From domain has no key of that name
│   ├── UnverifiedDkimKey    it has, and receivers do not find it
│   ├── UnknownPool          A8
│   ├── PoolEmpty            R22, A8
│   ├── PoolNotAllowed       A5: the subaccount is bound to another pool
│   ├── SharedNotAllowed     A6: `sp_shared` asked for by an Enterprise account or a bound subaccount
│   ├── MessageTooLarge
│   ├── TooMuchWork          more time or memory than there is for one request
│   ├── MailLoop             too many Received fields (RFC 5321 §6.3)
│   ├── NoIpsOnPlan          R1: a free account buys no dedicated IP
│   ├── IpsByRequest         R4: on this plan somebody else provisions them
│   ├── OverIpLimit          R13
│   ├── UnknownObject        an operator or API call names something that is not there
│   ├── Conflict             the change contradicts what the directory holds
│   ├── RestrictedDomain     nobody's own: a mailbox provider's
│   ├── DomainElsewhere      another account has verified it
│   ├── OverCap              the account has as many of them as it may have
│   └── ComplianceEntry      of the suppression list: not for the account to remove
├── Unavailable              we cannot serve it now; try again               SMTP 4yz   HTTP 503
│   ├── NoSharedPool         A34: "shared" was decided and no shared IP is configured
│   ├── NoFreeIps            the installation has no dedicated IP left to sell
│   ├── StoreUnavailable
│   ├── NoFreeId             every id that was minted is taken
│   ├── OverCapacity
│   ├── Busy                 others have all places for hard work
│   ├── QueueShareFull       the account holds as much of the queue as it may
│   ├── SourceUnplumbed      the sending IP is not on this machine
│   └── PeerUnreachable
└── Stale                    someone moved first
    ├── StaleDirectory       decided under an older revision: reload and decide again
    ├── StaleRequest         another request with the same key is at work: that one is answered
    ├── RecipientsSuppressed   decided without what the suppression list holds: decide again
    └── IdTaken              another process minted the same id in the same microsecond: mint again
"""

from collections.abc import Mapping
from dataclasses import dataclass


class RelayError(Exception):
    """The root of all that we raise on purpose."""

    field = ""
    """What of the thing it is about, as the directory calls it; empty: all of it."""

    def __str__(self) -> str:
        """For logs and the shell; facts alone where there are no words."""
        from relay.domain.words import Door, say

        return say(self, Door.SHELL) or super().__str__()


class Refused(RelayError):
    """The request can never succeed as sent."""


class Unavailable(RelayError):
    """We cannot serve the request now; the same request may succeed later."""


class Stale(RelayError):
    """The caller acted on something that has changed hands or content since."""


@dataclass
class NotAuthenticated(Refused):
    """The credentials name nobody who may act here. What is wrong with them is for the log alone."""

    reason: str = "key"
    """Words of `authority`, with commas between."""
    holder: str = ""
    """`account=1 key=c100`, of a key that there is."""


@dataclass
class NotGranted(Refused):
    """The principal is known and may not do this; `detail` says what is lacking, if its holder may know."""

    detail: str = ""


@dataclass
class BeyondMaker(Refused):
    """The key to be made or revoked may do what the key in use may not; `detail` names it."""

    detail: str


class MalformedOptions(Refused):
    """Options, or the fields of a form, that are not as they must be."""


@dataclass
class BadOptions(MalformedOptions):
    """What a reader found wrong with them; `detail` is SparkPost's own sentence."""

    detail: str


@dataclass
class MalformedAddress(Refused):
    """A mailbox that RFC 5321 §4.1.2 does not allow."""

    text: str


class NoSender(Refused):
    """From does not name exactly one mailbox."""


@dataclass
class Unsendable(Refused):
    """The composed octets are not what may leave; `detail` says what is wrong with them."""

    detail: str


@dataclass
class HeaderTooLarge(Refused):
    """The header section of a message has more octets than any has."""

    limit_bytes: int


@dataclass
class UnconfiguredDomain(Refused):
    """The domain of the From field is none that the principal may send from."""

    domain: str


@dataclass
class UnknownDkimKey(Refused):
    """The key asked for is none that the From domain signs with."""

    key: str
    domain: str


@dataclass
class UnverifiedDkimKey(Refused):
    """The key asked for is the From domain's, and not verified."""

    key: str
    domain: str


@dataclass
class UnknownPool(Refused):
    """The pool named, verbatim, does not exist in the account."""

    pool: str


@dataclass
class PoolEmpty(Refused):
    """The pool exists and has no sending IP."""

    pool: str


@dataclass
class PoolNotAllowed(Refused):
    """A subaccount with a pool of its own named another one (A5)."""

    subaccount: int
    assigned: str
    asked: str


class SharedNotAllowed(Refused):
    """`sp_shared` was named by someone who has no shared pool (A6)."""


@dataclass
class MessageTooLarge(Refused):
    """The message exceeds the configured size."""

    limit_bytes: int


@dataclass
class TooMuchWork(Refused):
    """What was asked for takes more than there is for one request."""

    what: str
    """`time` or `CPU time`, in seconds; `memory`, in megabytes."""
    limit: float

    @property
    def unit(self) -> str:
        return "MB" if self.what == "memory" else "s"


class MailLoop(Refused):
    """The message carries more Received fields than any honest way needs."""


class NoIpsOnPlan(Refused):
    """The free plan has no dedicated IPs (R1)."""


@dataclass
class IpsByRequest(Refused):
    """The account does not provision dedicated IPs itself (R4); `whom` it asks for them."""

    whom: str


@dataclass
class OverIpLimit(Refused):
    """The account would hold more dedicated IPs than it may (R13)."""

    limit: int


@dataclass
class UnknownObject(Refused):
    """Nothing of that kind has that name."""

    kind: str
    name: str


class Conflict(Refused):
    """The change cannot be made to the directory, or to what it is about, as it stands."""


@dataclass
class RestrictedDomain(Refused):
    """The domain is a mailbox provider's: no customer may send in its name."""

    domain: str


@dataclass
class DomainElsewhere(Refused):
    """Another account has the domain, and its owner's word for it."""

    domain: str


@dataclass
class OverCap(Refused):
    """The account has as many objects of that kind, in the plural, as it may have."""

    limit: int
    kind: str


class ComplianceEntry(Refused):
    """The entry of the suppression list is there for compliance: the account may not remove it."""


class NoSharedPool(Unavailable):
    """The decision was the shared pool and the installation has no shared IP (A34)."""


class NoFreeIps(Unavailable):
    """Fewer dedicated IPs are free than were asked for."""


class StoreUnavailable(Unavailable):
    """The store did not take the write; nothing of it is stored."""


class NoFreeId(Unavailable):
    """Every id minted for the submission exists already: another process mints at the same pace."""


class OverCapacity(Unavailable):
    """A limit on memory or connections is reached for the moment."""


@dataclass
class QueueShareFull(Unavailable):
    """The account holds as many octets of unsent mail as it may."""

    limit_bytes: int


class Busy(Unavailable):
    """Each place for hard work was taken by somebody for as long as one may wait."""


@dataclass
class SourceUnplumbed(Unavailable):
    """The address cannot be bound on this machine. Ours to mend: it never counts as an attempt."""

    bind: str


@dataclass
class PeerUnreachable(Unavailable):
    """No connection to the next hop; `cause` is for the operator."""

    peer: str
    cause: str


class StaleDirectory(Stale):
    """The directory moved on since the decision was taken."""


class StaleRequest(Stale):
    """Another request with the same key is at work: begun before, or let begin as this one took so long."""


@dataclass
class RecipientsSuppressed(Stale):
    """Recipients of what was to be stored are on the suppression list; nothing is stored."""

    found: Mapping[str, str]
    """Recipient → the source of its entry."""


class IdTaken(Stale):
    """What was to be stored has an id that exists already."""
