"""`Idempotency-Key`: a request that is repeated within a day is answered again and carried out once."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import Header, Request
from fastapi.responses import Response

from relay.domain.errors import RelayError, StaleRequest, StoreUnavailable
from relay.frames.actor import Caller
from relay.frames.rest.errors import ApiError, says_message_alone
from relay.frames.rest.services import services_of
from relay.frames.retention import ended_before
from relay.ports.idempotency import Answer, Answered, Begun, Ticket

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""`true` in an answer that was given before."""

_KEY = re.compile(r"[ -~]{1,255}")
_LARGE = 1 << 20

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=HEADER, description="1 to 255 printable characters: the same key, the same answer, for a day."
    ),
]
"""A parameter of routes that use `answer_once`, for their description alone."""

log = logging.getLogger("relay.api")


async def answer_once(
    request: Request,
    caller: Caller,
    work: Callable[[Ticket | None], Awaitable[Response]],
    headers: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
) -> Response:
    """What work answers; or, when the caller repeats a request of the last 24 hours, what it answered then.

    headers: makes those that the answer had besides, from the request, which is the same.

    work gets a ticket when the request has a key, and may store the answer itself along with
    what it does. A refusal is not kept: nothing was done. Raises what work raises, ApiError 400
    (no key that could be one) and 422 (the key was used for something else), and StaleRequest
    while the first one is still being worked on.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await work(None)
    if not _KEY.fullmatch(key):
        raise _refusal(
            request, 400, "invalid params", f"{HEADER} must be 1 to 255 printable characters", "1200"
        )
    services = services_of(request)
    expired, given_up = ended_before(services.clock)
    found = await services.idempotency.begin(
        Ticket(f"{caller.account}/{caller.subaccount or 0}", key, services.clock.now()),
        await _fingerprint(request),
        expired=expired,
        given_up=given_up,
    )
    if isinstance(found, Begun):
        return await _first(request, found.ticket, work)
    if found.fingerprint != await _fingerprint(request):
        sentence = f"{HEADER} was used for another request"
        raise _refusal(request, 422, "resource conflict", sentence, "1602")
    if found.answer is None:
        raise StaleRequest
    return Response(
        found.answer.body,
        found.answer.status,
        headers={REPLAYED: "true", **({} if headers is None else await headers())},
        media_type="application/json",
    )


async def _first(
    request: Request, ticket: Ticket, work: Callable[[Ticket | None], Awaitable[Response]]
) -> Response:
    """After any other error it is not known what was done: the key stays taken for a while."""
    store = services_of(request).idempotency
    try:
        response = await work(ticket)
    except (ApiError, RelayError):
        with suppress(StoreUnavailable):
            await store.give_up(ticket)
        raise
    try:
        await store.answer(Answered(ticket, Answer(response.status_code, bytes(response.body))))
    except (StoreUnavailable, StaleRequest) as error:
        log.warning("the answer to a request with a key is not kept: %s", type(error).__name__)
    return response


async def _fingerprint(request: Request) -> str:
    """The same for the same request: method, path, query and body."""
    body = await request.body()
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    if len(body) < _LARGE:
        return hashlib.sha256(head + body).hexdigest()
    return await asyncio.to_thread(_digest, head, body)


def _digest(head: bytes, body: bytes) -> str:
    digest = hashlib.sha256(head)
    digest.update(body)
    return digest.hexdigest()


def _refusal(request: Request, status: int, message: str, sentence: str, code: str) -> ApiError:
    if says_message_alone(request.url.path):
        return ApiError(status, sentence)
    return ApiError(status, message, sentence, code)
