"""What a person is told when something cannot be done: each RelayError has its status and sentence here."""

from collections.abc import Mapping

from relay.domain.errors import (
    BeyondMaker,
    Conflict,
    DomainElsewhere,
    IpsByRequest,
    MalformedAddress,
    MalformedOptions,
    NoFreeIps,
    NoIpsOnPlan,
    NoSharedPool,
    NotGranted,
    OverCap,
    OverCapacity,
    OverIpLimit,
    PoolEmpty,
    PoolNotAllowed,
    QueueShareFull,
    RelayError,
    RestrictedDomain,
    SharedNotAllowed,
    StaleDirectory,
    StaleRequest,
    StoreUnavailable,
    UnknownObject,
    UnknownPool,
)

_LATER = "The store is unavailable at the moment. Nothing was changed: try again."

TABLE: Mapping[type[RelayError], tuple[int, str]] = {
    NotGranted: (403, "Your role does not allow this."),
    BeyondMaker: (403, "{0.detail}."),
    MalformedOptions: (400, "{0.detail}"),
    MalformedAddress: (400, "{0.text} is not an e-mail address."),
    UnknownObject: (404, "There is no {0.kind} {0.name}."),
    UnknownPool: (404, "IP Pool '{0.pool}' does not exist."),
    PoolEmpty: (409, "IP Pool '{0.pool}' is empty."),
    PoolNotAllowed: (409, "Subaccount {0.subaccount} is restricted to IP Pool '{0.assigned}'."),
    SharedNotAllowed: (409, "sp_shared is not a valid customer ip pool."),
    NoIpsOnPlan: (403, "Dedicated IPs are not available on your plan."),
    IpsByRequest: (403, "Please contact {0.whom} to purchase dedicated IPs."),
    OverIpLimit: (409, "You can have at most {0.limit} dedicated IPs."),
    NoFreeIps: (503, "No dedicated IPs are available at this time."),
    RestrictedDomain: (409, "Domain {0.domain} belongs to a mailbox provider."),
    DomainElsewhere: (409, "Sending Domain {0.domain} is verified by another account."),
    OverCap: (409, "You can have at most {0.limit} {0.kind}."),
    Conflict: (409, "{0.detail}"),
    NoSharedPool: (503, "No shared IP pool is configured."),
    StoreUnavailable: (503, _LATER),
    StaleDirectory: (503, "Somebody else keeps changing the directory. Nothing was changed: try again."),
    StaleRequest: (409, "This is still being worked on. Look what became of it before you repeat it."),
    OverCapacity: (503, "The relay is busy. Try again in a moment."),
    QueueShareFull: (
        503,
        "The account has reached its share of the queue, {0.limit_bytes} bytes of mail. Try again later.",
    ),
}
"""All that a person can be the cause of. What is not here is a bug of ours."""


class WebError(Exception):
    """A request that ends with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class NotHere(WebError):
    """Nothing has this address, or it is not for this person to see; the same answer for both."""

    def __init__(self, what: str = "page") -> None:
        super().__init__(404, f"There is no such {what}.")


def told(error: RelayError) -> WebError | None:
    """The error in words; None for a bug of ours."""
    entry = TABLE.get(type(error))
    return None if entry is None else WebError(entry[0], entry[1].format(error))


def sentence(error: RelayError) -> str:
    """The words alone, for a place beside the form. Raises the error itself when it is a bug of ours."""
    found = told(error)
    if found is None:
        raise error
    return found.sentence
