"""aiosmtplib's connection with our reader of replies: its own loses the code of odd ones, and empty lines."""

import asyncio

import aiosmtplib
import aiosmtplib.protocol

from relay.net.replies import Replies, Said, Unreadable


class Opening(aiosmtplib.protocol.SMTPProtocol):
    """One reply a command. What comes beside is dropped and cannot answer the next (RFC 3207 §4.2)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._replies = Replies(skips_empty=True)

    def data_received(self, data: bytes) -> None:
        if not self._is_asked:
            return
        try:
            said = next(self._replies.feed(data), None)
        except Unreadable as why:
            self._answer(aiosmtplib.SMTPResponseException(0, str(why)))
            return
        if said is not None:
            self._answer(said)

    def eof_received(self) -> bool:
        refusal = self._unfinished_refusal()
        if self._is_asked and refusal is not None:
            self._answer(refusal)
        return super().eof_received()

    async def read_response(self, timeout: float | None = None) -> aiosmtplib.SMTPResponse:  # noqa: ASYNC109
        try:
            return await super().read_response(timeout)
        except aiosmtplib.SMTPReadTimeoutError:
            refusal = self._unfinished_refusal()
            if refusal is None:
                raise
            raise refusal from None

    @property
    def _is_asked(self) -> bool:
        waiter = self._response_waiter
        return waiter is not None and self._response_pending and not waiter.done()

    def _answer(self, answer: Said | aiosmtplib.SMTPResponseException) -> None:
        waiter = self._response_waiter
        assert waiter is not None
        self._replies = Replies(skips_empty=True)
        if isinstance(answer, Said):
            waiter.set_result(aiosmtplib.SMTPResponse(answer.code, _message(answer)))
        else:
            self._set_response_exception(waiter, answer)

    def _unfinished_refusal(self) -> aiosmtplib.SMTPResponseException | None:
        """Of a line that the server did not end; what agrees like that has nothing to go on with."""
        said = self._replies.unfinished()
        if said is None or said.code < 400:
            return None
        return aiosmtplib.SMTPResponseException(said.code, _message(said))


def _message(said: Said) -> str:
    """As aiosmtplib has it, and with its empty lines: the first of EHLO's is no extension."""
    return b"\n".join(said.lines).decode("utf-8", "surrogateescape")
