"""One connection's life: opened from the pinned IP, used while there is mail, closed in good order."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

from relay.domain.address import Mailbox
from relay.domain.errors import Busy, OverCapacity, SourceUnplumbed
from relay.domain.ids import IpAddress, MessageId
from relay.domain.lifecycle import LONELY_AFTER
from relay.domain.message import Envelope, Message
from relay.domain.outcome import (
    Bounced,
    Deferred,
    NotTried,
    Outcome,
    Peer,
    backs_off,
    is_about_session,
    judge,
)
from relay.domain.reply import Phase, Reply
from relay.domain.site import Site
from relay.egress.hosts import Hosts
from relay.egress.path import Load, Path, PathLimits
from relay.egress.seven_bit import Converter
from relay.egress.sink import SinkSession
from relay.egress.solitude import Crowded, Solitude
from relay.mail.seven_bit import Unconvertible
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.outbound import Dialer, Host, Login, MxResolver, NoSession, SmtpSession, Transcript
from relay.ports.queue import Claimed

_IDLE_S = 10.0
_SUSPENSION = timedelta(seconds=60)
"""How long mail waits when its IP is not on this machine, or when a bug of ours met it."""
_SHORTAGE = timedelta(seconds=10)
"""How long it waits when this process can open no more connections, or has no place for hard work."""
_TOO_MANY = {452, 552}
"""Codes for a recipient too many (RFC 5321 §4.5.3.1.10)."""

_BEHIND_MAIL = {Phase.RCPT, Phase.DATA, Phase.BODY}

log = logging.getLogger("relay.egress")

NO_HOSTS = Reply(451, "4.4.1 [internal] No valid hosts (unable to make any connections)", Phase.INTERNAL)
NOT_CONVERTIBLE = Reply(
    554, "5.6.3 [internal] the host takes no 8-bit content, and this cannot be converted", Phase.INTERNAL
)
NO_PLACE = "451 4.3.1 [internal] No place to convert it for a host that takes no 8-bit content"
_UNANSWERED = "4.4.3"
"""Enhanced code of DNS that did not answer: there may be a host."""
_OF_THIS_HOST = {"5.3.4", "5.6.7"}
"""Enhanced codes of a session's own verdicts on what its host offers: SIZE, SMTPUTF8."""
LOOP = Reply(554, "5.4.6 mail loop detected", Phase.INTERNAL)


class Station(Protocol):
    """The lane, as one of its conversations sees it."""

    def binding(self, message: Message) -> tuple[IpAddress, str]:
        """Where to bind, and the EHLO name, for mail with this pin."""

    def may_start(self) -> bool:
        """Whether a transaction may begin: the lane is ours for long enough, and we are not stopping."""

    def settle(self, message: Message, outcome: Outcome) -> None: ...

    def unplumbed(self, bind: IpAddress) -> None:
        """The sending IP is not on this machine."""


@dataclass(frozen=True, slots=True)
class DeliveryMeans:
    """What every conversation of this process uses."""

    dialer: Dialer
    resolver: MxResolver
    clock: Clock
    limits: PathLimits
    first_retry: timedelta
    solitude: Solitude
    directory: Directory
    converter: Converter
    is_ours: Callable[[Host], bool]
    """Whether an address and port is a listener of this relay: mail sent there would loop, or worse."""
    sinks: Sequence[str] = ()
    """Domains whose mail, and that of all below them, goes nowhere."""


@dataclass(slots=True)
class _Trial:
    """What one attempt has come to so far, from host to host."""

    left: Sequence[Claimed]
    """Mail that nobody took or refused for good."""
    answers: dict[MessageId, Deferred | Bounced] = field(default_factory=dict)
    """What the last host to be asked said of it; nothing when that was about our connection alone.

    Bounced is a verdict of ours on hosts that offer too little, as long as none has put the mail off.
    """
    untried: list[Claimed] = field(default_factory=list)
    """Recipients too many, which another transaction may take."""
    is_refused: bool = False
    """Whether a host refused mail that it may well take another time, or other mail."""
    is_detour: bool = False
    """Whether such a host was left for another."""

    def offers_too_little(self, mail: Iterable[Claimed], verdict: Bounced) -> None:
        """The host that was asked lacks what this mail needs, which others may have."""
        for claimed in mail:
            self.answers.setdefault(claimed.message.id, verdict)
        self.is_refused = True


class Conversation:
    """Carries loads of one path, one after the other, on one connection at a time."""

    def __init__(self, means: DeliveryMeans, station: Station, path: Path) -> None:
        self._means, self._station, self._path = means, station, path
        self._session: SmtpSession | None = None
        self._host: Host | None = None
        self._bind: IpAddress | None = None
        self._ehlo = ""
        self._transactions = 0
        self._has_begun = False  # a transaction: the host had agreed to MAIL in this session
        self._is_live = False

    async def run(self) -> None:
        """Until no mail came for a while, the path closes, or the host cannot be reached."""
        try:
            load = self._path.first_load()
            while load is not None:
                if not await self._carry(load):
                    return
                load = await self._path.next_load(_IDLE_S)
        finally:
            # Before the farewell, which may take its time: others may connect meanwhile.
            self._path.ended(self._is_live)
            await self._hang_up()

    # ── one load ─────────────────────────────────────────────────────────────────────────

    async def _carry(self, load: Load) -> bool:
        """Deliver a load, or say what became of it; whether the conversation can go on."""
        untried: Sequence[Claimed] = ()
        is_suspect = load.mail[0].message.orphaned >= LONELY_AFTER
        solitude = self._means.solitude
        try:
            async with solitude.alone() if is_suspect else solitude:
                untried, goes_on = await self._attempt(load.mail)
        except Crowded:
            self._settle(load.mail, NotTried(self._means.clock.now() + _SUSPENSION, ""))
            goes_on = True
        except Exception:  # The top of a unit of work: a bug of ours is nobody's bounce.
            reference = uuid4().hex[:12]
            ids = " ".join(claimed.message.id for claimed in load.mail[:5])
            log.exception("reference=%s attempt failed for a reason of our own: messages=%s", reference, ids)
            until = self._means.clock.now() + _SUSPENSION
            self._settle(load.mail, NotTried(until, f"451 4.3.0 [internal] error, reference {reference}"))
            goes_on = False
        finally:
            self._path.put_down(load, untried)
        return goes_on

    async def _attempt(self, mail: Sequence[Claimed]) -> tuple[Sequence[Claimed], bool]:
        """Outcomes for all but the mail that is returned, untried; and whether to go on."""
        if not self._station.may_start():
            self._settle(mail, NotTried(self._means.clock.now(), ""))
            return (), False
        binding = self._station.binding(mail[0].message)
        if self._session is not None and (not self._session.is_usable or binding != (self._bind, self._ehlo)):
            await self._hang_up()
        trial = _Trial(mail)
        asked: Host | None = None
        if self._session is not None and not await self._transact(trial, is_kept=True):
            asked = self._host
        failure = await self._go_round(trial, binding, asked) if trial.left else None
        if trial.is_detour:
            await self._hang_up()
        return self._conclude(trial, failure)

    async def _go_round(
        self, trial: _Trial, binding: tuple[IpAddress, str], asked: Host | None
    ) -> NoSession | NotTried | Bounced | None:
        """From host to host, until nothing is left (RFC 5321 §5.1); why the last one was not asked.

        asked: one that has had its turn.
        """
        site, means = self._path.site, self._means
        if site.is_sink:
            self._begin(SinkSession(), None, binding)
            await self._transact(trial)
            return None
        hosts = Hosts(site, binding[0], means.resolver, means.is_ours)
        failure: NoSession | None = None
        while (host := await hosts.next()) is not None:
            if host == asked:
                continue
            await self._hang_up()
            if not self._station.may_start():
                return NotTried(means.clock.now(), "")
            opened = await self._connect(*binding, host, site)
            match opened:
                case NotTried():
                    return opened
                case NoSession():
                    failure = opened
                    continue
            self._begin(opened, host, binding)
            trial.is_detour = trial.is_refused
            await self._transact(trial)
            if not trial.left:
                return None
        if failure is None and hosts.failure is not None and hosts.failure.enhanced == _UNANSWERED:
            failure = NoSession(hosts.failure, Peer())
        if failure is not None or trial.answers:
            return failure
        if hosts.is_loop:
            return Bounced(LOOP, Peer())
        reason = hosts.failure or NO_HOSTS
        return Bounced(reason, Peer()) if reason.code >= 500 else NoSession(reason, Peer())

    def _begin(self, session: SmtpSession, host: Host | None, binding: tuple[IpAddress, str]) -> None:
        self._session, self._host, self._transactions = session, host, 0
        self._has_begun = False
        self._bind, self._ehlo = binding
        if not self._is_live:
            self._is_live = True
            self._path.welcomed()

    async def _transact(self, trial: _Trial, *, is_kept: bool = False) -> bool:
        """Ask the host of this session to take what is left; whether it is to be asked again, anew.

        is_kept: the session has had transactions before, and may have had too many.
        """
        session, mail = self._session, trial.left
        assert session is not None
        self._transactions += 1
        message = mail[0].message
        recipients = tuple([Mailbox(claimed.message.rcpt_to, claimed.message.domain) for claimed in mail])
        requests = tuple([claimed.message.dsn_request for claimed in mail])
        envelope = Envelope(
            message.mail_from,
            recipients,
            message.smtputf8,
            message.eight_bit,
            requests if any(requests) else (),
        )
        chunks: Sequence[bytes] = (message.prefix, mail[0].body) if message.prefix else (mail[0].body,)
        try:
            transcript = await self._hand_over(session, envelope, message, chunks, is_kept=is_kept)
        except Unconvertible:
            trial.offers_too_little(mail, Bounced(NOT_CONVERTIBLE, session.peer))
            return False
        except Busy:
            self._settle(mail, NotTried(self._means.clock.now() + _SHORTAGE, NO_PLACE))
            trial.left = ()
            return False
        if transcript is None:
            return True  # The session ended meanwhile.
        may_be_spent = is_kept and (self._has_begun or transcript.is_lost)
        was_taken = len(mail) > 1 and _was_taken(transcript)
        phases = [reply.phase for reply in transcript.replies]
        self._has_begun |= not _BEHIND_MAIL.isdisjoint(phases)
        is_shared = phases.count(Phase.BODY) > 1
        is_reporting = "DSN" in session.extensions
        left, is_again = [], False
        for claimed, reply in zip(mail, transcript.replies, strict=True):
            outcome = judge(reply, session.peer, transcript.is_ambiguous, is_reporting)
            if was_taken and reply.code in _TOO_MANY and reply.phase is Phase.RCPT:
                trial.untried.append(claimed)
            elif may_be_spent and is_about_session(reply, transcript.is_lost, transcript.is_ambiguous):
                left.append(claimed)
                is_again = True
            elif isinstance(outcome, Deferred):
                left.append(claimed)
                trial.answers[claimed.message.id] = outcome
                trial.is_refused |= session.is_usable and reply.phase is not Phase.MAIL
            elif isinstance(outcome, Bounced) and _is_of_this_host(reply):
                left.append(claimed)
                trial.offers_too_little((claimed,), outcome)
            else:
                if isinstance(outcome, Bounced) and is_shared:
                    outcome = replace(outcome, is_shared=reply.phase is Phase.BODY)
                self._station.settle(claimed.message, outcome)
        trial.left = left
        return is_again

    async def _hand_over(
        self,
        session: SmtpSession,
        envelope: Envelope,
        message: Message,
        chunks: Sequence[bytes],
        *,
        is_kept: bool,
    ) -> Transcript | None:
        """As this host takes it; what needs SMTPUTF8 is the session's business.

        None: a session that was kept ended while a copy was made. Raises Unconvertible, Busy.
        """
        header = message.smtputf8 and "SMTPUTF8" not in session.extensions
        body = message.eight_bit and "8BITMIME" not in session.extensions
        if not (header or body):
            return await session.transact(envelope, chunks)
        means = self._means
        snapshot, now = means.directory.snapshot, means.clock.now()
        async with means.converter.copy(message, chunks, snapshot, now, header=header, body=body) as taken:
            has_ended = is_kept and not session.is_usable
            return None if has_ended else await session.transact(envelope, taken)

    def _conclude(
        self, trial: _Trial, failure: NoSession | NotTried | Bounced | None
    ) -> tuple[Sequence[Claimed], bool]:
        unasked: list[Claimed] = []
        goes_on = True
        for claimed in trial.left:
            answer = trial.answers.get(claimed.message.id)
            if answer is None or (failure is not None and isinstance(answer, Bounced)):
                unasked.append(claimed)
            else:
                self._station.settle(claimed.message, answer)
                if answer.reply.code == 421:
                    self._path.back_off(self._means.first_retry)
                    goes_on = False
        if unasked:
            assert failure is not None
            more, _ = self._give_up(unasked, failure)
            return [*trial.untried, *more], False
        if self._session is not None:
            is_full = self._transactions >= self._means.limits.deliveries_per_connection
            goes_on = goes_on and self._session.is_usable and not is_full
        return trial.untried, goes_on

    def _give_up(
        self, mail: Sequence[Claimed], failure: NoSession | NotTried | Bounced
    ) -> tuple[Sequence[Claimed], bool]:
        if not isinstance(failure, NoSession):
            self._settle(mail, failure)
            return (), False
        if backs_off(failure.reply):
            self._path.back_off(self._means.first_retry)
            if self._path.has_others:
                # The host may want no further connection, and still take mail on those that it has.
                return mail, False
        self._settle(mail, Deferred(failure.reply, failure.peer))
        return (), False

    def _settle(self, mail: Iterable[Claimed], outcome: Outcome) -> None:
        for claimed in mail:
            self._station.settle(claimed.message, outcome)

    # ── opening ──────────────────────────────────────────────────────────────────────────

    async def _connect(
        self, bind: IpAddress, ehlo: str, host: Host, site: Site
    ) -> SmtpSession | NoSession | NotTried:
        login = Login(site.username, site.password) if site.username else None
        try:
            return await self._means.dialer.connect(bind, ehlo, host, site.tls, login, site.ehlo_ignore)
        except SourceUnplumbed:
            self._station.unplumbed(bind)
            reason = f"451 4.3.0 [internal] Sending IP temporarily suspended: {bind} is not on this machine"
            return NotTried(self._means.clock.now() + _SUSPENSION, reason)
        except OverCapacity:
            self._path.pause(_SHORTAGE)
            reason = "451 4.3.1 [internal] No file descriptor is left for a connection"
            return NotTried(self._means.clock.now() + _SHORTAGE, reason)

    async def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _was_taken(transcript: Transcript) -> bool:
    """By the host, for one recipient at least."""
    return any(reply.phase is Phase.BODY and reply.is_positive for reply in transcript.replies)


def _is_of_this_host(reply: Reply) -> bool:
    return reply.phase is Phase.INTERNAL and reply.enhanced in _OF_THIS_HOST
