"""`make bench`: this relay beside Postfix, the same load, the same next hop, the same two cores.

Each row is one load. CPU is utime and stime of all processes of the relay under test, divided by
the messages that the next hop received. Rates depend on the machine; the ratios travel better.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.peers import POOLS, Peer, free_port, lab, postfix, relay

_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 120
_KEY = "b1" * 20
_KEY_TABLE = f'[[account.api_key]]\nlabel = "bench"\ngrants = ["smtp/inject"]\nkey = "{_KEY}"\n'


@dataclass(frozen=True, slots=True)
class Load:
    """One row of the table."""

    label: str
    size_bytes: int
    sessions: int
    messages: int


LOADS = (
    Load("4 kB, 50 sessions", 4_000, 50, 20_000),
    Load("100 kB, 20 sessions", 100_000, 20, 6_000),
    Load("1 MB, 10 sessions", 1_000_000, 10, 1_000),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave."""

    accepted_per_s: float
    delivered_per_s: float
    cpu_ms: float
    memory_mb: float
    source_ips: int


class Sink:
    """The counting next hop, as a process of its own."""

    def __init__(self, address: str = "", delay_ms: int = 0, pipelining: bool = True) -> None:
        """address: HOST:PORT, else a free one."""
        self.address = address or f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "tests.bench.sink", self.address, str(delay_ms)]
        if not pipelining:
            command.append("--one-by-one")
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._read()

    def messages(self) -> int:
        """How many arrived so far."""
        return int(str(self.count()["messages"]))

    def count(self) -> dict[str, object]:
        self._child.send_signal(signal.SIGUSR1)
        return self._read()

    def close(self) -> None:
        self._child.terminate()
        # Waits, and closes the pipe.
        self._child.communicate()

    def _read(self) -> dict[str, object]:
        assert self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], 30)
        if not ready:
            raise SystemExit("the sink does not answer")
        found: dict[str, object] = json.loads(self._child.stdout.readline())
        return found


def measure(peer: Peer, sink: Sink, load: Load, folder: Path) -> Figures:
    """Put the load on the peer, wait until the sink has all of it."""
    before = sink.messages()
    cpu_before, _ = charged(peer)
    started = time.monotonic()
    _inject(peer, load, folder)
    accepted = time.monotonic()
    memory = charged(peer)[1]
    counted = sink.count()
    while int(str(counted["messages"])) - before < load.messages:
        if time.monotonic() - accepted > _PATIENCE_S:
            raise SystemExit(
                f"{peer.name}: {counted['messages']} of {load.messages} arrived, and no more come"
            )
        time.sleep(0.05)
        memory = max(memory, charged(peer)[1])
        counted = sink.count()
    time.sleep(0.5)
    cpu_after, _ = charged(peer)
    by_ip = counted["by_ip"]
    assert isinstance(by_ip, dict)
    return Figures(
        load.messages / (accepted - started),
        load.messages / (float(str(counted["last"])) - started),
        1000 * (cpu_after - cpu_before) / load.messages,
        memory,
        len(by_ip),
    )


def _inject(peer: Peer, load: Load, folder: Path) -> None:
    """Three clients, one a pool, which share sessions and messages."""
    clients = []
    for index, pool in enumerate(POOLS):
        message = folder / f"{pool}-{load.size_bytes}"
        message.write_text(_message(pool, load.size_bytes))
        share = [part // len(POOLS) + (index < part % len(POOLS)) for part in (load.sessions, load.messages)]
        clients.append(
            subprocess.Popen(
                [
                    "smtp-source",
                    *("-s", str(share[0]), "-m", str(share[1]), "-F", str(message)),
                    *("-f", "a@src.test", "-t", "b@dst.test", "-d", f"127.0.0.1:{peer.port}"),
                ]
            )
        )
    for client in clients:
        if client.wait() != 0:
            raise SystemExit(f"smtp-source failed against {peer.name}")


def _message(pool: str, size_bytes: int) -> str:
    """Lines end in LF here; smtp-source makes CRLF of them."""
    head = (
        "From: Bench <a@src.test>\nTo: b@dst.test\nSubject: bench\n"
        f'X-MSYS-API: {{"campaign_id": "bench", "options": {{"ip_pool": "{pool}"}}}}\n\n'
    )
    line = "x" * 98 + "\n"
    return head + line * max(1, (size_bytes - len(head)) // 100)


def charged(peer: Peer) -> tuple[float, float]:
    """CPU seconds and resident megabytes of the peer's processes, reaped children included."""
    table: dict[int, tuple[str, int, float, float]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2 :].split()
            name = text[text.index("(") + 1 : text.rindex(")")]
            cpu = sum(int(field) for field in fields[11:15]) / _TICK
            table[int(folder.name)] = (name, int(fields[1]), cpu, int(fields[21]) * 4096 / 1e6)
    cpu_s = memory = 0.0
    for pid, (name, _, cpu, resident) in table.items():
        if name in peer.commands or _descends(pid, peer.pids, table):
            cpu_s, memory = cpu_s + cpu, memory + resident
    return cpu_s, memory


def _descends(pid: int, roots: tuple[int, ...], table: dict[int, tuple[str, int, float, float]]) -> bool:
    while pid in table and pid > 1:
        if pid in roots:
            return True
        pid = table[pid][1]
    return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", help="loads whose label contains this, such as '4 kB'")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of messages")
    parser.add_argument("--without-postfix", action="store_true")
    parser.add_argument("--auth", action="store_true", help="what AUTH costs, instead of the table")
    parser.add_argument("--workers", type=int, default=2, help="for the last row; 0: leave it out")
    given = parser.parse_args()
    if given.auth:
        _auth(given.scale)
        return
    loads = [load for load in LOADS if not given.only or given.only in load.label]
    loads = [Load(one.label, one.size_bytes, one.sessions, int(one.messages * given.scale)) for one in loads]
    _say("| load | relay | accepted/s | end-to-end/s | CPU ms | memory MB | source IPs | rate × | CPU × |")
    _say("|---|---|---|---|---|---|---|---|---|")
    for load in loads:
        base = None if given.without_postfix else _row(load, postfix, None)
        _row(load, relay, base)
        if given.workers > 1 and load.size_bytes == LOADS[0].size_bytes:
            _row(load, partial(relay, workers=given.workers), base)


def _auth(scale: float) -> None:
    """One message a connection, from a trusted client and from one that says AUTH PLAIN."""
    messages = int(5_000 * scale)
    directory = lab().replace('plan = "enterprise"\n', f'plan = "enterprise"\n{_KEY_TABLE}', 1)
    figures: list[float] = []
    for key in ("", _KEY):
        sink = Sink()
        with (
            tempfile.TemporaryDirectory(prefix="relay-bench-") as name,
            relay(Path(name), sink.address, directory=directory) as peer,
        ):
            before, cpu = sink.messages(), charged(peer)[0]
            spread = ["--messages", str(messages), "--a-session", "1", "--key", key]
            command = [sys.executable, "-m", "tests.bench.inject", f"127.0.0.1:{peer.port}", *spread]
            subprocess.run(command, check=True)
            while sink.messages() - before < messages:
                time.sleep(0.05)
            figures.append(1000 * (charged(peer)[0] - cpu) / messages)
        sink.close()
    _say("| 4 kB, a connection a message | CPU ms |")
    _say("|---|---|")
    for label, figure in zip(("trusted client", "AUTH PLAIN"), figures, strict=True):
        _say(f"| {label} | {figure:.2f} |")


def _row(
    load: Load, start: Callable[[Path, str], AbstractContextManager[Peer]], base: Figures | None
) -> Figures:
    sink = Sink()
    try:
        with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            with start(folder, sink.address) as peer:
                warm = Load(load.label, load.size_bytes, load.sessions, max(30, load.messages // 20))
                measure(peer, sink, warm, folder)
                figures = measure(peer, sink, load, folder)
                ratios = " | |"
                if base is not None:
                    rate = figures.delivered_per_s / base.delivered_per_s
                    ratios = f" {rate:.2f} | {figures.cpu_ms / base.cpu_ms:.2f} |"
                _say(
                    f"| {load.label} | {peer.name} "
                    f"| {figures.accepted_per_s:.0f} | {figures.delivered_per_s:.0f} | {figures.cpu_ms:.2f} "
                    f"| {figures.memory_mb:.0f} | {figures.source_ips} |{ratios}"
                )
                return figures
    finally:
        sink.close()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the table is what it is run for


if __name__ == "__main__":
    main()
