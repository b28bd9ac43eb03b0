"""One conversation that is ready for MAIL, and its transactions (RFC 5321 §3.3)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from relay.domain.address import Mailbox, parse_mailbox
from relay.domain.dsn import DsnRequest
from relay.domain.errors import MalformedAddress
from relay.domain.message import Envelope
from relay.domain.outcome import Peer
from relay.domain.reply import Phase, Reply
from relay.mail.xtext import embed
from relay.net.content import cut_in_pieces
from relay.net.pipeline import Pipeline
from relay.ports.outbound import Transcript

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_WORD = rf'[^ "<>@\\{_CONTROLS}]++'
_PATH = re.compile(rf'(?:"(?:[^"\\{_CONTROLS}]|\\[ -~])*+"|{_WORD})@{_WORD}|')
"""What ends where the angle brackets of MAIL and RCPT end, so that no parameter can grow out of it."""
_BAD_SENDER = Reply(553, "5.1.7 [internal] the return path is no address", Phase.INTERNAL)
_BAD_RECIPIENT = Reply(553, "5.1.3 [internal] the recipient is no address", Phase.INTERNAL)
_NOT_INTERNATIONAL = Reply(
    553, "5.6.7 [internal] the host does not take internationalised mail", Phase.INTERNAL
)


class PipelinedSession:
    """`SmtpSession`."""

    def __init__(self, pipeline: Pipeline, peer: Peer, extensions: Mapping[str, str]) -> None:
        """extensions: upper-case EHLO keywords and their parameters."""
        self._pipeline, self._peer = pipeline, peer
        self._extensions = frozenset(extensions)
        size = extensions.get("SIZE", "").strip()
        self._max_bytes = int(size) if size.isdecimal() and size.isascii() else 0
        self._can_pipeline = "PIPELINING" in extensions
        self._can_report = "DSN" in extensions

    @property
    def peer(self) -> Peer:
        return self._peer

    @property
    def extensions(self) -> frozenset[str]:
        return self._extensions

    @property
    def is_usable(self) -> bool:
        """Whether another transaction may begin; False as soon as the server hangs up."""
        return self._pipeline.failure is None

    async def close(self) -> None:
        """QUIT, briefly, then hang up."""
        await self._pipeline.quit()

    async def transact(self, envelope: Envelope, chunks: Sequence[bytes]) -> Transcript:
        """MAIL, RCPT…, DATA; see `SmtpSession`. When cancelled, the connection is closed."""
        size = sum(map(len, chunks))
        if self._max_bytes and size > self._max_bytes:
            text = (
                f"5.3.4 [internal] message of {size} octets exceeds the {self._max_bytes} that the host takes"
            )
            return Transcript((Reply(552, text, Phase.INTERNAL),) * len(envelope.recipients))
        if not _PATH.fullmatch(envelope.mail_from):
            return Transcript((_BAD_SENDER,) * len(envelope.recipients))
        if envelope.smtputf8 or not envelope.mail_from.isascii() or not _are_ascii(envelope.recipients):
            return await self._transact_utf8(envelope, chunks, size)
        texts = [mailbox.text for mailbox in envelope.recipients]
        asked = self._asked(envelope, is_utf8=False)
        return await self._carry_out(
            envelope.mail_from, texts, self._parameters(envelope, size), chunks, asked
        )

    # ── RFC 6531 ─────────────────────────────────────────────────────────────────────────

    async def _transact_utf8(self, envelope: Envelope, chunks: Sequence[bytes], size: int) -> Transcript:
        """With SMTPUTF8; to a host without it, what can be said in ASCII (§3.2, §3.5)."""
        parameters = self._parameters(envelope, size)
        if "SMTPUTF8" in self._extensions:
            texts = [mailbox.text for mailbox in envelope.recipients]
            asked = self._asked(envelope, is_utf8=True)
            return await self._carry_out(envelope.mail_from, texts, parameters + " SMTPUTF8", chunks, asked)
        mail_from = _ascii_path(envelope.mail_from)
        if mail_from is None or (envelope.smtputf8 and not _has_ascii_header(chunks)):
            return Transcript((_NOT_INTERNATIONAL,) * len(envelope.recipients))
        paths = [_ascii_mailbox(mailbox) for mailbox in envelope.recipients]
        asked = self._asked(envelope, is_utf8=False)
        return await self._carry_out(mail_from, paths, parameters, chunks, asked)

    # ── one transaction ──────────────────────────────────────────────────────────────────

    def _parameters(self, envelope: Envelope, size: int) -> str:
        parameters = f" SIZE={size}" if "SIZE" in self._extensions else ""
        if envelope.eight_bit and "8BITMIME" in self._extensions:
            parameters += " BODY=8BITMIME"
        if envelope.requests and self._can_report:
            parameters += _of_mail(envelope.requests)
        return parameters

    def _asked(self, envelope: Envelope, *, is_utf8: bool) -> Sequence[str]:
        """Parameters of RCPT for each recipient; empty where none has any. is_utf8: MAIL says SMTPUTF8."""
        if not (envelope.requests and self._can_report):
            return ()
        return [_of_rcpt(asked, is_utf8=is_utf8) for asked in envelope.requests]

    async def _carry_out(
        self,
        mail_from: str,
        paths: Sequence[str | None],
        parameters: str,
        chunks: Sequence[bytes],
        asked: Sequence[str],
    ) -> Transcript:
        """As `transact`, without the paths that cannot be said: None, and what is no address."""
        sayable = [path for path in paths if _is_path(path)]
        if len(sayable) == len(paths):
            return await self._converse(mail_from, sayable, parameters, chunks, asked)
        transcript = Transcript(())
        if sayable:
            asked = [words for path, words in zip(paths, asked, strict=False) if _is_path(path)]
            transcript = await self._converse(mail_from, sayable, parameters, chunks, asked)
        replies = iter(transcript.replies)
        told = [
            next(replies) if _is_path(path) else _NOT_INTERNATIONAL if path is None else _BAD_RECIPIENT
            for path in paths
        ]
        return replace(transcript, replies=tuple(told))

    async def _converse(
        self,
        mail_from: str,
        paths: Sequence[str],
        parameters: str,
        chunks: Sequence[bytes],
        asked: Sequence[str],
    ) -> Transcript:
        rcpts = [f"RCPT TO:<{path}>" for path in paths]
        if asked:
            rcpts = [rcpt + words for rcpt, words in zip(rcpts, asked, strict=True)]
        commands = [f"MAIL FROM:<{mail_from}>{parameters}", *rcpts, "DATA"]
        if self._can_pipeline:
            octets = "\r\n".join([*commands, ""]).encode()
            said = await self._pipeline.ask(octets, _PHASES.get(len(paths)) or _phases(len(paths)))
        else:
            said = await self._one_by_one(commands)
        failure = self._pipeline.failure
        if failure is not None:
            return Transcript(_decided(said, failure, len(paths)), is_lost=True)
        mail, rcpt = said[0], said[1 : len(paths) + 1]
        accepted = [is_taken(mail) and is_taken(reply) for reply in rcpt]
        data = said[len(paths) + 1] if len(said) == len(commands) else None
        if data is not None and 300 <= data.code < 400:
            if not any(accepted):
                # RFC 2920 §3.1: the content that is now asked for goes to nobody.
                await self._abandon(b".\r\n")
                return self._verdict(_refusals(mail, rcpt, data, len(paths)))
            return await self._send(chunks, rcpt, accepted)
        if is_taken(mail):
            await self._abandon(b"")
        return self._verdict(_refusals(mail, rcpt, data, len(paths)))

    async def _one_by_one(self, commands: Sequence[str]) -> list[Reply]:
        """For a host without PIPELINING: each reply is waited for, and DATA needs a recipient."""
        phases = _phases(len(commands) - 2)
        said: list[Reply] = []
        for command, phase in zip(commands, phases, strict=True):
            if phase is Phase.DATA and not any(map(is_taken, said[1:])):
                break
            said += await self._pipeline.ask(command.encode() + b"\r\n", (phase,))
            if self._pipeline.failure is not None or not is_taken(said[0]):
                break
        return said

    async def _send(
        self, chunks: Sequence[bytes], rcpt: Sequence[Reply], accepted: Sequence[bool]
    ) -> Transcript:
        final, may_be_there = await self._pipeline.send_content(cut_in_pieces(chunks))
        failure = self._pipeline.failure
        is_ambiguous = final is None and may_be_there
        if final is None:
            assert failure is not None
            final = Reply(failure.code, failure.text, Phase.BODY)
        replies = tuple([final if taken else reply for reply, taken in zip(rcpt, accepted, strict=True)])
        return Transcript(replies, is_lost=failure is not None, is_ambiguous=is_ambiguous)

    async def _abandon(self, octets: bytes) -> None:
        """End a transaction that has begun, so that the next MAIL finds none."""
        if self._can_pipeline:
            self._pipeline.forget(octets + b"RSET\r\n", 2 if octets else 1)
            return
        if octets:
            await self._pipeline.ask(octets, (Phase.BODY,))
        await self._pipeline.ask(b"RSET\r\n", (Phase.RCPT,))

    def _verdict(self, replies: tuple[Reply, ...]) -> Transcript:
        return Transcript(replies, is_lost=self._pipeline.failure is not None)


def _of_mail(requests: Sequence[DsnRequest | None]) -> str:
    """RET and ENVID, which all recipients share, as the client gave them (RFC 3461 §5.2.1)."""
    asked = next(filter(None, requests))
    return (f" RET={asked.ret}" if asked.ret else "") + (f" ENVID={asked.envid}" if asked.envid else "")


def _of_rcpt(asked: DsnRequest | None, *, is_utf8: bool) -> str:
    """NOTIFY and ORCPT; where MAIL does not say SMTPUTF8, in ASCII (RFC 6533 §3)."""
    if asked is None:
        return ""
    words = f" NOTIFY={asked.notify}" if asked.notify else ""
    if asked.orcpt:
        words += f" ORCPT={asked.orcpt if is_utf8 else embed(asked.orcpt)}"
    return words


def _is_path(path: str | None) -> TypeGuard[str]:
    return bool(path and _PATH.fullmatch(path))


def is_taken(reply: Reply) -> bool:
    """Whether the server agreed to MAIL or RCPT."""
    return 200 <= reply.code < 300


def _phases(recipients: int) -> tuple[Phase, ...]:
    return (Phase.MAIL, *[Phase.RCPT] * recipients, Phase.DATA)


_PHASES = {count: _phases(count) for count in range(1, 33)}


def _refusals(mail: Reply, rcpt: Sequence[Reply], data: Reply | None, recipients: int) -> tuple[Reply, ...]:
    """The reply that decided each recipient's fate when no content was sent."""
    if not is_taken(mail):
        return (mail,) * recipients
    return tuple(data if data is not None and is_taken(reply) else reply for reply in rcpt)


def _decided(said: Sequence[Reply], failure: Reply, recipients: int) -> tuple[Reply, ...]:
    """As `_refusals`, when the conversation ended before the content: for the rest, why it did."""
    if said and not is_taken(said[0]):
        return (said[0],) * recipients
    rcpt = said[1 : recipients + 1]
    if len(said) > recipients + 1 and said[-1].code >= 400:
        failure = said[-1]  # to DATA
    refused = [reply if not is_taken(reply) else failure for reply in rcpt]
    return (*refused, *[failure] * (recipients - len(refused)))


def _are_ascii(mailboxes: Sequence[Mailbox]) -> bool:
    return all(mailbox.is_ascii for mailbox in mailboxes)


def _ascii_mailbox(mailbox: Mailbox) -> str | None:
    """The address with its domain as A-labels; None when its local part is not ASCII."""
    if mailbox.is_ascii:
        return mailbox.text
    local = mailbox.text.rpartition("@")[0]
    return f"{local}@{mailbox.domain}" if local.isascii() else None


def _ascii_path(path: str) -> str | None:
    """As `_ascii_mailbox`, for a reverse-path, which may be empty."""
    if path.isascii():
        return path
    try:
        return _ascii_mailbox(parse_mailbox(path))
    except MalformedAddress:
        return None


def _has_ascii_header(chunks: Sequence[bytes]) -> bool:
    """Whether the header section is ASCII; an empty line ends it, which may begin a later chunk."""
    for number, chunk in enumerate(chunks):
        if number and chunk.startswith(b"\r\n"):
            return True
        end = chunk.find(b"\r\n\r\n")
        if not chunk[: None if end < 0 else end].isascii():
            return False
        if end >= 0:
            return True
    return True
