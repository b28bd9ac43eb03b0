"""Reading what a client sent: JSON objects, and the errors of those that are none."""

import json
import re
from typing import Any

from fastapi import Request

from relay.domain.words import INVALID
from relay.frames.rest.errors import ApiError, Problem, says_message_alone
from relay.frames.rest.request import BadBody, Body, read
from relay.mail.scan import BadJson, JsonFault, read_object

REQUIRED = "{0} is a required field"
QUICK_BYTES = 64 << 10
"""Bodies of transmissions and lists that are read in the event loop; larger ones go to the sandbox."""
MAX_SMALL_VALUES = 10_000
"""JSON values of a body that is read in the event loop: a few milliseconds."""

_JSON_TYPE = re.compile(r"application/(?:[\w.-]+\+)?json", re.IGNORECASE)
_MAX_QUOTED = 200
_UNREADABLE = "Problems parsing request as json"
_NOT_UTF8 = "Non-UTF-8 data found in json"


async def json_object(request: Request) -> dict[str, Any]:
    """The body, which must be one JSON object. Raises ApiError 400, 413, 415, 422."""
    return parse_object(await json_octets(request), request.scope["path"])


async def read_body(
    request: Request, model: type[Body], missing: str = REQUIRED, *, with_values: bool = False
) -> Body:
    """The body as this model. Raises ApiError 413, 415 and what `fit` raises."""
    return fit(await json_object(request), model, missing, with_values=with_values)


def fit(
    value: dict[str, Any], model: type[Body], missing: str = REQUIRED, *, with_values: bool = False
) -> Body:
    """The object as this model, for resources whose errors have no description and no code.

    missing: the sentence for a field that is required. with_values: errors quote what is wrong.
    Raises ApiError 400 with all that is wrong.
    """
    try:
        return read(model, value, missing)
    except BadBody as error:
        problems = [
            Problem(sentence, param=field, value=_quoted(found) if with_values else None)
            for sentence, field, found in error.problems
        ]
        raise ApiError.of(400, problems) from error


async def json_octets(request: Request) -> bytes:
    """The body as it came, if it says that it is JSON. Raises ApiError 413, 415."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if not _JSON_TYPE.fullmatch(kind):
        raise ApiError(415, "Unsupported Content-Type header", "expected application/json", "1700")
    return await request.body()


def parse_object(octets: bytes, path: str) -> dict[str, Any]:
    """path: whose family of errors is spoken. Raises ApiError 400, 422."""
    try:
        return read_object(octets, MAX_SMALL_VALUES)
    except BadJson as error:
        raise refuse_json(error, path) from error


def refuse_json(error: BadJson, path: str) -> ApiError:
    match error.fault:
        case JsonFault.NOT_UTF8:
            return _refusal(path, 400, "invalid UTF-8", _NOT_UTF8, "1305")
        case JsonFault.TOO_MANY_VALUES:
            sentence = f"a body may have at most {error.limit:,} json values"
            return _refusal(path, 422, INVALID, sentence, "1300")
        case JsonFault.NO_OBJECT:
            return _refusal(path, 422, INVALID, _UNREADABLE, "1300")


def _refusal(path: str, status: int, message: str, sentence: str, code: str) -> ApiError:
    if says_message_alone(path):
        return ApiError(400, sentence)
    return ApiError(status, message, sentence, code)


def _quoted(value: object) -> object:
    """Enough to find it again in the request; of what is long or deep, nothing."""
    if isinstance(value, str):
        return value[:_MAX_QUOTED]
    try:
        return value if len(json.dumps(value)) <= _MAX_QUOTED else None
    except RecursionError:
        return None
