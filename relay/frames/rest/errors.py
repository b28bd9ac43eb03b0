"""What a REST client is told: each RelayError has its status and its sentence here.

Two families of resources word their errors differently: one says `message` alone, the other the
class of the error in `message`, the specific text in `description`, and a `code`.
"""

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from fastapi.responses import JSONResponse

from relay.domain.errors import (
    BeyondMaker,
    Busy,
    ComplianceEntry,
    Conflict,
    DomainElsewhere,
    HeaderTooLarge,
    IpsByRequest,
    MailLoop,
    MalformedAddress,
    MalformedOptions,
    MessageTooLarge,
    NoFreeId,
    NoFreeIps,
    NoIpsOnPlan,
    NoSender,
    NoSharedPool,
    NotAuthenticated,
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
    TooMuchWork,
    UnconfiguredDomain,
    UnknownDkimKey,
    UnknownObject,
    UnknownPool,
    Unsendable,
    UnverifiedDkimKey,
)

BASE = "/api/v1"

INVALID = "invalid data format/type"
"""The class of errors with code 1300."""

_MESSAGE_ALONE = (
    "ip-pools",
    "sending-ips",
    "subaccounts",
    "account",
    "billing",
    "api-keys",
    "suppression-list",
)
"""First words of the paths whose errors have no description and no code."""

log = logging.getLogger("relay.api")


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of `errors`; what is None is left out."""

    message: str
    description: str | None = None
    code: str | None = None
    param: str | None = None
    value: object = None
    part: str | None = None
    """Of a content, and the line in it."""
    line: int | None = None

    def shown(self) -> dict[str, object]:
        named = {
            "message": self.message,
            "description": self.description,
            "code": self.code,
            "param": self.param,
            "value": self.value,
            "part": self.part,
            "line": self.line,
        }
        return {name: value for name, value in named.items() if value is not None}


class ApiError(Exception):
    """A request that is refused with this status and these sentences."""

    def __init__(
        self,
        status: int,
        message: str,
        description: str | None = None,
        code: str | None = None,
        param: str | None = None,
        value: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problems: tuple[Problem, ...] = (Problem(message, description, code, param, value),)
        self.headers = headers

    @classmethod
    def of(cls, status: int, problems: Sequence[Problem]) -> Self:
        """Several problems at once."""
        error = cls(status, problems[0].message)
        error.problems = tuple(problems)
        return error


@dataclass(frozen=True, slots=True)
class _Entry:
    """How an error is told: `plain` by resources with a message alone, the rest by the others."""

    status: int
    plain: str
    message: str = ""
    """Empty: the plain sentence serves both families."""
    code: str | None = None
    status_of_others: int | None = None
    """None: the same."""
    always_described: bool = False
    """Whether the sentence stands in `description` for both families."""
    retry_after_s: int | None = None
    """None: 1 with status 503, else nothing is said."""


_DKIM_KEY = "Invalid DKIM key"
_UNAVAILABLE = "Service temporarily unavailable, try again later"

TABLE: Mapping[type[RelayError], _Entry] = {
    NotAuthenticated: _Entry(401, "Unauthorized."),
    NotGranted: _Entry(403, "{0.detail}", "Forbidden.", always_described=True),
    BeyondMaker: _Entry(403, "{0.detail}", "Forbidden.", always_described=True),
    HeaderTooLarge: _Entry(
        400, "The header section may have at most {0.limit_bytes} bytes", INVALID, "1300", 422
    ),
    MalformedOptions: _Entry(400, "{0.detail}", INVALID, "1300", 422),
    MalformedAddress: _Entry(400, "{0.text} is not an e-mail address", INVALID, "1300", 422),
    NoSender: _Entry(400, "No sending domain specified", "Invalid domain", "7001"),
    Unsendable: _Entry(400, "The message cannot be sent: {0.detail}", INVALID, "1300", 422),
    UnconfiguredDomain: _Entry(400, "Unconfigured Sending Domain <{0.domain}>", "Invalid domain", "7001"),
    UnknownDkimKey: _Entry(
        400, "Invalid DKIM key ID '{0.key}' for sending domain '{0.domain}'", _DKIM_KEY, "1100"
    ),
    UnverifiedDkimKey: _Entry(
        400, "DKIM key '{0.key}' is not verified for sending domain '{0.domain}'", _DKIM_KEY, "1100"
    ),
    UnknownPool: _Entry(400, "IP Pool '{0.pool}' does not exist", INVALID, "1300", 422),
    PoolEmpty: _Entry(400, "IP Pool '{0.pool}' is empty", INVALID, "1300", 422),
    PoolNotAllowed: _Entry(
        400, "Subaccount {0.subaccount} is restricted to IP Pool '{0.assigned}'", INVALID, "1300", 422
    ),
    SharedNotAllowed: _Entry(400, "sp_shared is not a valid customer ip pool", INVALID, "1300", 422),
    MessageTooLarge: _Entry(413, "Message size exceeds {0.limit_bytes} bytes", "content too large"),
    TooMuchWork: _Entry(
        400, "The request takes more than {0.limit:g} {0.unit} of {0.what}", INVALID, "1300", 422
    ),
    MailLoop: _Entry(400, "mail loop detected", INVALID, "1300", 422),
    UnknownObject: _Entry(404, "{0.kind} {0.name} does not exist", "resource not found", "1600"),
    NoIpsOnPlan: _Entry(403, "Dedicated IPs are not available on your plan."),
    IpsByRequest: _Entry(403, "Please contact {0.whom} to purchase dedicated IPs."),
    OverIpLimit: _Entry(400, "You can have at most {0.limit} dedicated IPs."),
    NoFreeIps: _Entry(503, "No dedicated IPs are available at this time."),
    StaleRequest: _Entry(409, "A request with this Idempotency-Key is still being processed."),
    ComplianceEntry: _Entry(403, "Recipient could not be removed - Compliance"),
    RestrictedDomain: _Entry(
        400, "Domain {0.domain} belongs to a mailbox provider", "Restricted domain", "7000"
    ),
    DomainElsewhere: _Entry(
        400, "Sending Domain {0.domain} is verified by another account", "Domain in use elsewhere", "7004"
    ),
    OverCap: _Entry(400, "You can have at most {0.limit} {0.kind}."),
    Conflict: _Entry(409, "{0.detail}", "resource conflict", "1602"),
    NoSharedPool: _Entry(503, "No shared IP pool is configured, try again later"),
    StoreUnavailable: _Entry(503, _UNAVAILABLE),
    StaleDirectory: _Entry(503, _UNAVAILABLE),
    NoFreeId: _Entry(503, _UNAVAILABLE),
    OverCapacity: _Entry(503, _UNAVAILABLE),
    Busy: _Entry(503, _UNAVAILABLE),
    QueueShareFull: _Entry(
        429,
        "The account has reached its share of the queue, {0.limit_bytes} bytes of mail, try again later",
        "Too many requests",
        retry_after_s=30,
    ),
}
"""All that a request can be the cause of. What is not here is a bug of ours."""


def says_message_alone(path: str) -> bool:
    """Whether errors of this path have neither description nor code."""
    return path.removeprefix(BASE).strip("/").partition("/")[0] in _MESSAGE_ALONE


def told(error: RelayError, path: str) -> ApiError | None:
    """The error as this resource words it; None for a bug of ours."""
    entry = TABLE.get(type(error))
    if entry is None:
        return None
    sentence = entry.plain.format(error)
    wait_s = entry.retry_after_s or (1 if entry.status == 503 else None)
    headers = None if wait_s is None else {"Retry-After": str(wait_s)}
    if not entry.message or (says_message_alone(path) and not entry.always_described):
        return ApiError(entry.status, sentence, headers=headers)
    return ApiError(
        entry.status_of_others or entry.status, entry.message, sentence or None, entry.code, headers=headers
    )


def answer(error: ApiError) -> JSONResponse:
    body = {"errors": [problem.shown() for problem in error.problems]}
    return JSONResponse(body, error.status, dict(error.headers or {}))


def internal(error: Exception, method: str, path: str) -> JSONResponse:
    """A bug of ours: the log has it all, the client a reference to it."""
    reference = secrets.token_hex(6)
    log.error("reference=%s method=%s path=%r failed", reference, method, path, exc_info=error)
    return answer(ApiError(500, f"Internal error, try again later; reference {reference}"))


def not_found(path: str, has_resources: bool = True) -> ApiError:
    """Nothing has this path; whoever asks elsewhere is told where the resources are."""
    hint = "" if path == BASE or path.startswith(f"{BASE}/") else f"; the API is under {BASE}"
    if not has_resources:
        hint = f"; this process has no role api, which answers under {BASE}"
    return ApiError(404, "resource not found", f"Resource not found:{path}{hint}", "1600")
