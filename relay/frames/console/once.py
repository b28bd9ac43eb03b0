"""A form that is sent twice is carried out once: its token is used up along with what it does."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from relay.domain.errors import RelayError, StaleRequest, StoreUnavailable
from relay.frames.console.visit import Visit
from relay.frames.retention import ended_before
from relay.ports.idempotency import Begun, Ticket

FIELD = "once"
"""The hidden field with the token."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,64}")
_LOOKS = 20
_LOOK_EVERY_S = 0.25


class UsedForm(Exception):
    """The form was sent before, with other values; `result` is what came of it, empty when unknown."""

    def __init__(self, result: bytes) -> None:
        super().__init__("this form was sent before")
        self.result = result


def mint() -> str:
    """A token for a form that is about to be shown."""
    return secrets.token_urlsafe(24)


async def do_once(visit: Visit, values: Sequence[str], work: Callable[[Ticket], Awaitable[bytes]]) -> bytes:
    """What work made of the form; or what it made when the same form was sent before.

    values: what the form asks for. work stores its result itself, under the ticket, along with
    what it does; a refusal leaves the form as if it had never been sent. Raises what work
    raises, UsedForm (also without a token of ours), StaleRequest (the first is still worked on).
    """
    token, store, now = visit.form[FIELD], visit.services.idempotency, visit.services.clock.now()
    expired, given_up = ended_before(visit.services.clock)
    if not _TOKEN.fullmatch(token):
        raise UsedForm(b"")
    ticket = Ticket(f"console/{visit.account.id}/{visit.user.id}", token, now)
    fingerprint = hashlib.sha256("\n".join((visit.request.url.path, *values)).encode()).hexdigest()
    for _ in range(_LOOKS):
        found = await store.begin(ticket, fingerprint, expired=expired, given_up=given_up)
        if isinstance(found, Begun):
            break
        if found.fingerprint != fingerprint:
            raise UsedForm(b"" if found.answer is None else found.answer.body)
        if found.answer is not None:
            return found.answer.body
        # Another press of the same button, perhaps in another process: nothing announces its end.
        await asyncio.sleep(_LOOK_EVERY_S)
    else:
        raise StaleRequest
    try:
        return await work(ticket)
    except RelayError:
        with suppress(StoreUnavailable):
            await store.give_up(ticket)
        raise
