"""Telling the sender what became of mail, where the account asks for it (RFC 3461, RFC 3464)."""

import asyncio
import logging
from datetime import datetime

from relay.accept.copies import make_message
from relay.accept.ids import Ids
from relay.accept.sign import Signatures, hash_body, signing_of
from relay.domain.address import Mailbox, normalise_domain
from relay.domain.directory import Principal
from relay.domain.dsn import DsnRequest, Report
from relay.domain.errors import MalformedAddress, NoSender, Unsendable
from relay.domain.events import Bounce, Delivery, Injection, Subject
from relay.domain.ids import BodyId, mint_message_id
from relay.domain.lifecycle import Finish, Notice
from relay.domain.message import Body, Message, Options, Submission
from relay.domain.reply import Phase, Reply
from relay.domain.retry import RetryPolicy
from relay.mail.dsn import SUBJECTS, Fate, build_dsn
from relay.mail.gate import check_body, check_composed, read_section, split_at_empty_line
from relay.mail.headers import split_message
from relay.mail.seven_bit import is_convertible
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.eventlog import EventLog
from relay.ports.queue import QueueStore

_WHOLE_BYTES = 64 * 1024
"""Of a larger message RET=FULL returns no more than RET=HDRS (RFC 3461 §6.1)."""

log = logging.getLogger("relay.dsn")


class Notifier:
    """Writes the DSN that an end gives rise to. It leaves from the IP of the message it is about."""

    def __init__(
        self,
        queue: QueueStore,
        events: EventLog,
        directory: Directory,
        clock: Clock,
        ids: Ids,
        policy: RetryPolicy,
        hostname: str,
    ) -> None:
        self._queue, self._events, self._directory = queue, events, directory
        self._clock, self._ids, self._policy, self._hostname = clock, ids, policy, hostname

    async def compose(self, message: Message, finish: Finish) -> Notice | None:
        """The DSN for a message that ends by finish; None where nobody is to be told.

        None for accounts that do not ask, and for the null reverse-path: a DSN is never
        answered with another (RFC 5321 §6.1).
        """
        account = self._directory.snapshot.accounts.get(message.account)
        if account is None or not account.dsn or not message.mail_from:
            return None
        fate = _fate(message, finish)
        if fate is None:
            return None
        story = await self._events.story(message.id)
        submission = next((told.submission for told in story if told.submission is not None), None)
        if submission is None or not submission.mail_from:
            return None
        try:
            domain = normalise_domain(submission.mail_from.rpartition("@")[2])
        except MalformedAddress:
            return None
        body = await self._queue.body(message.id) or b""
        try:
            return await self._notice(message, fate, submission, domain, body)
        except (Unsendable, NoSender) as error:
            log.warning("message=%s ended, and nobody is told: the notice would be %s", message.id, error)
            return None

    async def _notice(
        self, message: Message, fate: Fate, original: Submission, domain: str, whole: bytes
    ) -> Notice:
        """Raises Unsendable, NoSender."""
        now = self._clock.now()
        transmission_id = self._ids.transmission_id()
        is_whole = fate.report is Report.FAILED and fate.asked.ret == "FULL" and len(whole) <= _WHOLE_BYTES

        def build(is_whole: bool) -> bytes:
            returned = whole if is_whole else split_message(whole)[0]
            return build_dsn(
                fate,
                original.mail_from,
                returned,
                transmission_id,
                self._hostname,
                message.accepted,
                now,
                is_whole=is_whole,
            )

        content = build(is_whole)
        if is_whole and not await asyncio.to_thread(is_convertible, content):
            # Its next hop may take 7 bits alone, and then nobody would be told.
            content = build(False)
        own_header, body = split_at_empty_line(content)
        check_composed(read_section(own_header))
        check_body(body)
        signatures = await self._signatures(message, domain, own_header, body, now)
        submission = Submission(
            id=transmission_id,
            account=message.account,
            subaccount=message.subaccount,
            accepted=now,
            recv_method="dsn",
            remote_addr="",
            mail_from="",
            subject=SUBJECTS[fate.report],
            friendly_from=f"MAILER-DAEMON@{self._hostname}",
            sending_domain=self._hostname,
            options=Options(),
            decision=original.decision,
        )
        notice = make_message(
            submission,
            mint_message_id(now, self._ids.message_entropy()),
            Mailbox(original.mail_from, domain),
            BodyId(transmission_id),
            len(content),
            signatures,
            "",
            message.pin,
            now,
            now + self._policy.expire_after,
            message.smtputf8,
            not content.isascii(),
        )
        return Notice(submission, Body(notice.body_id, content), notice, Injection(now, Subject.of(notice)))

    async def _signatures(
        self, message: Message, domain: str, header: bytes, body: bytes, now: datetime
    ) -> bytes:
        """Those that any mail from our host name has, in that account and pool; empty where nobody signs."""
        principal = Principal(message.account, message.subaccount)
        signing = signing_of(self._directory.snapshot, principal, self._hostname.lower(), message.pin.pool)
        if signing is None:
            return b""
        signatures = Signatures(signing, await hash_body(body))
        return signatures.own(domain, header, now) + signatures.common(header, now)


def _fate(message: Message, finish: Finish) -> Fate | None:
    asked = message.dsn_request or DsnRequest()
    match finish.report, finish.event:
        case Report.FAILED, Bounce(raw_reason=reason, peer=peer):
            return Fate(message.rcpt_to, _status(reason, "5"), reason, peer.ip_address, asked=asked)
        case Report.RELAYED, Delivery(reply=reply, peer=peer):
            status = _status(reply, "2")
            return Fate(message.rcpt_to, status, reply, peer.ip_address, Report.RELAYED, asked)
    return None


def _status(line: str, digit: str) -> str:
    """The enhanced code in a reply, or the general one of its class (RFC 3463 §2)."""
    code, _, text = line.partition(" ")
    enhanced = Reply(int(code) if code.isdecimal() else 554, text, Phase.INTERNAL).enhanced
    return enhanced if enhanced.startswith(digit) else f"{digit}.0.0"
