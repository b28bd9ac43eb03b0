"""What an account is told of transmissions that were refused to it."""

from fastapi import Request

from relay.api.auth import account_of
from relay.api.errors import BASE, ApiError
from relay.api.services import services_of
from relay.domain.errors import StaleRequest, StoreUnavailable
from relay.domain.events import PolicyRejection
from relay.domain.transmission import InlineContent
from relay.schema.glance import Glance, glance_at
from relay.schema.transmissions import Asked
from relay.service.draft import parts_of
from relay.service.rejections import ADMIN_FAILURE, slip_of, with_count

_PATH = f"{BASE}/transmissions"


async def tell_rejection(request: Request, answer: ApiError, cause: Exception) -> None:
    """Have the account told, if the request was to send something and an account's key was shown.

    One event for all recipients. The answer waits for it to be written, but not for long.
    """
    if request.method != "POST" or request.scope["path"] != _PATH or isinstance(cause, StaleRequest):
        # What is repeated while the first is worked on is no mail of its own.
        return
    whose = account_of(request)
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
    services.rejections.tell(rejection, kind, slip_of(cause))
    if not isinstance(cause, StoreUnavailable):
        await services.rejections.told()


def _reason(answer: ApiError) -> str:
    said = [
        ": ".join(filter(None, (problem.message, problem.description))) for problem in answer.problems[:3]
    ]
    return f"{answer.status} {'; '.join(said)}"


def _glance(request: Request) -> Glance:
    """asked, octets: as far as the route came."""
    asked: Asked | None = getattr(request.state, "asked", None)
    if asked is None:
        return glance_at(getattr(request.state, "octets", b""))
    sender = asked.content.from_email if isinstance(asked.content, InlineContent) else ""
    first = next((part[0].mailbox.text for _, part in parts_of(asked.recipients) if part), "")
    return Glance(asked.return_path or sender, first, len(asked.recipients), asked.options.ip_pool or "")
