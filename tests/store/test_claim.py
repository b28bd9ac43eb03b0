"""Heads and claims: what is due, for whom, how much of it."""

from dataclasses import replace

from relay.domain.ids import Epoch
from relay.domain.message import State
from relay.ports.queue import Head, Lane
from relay.store import Store
from tests.store.conftest import (
    EVERYTHING,
    HOUR,
    MINUTE,
    NODE,
    OTHER_IP,
    WORKER,
    build_batch,
    claim,
    only,
    put,
    requeue,
    states,
    stored,
)
from tests.support.mail import IP, NOW, build_message

LARGE = 1 << 40


async def test_heads_are_one_row_a_domain_with_its_first_due_time(store: Store, lane: Lane) -> None:
    await put(
        store,
        *(build_message(f"r{n}@busy.example", due=NOW + n * MINUTE) for n in range(20)),
        build_message("a@late.example", due=NOW + 5 * MINUTE),
        build_message("a@later.example", due=NOW + HOUR),
        build_message("a@other.example", ip=OTHER_IP),
    )
    heads = await store.queue.heads(lane, NOW + 30 * MINUTE)
    assert heads == [Head("busy.example", NOW), Head("late.example", NOW + 5 * MINUTE)]


async def test_heads_know_only_queued_mail(store: Store, lane: Lane) -> None:
    await put(store, build_message("a@b.example"), build_message("a@c.example"))
    await claim(store, lane, "b.example")
    assert [head.domain for head in await store.queue.heads(lane, NOW)] == ["c.example"]


async def test_an_empty_lane_has_no_heads(store: Store, lane: Lane) -> None:
    assert await store.queue.heads(lane, NOW + HOUR) == []


async def test_a_claim_takes_what_is_due_oldest_first_and_counts_the_attempt(
    store: Store, lane: Lane
) -> None:
    late, early = await put(store, build_message(due=NOW), build_message(due=NOW - MINUTE))
    await put(store, build_message(due=NOW + MINUTE))
    claimed = await claim(store, lane)
    assert [message.id for message in claimed] == [early.id, late.id]
    assert claimed[0] == replace(early, state=State.IN_FLIGHT, attempts=1, epoch=lane.epoch)
    assert await states(store) == [State.IN_FLIGHT, State.IN_FLIGHT, State.QUEUED]


async def test_a_claim_is_for_the_domains_named_and_the_lane_alone(store: Store, lane: Lane) -> None:
    await put(
        store,
        *(build_message(f"a@{domain}") for domain in ("b.example", "c.example", "d.example")),
        build_message("x@b.example", ip=OTHER_IP),
    )
    claimed = await claim(store, lane, "b.example", "c.example", "b.example", "nobody.example")
    assert [message.rcpt_to for message in claimed] == ["a@b.example", "a@c.example"]


async def test_what_is_claimed_is_not_claimed_again(store: Store, lane: Lane) -> None:
    await put(store, build_message())
    assert len(await claim(store, lane)) == 1
    assert await claim(store, lane) == []


async def test_a_claim_ends_at_the_limit_over_all_domains(store: Store, lane: Lane) -> None:
    await put(store, *(build_message(f"r{n}@d{n % 2}.example", due=NOW - n * MINUTE) for n in range(10)))
    claimed = await store.queue.claim(lane, ["d0.example", "d1.example"], NOW, 3, LARGE)
    assert [one.message.rcpt_to for one in claimed] == ["r9@d1.example", "r8@d0.example", "r7@d1.example"]


async def test_a_claim_ends_before_it_exceeds_the_bytes(store: Store, lane: Lane) -> None:
    await put(store, *(build_message(due=NOW - n * MINUTE, size_bytes=100) for n in range(5)))
    assert len(await store.queue.claim(lane, ["b.example"], NOW, 10, 250)) == 2


async def test_one_message_is_claimed_however_large(store: Store, lane: Lane) -> None:
    await put(store, build_message(size_bytes=5000, due=NOW - MINUTE), build_message())
    (claimed,) = await store.queue.claim(lane, ["b.example"], NOW, 10, 10)
    assert claimed.message.size_bytes == 5000


async def test_a_backlog_of_one_domain_leaves_the_other_domains_their_turn(store: Store, lane: Lane) -> None:
    await put(store, *(build_message(f"r{n}@big.example", due=NOW - HOUR) for n in range(50)))
    await put(store, build_message("a@small.example"))
    assert {head.domain for head in await store.queue.heads(lane, NOW)} == {"big.example", "small.example"}
    assert len(await claim(store, lane, "small.example")) == 1


async def test_nothing_is_claimed_once_the_epoch_moved_on(store: Store, lane: Lane) -> None:
    await put(store, build_message())
    await store.queue.release_lanes(WORKER)
    await store.queue.hold_lanes(WORKER, NODE, 3600, 10)
    assert await claim(store, lane) == []
    assert await claim(store, replace(lane, epoch=Epoch(9))) == []
    assert await store.queue.claim_overdue(lane, NOW + 100 * HOUR, 10) == []
    assert (await only(store)).attempts == 0


async def test_a_claim_leaves_what_is_past_its_expiry(store: Store, lane: Lane) -> None:
    await put(store, build_message(expires=NOW))
    assert await claim(store, lane) == []


async def test_overdue_mail_is_claimed_without_an_attempt(store: Store, lane: Lane) -> None:
    gone, _ = await put(store, build_message(expires=NOW), build_message(expires=NOW + HOUR))
    (overdue,) = await store.queue.claim_overdue(lane, NOW, 10)
    assert overdue == replace(gone, state=State.IN_FLIGHT, epoch=lane.epoch)
    assert await store.queue.claim_overdue(lane, NOW, 10) == []


async def test_overdue_mail_that_waits_for_another_attempt_is_found(store: Store, lane: Lane) -> None:
    await put(store, build_message(expires=NOW + MINUTE))
    await store.queue.settle(lane, [requeue(message, NOW + HOUR) for message in await claim(store, lane)])
    (overdue,) = await store.queue.claim_overdue(lane, NOW + MINUTE, 10)
    assert (overdue.attempts, overdue.last_reply) == (1, "451 4.2.1 later")


async def test_a_hold_past_its_deadline_is_overdue(store: Store, lane: Lane) -> None:
    message = build_message()
    await put(store, message)
    await store.queue.hold(EVERYTHING, NOW, NOW + 200 * HOUR, "test")
    assert await store.queue.claim_overdue(lane, message.expires, 10) == []
    (overdue,) = await store.queue.claim_overdue(lane, NOW + 200 * HOUR, 10)
    assert overdue.state is State.IN_FLIGHT


async def test_overdue_claims_are_for_the_lane_alone_oldest_first_up_to_the_limit(
    store: Store, lane: Lane
) -> None:
    await put(store, *(build_message(expires=NOW - n * MINUTE) for n in range(5)))
    await put(store, build_message(expires=NOW - HOUR, ip=OTHER_IP))
    overdue = await store.queue.claim_overdue(lane, NOW, 2)
    assert [message.expires for message in overdue] == [NOW - 4 * MINUTE, NOW - 3 * MINUTE]


async def test_overdue_mail_in_flight_is_left_to_its_attempt(store: Store, lane: Lane) -> None:
    await store.queue.enqueue(build_batch(build_message(expires=NOW), claimed={IP: lane.epoch}))
    assert await store.queue.claim_overdue(lane, NOW + HOUR, 10) == []
    assert len(await stored(store)) == 1


async def test_heads_of_some_domains_are_their_next_due_messages(store: Store, lane: Lane) -> None:
    await put(
        store,
        build_message("a@c.example", due=NOW + MINUTE),
        build_message("b@c.example", due=NOW + 2 * MINUTE),
        build_message("a@d.example"),
        build_message("a@e.example"),
        build_message("a@f.example", ip=OTHER_IP),
    )
    asked = ["c.example", "e.example", "f.example", "unknown.example"]
    assert await store.queue.heads(lane, NOW + HOUR, asked) == [
        Head("e.example", NOW),
        Head("c.example", NOW + MINUTE),
    ]
    assert await store.queue.heads(lane, NOW, ["c.example"]) == []


async def test_mail_that_waits_longer_than_the_gap_of_its_attempt_is_made_due(
    store: Store, lane: Lane
) -> None:
    await put(
        store,
        build_message("fresh@gmail.example", due=NOW + 2 * HOUR),
        replace(build_message("once@gmail.example", due=NOW + 2 * HOUR), attempts=1),
        replace(build_message("thrice@gmail.example", due=NOW + 2 * HOUR), attempts=3),
        replace(build_message("often@gmail.example", due=NOW + 2 * HOUR), attempts=9),
        replace(build_message("soon@gmail.example", due=NOW + MINUTE), attempts=1),
    )
    gaps = [20 * MINUTE, HOUR, 3 * HOUR]
    assert await store.queue.pull_forward(lane, NOW, gaps, 1) == 1
    assert await store.queue.pull_forward(lane, NOW, gaps, 10) == 1
    assert await store.queue.pull_forward(lane, NOW, gaps, 10) == 0
    found = await claim(store, lane, "gmail.example")
    assert {one.rcpt_to for one in found} == {"fresh@gmail.example", "once@gmail.example"}
    stale = replace(lane, epoch=Epoch(lane.epoch - 1))
    assert await store.queue.pull_forward(stale, NOW - 30 * 24 * HOUR, gaps, 10) == 0
