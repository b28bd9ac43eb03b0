"""What a refusal is called: one row for each, with its words for every door.

A sentence stands once; a door has words of its own where SparkPost, RFC 5321 or people's eyes ask for others.
`{0.pool}` is the refusal's fact of that name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from relay.domain import errors as e
from relay.domain import refusals as r

INVALID = "invalid data format/type"
"""The class of REST's errors with code 1300."""


class Door(Enum):
    """Where somebody is answered."""

    SMTP = "smtp"
    REST = "rest"
    CONSOLE = "console"
    SHELL = "shell"
    EVENT = "event"
    """Of a recipient, or a transmission, that was accepted and came to nothing."""


_CODED = (Door.SMTP, Door.REST, Door.CONSOLE)
"""Doors that answer nothing without a code of theirs."""


@dataclass(frozen=True, slots=True)
class RestWords:
    """How REST refuses: one family of resources says the sentence alone, the other class and code as well."""

    status: int
    message: str = ""
    """The class of the error, for the family that says it; empty: the sentence serves both."""
    code: str | None = None
    status_of_others: int | None = None
    """Of the family with classes; None: the same."""
    always_described: bool = False
    """Whether the sentence stands in `description` for both families."""
    retry_after_s: int | None = None
    """None: 1 with status 503, else nothing is said."""


@dataclass(frozen=True, slots=True)
class Words:
    """A row. What it lacks is that of the refusal's kind; what that lacks too is no answer."""

    says: str
    smtp: str = ""
    """Reply code and enhanced code."""
    rest: RestWords | None = None
    console: int = 0
    """Status of a page."""
    smtp_says: str = ""
    rest_says: str = ""
    console_says: str = ""
    """Else the sentence with its full stop."""
    shell_says: str = ""
    event: str = ""
    """Codes of an event's reason; empty: those of a reply."""
    event_says: str = ""


_OPTIONS = RestWords(400, INVALID, "1300", 422)
_DOMAIN = RestWords(400, "Invalid domain", "7001")
_DKIM = RestWords(400, "Invalid DKIM key", "1100")
_LATER = RestWords(503)
_UNAVAILABLE = "Service temporarily unavailable, try again later"
_NO_STORE = "The store is unavailable at the moment. Nothing was changed: try again."
_DENIED = "relaying denied"

ROWS: Mapping[type[e.RelayError], Words] = {
    e.NotAuthenticated: Words(
        "Unauthorized.", "535 5.7.8", RestWords(401), smtp_says="Sorry. *** No authentication type succeeded"
    ),
    e.NotGranted: Words(
        "{0.detail}",
        "550 5.7.1",
        RestWords(403, "Forbidden.", always_described=True),
        403,
        smtp_says=_DENIED,
        console_says="Your role does not allow this.",
        event_says=_DENIED,
    ),
    e.BeyondMaker: Words("{0.detail}", "", RestWords(403, "Forbidden.", always_described=True), 403),
    e.MalformedOptions: Words("", "550 5.6.0", _OPTIONS, 400, console_says="{said}"),
    e.BadOptions: Words("{0.detail}"),
    e.MalformedAddress: Words(
        "{0.text} is not an e-mail address",
        "501 5.1.3",
        _OPTIONS,
        400,
        smtp_says="syntax error in an address",
    ),
    e.NoSender: Words(
        "From must name exactly one mailbox, of a sending domain",
        "550 5.7.1",
        _DOMAIN,
        rest_says="No sending domain specified",
        event_says="[internal] From is not one mailbox",
    ),
    e.Unsendable: Words(
        "{0.detail}",
        "550 5.6.0",
        _OPTIONS,
        rest_says="The message cannot be sent: {0.detail}",
        event_says="[internal] {0.detail}",
    ),
    e.HeaderTooLarge: Words(
        "The header section may have at most {0.limit_bytes} bytes",
        "552 5.3.4",
        _OPTIONS,
        smtp_says="Header section exceeds fixed limit",
    ),
    e.UnconfiguredDomain: Words("Unconfigured Sending Domain <{0.domain}>", "550 5.7.1", _DOMAIN),
    e.UnknownDkimKey: Words(
        "Invalid DKIM key ID '{0.key}' for sending domain '{0.domain}'",
        "550 5.6.0",
        _DKIM,
        event="550 5.7.1",
        smtp_says="X-MSYS-API Invalid DKIM key ID '{0.key}' for sending domain '{0.domain}'",
    ),
    e.UnverifiedDkimKey: Words(
        "DKIM key '{0.key}' is not verified for sending domain '{0.domain}'",
        "550 5.6.0",
        _DKIM,
        event="550 5.7.1",
        smtp_says="X-MSYS-API DKIM key '{0.key}' is not verified for sending domain '{0.domain}'",
    ),
    e.UnknownPool: Words("IP Pool '{0.pool}' does not exist", "550 5.7.1", _OPTIONS, 404),
    e.PoolEmpty: Words("IP Pool '{0.pool}' is empty", "550 5.7.1", _OPTIONS, 409),
    e.PoolNotAllowed: Words(
        "Subaccount {0.subaccount} is restricted to IP Pool '{0.assigned}'",
        "550 5.7.1",
        _OPTIONS,
        409,
        shell_says="subaccount {0.subaccount} is bound to pool {0.assigned} and may not send from {0.asked}",
    ),
    e.SharedNotAllowed: Words("sp_shared is not a valid customer ip pool", "550 5.7.1", _OPTIONS, 409),
    e.MessageTooLarge: Words(
        "Message size exceeds {0.limit_bytes} bytes",
        "552 5.3.4",
        RestWords(413, "content too large"),
        smtp_says="Message size exceeds fixed limit",
        event_says="[internal] the message would have more than {0.limit_bytes} octets",
    ),
    e.TooMuchWork: Words(
        "The request takes more than {0.limit:g} {0.unit} of {0.what}",
        "550 5.6.0",
        _OPTIONS,
        smtp_says="The message takes more than {0.limit:g} {0.unit} of {0.what}",
        event_says="[internal] takes more than {0.limit:g} {0.unit} of {0.what}",
    ),
    e.MailLoop: Words("mail loop detected", "554 5.4.6", _OPTIONS),
    e.NoIpsOnPlan: Words("Dedicated IPs are not available on your plan.", "", RestWords(403), 403),
    e.IpsByRequest: Words("Please contact {0.whom} to purchase dedicated IPs.", "", RestWords(403), 403),
    e.OverIpLimit: Words("You can have at most {0.limit} dedicated IPs.", "", RestWords(400), 409),
    e.UnknownObject: Words(
        "{0.kind} {0.name} does not exist",
        "550 5.7.1",
        RestWords(404, "resource not found", "1600"),
        404,
        # The account or subaccount went away after AUTH.
        smtp_says=_DENIED,
        console_says="There is no {0.kind} {0.name}.",
        shell_says="no {0.kind} {0.name}",
        event_says=_DENIED,
    ),
    e.Conflict: Words("", "", RestWords(409, "resource conflict", "1602"), 409, console_says="{said}"),
    e.RestrictedDomain: Words(
        "Domain {0.domain} belongs to a mailbox provider",
        "",
        RestWords(400, "Restricted domain", "7000"),
        409,
    ),
    e.DomainElsewhere: Words(
        "Sending Domain {0.domain} is verified by another account",
        "",
        RestWords(400, "Domain in use elsewhere", "7004"),
        409,
    ),
    e.OverCap: Words("You can have at most {0.limit} {0.kind}.", "", RestWords(400), 409),
    e.ComplianceEntry: Words("Recipient could not be removed - Compliance", "", RestWords(403)),
    e.NoSharedPool: Words(
        "No shared IP pool is configured",
        "451 4.3.0",
        _LATER,
        503,
        smtp_says="No shared IP pool is configured, try again later",
        rest_says="No shared IP pool is configured, try again later",
        shell_says="no shared sending IP is configured",
    ),
    e.NoFreeIps: Words("No dedicated IPs are available at this time.", "", _LATER, 503),
    e.StoreUnavailable: Words(
        "the store is unavailable: try again",
        "451 4.3.0",
        _LATER,
        503,
        smtp_says="Queue unavailable, try again later",
        rest_says=_UNAVAILABLE,
        console_says=_NO_STORE,
    ),
    e.NoFreeId: Words(
        "[internal] smtpapi unable to generate unique transmission id",
        "421 4.3.3",
        _LATER,
        rest_says=_UNAVAILABLE,
    ),
    e.OverCapacity: Words(
        "The relay is busy. Try again in a moment.",
        "452 4.3.1",
        _LATER,
        503,
        smtp_says="Insufficient system storage, try again later",
        rest_says=_UNAVAILABLE,
    ),
    e.Busy: Words("Too much to do, try again later", "451 4.3.2", _LATER, rest_says=_UNAVAILABLE),
    e.QueueShareFull: Words(
        "The account has reached its share of the queue, {0.limit_bytes} bytes of mail, try again later",
        "452 4.3.1",
        RestWords(429, "Too many requests", retry_after_s=30),
        503,
        console_says=(
            "The account has reached its share of the queue, {0.limit_bytes} bytes of mail. Try again later."
        ),
    ),
    e.StaleDirectory: Words(
        "the directory keeps changing: try again",
        "",
        _LATER,
        503,
        rest_says=_UNAVAILABLE,
        console_says="Somebody else keeps changing the directory. Nothing was changed: try again.",
    ),
    e.StaleRequest: Words(
        "A request with this Idempotency-Key is still being processed.",
        "",
        RestWords(409),
        409,
        console_says="This is still being worked on. Look what became of it before you repeat it.",
    ),
    r.AccountAtRest: Words(
        "the account is {0.status}",
        console_says="The account is {0.status}: you may look, and change nothing.",
    ),
    r.AccountExists: Words("account {0.account} exists already: {0.name}"),
    r.AccountHasMail: Words("account {0.account} ({0.name}) still has queued mail"),
    r.SubaccountExists: Words("subaccount {0.subaccount} of account {0.account} exists already"),
    r.PoolExists: Words("IP Pool {0.pool} already exists."),
    r.DefaultPoolStays: Words("pool {0.pool} of account {0.account} cannot be removed"),
    r.IpExists: Words("sending IP {0.address} exists already"),
    r.IpIsShared: Words("sending IP {0.address} is in the shared pool: release it first"),
    r.IpElsewhere: Words("sending IP {0.address} belongs to account {0.account}: release it first"),
    r.IpCarriesMail: Words(
        "sending IP {0.address} still carries queued mail of {0.whose}: wait until it has left"
    ),
    r.IpOfNobody: Words("sending IP {0.address} belongs to no account: assign it to one"),
    r.IpNotForMail: Words(
        "sending IP {0.address} belongs to {0.whose}: mail of account {0.account} may not leave from it"
    ),
    r.IpsOverLimit: Words("{0.listed}"),
    r.OperatorsKeyIsNoPart: Words("an operator's key belongs to no subaccount"),
    r.AmbiguousKey: Words("{0.which} names {0.number} keys: use the beginning of a hash: {0.listed}"),
    r.DomainExists: Words("Sending Domain {0.domain} already registered"),
    r.UserExists: Words("there is a user {0.name} already: choose another name"),
    r.UserIsDisabled: Words("user {0.name} is disabled: enable them first"),
    r.LastOperator: Words("user {0.name} is the last operator and cannot be {0.deed}: add another one first"),
    r.NoFirstOperator: Words(
        "there is no first operator to let in: somebody has signed in, or another operator is invited;"
        " `relay user link NAME` makes a new link"
    ),
    r.NotSetAside: Words(
        "transmission {0.transmission} is not set aside: nothing keeps it from being worked on"
    ),
    r.TransmissionEnded: Words(
        "transmission {0.transmission} has ended ({0.state}): nothing of it is left to do"
    ),
    r.PoolNameTooLong: Words("name must be {0.limit} characters or less"),
    r.PoolNameMalformed: Words("name must contain only letters, numbers and spaces"),
    r.ReservedPool: Words("IP Pool {0.pool} is reserved."),
    r.FixedPool: Words("IP Pool {0.pool} is reserved and cannot be updated."),
    r.NothingToEdit: Words("You can not edit default pool."),
    r.NoSuchPool: Words("IP Pool {0.pool} does not exist."),
    r.OverflowIntoItself: Words("{0.pool} cannot be its own overflow pool"),
    r.OverflowBeyondOne: Words("{0.pool} is an overflow pool and cannot have an overflow pool"),
    r.OverflowOfOverflow: Words("{0.pool} has an overflow pool and cannot be an overflow pool"),
    r.UnknownOverflowPool: Words("Auto Warmup Overflow Pool {0.pool} does not exist."),
    r.NoSigningDomain: Words("{0.field} must be a DKIM verified sending domain"),
    r.BoundPoolTooLong: Words("ip_pool must be {0.limit} characters or less"),
    r.BoundPoolMalformed: Words("ip_pool must be alphanumeric and underscore"),
    r.UnknownGrants: Words("unknown grants {0.named}; known are {0.listed}"),
    r.SharedAndOwned: Words("shared_with_subaccounts and a subaccount exclude each other"),
    r.BounceDomainOfPart: Words("a subaccount's domain cannot be the default bounce domain"),
    r.UnverifiedBounceDomain: Words("is_default_bounce_domain needs a domain verified by its CNAME"),
}
"""All that somebody can be told. What has no row, and no kind with one, is a bug of ours."""


def find_words(kind: type[e.RelayError], part: str) -> Any:
    """That part of the row of the error, else of its narrowest kind that has one; else None."""
    rows = (ROWS[one] for one in kind.__mro__ if one in ROWS)
    return next(filter(None, (getattr(row, part) for row in rows)), None)


def say(error: e.RelayError, door: Door) -> str | None:
    """The sentence for that door; None where it has no answer for the refusal."""
    kind, name = type(error), door.value
    said = find_words(kind, "says")
    if said is None or (door in _CODED and not find_words(kind, name)):
        return None
    said = said.format(error)
    own = find_words(kind, f"{name}_says")
    if own is not None:
        return str(own.format(error, said=said))
    return f"{said}." if door is Door.CONSOLE and not said.endswith(".") else str(said)


def reason_for(error: e.RelayError) -> str:
    """What an event says of mail that was accepted and ended by this. Raises the error when it has no row."""
    sentence, kind = say(error, Door.EVENT), type(error)
    if sentence is None:
        raise error
    return f"{find_words(kind, 'event') or find_words(kind, 'smtp')} {sentence}"
