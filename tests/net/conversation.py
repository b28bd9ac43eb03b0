"""Sessions with a server on 127.0.0.1, and envelopes for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.domain.address import parse_mailbox
from relay.domain.ids import IpAddress
from relay.domain.message import Envelope
from relay.domain.reply import Phase
from relay.domain.route import TlsPolicy
from relay.net.smtp_session import SmtpDialer
from relay.net.timeouts import Timeouts
from relay.ports.outbound import Host, NoSession, SmtpSession, Transcript
from relay.sink.orders import EXTENSIONS

BIND = IpAddress("127.0.0.5")
CONTENT = (b"Received: from here\r\n", b"Subject: hi\r\n\r\nHello.\r\n")
WITHOUT_PIPELINING = tuple(name for name in EXTENSIONS if name != "PIPELINING")


@asynccontextmanager
async def session_with(port: int, **timeouts: float) -> AsyncIterator[SmtpSession]:
    dialer = SmtpDialer(timeouts=Timeouts(**timeouts), connect_timeout_s=2)
    host = Host("mx.fake.test", IpAddress("127.0.0.1"), port)
    session = await dialer.connect(BIND, "mta5.relay.test", host, TlsPolicy.OFF, None)
    assert not isinstance(session, NoSession)
    try:
        yield session
    finally:
        await session.close()


def to(
    *recipients: str, mail_from: str = "a@acme.test", smtputf8: bool = False, eight_bit: bool = False
) -> Envelope:
    return Envelope(mail_from, tuple(map(parse_mailbox, recipients)), smtputf8, eight_bit)


def said(transcript: Transcript) -> list[tuple[str, Phase]]:
    return [(str(reply), reply.phase) for reply in transcript.replies]
