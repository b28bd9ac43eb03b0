"""The session of mail that goes nowhere: it takes all that it is given, and no octet leaves."""

from collections.abc import Sequence

from relay.domain.message import Envelope
from relay.domain.outcome import Peer
from relay.domain.reply import Phase, Reply
from relay.ports.outbound import Transcript

TAKEN = Reply(250, "2.0.0 [internal] taken by the sink: nothing was sent", Phase.BODY)


class SinkSession:
    """`SmtpSession` without a server."""

    peer = Peer()
    extensions = frozenset(("8BITMIME", "SMTPUTF8"))
    is_usable = True

    async def transact(self, envelope: Envelope, chunks: Sequence[bytes]) -> Transcript:
        return Transcript((TAKEN,) * len(envelope.recipients))

    async def close(self) -> None:
        """There is nobody to say goodbye to."""
