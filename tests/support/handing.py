"""Mail for the SMTP door, and the door."""

from relay.accept.copies import Handed
from relay.accept.door import Injector
from relay.accept.turns import Turns
from relay.domain.address import parse_mailbox
from relay.domain.directory import Principal
from relay.domain.dsn import DsnRequest
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.message import Envelope, Options
from relay.domain.retry import RetryPolicy
from relay.mail.headers import fields_of
from tests.service.test_inject import NoLane
from tests.service.test_transmit import World


def smtp_door(world: World) -> Injector:
    return Injector(
        world.store.queue,
        world.live,
        NoLane(),
        world.clock,
        world.ids,
        RetryPolicy(),
        "relay.test",
        Turns(),
    )


def hand_in(
    *to: str,
    mail_from: str = "a@acme.test",
    fields: bytes = b"From: a@acme.test\r\n",
    body: bytes = b"Hello.\r\n",
    options: Options = Options(),  # noqa: B008 - a value
    asked: DsnRequest | None = None,
    subaccount: SubaccountId | None = None,
) -> Handed:
    """asked: what is to be told of each recipient."""
    to = to or ("bob@b.example",)
    requests = () if asked is None else (asked,) * len(to)
    return Handed(
        Principal(AccountId(1), subaccount, frozenset({"smtp/inject"})),
        Envelope(mail_from, tuple(map(parse_mailbox, to)), requests=requests),
        tuple(fields_of(fields)),
        body,
        options,
        "esmtp",
        "127.0.0.1",
        "client",
        "ESMTPA",
    )
