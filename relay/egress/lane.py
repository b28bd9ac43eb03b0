"""One lane: a sending IP's mail, from the store to its paths, every waiting domain in its turn."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import islice

from relay.accept.budget import BodyBudget
from relay.domain.errors import StoreUnavailable
from relay.domain.ids import IpAddress
from relay.domain.lifecycle import LONELY_AFTER, discard, expire, settle, settle_orphan
from relay.domain.message import Message, Wish
from relay.domain.outcome import NotTried, Outcome, Peer, judge
from relay.domain.reply import Reply
from relay.domain.retry import RetryPolicy
from relay.domain.site import Site
from relay.egress.conversation import Conversation, DeliveryMeans
from relay.egress.inspection import Inspection
from relay.egress.path import Path
from relay.egress.paths import Paths
from relay.egress.settler import Settler
from relay.egress.sites import Sites
from relay.ports.directory import Directory
from relay.ports.queue import Claimed, Lane, QueueStore

SCAN_EVERY = timedelta(seconds=30)
_LOOK_EVERY = timedelta(seconds=10)  # the clock may be set back meanwhile
_HORIZON = timedelta(seconds=60)
"""Domains due later than this are left to a later scan."""
_DOMAINS_A_CLAIM = 100
_BYTES_A_CLAIM = 16 << 20
_OVERDUE_A_CLAIM = 500
_PATHS_AT_ONCE = 16
_SUSPENSION = timedelta(seconds=60)
_STORE_PAUSE = timedelta(seconds=1)

CANCELLED = "5.7.1 [internal] cancelled by the operator"

log = logging.getLogger("relay.egress")


class LaneFlow:
    """What leaves from one sending IP, while this worker holds its lane."""

    def __init__(
        self,
        lane: Lane,
        queue: QueueStore,
        directory: Directory,
        settler: Settler,
        sites: Sites,
        means: DeliveryMeans,
        policy: RetryPolicy,
        budget: BodyBudget,
        tasks: asyncio.TaskGroup,
        holds: Callable[[], bool],
    ) -> None:
        """tasks: where conversations run. holds: whether the lease lasts long enough to start something."""
        self.lane = lane
        self._queue, self._directory, self._settler = queue, directory, settler
        self._sites, self._means, self._policy, self._budget = sites, means, policy, budget
        self._tasks, self._holds, self._clock = tasks, holds, means.clock
        self._paths, self._inspection = Paths(self._make_path), Inspection(queue, self.settle)
        self._later: list[tuple[datetime, str]] = []
        self._unresolved: dict[str, bool] = {}
        """Domains whose site is being looked up, and whether mail came since that was answered."""
        self._hungry: set[Path] = set()
        """Paths to look at: they have domains waiting, and may have room."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._suspended_until = self._clock.now() - _SUSPENSION
        self._next_scan = self._clock.now()
        self._has_pulled = False  # mail that a clock set back before the start left waiting

    # ── what others tell it ──────────────────────────────────────────────────────────────

    def reserve(self, domain: str, size_bytes: int) -> bool:
        """A place for fresh mail to that domain, if its path is known and has room."""
        if self._paths.is_drained or size_bytes > self._budget.room_bytes or not self.may_start():
            return False
        site = self._sites.known(domain)
        now = self._clock.now()
        if site is None or self._is_suspended(now):
            return False
        path = self._paths[site]
        # What waits in the store was there first.
        if domain in path.waiting or path.room(now) <= 0:
            return False
        self._paths.promise(domain, path)
        return True

    def depart(self, domain: str, mail: Sequence[Claimed]) -> None:
        """Use a place that `reserve` gave."""
        self._paths.keep(domain, mail)

    def note(self, domain: str, due: datetime) -> None:
        """Mail for that domain waits in the store, due then."""
        if self._stopping:
            return
        now = self._clock.now()
        if due <= now:
            self._queue_up(domain)
        elif due <= now + _HORIZON:
            heappush(self._later, (due, domain))
            if self._later[0][0] == due:
                self._wake.set()

    def nudge(self) -> None:
        """Go on, after a pause that was not the lane's own."""
        self._wake.set()

    def look(self) -> None:
        """Look at what waits in the store now, not in a while."""
        self._next_scan = self._clock.now()
        self._wake.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    @property
    def is_leaving(self) -> bool:
        """Whether the lane is being given up."""
        return self._stopping or self._paths.is_drained

    @property
    def in_hand(self) -> int:
        return self._paths.in_hand

    async def drained(self, patience_s: float) -> bool:
        """Take nothing more in hand and wait until nothing is; False, and as before, when that takes long."""
        is_drained = await self._paths.drain(patience_s)
        self.nudge()
        return is_drained

    async def left(self) -> None:
        """Wait, after stop(), until the last conversation is over."""
        await self._paths.left()

    def stop(self) -> None:
        """Claim no more and start no more; conversations end with what they are carrying."""
        self._stopping = True
        self._paths.close()
        self._wake.set()

    # ── what its conversations tell it (`Station`) ───────────────────────────────────────

    def binding(self, message: Message) -> tuple[IpAddress, str]:
        """The bind address as the directory has it now, else as pinned; the EHLO name as pinned (ADR 1)."""
        known = self._directory.snapshot.ips.get(message.pin.ip)
        return (known.bind if known is not None else message.pin.bind), message.pin.hostname

    def may_start(self) -> bool:
        return not self._stopping and self._holds()

    def settle(self, message: Message, outcome: Outcome) -> None:
        self._settler.put(self.lane, message, settle(message, outcome, self._policy, self._clock.now()))

    def unplumbed(self, bind: IpAddress) -> None:
        now = self._clock.now()
        if now >= self._suspended_until:
            log.warning("lane=%s suspended: %s is not on this machine; next look in 60 s", self.lane.ip, bind)
        self._suspended_until = now + _SUSPENSION

    # ── its life ─────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until stop()."""
        await self._adopt()
        while not self._stopping:
            self._wake.clear()
            try:
                await self._round()
            except StoreUnavailable:
                log.error("lane=%s waits: the store is unavailable", self.lane.ip)
                await self._clock.wait(self._wake, self._clock.now() + _STORE_PAUSE)
                continue
            except Exception:  # The top of a unit of work: one round's. What it claimed is adopted later.
                log.exception("lane=%s round failed for a reason of our own", self.lane.ip)
                await self._clock.wait(self._wake, self._clock.now() + _STORE_PAUSE)
                continue
            await self._clock.wait(self._wake, self._next_look())

    async def _round(self) -> None:
        now = self._clock.now()
        if not now < self._next_scan <= now + SCAN_EVERY:  # the clock may be set back
            await self._scan(now)
            self._next_scan = now + SCAN_EVERY
        while self._later and self._later[0][0] <= now:
            _, domain = heappop(self._later)
            self._queue_up(domain)
        if self._is_suspended(now) or self._paths.is_drained or not self._holds():
            return
        fed = [path for path in self._hungry if path.appetite(now) > 0][:_PATHS_AT_ONCE]
        self._hungry.difference_update(fed)
        if len(fed) == 1:
            are_fed = await self._feed(fed[0], now)
        else:
            # Together, so that the store claims for all of them in one commit.
            name = f"feed {self.lane.ip}"
            async with asyncio.TaskGroup() as tasks:
                feeds = [tasks.create_task(self._feed(path, now), name=name) for path in fed]
            are_fed = all(feed.result() for feed in feeds)
        if not are_fed:
            raise StoreUnavailable
        if self._budget.room_bytes and any(path.appetite(now) > 0 for path in self._hungry):
            self._wake.set()

    def _next_look(self) -> datetime:
        """When something may be due though nobody says so."""
        now = self._clock.now()
        moments = [min(self._next_scan, now + _LOOK_EVERY)]
        if self._later:
            moments.append(self._later[0][0])
        if self._hungry:
            if not self._budget.room_bytes:
                moments.append(now + _STORE_PAUSE)
            moments += [path.rest.until for path in self._hungry if path.rest.until > now]
            if self._suspended_until > now:
                moments.append(self._suspended_until)
        return min(moments)

    def _is_suspended(self, now: datetime) -> bool:
        return now < self._suspended_until <= now + _SUSPENSION

    async def _adopt(self) -> None:
        """Take over what an earlier holder left in flight."""
        while not self._stopping:
            try:
                orphans = await self._queue.orphans(self.lane)
                break
            except StoreUnavailable:
                log.error("lane=%s waits: the store is unavailable", self.lane.ip)
                await self._clock.wait(self._wake, self._clock.now() + _STORE_PAUSE)
        else:
            return
        now = self._clock.now()
        if orphans:
            log.info("lane=%s adopts messages=%d left in flight", self.lane.ip, len(orphans))
        for message in orphans:
            if message.orphaned >= LONELY_AFTER:
                times = message.orphaned
                log.error("message=%s was in flight when its holder ended, %d times", message.id, times)
            self._settler.put(self.lane, message, settle_orphan(message, now))

    async def _scan(self, now: datetime) -> None:
        """Look for what waits in the store: mail past its expiry ends, due domains get their turn."""
        is_steady = self._clock.is_steady()
        if not (is_steady and self._has_pulled):
            self._has_pulled = not await self._queue.pull_forward(self.lane, now, self._policy.gaps, 10_000)
        # A clock that was set says nothing of a message's age.
        while is_steady:
            overdue = await self._queue.claim_overdue(self.lane, now, _OVERDUE_A_CLAIM)
            for message in overdue:
                is_cancelled = message.wish is Wish.CANCEL
                end = discard(message, CANCELLED, now) if is_cancelled else expire(message, now)
                self._settler.put(self.lane, message, end)
            if len(overdue) < _OVERDUE_A_CLAIM:
                break
            await self._settler.written()
        heads = await self._queue.heads(self.lane, now + _HORIZON)
        for head in heads:
            heappush(self._later, (head.due, head.domain))
        self._paths.forget_unused()

    # ── from domain to path ──────────────────────────────────────────────────────────────

    def _queue_up(self, domain: str) -> None:
        """Give the domain a place among those that wait for their path."""
        if domain in self._unresolved:
            self._unresolved[domain] = True
            return
        site = self._sites.known(domain)
        if site is None:
            self._unresolved[domain] = False
            self._tasks.create_task(self._look_up(domain), name=f"look up {domain}")
            return
        path = self._paths[site]
        path.waiting[domain] = None
        self._hungry.add(path)
        if path.appetite(self._clock.now()) > 0:
            self._wake.set()

    async def _look_up(self, domain: str) -> None:
        """Find the domain's site; without one, its mail has its outcome."""
        try:
            found = await self._sites.find(domain)
            self._unresolved[domain] = False
            if isinstance(found, Reply):
                await self._answer(domain, found)
        except StoreUnavailable:
            return  # the next scan finds the domain again
        except Exception:  # The top of a unit of work: one domain's.
            log.exception("lane=%s domain=%s not looked up", self.lane.ip, domain)
            return
        finally:
            has_more = self._unresolved.pop(domain)
        if (has_more or isinstance(found, Site)) and not self._stopping:
            self._queue_up(domain)

    async def _answer(self, domain: str, reply: Reply) -> None:
        """All due mail of a domain that nobody can take has the resolver's word as its outcome."""
        is_done = False
        while not is_done and self.may_start():
            now = self._clock.now()
            claimed = await self._queue.claim(self.lane, [domain], now, 100, _BYTES_A_CLAIM)
            for mail in self._without_cancelled(claimed, now):
                self.settle(mail.message, judge(reply, Peer()))
            is_done = len(claimed) < 100
        await self._look_behind([domain], self._clock.now(), is_more=False)

    async def _feed(self, path: Path, now: datetime) -> bool:
        """Claim for the path's waiting domains what it has room for; False when the store is unavailable.

        Never raises that: it would cancel those who feed other paths, and strand what they claim.
        """
        room = path.room(now)
        if room <= 0:
            # It was chosen a turn of the loop ago: a promise was kept, or the host backed off since.
            self._hungry.add(path)
            return True
        domains = self._take_line(path)
        max_bytes = min(_BYTES_A_CLAIM, self._budget.room_bytes)
        if max_bytes <= 0:
            path.waiting = {**dict.fromkeys(domains), **path.waiting}
            self._hungry.add(path)
            return True
        # Taken while being asked for: paths that are fed together do not all find the same room.
        self._budget.count(max_bytes)
        try:
            claimed = await self._queue.claim(self.lane, domains, now, room, max_bytes)
        except StoreUnavailable:
            path.waiting = {**dict.fromkeys(domains), **path.waiting}
            self._hungry.add(path)
            return False
        finally:
            self._budget.give_back(max_bytes)
        path.add(await self._inspection.passed(self._without_cancelled(claimed, now), now))
        await self._look_behind(domains, now, is_more=bool(claimed))
        if path.waiting:
            self._hungry.add(path)
        return True

    async def _look_behind(self, domains: Sequence[str], now: datetime, *, is_more: bool) -> None:
        """What a claim left in these domains. is_more: False when what else is due is past its expiry."""
        try:
            heads = await self._queue.heads(self.lane, now + _HORIZON, domains)
        except StoreUnavailable:
            return  # the next scan finds it
        for head in heads:
            if head.due <= now and is_more:
                self._queue_up(head.domain)
            elif head.due > now:
                heappush(self._later, (head.due, head.domain))

    def _take_line(self, path: Path) -> list[str]:
        """The domains whose turn it is; out of the line meanwhile, which they join again when mail comes."""
        domains = []
        for domain in list(islice(path.waiting, _DOMAINS_A_CLAIM)):
            del path.waiting[domain]
            if self._sites.known(domain) == path.site:
                domains.append(domain)
            else:
                # The routes or DNS say otherwise by now, or what they said is old.
                self._queue_up(domain)
        return domains

    def _without_cancelled(self, claimed: Sequence[Claimed], now: datetime) -> list[Claimed]:
        """The mail that is to be sent; what was cancelled has its end here."""
        kept = []
        for mail in claimed:
            if mail.message.wish is Wish.CANCEL:
                end = discard(mail.message, CANCELLED, now, is_claimed=True)
                self._settler.put(self.lane, mail.message, end)
            else:
                kept.append(mail)
        return kept

    # ── paths ────────────────────────────────────────────────────────────────────────────

    def _make_path(self, site: Site) -> Path:
        limits, now = self._means.limits, self._clock.now
        return Path(site, limits, self._budget, now, self._converse, self._turn_back, self._path_changed)

    def _converse(self, path: Path) -> None:
        conversation = Conversation(self._means, self, path)
        self._tasks.create_task(conversation.run(), name=f"conversation {self.lane.ip}")

    def _turn_back(self, messages: Sequence[Message], until: datetime) -> None:
        for message in messages:
            self.settle(message, NotTried(until, ""))

    def _path_changed(self, path: Path) -> None:
        if path.waiting:
            self._hungry.add(path)
        self._wake.set()
        self._paths.tell_change()
