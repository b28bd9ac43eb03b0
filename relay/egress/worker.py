"""The egress role: holds lanes, runs them, and offers fresh mail the short way out."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from relay.accept.budget import BodyBudget
from relay.accept.notice import Notifier
from relay.domain.errors import StoreUnavailable
from relay.domain.ids import Epoch, IpAddress, NodeName, WorkerId
from relay.domain.retry import RetryPolicy
from relay.egress.conversation import DeliveryMeans
from relay.egress.lane import LaneFlow
from relay.egress.settler import Settler
from relay.egress.sites import Sites
from relay.ports.directory import Directory
from relay.ports.queue import Claimed, Lane, QueueStore, WakeUps

LEASE_S = 30.0
RENEW_EVERY_S = 10.0
_PATIENCE_S = 10.0
"""How long a lane that is to be given up may stand still for what it has in hand."""
_MARGIN_S = 5.0
"""Nothing is started this shortly before a lease ends."""

log = logging.getLogger("relay.egress")


class Egress:
    """Everything from claim to settlement, for the lanes that this worker holds (`Departures`)."""

    def __init__(
        self,
        queue: QueueStore,
        wakeups: WakeUps,
        directory: Directory,
        notifier: Notifier,
        means: DeliveryMeans,
        policy: RetryPolicy,
        budget: BodyBudget,
        worker: WorkerId,
        node: NodeName,
    ) -> None:
        self._queue, self._wakeups, self._directory, self._means = queue, wakeups, directory, means
        self._policy, self._budget, self._worker, self._node = policy, budget, worker, node
        self._settler = Settler(queue, notifier, self._noted)
        self._flows: dict[IpAddress, LaneFlow] = {}
        self._news = asyncio.Event()
        """There may be lanes to take, or too many held."""
        self._elsewhere: set[IpAddress] = set()
        """IPs whose lanes were asked for since the last renewal, to no avail."""
        self._held_until = 0.0

    # ── departures ───────────────────────────────────────────────────────────────────────

    def reserve(self, ip: IpAddress, domain: str, size_bytes: int) -> Epoch | None:
        flow = self._flows.get(ip)
        if flow is None or not flow.reserve(domain, size_bytes):
            return None
        return flow.lane.epoch

    def depart(self, ip: IpAddress, domain: str, mail: Sequence[Claimed]) -> None:
        flow = self._flows.get(ip)
        # A lane that was lost meanwhile has a new holder, who finds the mail as orphans.
        if flow is not None:
            flow.depart(domain, mail)

    def queued(self, ip: IpAddress, domain: str, due: datetime) -> None:
        self._noted(ip, domain, due)

    def heard(self, ip: IpAddress | None, domain: str) -> None:
        """Somebody put mail into a lane, changed what waits there, or came or went: see `WakeUps.tell`."""
        if ip is None:
            self._news.set()
        for flow in [self._flows[ip]] if ip in self._flows else [] if ip else self._flows.values():
            if domain:
                flow.note(domain, self._means.clock.now())
            else:
                flow.look()

    # ── running ──────────────────────────────────────────────────────────────────────────

    async def run(self, stopping: asyncio.Event, grace_s: float) -> None:
        """Until stopping is set; then what is being sent may take grace_s to end, and lanes are given up."""
        self._wakeups.hear(self.heard)
        self._wakeups.tell()
        deadline = asyncio.timeout(None)
        try:
            async with deadline, asyncio.TaskGroup() as outer:
                outer.create_task(self._settler.run(), name="settler")
                try:
                    await self._run_lanes(stopping, grace_s)
                finally:
                    self._settler.close()
                    deadline.reschedule(asyncio.get_running_loop().time() + grace_s)
        except TimeoutError:
            log.error("outcomes not written within %s s: their mail is in flight for the next start", grace_s)
        await self._release(None)

    async def _run_lanes(self, stopping: asyncio.Event, grace_s: float) -> None:
        sites = Sites(self._directory, self._means.resolver, self._means.sinks)
        deadline = asyncio.timeout(None)
        try:
            async with deadline, asyncio.TaskGroup() as tasks:
                while not stopping.is_set():
                    await self._hold(sites, tasks)
                    await self._pause(stopping)
                for flow in self._flows.values():
                    flow.stop()
                deadline.reschedule(asyncio.get_running_loop().time() + grace_s)
        except TimeoutError:
            log.warning("cut off what did not end within %s s; it is in flight for the next start", grace_s)

    async def _hold(self, sites: Sites, tasks: asyncio.TaskGroup) -> None:
        """Renew the lanes, start those that came, stop those that went, and let go of what is too much."""
        self._news.clear()
        asked_at = asyncio.get_running_loop().time()
        had_lapsed = not self._holds()
        try:
            share = await self._queue.fair_share(self._node)
            held = await self._queue.hold_lanes(self._worker, self._node, LEASE_S, share)
        except StoreUnavailable:
            log.error("lanes not renewed: the store is unavailable")
            return
        except Exception:  # The top of a unit of work; the next renewal is soon.
            log.exception("lanes not renewed, for a reason of our own")
            return
        self._held_until = asked_at + LEASE_S - _MARGIN_S
        lanes = {lane.ip: lane for lane in held}
        for ip, flow in list(self._flows.items()):
            if lanes.get(ip) != flow.lane:
                log.warning("lane=%s epoch=%d is lost to another worker", ip, flow.lane.epoch)
                flow.stop()
                del self._flows[ip]
            elif had_lapsed:
                flow.nudge()
        for lane in held:
            if lane.ip not in self._flows:
                self._start(lane, sites, tasks)
        # Those with the least in hand leave first: what is in hand keeps its lane standing.
        staying = [flow for flow in self._flows.values() if not flow.is_leaving]
        staying.sort(key=lambda flow: flow.in_hand)
        for flow in staying[: max(0, len(staying) - share)]:
            tasks.create_task(self._let_go(flow), name=f"let go {flow.lane.ip}")

    async def _let_go(self, flow: LaneFlow) -> None:
        """Give up a lane that another worker is to have, once nothing of it is in hand; else try later."""
        if not await flow.drained(_PATIENCE_S):
            return
        flow.stop()
        await flow.left()
        await self._settler.written()
        if self._flows.get(flow.lane.ip) is flow:
            # Forgotten only after: a renewal under way would else start the lane again.
            await self._release([flow.lane.ip])
            if self._flows.get(flow.lane.ip) is flow:
                del self._flows[flow.lane.ip]

    def _start(self, lane: Lane, sites: Sites, tasks: asyncio.TaskGroup) -> None:
        flow = LaneFlow(
            lane,
            self._queue,
            self._directory,
            self._settler,
            sites,
            self._means,
            self._policy,
            self._budget,
            tasks,
            self._holds,
        )
        self._flows[lane.ip] = flow
        tasks.create_task(flow.run(), name=f"lane {lane.ip}")

    async def _pause(self, stopping: asyncio.Event) -> None:
        """Until the leases want renewal, a new lane may be there, or stopping."""
        async with asyncio.TaskGroup() as tasks:
            waits = [
                tasks.create_task(event.wait(), name=name)
                for event, name in ((stopping, "until stopping"), (self._news, "until news"))
            ]
            await asyncio.wait(waits, timeout=RENEW_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        if not self._news.is_set():
            self._elsewhere.clear()

    def _holds(self) -> bool:
        return asyncio.get_running_loop().time() < self._held_until

    def _noted(self, ip: IpAddress, domain: str, due: datetime) -> None:
        flow = self._flows.get(ip)
        if flow is not None:
            flow.note(domain, due)
            return
        self._wakeups.tell(ip, domain)
        if ip not in self._elsewhere:
            self._elsewhere.add(ip)
            self._news.set()

    async def _release(self, ips: Sequence[IpAddress] | None) -> None:
        try:
            await self._queue.release_lanes(self._worker, ips)
            self._wakeups.tell()
        except StoreUnavailable:
            log.warning(
                "lanes not released: the store is unavailable; they are free when this process is gone"
            )
