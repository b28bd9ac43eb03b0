"""What a REST client is told.

Two families of resources word their errors differently: one says `message` alone, the other the
class of the error in `message`, the specific text in `description`, and a `code`.
"""

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from fastapi.responses import JSONResponse

from relay.domain.errors import RelayError
from relay.domain.words import Door, find_words, say

BASE = "/api/v1"

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


def says_message_alone(path: str) -> bool:
    """Whether errors of this path have neither description nor code."""
    return path.removeprefix(BASE).strip("/").partition("/")[0] in _MESSAGE_ALONE


def api_error(error: RelayError, path: str) -> ApiError | None:
    """The error as this resource words it; None for a bug of ours."""
    rest, sentence = find_words(type(error), "rest"), say(error, Door.REST)
    if rest is None:
        return None
    wait_s = rest.retry_after_s or (1 if rest.status == 503 else None)
    headers = None if wait_s is None else {"Retry-After": str(wait_s)}
    if not rest.message or (says_message_alone(path) and not rest.always_described):
        return ApiError(rest.status, sentence or "", headers=headers)
    return ApiError(
        rest.status_of_others or rest.status, rest.message, sentence or None, rest.code, headers=headers
    )


def answer(error: ApiError) -> JSONResponse:
    body = {"errors": [problem.shown() for problem in error.problems]}
    return JSONResponse(body, error.status, dict(error.headers or {}))


def internal_error(error: Exception, method: str, path: str) -> JSONResponse:
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
