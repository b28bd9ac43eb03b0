"""The client's end of SMTP from MAIL on: replies in the order of the commands, a deadline a phase."""

import asyncio
from collections.abc import Iterable, Sequence

from relay.domain.reply import Phase, Reply
from relay.net.replies import Replies, Said, Unreadable
from relay.net.timeouts import Timeouts

_MAX_LINES = 64
"""Lines of a reply that are kept, but for the last."""
_MAX_TEXT = 2048
"""Characters of a reply that are kept."""

_TOO_EARLY = "reply before the end of the content"

LOST = "4.4.2 [internal] connection closed by remote host"


class Pipeline(asyncio.Protocol):
    """What is asked, and what came of it. Takes over a transport that aiosmtplib has opened."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.failure: Reply | None = None
        """Why no more can be asked: the server's 421, or a reply of ours that says what went wrong."""
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = Replies()
        self._replies: list[Reply] = []
        self._phases: Sequence[Phase] = ()
        self._answered: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_paused = False
        self._owed = 0
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take_over(self, transport: asyncio.Transport) -> None:
        """Speak and listen on this transport from now on."""
        self._transport = transport
        transport.set_protocol(self)
        if transport.is_closing():
            self.connection_lost(None)

    # ── asking ───────────────────────────────────────────────────────────────────────────

    async def ask(self, octets: bytes, phases: Sequence[Phase]) -> list[Reply]:
        """One reply for each phase; fewer when `failure` came first. Not for two callers at once."""
        if self.failure is not None:
            return []
        self._expect(phases)
        self._transport.write(octets)
        return await self._all_replies()

    async def send_content(self, pieces: Iterable[bytes]) -> tuple[Reply | None, bool]:
        """Write the content and its final dot; the reply, and whether the dot may have gone out.

        A server that answers before the dot is not listened to any more: no 2yz of that kind counts.
        """
        if self.failure is not None:
            return None, False
        self._expect((Phase.BODY,))
        answered = self._answered
        assert answered is not None
        for number, piece in enumerate(pieces):
            if self._is_paused:
                await self._wait_for_room(answered)
            elif number:
                await self._let_others_go_on()
            if answered.done():
                break
            self._transport.write(piece)
        else:
            self._set_deadline(self._timeouts.body_s)
            replies = await self._all_replies()
            return (replies[0] if replies else None), True
        replies = await self._all_replies()
        if not replies:
            return None, False
        (early,) = replies
        if early.is_positive:
            early = _protocol_error(_TOO_EARLY, Phase.BODY)
        self.fail(early)
        return early, False

    def forget(self, octets: bytes, replies: int) -> None:
        """Write commands whose replies nobody waits for; the next question comes after them."""
        if self.failure is None:
            self._owed += replies
            self._transport.write(octets)

    async def quit(self) -> None:
        """Take leave, briefly, and hang up."""
        if self.failure is None and self._answered is None:
            await self.ask(b"QUIT\r\n", (Phase.INTERNAL,))
        self.fail(_internal("4.4.2 [internal] connection closed", Phase.INTERNAL))

    def fail(self, reply: Reply) -> None:
        """Hang up; whoever waits is told that no more will come."""
        if self.failure is None:
            self.failure = reply
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiter in (self._answered, self._room):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _expect(self, phases: Sequence[Phase]) -> None:
        self._phases, self._replies = phases, []
        self._answered = self._loop.create_future()
        self._set_deadline(self._timeouts.of(phases[0]))

    async def _all_replies(self) -> list[Reply]:
        assert self._answered is not None
        try:
            await self._answered
        except asyncio.CancelledError:
            self.fail(_internal("4.4.2 [internal] given up", self._phase))
            raise
        self._answered, self._deadline = None, None
        return self._replies

    async def _wait_for_room(self, answered: asyncio.Future[None]) -> None:
        """Until the buffers have room, or a reply or the deadline came."""
        self._set_deadline(self._timeouts.block_s)
        self._room = self._loop.create_future()
        answered.add_done_callback(self._make_room)
        try:
            await self._room
        except asyncio.CancelledError:
            self.fail(_internal("4.4.2 [internal] given up", self._phase))
            raise
        answered.remove_done_callback(self._make_room)
        self._room = None

    async def _let_others_go_on(self) -> None:
        """A turn of the loop between two pieces, however fast the server takes them."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.fail(_internal("4.4.2 [internal] given up", self._phase))
            raise

    def _make_room(self, _: object = None) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # ── the transport's calls ────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        if self.failure is not None:
            return
        answered = len(self._replies)
        try:
            for said in self._reader.feed(data):
                if not self._take_reply(said):
                    return
        except Unreadable as why:
            self._break_off(str(why))
            return
        if answered < len(self._replies) < len(self._phases):
            self._set_deadline(self._timeouts.of(self._phase))

    def eof_received(self) -> bool:
        self._end_with(_internal(LOST, self._phase))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(_internal(LOST, self._phase))

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._make_room()

    # ── replies ──────────────────────────────────────────────────────────────────────────

    @property
    def _phase(self) -> Phase:
        """What the next reply answers."""
        if self._answered is None or len(self._replies) == len(self._phases):
            return Phase.INTERNAL
        return self._phases[len(self._replies)]

    def _end_with(self, failure: Reply) -> None:
        """Read no more, of this reply or another; a code that it has already counts all the same."""
        if self.failure is None and (said := self._reader.unfinished()) is not None:
            self._take_reply(said)
        self.fail(failure)

    def _take_reply(self, said: Said) -> bool:
        """Whether to go on listening."""
        reply = Reply(said.code, _text(said.lines), self._phase)
        if reply.code == 421:
            if not self._owed and self._phase is not Phase.INTERNAL:
                self._replies.append(reply)
            self.fail(reply)
            return False
        if self._owed:
            self._owed -= 1
            return True
        if self._answered is None or self._answered.done():
            return self._break_off("reply that nothing asked for")
        if reply.phase is Phase.BODY and reply.is_positive and self._transport.get_write_buffer_size():
            return self._break_off(_TOO_EARLY)
        self._replies.append(reply)
        if len(self._replies) == len(self._phases):
            self._answered.set_result(None)
        return True

    def _break_off(self, why: str) -> bool:
        self.fail(_protocol_error(why, self._phase))
        return False

    # ── deadlines ────────────────────────────────────────────────────────────────────────

    def _set_deadline(self, after_s: float) -> None:
        """One timer a session looks at the deadline when it rings: most never do."""
        deadline = self._deadline = self._loop.time() + after_s
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_deadline)
        else:
            failure = _internal(f"4.4.2 [internal] no reply in time: {self._phase.upper()}", self._phase)
            self._end_with(failure)


def _text(lines: Sequence[bytes]) -> str:
    """For people and logs: no control characters, and not without end."""
    octets = b" ".join((*lines[:-1][:_MAX_LINES], lines[-1])) if len(lines) > 1 else lines[0]
    text = octets.strip().decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text[:_MAX_TEXT]


def _internal(text: str, phase: Phase) -> Reply:
    return Reply(451, text, phase)


def _protocol_error(why: str, phase: Phase) -> Reply:
    return _internal(f"4.5.0 [internal] protocol error: {why}", phase)
