"""Messages for tests that need some, with ids of their own."""

from datetime import UTC, datetime, timedelta
from itertools import count

from relay.domain.ids import AccountId, BodyId, IpAddress, MessageId, PoolId, TransmissionId
from relay.domain.message import Message, Pin, RcptType

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACCOUNT = AccountId(1)
IP = IpAddress("127.0.0.11")

_numbers = count(1)


def build_message(
    to: str = "bob@b.example",
    *,
    transmission: str = "",
    body: str = "",
    ip: IpAddress = IP,
    due: datetime = NOW,
    expires: datetime = NOW + timedelta(hours=72),
    accepted: datetime = NOW,
    size_bytes: int = 100,
) -> Message:
    """A fresh message with ids of its own, where none are given."""
    number = next(_numbers)
    transmission = transmission or f"{number:018}"
    return Message(
        id=MessageId(f"{number:020x}"),
        transmission_id=TransmissionId(transmission),
        account=ACCOUNT,
        subaccount=None,
        body_id=BodyId(body or transmission),
        prefix=b"",
        mail_from="sender@acme.test",
        rcpt_to=to,
        domain=to.rpartition("@")[2],
        rcpt_type=RcptType.TO,
        size_bytes=size_bytes,
        smtputf8=False,
        eight_bit=False,
        pin=Pin(PoolId("default"), ip, f"mta.{ip}", ip),
        accepted=accepted,
        expires=expires,
        due=due,
    )
