"""What an account is told of mail that was refused to it by SMTP, for good or for now."""

from dataclasses import dataclass

from relay.accept.rejections import with_count
from relay.domain.classify import ADMIN_FAILURE
from relay.domain.directory import Principal
from relay.domain.events import PolicyRejection
from relay.ingress.replies import printable
from relay.ingress.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply of 4yz or 5yz, and what it was said to."""

    reply: str
    mail_from: str = ""
    rcpt_to: str = ""
    """The first of the recipients; empty before there is one."""
    num_rcpts: int = 1
    ip_pool: str = ""


def tell(
    around: Surroundings, principal: Principal, remote_addr: str, refusal: Refusal, slip: str = ""
) -> None:
    """Have it told as an event. The reply neither fails nor waits because of it. slip: as `Rejecting`."""
    reply = refusal.reply
    rejection = PolicyRejection(
        at=around.clock.now(),
        account=principal.account,
        subaccount=principal.subaccount,
        remote_addr=remote_addr,
        mail_from=printable(refusal.mail_from),
        rcpt_to=printable(refusal.rcpt_to),
        bounce_class=ADMIN_FAILURE,
        error_code=int(reply[:3]),
        raw_reason=with_count(reply, refusal.num_rcpts),
        ip_pool_raw=refusal.ip_pool,
        recv_method="esmtp",
    )
    around.rejections.tell(rejection, "smtp " + " ".join(reply.split(" ", 2)[:2]), slip)
