"""What an account is told of transmissions, and of recipients of theirs, that were refused to it."""

from dataclasses import replace

from fastapi import Request

from relay.accept.draft import parts_of
from relay.accept.rejections import A_MINUTE, Rejections, slip_of, with_count
from relay.domain.classify import ADMIN_FAILURE
from relay.domain.errors import StaleRequest, StoreUnavailable
from relay.domain.events import PolicyRejection
from relay.frames.actor import Caller
from relay.frames.rest.auth import account_behind
from relay.frames.rest.errors import BASE, ApiError, Problem
from relay.frames.rest.services import services_of
from relay.frames.rest.shapes import Problem as ProblemShape
from relay.resources.transmissions.body import Asked
from relay.resources.transmissions.faults import problem_of
from relay.resources.transmissions.glance import Glance, glance_at, sender_of

_PATH = f"{BASE}/transmissions"


async def tell_rejection(request: Request, answer: ApiError, cause: Exception) -> None:
    """Have the account told, if the request was to send something and an account's key was shown.

    One event for all recipients. The answer waits for it to be written, but not for long.
    """
    if request.method != "POST" or request.scope["path"] != _PATH or isinstance(cause, StaleRequest):
        # What is repeated while the first is worked on is no mail of its own.
        return
    whose = account_behind(request)
    if whose is None:
        return
    account, subaccount = whose
    services, glance = services_of(request), _glance(request)
    rejection = PolicyRejection(
        at=services.clock.now(),
        account=account,
        subaccount=subaccount,
        remote_addr=request.client.host if request.client else "",
        mail_from=glance.mail_from,
        rcpt_to=glance.rcpt_to,
        bounce_class=ADMIN_FAILURE,
        error_code=answer.status,
        raw_reason=with_count(_reason(answer), glance.num_rcpts),
        ip_pool_raw=glance.ip_pool,
        recv_method="rest",
    )
    kind = f"rest {answer.status} {answer.problems[0].code or ''}"
    services.use_cases[Rejections].tell(rejection, kind, slip_of(cause))
    if not isinstance(cause, StoreUnavailable):
        await services.use_cases[Rejections].told()


async def tell_recipients(request: Request, caller: Caller, asked: Asked) -> None:
    """Have the account told of those recipients that an accepted transmission was not taken for.

    One event for each, so many of a code; the rest is counted.
    """
    services, by_code = services_of(request), dict[int, list[int]]()
    for place, fault in enumerate(asked.faults):
        by_code.setdefault(fault.code, []).append(place)
    unkept = asked.num_rejected - len(asked.faults)
    rejection = PolicyRejection(
        at=services.clock.now(),
        account=caller.account,
        subaccount=caller.subaccount,
        remote_addr=request.client.host if request.client else "",
        mail_from=asked.return_path or sender_of(asked.content),
        rcpt_to="",
        bounce_class=ADMIN_FAILURE,
        error_code=0,
        raw_reason="",
        ip_pool_raw=asked.options.ip_pool or "",
        recv_method="rest",
    )
    for code, places in by_code.items():
        for number, place in enumerate(places[: A_MINUTE + 1]):
            reason = with_count(f"{code} {_said(problem_of(asked.faults[place]))}", 1)
            one = replace(rejection, rcpt_to=asked.rejected[place], error_code=code, raw_reason=reason)
            more = 0
            if number == A_MINUTE:
                more, unkept = len(places) - number - 1 + unkept, 0
            services.use_cases[Rejections].tell(one, f"rest 200 {code}", more=more)
    if by_code:
        await services.use_cases[Rejections].told()


def _reason(answer: ApiError) -> str:
    return f"{answer.status} {'; '.join(map(_said, answer.problems[:3]))}"


def _said(problem: Problem | ProblemShape) -> str:
    return ": ".join(filter(None, (problem.message, problem.description)))


def _glance(request: Request) -> Glance:
    """Of what was asked, as far as the route came, else of the octets of the body."""
    asked: Asked | None = getattr(request.state, "asked", None)
    if asked is None:
        return glance_at(getattr(request.state, "octets", b""))
    first = next((part[0].mailbox.text for _, part in parts_of(asked.recipients) if part), "")
    sender = asked.return_path or sender_of(asked.content)
    return Glance(sender, first, len(asked.recipients), asked.options.ip_pool or "")
