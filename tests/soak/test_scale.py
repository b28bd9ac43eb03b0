"""A million messages wait, and fresh mail does not notice. Run by `make soak`, for its figures."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.sink.fake_mta import FakeMta
from relay.sink.orders import Attempt
from relay.testing.injection import compose_mail, inject_by_smtp
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.bench.__main__ import Load, Sink, charged, measure
from tests.bench.peers import Peer, free_port, lab, relay

pytestmark = pytest.mark.timeout(900)

MILLION = 1_000_000
FRESH = Load("4 kB, 50 sessions", 4_000, 50, 10_000)

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """A function: prints a figure, which is what these tests are run for."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="")  # noqa: T201 - as it says

    return tell


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def _fill(folder: Path, count: int, domains: int, due_in_s: int, domain: str = "") -> str:
    url = f"sqlite:///{folder / 'relay.db'}"
    command = [sys.executable, "-m", "tests.soak.fill", url, str(count), str(domains), str(due_in_s), domain]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _inject(peer: Peer, sink: Sink, messages: int, domains: int) -> float:
    """CPU milliseconds a message, from the first command to the last arrival."""
    before, cpu = sink.messages(), charged(peer)[0]
    address = f"127.0.0.1:{peer.port}"
    spread = ["--messages", str(messages), "--domains", str(domains)]
    command = [sys.executable, "-m", "tests.bench.inject", address, *spread]
    subprocess.run(command, check=True)
    deadline = time.monotonic() + 120
    while sink.messages() - before < messages:
        assert time.monotonic() < deadline, f"{sink.messages() - before} of {messages} arrived"
        time.sleep(0.02)
    return 1000 * (charged(peer)[0] - cpu) / messages


def test_a_million_deferred_messages_cost_fresh_mail_nothing(tmp_path: Path, sink: Sink, say: Say) -> None:
    with relay(tmp_path, sink.address) as peer:
        measure(peer, sink, FRESH, tmp_path)
        empty = measure(peer, sink, FRESH, tmp_path)
    say(f"filled with {MILLION} messages for 20,000 domains at {_fill(tmp_path, MILLION, 20_000, 3600)}")
    before, started = sink.messages(), time.monotonic()
    with relay(tmp_path, sink.address) as peer:
        asyncio.run(_send_one(peer.port))
        while sink.messages() == before:
            time.sleep(0.01)
        start_s = time.monotonic() - started
        full = [measure(peer, sink, FRESH, tmp_path) for _ in range(3)][-1]
        list_s, listed = _list(tmp_path, "--domain", "d77.example")
    say(
        f"fresh mail: {full.delivered_per_s:.0f}/s beside {empty.delivered_per_s:.0f}/s with an empty queue "
        f"({full.delivered_per_s / empty.delivered_per_s:.2f}); memory {full.memory_mb:.0f} MB; "
        f"restart to first delivery {start_s:.1f} s; queue list with a filter {list_s:.2f} s"
    )
    assert listed == 50
    assert full.delivered_per_s >= 0.8 * empty.delivered_per_s
    assert full.memory_mb < 400
    assert start_s < 5
    assert list_s < 1


async def _send_one(port: int) -> None:
    content = compose_mail("b@dst.test", "a@src.test", ip_pool="one")
    await inject_by_smtp(("127.0.0.1", port), None, "a@src.test", ["b@dst.test"], content)


def _list(folder: Path, *filters: str) -> tuple[float, int]:
    """How long `relay queue list` took, and how many it listed."""
    started = time.monotonic()
    command = [sys.executable, "-m", "relay", "queue", "list", *filters, "--json"]
    printed = subprocess.run(
        [*command, "--config", str(folder / "relay.toml")], check=True, capture_output=True, text=True
    ).stdout
    return time.monotonic() - started, len(json.loads(printed))


async def test_half_a_million_messages_due_for_a_dead_host_do_not_slow_their_neighbours(
    tmp_path: Path, say: Say
) -> None:
    arrived: dict[str, float] = {}

    def note(attempt: Attempt) -> None:
        arrived[attempt.recipient] = time.perf_counter()

    dead = '[[route]]\ndomains = ["dead.example"]\nsmarthost = "127.0.0.1:1"\ntls = "off"\n'
    async with FakeMta(on_attempt=note) as mta:
        alive = f'[[route]]\ndomains = ["*"]\nsmarthost = "{mta.address}"\ntls = "off"\n'
        key = '[[account.api_key]]\nlabel = "soak"\ngrants = ["smtp/inject"]\nkey = "' + "a1" * 20 + '"\n'
        directory = lab().replace('plan = "enterprise"\n', 'plan = "enterprise"\n' + key, 1) + dead + alive
        async with RelayProcess(tmp_path, mta.address, directory=directory) as process:
            empty = await _latencies(process, arrived, "empty")
        filled = await asyncio.to_thread(_fill, tmp_path, 500_000, 1, 0, "dead.example")
        async with RelayProcess(tmp_path, mta.address, directory=directory) as process:
            full = await _latencies(process, arrived, "full")
    for name, rank in (("median", 50), ("p99", 99)):
        figures = [statistics.quantiles(found, n=100)[rank - 1] * 1000 for found in (empty, full)]
        say(
            f"250 to delivery, {name}: {figures[1]:.2f} ms behind 500,000 due for a dead host, "
            f"{figures[0]:.2f} ms with an empty queue ({figures[1] / figures[0]:.2f}); filled at {filled}"
        )
        assert figures[1] <= 2 * figures[0]


async def _latencies(process: RelayProcess, arrived: dict[str, float], name: str) -> list[float]:
    """Seconds from the 250 to the next hop's, for mail over all IPs; the first few warm up."""
    found = []
    for number in range(1, 1101):
        to = f"{name}{number}@alive.example"
        pool = ("one", "two", "three")[number % 3]
        await process.inject(to, ip_pool=pool)
        acknowledged = time.perf_counter()

        async def has_arrived(to: str = to) -> bool:
            return to in arrived

        await eventually(has_arrived, timeout_s=20)
        if number > 100:
            found.append(max(arrived[to] - acknowledged, 1e-4))
    return found


def test_many_ips_and_domains_cost_little_more_than_one(tmp_path: Path, sink: Sink, say: Say) -> None:
    figures = {}
    for ips, domains in ((3, 1), (200, 500)):
        folder = tmp_path / str(ips)
        folder.mkdir()
        with relay(folder, sink.address, directory=lab(ips)) as peer:
            _inject(peer, sink, 2_000, domains)
            figures[ips] = _inject(peer, sink, 10_000, domains)
    ratio = figures[200] / figures[3]
    say(
        f"one smarthost: {figures[200]:.2f} ms for 200 IPs × 500 domains, "
        f"{figures[3]:.2f} ms for 3 × 1 ({ratio:.2f})"
    )
    assert ratio <= 1.5


def test_many_sites_cost_little_more_than_one(tmp_path: Path, say: Say) -> None:
    """Direct MX: 20 IPs × 50 sites, 50 messages a path."""
    figures = {}
    for sites in (1, 50):
        with _everywhere() as sink:
            folder = tmp_path / str(sites)
            folder.mkdir()
            port = sink.address.rpartition(":")[2]
            route = (
                f'[[route]]\ndomains = ["*"]\nmx = true\nport = {port}\nallow_private = true\ntls = "off"\n'
            )
            program = ("-m", "tests.soak.mx")
            with relay(folder, sink.address, directory=lab(20, route), program=program) as peer:
                figures[sites] = _inject(peer, sink, 50_000, sites)
    ratio = figures[50] / figures[1]
    say(f"direct MX, 20 IPs: {figures[50]:.2f} ms for 50 sites, {figures[1]:.2f} ms for one ({ratio:.2f})")
    assert ratio <= 1.5


@contextmanager
def _everywhere() -> Iterator[Sink]:
    """A sink that answers on every loopback address."""
    sink = Sink(f"0.0.0.0:{free_port()}")
    yield sink
    sink.close()


def test_pipelining_out_pays_when_the_next_hop_is_far_away(tmp_path: Path, say: Say) -> None:
    """RFC 2920, a next hop 50 ms away, one connection an IP: messages a second with and without."""
    rates = {}
    for pipelining in (True, False):
        sink = Sink(delay_ms=50, pipelining=pipelining)
        folder = tmp_path / str(pipelining)
        folder.mkdir()
        settings: dict[str, dict[str, object]] = {
            "limits": {"connections": 1, "deliveries_per_connection": 1000}
        }
        try:
            with relay(folder, sink.address, settings=settings) as peer:
                before, started = sink.messages(), time.monotonic()
                _inject(peer, sink, 600, 1)
                rates[pipelining] = (sink.messages() - before) / (time.monotonic() - started) / 12
        finally:
            sink.close()
    ratio = rates[True] / rates[False]
    say(
        f"50 ms away: {rates[True]:.1f} messages/s a connection pipelined, "
        f"{rates[False]:.1f} not ({ratio:.2f})"
    )
    assert ratio >= 1.6
