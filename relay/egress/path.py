"""One path: sending IP × site. What is in hand for it, who carries it, and when it is left alone."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.accept.budget import BodyBudget
from relay.domain.lifecycle import LONELY_AFTER
from relay.domain.message import Message
from relay.domain.pace import RESTED, Rest
from relay.domain.site import Site
from relay.domain.value import value
from relay.ports.queue import Claimed

IN_HAND_PER_CONNECTION = 8
"""Messages that may be in memory for each connection that the path may have."""


@dataclass(frozen=True, slots=True)
class PathLimits:
    """Of one sending IP towards one site (`[limits]` in relay.toml)."""

    connections: int = 10
    deliveries_per_connection: int = 100
    recipients_per_transaction: int = 100


@value
class Load:
    """What one conversation carries in one transaction."""

    mail: Sequence[Claimed]
    cost_bytes: int
    """Of the body budget, given back when the load is put down."""


class Path:
    """Mail in flight for one site from one IP, and the conversations that carry it.

    Mail in hand always has somebody: a conversation, or it is turned back at once.
    """

    def __init__(
        self,
        site: Site,
        limits: PathLimits,
        budget: BodyBudget,
        now: Callable[[], datetime],
        converse: Callable[["Path"], None],
        turn_back: Callable[[Sequence[Message], datetime], None],
        changed: Callable[["Path"], None],
    ) -> None:
        """converse: start a conversation. turn_back: these messages are to wait until then, untried.

        changed: called when there is room while domains wait, and when a closed path became empty.
        """
        self.site = site
        self.rest: Rest = RESTED
        self.waiting: dict[str, None] = {}
        """Domains with mail due in the store, in the order in which they get their turn."""
        self.live = 0
        """Conversations that are past their opening."""
        self._limits, self._budget, self._now = limits, budget, now
        self._converse, self._turn_back, self._changed = converse, turn_back, changed
        self._ready: deque[tuple[Claimed, int]] = deque()
        self._idle: deque[asyncio.Future[bool]] = deque()
        self._conversations = 0
        self._summoned = 0
        """Conversations that were started or woken and have not taken their load yet."""
        self._carried = 0
        self._promised = 0
        self._is_closed = False
        self.is_drained = False
        """Whether nothing new is to be taken in hand, and `changed` is to tell when all is out of it."""

    # ── places ───────────────────────────────────────────────────────────────────────────

    def room(self, now: datetime) -> int:
        """How many more messages may be taken in hand.

        While it rests: what live conversations can carry. After a rest: one, to see how it goes.
        """
        if self._is_closed or self.is_drained:
            return 0
        places = self._limits.connections * IN_HAND_PER_CONNECTION
        if self.rest.failures:
            places = self.live * IN_HAND_PER_CONNECTION or int(self.rest.is_over(now))
        return places - self.in_hand

    def appetite(self, now: datetime) -> int:
        """How many messages to claim for it now: none before what is in hand has run low."""
        return self.room(now) if len(self._ready) <= self._conversations else 0

    def promise(self) -> None:
        """A place for mail that is being accepted; `keep` it whatever becomes of that."""
        self._promised += 1

    def keep(self, mail: Sequence[Claimed]) -> None:
        self._promised -= 1
        self.add(mail)
        self._tell()

    @property
    def in_hand(self) -> int:
        """Messages in memory, being sent, or promised a place."""
        return len(self._ready) + self._carried + self._promised

    @property
    def is_empty(self) -> bool:
        """Nothing in hand, and nobody there."""
        return not (self.in_hand or self._conversations)

    @property
    def is_unused(self) -> bool:
        """Empty, with nothing waiting and nothing to remember: the path may be forgotten."""
        return self.is_empty and not self.waiting and self.rest.is_over(self._now())

    # ── mail ─────────────────────────────────────────────────────────────────────────────

    def add(self, mail: Iterable[Claimed]) -> None:
        """Take claimed mail in hand."""
        last: bytes | None = None
        for claimed in mail:
            # Copies of one submission share their body's octets, which count once.
            cost = 0 if claimed.body is last else len(claimed.body)
            last = claimed.body
            self._budget.count(cost)
            self._ready.append((claimed, cost))
        self._staff()

    def first_load(self) -> Load | None:
        """For a conversation that has just begun: why it was started, unless another was quicker."""
        self._summoned -= 1
        return self._take()

    async def next_load(self, idle_s: float) -> Load | None:
        """What the caller is to send next; None when nothing came for idle_s, or the path closes."""
        while not self._ready and not self._is_closed:
            if not await self._summons(idle_s):
                break
        return self._take()

    def put_down(self, load: Load, untried: Sequence[Claimed] = ()) -> None:
        """The load has its outcomes, but for messages that are to be taken again first."""
        self._carried -= len(load.mail)
        self._budget.give_back(load.cost_bytes)
        if untried:
            cost = len(untried[0].body)
            self._budget.count(cost)
            self._ready.extendleft((claimed, 0) for claimed in reversed(untried[1:]))
            self._ready.appendleft((untried[0], cost))
        self._tell()

    # ── conversations ────────────────────────────────────────────────────────────────────

    def welcomed(self) -> None:
        """A new connection was greeted: the host is there."""
        self.live += 1
        self.rest = RESTED
        self._staff()

    def back_off(self, first_retry: timedelta) -> None:
        """Leave the host alone for a while. What a live conversation can still carry, it carries."""
        self.rest = self.rest.longer(self._now(), first_retry)

    def pause(self, length: timedelta) -> None:
        """No new connection for so long, for a reason that is not the host's."""
        until = max(self.rest.until, self._now() + length)
        self.rest = Rest(max(1, self.rest.failures), until)

    @property
    def has_others(self) -> bool:
        """Whether a conversation that asks is not the only one."""
        return self._conversations > 1

    def ended(self, was_live: bool) -> None:
        """A conversation is over."""
        self._conversations -= 1
        self.live -= was_live
        self._staff()
        self._tell()

    def close(self) -> None:
        """No more mail: what nobody carries waits in the store, and idle conversations end."""
        self._is_closed = True
        self._staff()
        for sign in self._idle:
            if not sign.done():
                sign.set_result(False)

    def _staff(self) -> None:
        """Somebody for the mail in hand: one who waits, another connection, or nobody, and it goes back."""
        if self._is_closed:
            self._turn_all_back(self._now())
            return
        wanted = len(self._ready) - self._summoned
        while wanted > 0 and self._idle:
            # The latest to fall idle: those who are not needed reach the end of their patience.
            sign = self._idle.pop()
            if not sign.done():
                sign.set_result(True)
                self._summoned += 1
                wanted -= 1
        while wanted > 0 and self._may_connect():
            self._conversations += 1
            self._summoned += 1
            self._converse(self)
            wanted -= 1
        if self._ready and not self._conversations:
            self._turn_all_back(self.rest.until)

    async def _summons(self, idle_s: float) -> bool:
        """Wait for mail; False when patience ended first. Another may be quicker to take it."""
        loop = asyncio.get_running_loop()
        sign: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(idle_s, _resolve, sign, False)
        self._idle.append(sign)
        try:
            is_summoned = await sign
        finally:
            timer.cancel()
            if sign in self._idle:
                self._idle.remove(sign)
        self._summoned -= is_summoned
        return is_summoned

    def _may_connect(self) -> bool:
        if self.rest.failures:
            return self._conversations == 0 and self.rest.is_over(self._now())
        return self._conversations < self._limits.connections

    def _take(self) -> Load | None:
        """The next message, with those after it that may share its transaction."""
        if not self._ready:
            return None
        first, cost = self._ready.popleft()
        taken = [first]
        while self._ready and len(taken) < self._limits.recipients_per_transaction:
            claimed, further = self._ready[0]
            if not _share_transaction(first.message, claimed.message):
                break
            self._ready.popleft()
            taken.append(claimed)
            cost += further
        self._carried += len(taken)
        return Load(taken, cost)

    def _turn_all_back(self, until: datetime) -> None:
        if self._ready:
            self._budget.give_back(sum(cost for _, cost in self._ready))
            mail = [claimed.message for claimed, _ in self._ready]
            self._ready.clear()
            self._turn_back(mail, until)

    def _tell(self) -> None:
        wants_more = self.waiting and len(self._ready) <= self._conversations
        is_out_of_hand = self.is_empty if self._is_closed else self.is_drained and not self.in_hand
        if is_out_of_hand or (wants_more and not self._is_closed):
            self._changed(self)


def _share_transaction(one: Message, other: Message) -> bool:
    """Same octets, same MAIL command (RFC 5321 §3.3). One that outlived many holders goes alone."""
    return (
        one.body_id == other.body_id
        and one.prefix == other.prefix
        and one.mail_from == other.mail_from
        and one.smtputf8 == other.smtputf8
        and _of_mail(one) == _of_mail(other)
        and one.orphaned < LONELY_AFTER
        and other.orphaned < LONELY_AFTER
    )


def _of_mail(message: Message) -> tuple[str, str]:
    """RET and ENVID."""
    asked = message.dsn_request
    return ("", "") if asked is None else (asked.ret, asked.envid)


def _resolve(sign: asyncio.Future[bool], is_summons: bool) -> None:
    if not sign.done():
        sign.set_result(is_summons)
