"""Lanes: one holder each, a higher epoch at each change of hands, orphans found by the next holder."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path

from relay.domain.changes import Put, Remove
from relay.domain.directory import SendingIp
from relay.domain.ids import IpAddress, NodeName, WorkerId
from relay.domain.message import State
from relay.ports.queue import Lane
from relay.store import Store
from tests.store.conftest import (
    NODE,
    OTHER_IP,
    SEEDED,
    WORKER,
    OpenStore,
    build_batch,
    claim,
    copies,
    finish,
    only,
    put,
    requeue,
    stored,
)
from tests.support.mail import IP, NOW, build_message

SECOND = WorkerId("w2")
FOREVER_S = 3600.0

CHILD = """
import asyncio, sys
from relay.domain.ids import WorkerId
from relay.store import open_store
from tests.store.conftest import IP, NODE, build_batch, build_message

async def main():
    store = await open_store(sys.argv[1], worker=WorkerId("child"))
    lanes = await store.queue.hold_lanes(WorkerId("child"), NODE, 3600, 10)
    await store.queue.enqueue(build_batch(build_message("a@b.example"), claimed={IP: lanes[0].epoch}))
    print("in flight", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
"""A worker that holds all lanes and has mail in flight."""


async def test_a_lane_exists_for_each_sending_ip(store: Store) -> None:
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == [Lane(IP, 1), Lane(OTHER_IP, 1)]  # type: ignore[arg-type]  # plain numbers read better here


async def test_renewing_keeps_the_epoch(store: Store) -> None:
    first = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == first


async def test_no_more_lanes_are_taken_than_asked_for(store: Store, open_another: OpenStore) -> None:
    second = await open_another(SECOND)
    (ours,) = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 1)
    (theirs,) = await second.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10)
    assert {ours.ip, theirs.ip} == {IP, OTHER_IP}
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == [ours]


async def test_lanes_beyond_the_limit_are_kept_until_given_up(store: Store) -> None:
    lanes = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 1) == lanes


async def test_a_lane_given_up_is_free_at_once_under_a_higher_epoch(
    store: Store, open_another: OpenStore
) -> None:
    second = await open_another(SECOND)
    await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    await store.queue.release_lanes(WORKER, [IP])
    assert [(lane.ip, lane.epoch) for lane in await second.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10)] == [
        (IP, 2)
    ]
    await store.queue.release_lanes(WORKER)
    assert len(await second.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10)) == 2


async def test_nobody_gives_up_what_another_holds(store: Store, lane: Lane, open_another: OpenStore) -> None:
    second = await open_another(SECOND)
    await second.queue.release_lanes(SECOND, [lane.ip])
    await second.queue.release_lanes(SECOND)
    assert await second.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10) == []


async def test_an_expired_lease_may_be_taken_from_a_living_worker(
    store: Store, open_another: OpenStore
) -> None:
    second = await open_another(SECOND)
    await store.queue.hold_lanes(WORKER, NODE, 0, 10)
    taken = await second.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10)
    assert [lane.epoch for lane in taken] == [2, 2]
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == []


async def test_an_expired_lease_that_nobody_took_is_renewed_under_its_epoch(store: Store) -> None:
    first = await store.queue.hold_lanes(WORKER, NODE, 0, 10)
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == first


async def test_the_lanes_of_a_worker_that_closed_are_free_at_once(
    store: Store, open_another: OpenStore
) -> None:
    second = await open_another(SECOND)
    await second.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10)
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == []
    await second.close()
    assert len(await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)) == 2


async def test_the_lanes_of_a_killed_worker_are_free_at_once_and_its_mail_is_found(
    store: Store, store_url: str
) -> None:
    root = Path(__file__).parents[2]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, store_url, stdout=PIPE, cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    async with asyncio.timeout(30):
        assert child.stdout is not None
        assert await child.stdout.readline() == b"in flight\n"
        assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == []
        child.send_signal(signal.SIGKILL)
        await child.communicate()
    lane, _ = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    assert lane.epoch == 2
    (orphan,) = await store.queue.orphans(lane)
    assert (orphan.state, orphan.epoch, orphan.orphaned, orphan.attempts) == (State.IN_FLIGHT, 2, 1, 1)


async def test_a_lane_of_another_node_is_not_taken(store: Store) -> None:
    elsewhere = SendingIp(IP, IP, "mta", node=NodeName("n2"))
    await store.directory.apply([Put(elsewhere)], SEEDED, "test", NOW)
    assert [lane.ip for lane in await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)] == [OTHER_IP]
    assert [lane.ip for lane in await store.queue.hold_lanes(SECOND, NodeName("n2"), FOREVER_S, 10)] == [IP]


async def test_a_lane_that_moved_to_another_node_is_lost_at_the_next_renewal(
    store: Store, lane: Lane
) -> None:
    await store.directory.apply([Put(SendingIp(IP, IP, "mta", node=NodeName("n2")))], SEEDED, "test", NOW)
    assert lane not in await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    (moved,) = await store.queue.hold_lanes(SECOND, NodeName("n2"), FOREVER_S, 10)
    assert (moved.ip, moved.epoch) == (IP, 2)


async def test_a_removed_ip_has_a_lane_as_long_as_it_has_mail(store: Store) -> None:
    await put(store, build_message())
    snapshot = await store.directory.snapshot()
    await store.directory.apply([Remove(snapshot.ips[IP])], SEEDED, "test", NOW)
    lane, _ = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    assert lane.ip == IP
    await store.queue.settle(lane, [finish(message) for message in await claim(store, lane)])
    assert [lane.ip for lane in await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)] == [OTHER_IP]


async def test_an_ip_that_comes_back_goes_on_with_its_epoch(store: Store, lane: Lane) -> None:
    ip = (await store.directory.snapshot()).ips[IP]
    revision = await store.directory.apply([Remove(ip)], SEEDED, "test", NOW)
    await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    await store.directory.apply([Put(ip)], revision, "test", NOW)
    again, _ = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    assert (again.ip, again.epoch) == (IP, 2)


async def test_a_worker_unknown_so_far_lives_once_it_holds_lanes(store: Store) -> None:
    assert len(await store.queue.hold_lanes(SECOND, NODE, FOREVER_S, 10)) == 2
    assert await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10) == []


# ── orphans ──────────────────────────────────────────────────────────────────────────────


async def retake(store: Store, lane: Lane) -> Lane:
    """The same lane after it changed hands."""
    await store.queue.release_lanes(WORKER, [lane.ip])
    held = await store.queue.hold_lanes(WORKER, NODE, FOREVER_S, 10)
    return next(one for one in held if one.ip == lane.ip)


async def test_orphans_are_told_once_and_counted_each_time(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(*copies(2), claimed={IP: lane.epoch}))
    newer = await retake(store, lane)
    assert [message.orphaned for message in await store.queue.orphans(newer)] == [1, 1]
    assert await store.queue.orphans(newer) == []
    newest = await retake(store, newer)
    assert [message.orphaned for message in await store.queue.orphans(newest)] == [2, 2]


async def test_orphans_keep_their_attempt_and_are_settled_by_the_new_holder(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(claimed={IP: lane.epoch}))
    newer = await retake(store, lane)
    (orphan,) = await store.queue.orphans(newer)
    assert await store.queue.settle(newer, [requeue(orphan)]) == []
    assert (await only(store)).attempts == 1


async def test_an_older_holder_finds_no_orphans(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(claimed={IP: lane.epoch}))
    await retake(store, lane)
    assert await store.queue.orphans(lane) == []
    assert await store.queue.orphans(replace(lane, epoch=lane.epoch + 7)) == []  # type: ignore[arg-type]  # an epoch nobody gave


async def test_waiting_mail_and_other_lanes_have_no_orphans(store: Store, lane: Lane) -> None:
    await put(store, build_message())
    await store.queue.enqueue(build_batch(build_message(ip=IpAddress("127.0.0.77"))))
    assert await store.queue.orphans(await retake(store, lane)) == []
    assert len(await stored(store)) == 2


# ── who is alive ─────────────────────────────────────────────────────────────────────────


async def test_the_locks_of_the_dead_are_swept_away_when_a_store_is_opened(
    store_url: str, open_another: OpenStore
) -> None:
    await open_another(WORKER)
    folder = Path(store_url.removeprefix("sqlite:///") + ".workers")
    dead = folder / "died long ago"
    await asyncio.to_thread(dead.touch)
    store = await open_another(SECOND)
    assert {path.name for path in await asyncio.to_thread(lambda: list(folder.iterdir()))} == {WORKER, SECOND}
    await store.close()
    assert {path.name for path in await asyncio.to_thread(lambda: list(folder.iterdir()))} == {WORKER}


async def test_a_worker_that_stands_still_gets_no_share(
    store: Store, open_another: OpenStore, store_url: str
) -> None:
    """It has a process, but has not renewed its lanes for longer than a lease."""
    other = await open_another("w2")
    assert await store.queue.fair_share(NODE) == 1
    await other.queue.hold_lanes(WorkerId("w2"), NODE, 3600, 1)
    file = Path(store_url.removeprefix("sqlite:///") + ".workers") / "w2"
    os.utime(file, (0, 0))
    assert await store.queue.fair_share(NODE) == 2
    await other.queue.hold_lanes(WorkerId("w2"), NODE, 3600, 1)
    assert await store.queue.fair_share(NODE) == 1
