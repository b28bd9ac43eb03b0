"""The product's promise: queued mail leaves from the IP it was given, whatever becomes of pool and IP."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from relay.domain.message import State
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError

LATER = "451 4.2.1 Mailbox busy, try again later"


async def _deferred(relay: RelayHarness, mta: FakeMta, to: str, ip_pool: str) -> str:
    """Inject through the pool, have the next hop defer it; the source IP that the next hop saw."""
    mta.answer(to, LATER, then="250 2.0.0 Ok")
    injected = await relay.inject(to, ip_pool=ip_pool)
    await relay.quiet()
    (first,) = mta.attempts_for(to)
    (waiting,) = [message for message in await relay.queue() if message.id == injected.message_id]
    assert waiting.state is State.QUEUED
    assert waiting.pin.ip == first.peer_ip
    assert waiting.due == relay.clock.now() + timedelta(minutes=20)
    return first.peer_ip


async def _retried(relay: RelayHarness, mta: FakeMta, to: str) -> str:
    """Let the wait pass; the source IP of the retry, which the next hop accepts."""
    relay.clock.advance(minutes=20)
    await relay.quiet()
    _, second = mta.attempts_for(to)
    assert second.is_accepted
    assert second.recipient == to
    return second.peer_ip


async def _fresh(
    relay: RelayHarness, mta: FakeMta, to: str, ip_pool: str | None = None, account: int = 1
) -> str:
    """Inject and see it delivered at once; the source IP that the next hop saw."""
    await relay.inject(to, ip_pool=ip_pool, account=account)
    await relay.quiet()
    (only,) = mta.attempts_for(to)
    assert only.is_accepted
    return only.peer_ip


async def test_r27_queued_mail_leaves_from_an_ip_that_was_unassigned_meanwhile(
    relay: RelayHarness, mta: FakeMta
) -> None:
    pinned = await _deferred(relay, mta, "bob@gmail.example", "marketing")
    await relay.unassign_ip(pinned)

    (left,) = relay.ips_of("marketing")
    assert left != pinned
    for number in range(3):
        assert await _fresh(relay, mta, f"fresh{number}@gmail.example", "marketing") == left
    assert await _retried(relay, mta, "bob@gmail.example") == pinned
    assert await relay.queue() == []


async def test_r28_queued_mail_leaves_from_an_ip_that_was_moved_meanwhile(
    relay: RelayHarness, mta: FakeMta
) -> None:
    pinned = await _deferred(relay, mta, "bob@gmail.example", "receipts")
    await relay.move_ip(pinned, "quiet")
    for address in ("127.0.0.11", "127.0.0.12"):
        await relay.move_ip(address, "receipts")

    assert await _fresh(relay, mta, "quiet@gmail.example", "quiet") == pinned
    assert {await _fresh(relay, mta, f"new{n}@gmail.example", "receipts") for n in range(2)} == {
        "127.0.0.11",
        "127.0.0.12",
    }
    assert await _retried(relay, mta, "bob@gmail.example") == pinned


async def test_r29_queued_mail_leaves_from_its_ip_after_its_pool_was_deleted(
    relay: RelayHarness, mta: FakeMta
) -> None:
    pinned = await _deferred(relay, mta, "bob@gmail.example", "receipts")
    await relay.delete_pool("receipts")

    with pytest.raises(InjectionRefusedError, match=r"^550 5\.7\.1 IP Pool 'receipts' does not exist"):
        await relay.inject("lost@gmail.example", ip_pool="receipts")
    assert relay.ips_of("default") == {"127.0.0.14", pinned}, "A31: its IPs go to the default pool"
    fresh = {await _fresh(relay, mta, f"fresh{number}@gmail.example") for number in range(4)}
    assert fresh == {"127.0.0.14", pinned}
    assert await _retried(relay, mta, "bob@gmail.example") == pinned
    assert await relay.queue() == []


async def test_a31_mail_that_went_to_the_shared_pool_uses_the_ips_of_a_deleted_pool(
    relay: RelayHarness, mta: FakeMta
) -> None:
    assert await _fresh(relay, mta, "before@gmail.example", account=2) in relay.ips_of("sp_shared")
    await relay.delete_pool("news", account=2)
    assert await _fresh(relay, mta, "after@gmail.example", account=2) == "127.0.0.21"


async def test_a31_enterprise_mail_that_was_refused_uses_the_ips_of_a_deleted_pool(
    relay: RelayHarness, mta: FakeMta
) -> None:
    with pytest.raises(InjectionRefusedError, match=r"^550 5\.7\.1 IP Pool 'default' is empty"):
        await relay.inject("before@gmail.example", account=4)
    await relay.delete_pool("alerts", account=4)
    assert await _fresh(relay, mta, "after@gmail.example", account=4) == "127.0.0.41"


async def test_queued_mail_keeps_its_ip_when_all_of_it_happens_with_a_restart_in_between(
    relay: RelayHarness, mta: FakeMta
) -> None:
    unassigned = await _deferred(relay, mta, "unassigned@gmail.example", "marketing")
    moved = await _deferred(relay, mta, "moved@gmail.example", "marketing")
    deleted = await _deferred(relay, mta, "deleted@gmail.example", "receipts")
    assert len({unassigned, moved, deleted}) == 3

    await relay.unassign_ip(unassigned)
    await relay.move_ip(moved, "quiet")
    await relay.delete_pool("receipts")
    await relay.delete_pool("marketing")
    await relay.restart()

    assert await _fresh(relay, mta, "fresh@gmail.example", "quiet") == moved
    assert {await _fresh(relay, mta, f"default{n}@gmail.example") for n in range(2)} == {
        "127.0.0.14",
        deleted,
    }
    relay.clock.advance(minutes=20)
    assert await relay.quiet() == []
    for to, pinned in (("unassigned", unassigned), ("moved", moved), ("deleted", deleted)):
        first, second = mta.attempts_for(f"{to}@gmail.example")
        assert first.peer_ip == second.peer_ip == pinned
        assert first.ehlo == second.ehlo == f"mta{pinned.rpartition('.')[2]}.relay.test"
        assert second.is_accepted


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda relay: relay.move_ip("127.0.0.13", "quiet"), id="moved"),
        pytest.param(lambda relay: relay.unassign_ip("127.0.0.13"), id="unassigned"),
        pytest.param(lambda relay: relay.delete_pool("receipts"), id="pool deleted"),
    ],
)
async def test_the_pin_holds_through_every_retry_until_the_message_expires(
    relay: RelayHarness, mta: FakeMta, change: Callable[[RelayHarness], Awaitable[None]]
) -> None:
    mta.answer("bob@gmail.example", LATER)
    await relay.inject("bob@gmail.example", ip_pool="receipts")
    await relay.quiet()
    await change(relay)
    injected = relay.clock.now()
    minutes = [0]
    while waiting := await relay.quiet():
        relay.clock.advance_to(waiting[0].due)
        await relay.quiet()
        minutes.append(int((relay.clock.now() - injected).total_seconds() // 60))
    assert minutes == [0, 20, 60, 140, 300, 620, 1260, 2540, 4320], "at 72 h it fails"
    attempts = mta.attempts_for("bob@gmail.example")
    assert len(attempts) == 8
    assert {attempt.peer_ip for attempt in attempts} == {"127.0.0.13"}
