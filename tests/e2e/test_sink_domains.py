"""Mail to a sink domain counts as delivered, and nothing leaves; all else is as with real mail."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from relay.domain.events import Delivery, Injection
from relay.domain.ids import TransmissionId
from relay.domain.message import State
from relay.domain.retry import RetryPolicy
from relay.ports.eventlog import Told
from relay.ports.queue import MailFilter
from relay.resources.queue.rules import Operator
from relay.sink.fake_mta import FakeMta
from relay.testing.fake_dns import FakeDns
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API, lab_directory
from relay.testing.waiting import eventually

SINK = "sink.sparkpostmail.com"
BOB = f"bob@gmail.com.{SINK}"
CONTENT = {"from": "news@acme.test", "subject": "Hello", "text": "Hello."}
BY_MX = '\n[[route]]\ndomains = ["*.com", "*"]\nmx = true\ntls = "off"\n'


@pytest.fixture
def dns() -> FakeDns:
    """Where everything leads to this machine: to ask it is to fail."""
    return FakeDns(addresses={SINK: ["127.0.0.1"], f"gmail.com.{SINK}": ["127.0.0.1"]})


@pytest_asyncio.fixture
async def relay(tmp_path: Path, mta: FakeMta, dns: FakeDns) -> AsyncIterator[RelayHarness]:
    """Routes of the operator's that cover the sink too, by DNS."""
    directory = lab_directory() + BY_MX
    async with RelayHarness(tmp_path, mta, directory=directory, settings=WITH_API, resolver=dns) as relay:
        yield relay


async def _told(relay: RelayHarness, transmission: str) -> list[Told]:
    return list(await relay.inside.store.events.of_transmission(TransmissionId(transmission)))


async def _deliveries(relay: RelayHarness, transmission: str) -> list[Delivery]:
    return [one.event for one in await _told(relay, transmission) if isinstance(one.event, Delivery)]


async def _sent(relay: RelayHarness, body: dict[str, Any]) -> str:
    async with relay.api() as api:
        answer = await api.post("/transmissions", json={"content": CONTENT, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["results"]["id"])


async def test_mail_by_smtp_is_pinned_and_told_like_any_and_goes_nowhere(
    relay: RelayHarness, mta: FakeMta, dns: FakeDns
) -> None:
    copies = {"cc": [f"cy@{SINK}"], "bcc": [f"beth@a.b.{SINK.upper()}"], "archive": [f"ann@x.{SINK}"]}
    injected = await relay.inject([BOB, f"postmaster@{SINK}"], ip_pool="receipts", msys=copies)
    assert await relay.quiet() == []
    told = await _told(relay, injected.transmission_id)
    for kind in (Injection, Delivery):
        events = [one.event for one in told if isinstance(one.event, kind)]
        assert len(events) == 5
        assert {event.about.rcpt_type for event in events} == {"", "cc", "bcc", "archive"}
        assert {(event.about.sending_ip, event.about.ip_pool) for event in events} == {
            ("127.0.0.13", "receipts")
        }
    assert (mta.attempts, dns.asked) == ([], [])


async def test_a_delivery_by_rest_is_found_by_its_sending_ip_and_names_no_host(
    relay: RelayHarness, mta: FakeMta
) -> None:
    id_ = await _sent(relay, {"recipients": [{"address": BOB}], "options": {"ip_pool": "receipts"}})
    await relay.quiet()
    relay.clock.advance(seconds=1)
    async with relay.api() as api:
        query = {"transmissions": id_, "events": "delivery", "sending_ips": "127.0.0.13"}
        (delivery,) = (await api.get("/events/message", params=query)).json()["results"]
    assert (delivery["rcpt_to"], delivery["ip_pool"]) == (BOB, "receipts")
    assert (delivery["num_retries"], delivery["outbound_tls"]) == ("0", "0")
    assert "ip_address" not in delivery
    assert mta.attempts == []


async def test_a_scheduled_one_and_a_large_one_go_nowhere_too(relay: RelayHarness, mta: FakeMta) -> None:
    many = [{"address": f"bob{number}@d{number % 7}.{SINK}"} for number in range(120)]
    later = (relay.clock.now() + timedelta(hours=1)).isoformat(timespec="seconds")
    large = await _sent(relay, {"recipients": many})
    scheduled = await _sent(relay, {"recipients": [{"address": BOB}], "options": {"start_time": later}})
    relay.clock.advance(hours=1)

    async def all_told() -> bool:
        counts = [len(await _deliveries(relay, id_)) for id_ in (large, scheduled)]
        return counts == [120, 1]

    assert await eventually(all_told)
    assert mta.attempts == []


async def test_mail_beside_it_in_the_same_transaction_is_sent(tmp_path: Path, mta: FakeMta) -> None:
    async with RelayHarness(tmp_path, mta) as relay:
        injected = await relay.inject([BOB, "real@gmail.com", f"x@not{SINK}"])
        await relay.quiet()
        assert len(await _deliveries(relay, injected.transmission_id)) == 3
    assert sorted(attempt.recipient for attempt in mta.accepted) == ["real@gmail.com", f"x@not{SINK}"]


async def test_what_waited_or_was_held_before_ends_there_with_its_pin(tmp_path: Path, mta: FakeMta) -> None:
    """A domain that becomes a sink: the queue is as it was, and the next attempt goes nowhere."""
    mta.answer(BOB, "451 4.2.1 later")
    async with RelayHarness(tmp_path, mta, settings={"sink": {"domains": []}}) as relay:
        injected = [await relay.inject(BOB, ip_pool=pool) for pool in ("receipts", "default")]
        await relay.quiet()
        inside = relay.inside
        queue, wakeups = inside.store.queue, inside.store.wakeups
        operator = Operator(queue, wakeups, inside.directory, relay.clock, RetryPolicy(), "cli:test")
        held = MailFilter(None, ids=(injected[0].message_id,))
        assert await operator.hold(held) == 1
        config = tmp_path / "relay.toml"
        config.write_text(config.read_text().replace("domains = []", f'domains = ["{SINK}"]'))
        await relay.restart()
        relay.clock.advance(minutes=20)
        (waiting,) = await relay.quiet()
        assert waiting.state is State.HELD
        inside = relay.inside
        queue, wakeups = inside.store.queue, inside.store.wakeups
        operator = Operator(queue, wakeups, inside.directory, relay.clock, RetryPolicy(), "cli:test")
        assert await operator.release(held) == 1
        relay.clock.advance(minutes=1)
        assert await relay.quiet() == []
        for one, ip in zip(injected, ("127.0.0.13", "127.0.0.14"), strict=True):
            (delivery,) = await _deliveries(relay, one.transmission_id)
            assert (delivery.about.sending_ip, delivery.num_retries) == (ip, 1)
    assert len(mta.attempts) == 2


async def test_domains_of_ones_own_and_none(tmp_path: Path, mta: FakeMta) -> None:
    settings = {"sink": {"domains": ["bücher.example"]}}
    async with RelayHarness(tmp_path, mta, settings=settings) as relay:
        await relay.inject(["a@xn--bcher-kva.example", "b@shop.XN--bcher-kva.example", BOB])
        await relay.quiet()
    assert [attempt.recipient for attempt in mta.accepted] == [BOB]
    mta.attempts.clear()
    none = tmp_path / "none"
    none.mkdir()
    async with RelayHarness(none, mta, settings={"sink": {"domains": []}}) as relay:
        await relay.inject(BOB)
        await relay.quiet()
    assert [attempt.recipient for attempt in mta.accepted] == [BOB]
