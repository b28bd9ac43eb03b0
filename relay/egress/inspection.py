"""Mail that a version without the gate stored: read before it is sent, bounced where it must not leave."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from relay.domain.errors import NoSender, StoreUnavailable, Unsendable
from relay.domain.ids import MessageId, TransmissionId
from relay.domain.message import Message
from relay.domain.outcome import Bounced, NotTried, Outcome, Peer
from relay.domain.reply import Phase, Reply
from relay.mail.gate import check_stored
from relay.ports.queue import Claimed, QueueStore

_PAUSE = timedelta(seconds=1)


class Inspection:
    """For one lane. What this version stored has passed the gate, and costs a comparison."""

    def __init__(self, queue: QueueStore, settle: Callable[[Message, Outcome], None]) -> None:
        self._queue, self._settle = queue, settle
        self._last_ungated: MessageId | None = None

    async def passed(self, mail: Sequence[Claimed], now: datetime) -> Sequence[Claimed]:
        """What may be sent of this; the rest has its outcome."""
        try:
            if self._last_ungated is None:
                self._last_ungated = await self._queue.last_ungated()
            last = self._last_ungated
            old = [one for one in mail if one.message.id <= last]
            if not old:
                return mail
            composed = await self._queue.composed({one.message.transmission_id for one in old})
        except StoreUnavailable:
            for one in mail:
                self._settle(one.message, NotTried(now + _PAUSE, ""))
            return []
        refused = await asyncio.to_thread(_refused, old, composed)
        for one in old:
            if one.message.id in refused:
                text = f"5.6.0 [internal] {refused[one.message.id]}"
                self._settle(one.message, Bounced(Reply(550, text, Phase.INTERNAL), Peer()))
        return [one for one in mail if one.message.id not in refused]


def _refused(mail: Sequence[Claimed], composed: Collection[TransmissionId]) -> Mapping[MessageId, str]:
    """Why, for each that must not leave."""
    found: dict[MessageId, str] = {}
    for one in mail:
        message = one.message
        try:
            check_stored(message.prefix, one.body, message.transmission_id in composed)
        except Unsendable as error:
            found[message.id] = error.detail
        except NoSender:
            found[message.id] = "From is not one mailbox"
    return found
