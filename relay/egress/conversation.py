"""One connection's life: opened from the pinned IP, used while there is mail, closed in good order."""

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Protocol
from uuid import uuid4

from relay.domain.address import Mailbox
from relay.domain.errors import OverCapacity, SourceUnplumbed
from relay.domain.ids import IpAddress
from relay.domain.lifecycle import LONELY_AFTER
from relay.domain.message import Envelope, Message
from relay.domain.outcome import Bounced, Deferred, NotTried, Outcome, Peer, backs_off, judge
from relay.domain.public import is_public
from relay.domain.reply import Phase, Reply
from relay.domain.site import Site, usable_addresses
from relay.egress.path import Load, Path, PathLimits
from relay.egress.sink import SinkSession
from relay.egress.solitude import Crowded, Solitude
from relay.ports import Claimed, Clock, Dialer, Host, Login, MxResolver, NoSession, SmtpSession, Transcript

_IDLE_S = 10.0
_MAX_HOSTS = 5
"""Addresses tried for one connection, over all hosts of the site."""
_SUSPENSION = timedelta(seconds=60)
"""How long mail waits when its IP is not on this machine, or when a bug of ours met it."""
_SHORTAGE = timedelta(seconds=10)
"""How long it waits when this process can open no more connections."""
_TOO_MANY = {452, 552}
"""Codes for a recipient too many (RFC 5321 §4.5.3.1.10)."""

log = logging.getLogger("relay.egress")

NO_HOSTS = Reply(451, "4.4.1 [internal] No valid hosts (unable to make any connections)", Phase.INTERNAL)
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
class Means:
    """What every conversation of this process uses."""

    dialer: Dialer
    resolver: MxResolver
    clock: Clock
    limits: PathLimits
    first_retry: timedelta
    solitude: Solitude
    is_ours: Callable[[Host], bool]
    """Whether an address and port is a listener of this relay: mail sent there would loop, or worse."""
    sinks: Sequence[str] = ()
    """Domains whose mail, and that of all below them, goes nowhere."""


class Conversation:
    """Carries loads of one path, one after the other, on one connection at a time."""

    def __init__(self, means: Means, station: Station, path: Path) -> None:
        self._means, self._station, self._path = means, station, path
        self._session: SmtpSession | None = None
        self._bind: IpAddress | None = None
        self._ehlo = ""
        self._transactions = 0
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
        company = self._means.solitude.alone() if is_suspect else self._means.solitude.together()
        try:
            async with company:
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
        message = mail[0].message
        binding = self._station.binding(message)
        if self._session is not None and (not self._session.is_usable or binding != (self._bind, self._ehlo)):
            await self._hang_up()
        was_open = self._session is not None
        transcript = await self._transact(mail, binding)
        if was_open and isinstance(transcript, Transcript) and transcript.was_dead:
            # The reused session had died unnoticed and nothing was tried: replaced at once, uncounted.
            await self._hang_up()
            transcript = await self._transact(mail, binding)
        if isinstance(transcript, Transcript):
            return self._conclude(mail, transcript)
        return self._give_up(mail, transcript)

    async def _transact(
        self, mail: Sequence[Claimed], binding: tuple[IpAddress, str]
    ) -> Transcript | NoSession | NotTried | Bounced:
        if self._session is None:
            opened = await self._open(*binding)
            if isinstance(opened, NoSession | NotTried | Bounced):
                return opened
            self._session, self._transactions = opened, 0
            (self._bind, self._ehlo) = binding
            if not self._is_live:
                self._is_live = True
                self._path.welcomed()
        self._transactions += 1
        message = mail[0].message
        recipients = tuple(Mailbox(claimed.message.rcpt_to, claimed.message.domain) for claimed in mail)
        envelope = Envelope(message.mail_from, recipients, message.smtputf8, message.eight_bit)
        chunks = (message.prefix, mail[0].body) if message.prefix else (mail[0].body,)
        return await self._session.transact(envelope, chunks)

    def _conclude(self, mail: Sequence[Claimed], transcript: Transcript) -> tuple[Sequence[Claimed], bool]:
        session = self._session
        assert session is not None
        peer = session.peer
        was_taken = any(reply.phase is Phase.BODY and reply.is_positive for reply in transcript.replies)
        untried = []
        for claimed, reply in zip(mail, transcript.replies, strict=True):
            if was_taken and reply.code in _TOO_MANY and reply.phase is Phase.RCPT and len(mail) > 1:
                untried.append(claimed)
            else:
                outcome = judge(reply, peer, transcript.is_ambiguous)
                self._station.settle(claimed.message, outcome)
        if any(reply.code == 421 for reply in transcript.replies):
            self._path.back_off(self._means.first_retry)
            return untried, False
        if self._transactions >= self._means.limits.deliveries_per_connection:
            return untried, False
        return untried, session.is_usable

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

    async def _open(self, bind: IpAddress, ehlo: str) -> SmtpSession | NoSession | NotTried | Bounced:
        """A session with the first host of the site that lets us in."""
        site = self._path.site
        if site.is_sink:
            return SinkSession()
        tried: list[NoSession] = []
        failure: Reply | None = None
        for _, equals in groupby(site.hosts, key=itemgetter(0)):
            names = [name for _, name in equals]
            random.shuffle(names)
            hosts, reason = await self._hosts(names, bind)
            if reason is not None and (failure is None or reason.code < 500):
                # What may pass outweighs what will not.
                failure = reason
            if any(self._means.is_ours(host) for host in hosts):
                # RFC 5321 §5.1: hosts as good as ourselves, or worse, would send it back.
                return tried[-1] if tried else Bounced(LOOP, Peer())
            for host in hosts:
                opened = await self._connect(bind, ehlo, host, site)
                if not isinstance(opened, NoSession):
                    return opened
                tried.append(opened)
                if len(tried) == _MAX_HOSTS:
                    return opened
        if tried:
            return tried[-1]
        failure = failure or NO_HOSTS
        return Bounced(failure, Peer()) if failure.code >= 500 else NoSession(failure, Peer())

    async def _hosts(self, names: Iterable[str], bind: IpAddress) -> tuple[list[Host], Reply | None]:
        """All that can be connected to from bind, and why others cannot."""
        hosts: list[Host] = []
        failure: Reply | None = None
        for name in names:
            found = await self._means.resolver.addresses(name)
            named = usable_addresses(found.addresses, bind) or found.addresses
            may_be_private = self._path.site.allow_private
            fit = [address for address in named if may_be_private or is_public(address)]
            usable = usable_addresses(fit, bind)
            hosts += [Host(name, address, self._path.site.port) for address in usable]
            if found.failure is not None:
                failure = found.failure
            elif named and not fit:
                failure = failure or _private(name, named[0])
            elif not usable:
                text = f"4.4.1 [internal] No valid hosts ({name} has no address of the family of {bind})"
                failure = Reply(451, text, Phase.INTERNAL)
        return hosts, failure

    async def _connect(
        self, bind: IpAddress, ehlo: str, host: Host, site: Site
    ) -> SmtpSession | NoSession | NotTried:
        login = Login(site.username, site.password) if site.username else None
        try:
            return await self._means.dialer.connect(bind, ehlo, host, site.tls, login)
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


def _private(name: str, address: IpAddress) -> Reply:
    text = f"5.4.4 [internal] {name} is {address}: private (route setting allow_private)"
    return Reply(550, text, Phase.INTERNAL)
