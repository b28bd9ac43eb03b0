"""The programs under the load: this relay, and Postfix as a plain relay, each with a next hop of its own."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.testing.lab import write_files

POOLS = {"one": range(1, 5), "two": range(5, 9), "three": range(9, 13)}
"""Three pools of four IPs: 127.0.1.1 to 127.0.1.12."""

_POSTFIX_DAEMONS = ("smtpd", "cleanup", "qmgr", "smtp", "master", "trivial-rewrite", "bounce", "anvil")
_MORE_DAEMONS = ("postlogd", "proxymap", "scache", "pickup")


@dataclass(frozen=True, slots=True)
class Peer:
    """A relay that takes mail on port and hands it to the sink; its processes, to be charged."""

    name: str
    port: int
    pids: tuple[int, ...]
    commands: tuple[str, ...] = ()
    """Names of processes that are its own wherever they hang in the process tree."""


@contextlib.contextmanager
def relay(
    folder: Path,
    sink: str,
    workers: int = 1,
    *,
    directory: str = "",
    program: tuple[str, ...] = (),
    settings: Mapping[str, dict[str, object]] | None = None,
) -> Iterator[Peer]:
    """This relay: an Enterprise account with three pools of four IPs, the client trusted.

    directory: another one. program: what to run instead of `relay run`.
    """
    port = free_port()
    sections: dict[str, dict[str, object]] = {
        "": {"workers": workers},
        "log": {"level": "warning"},
        **(settings or {}),
    }
    config = folder / "relay.toml"
    if not config.exists():
        write_files(folder, directory or lab(), sink, "127.0.0.1:0", sections)
        text = config.read_text().replace(
            "[smtp]\n", '[smtp]\ntrusted = [{ network = "127.0.0.0/8", account = 1 }]\n'
        )
        config.write_text(text)
    config.write_text(re.sub(r"127\.0\.0\.1:\d+(?=\"\]\n)", f"127.0.0.1:{port}", config.read_text()))
    command = [sys.executable, *(program or ("-m", "relay", "run", "--config")), str(config)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _wait_for(port)
        _wait_until_idle(child.pid)
        yield Peer("relay" if workers == 1 else f"relay, {workers} workers", port, (child.pid,))
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


@contextlib.contextmanager
def postfix(folder: Path, sink: str) -> Iterator[Peer]:
    """Postfix as Debian ships it, set up as a plain relay with fsync on, bound to one source address."""
    port = free_port()
    program = shutil.which("postfix", path="/usr/sbin:/usr/bin")
    if program is None:
        raise SystemExit("postfix is missing: apt-get install --no-install-recommends postfix")
    etc, spool, state = folder / "etc", folder / "spool", folder / "state"
    for made in (etc, spool, state):
        made.mkdir(parents=True)
    for parent in (folder, *folder.parents[:-1]):
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o055)
    host, _, sink_port = sink.rpartition(":")
    (etc / "main.cf").write_text(
        _MAIN.format(spool=spool, state=state, host=host, port=sink_port, folder=folder)
    )
    (etc / "master.cf").write_text(_MASTER.format(port=port))
    shutil.chown(state, "postfix")
    environment = {**os.environ, "MAIL_CONFIG": str(etc)}
    subprocess.run([program, "-c", str(etc), "start"], env=environment, check=True, capture_output=True)
    try:
        _wait_for(port)
        yield Peer("Postfix", port, (), _POSTFIX_DAEMONS + _MORE_DAEMONS)
    finally:
        subprocess.run([program, "-c", str(etc), "stop"], env=environment, capture_output=True, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    """Until something greets there. Raises SystemExit."""
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
            if client.recv(3) == b"220":
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing greets on port {port}")


def _wait_until_idle(pid: int) -> None:
    """What a process makes ready after its start is not the load's to pay. Raises SystemExit."""
    before = -1
    for _ in range(100):
        text = Path(f"/proc/{pid}/stat").read_text()
        ticks = sum(map(int, text[text.rindex(")") + 2 :].split()[11:13]))
        if ticks == before:
            return
        before = ticks
        time.sleep(0.3)
    raise SystemExit(f"process {pid} has no rest before any load")


def lab(ips: int = 12, route: str = "") -> str:
    """One Enterprise account whose pools share that many IPs, 127.0.1.1 and on."""
    text = '[[account]]\nid = 1\nname = "Bench"\nplan = "enterprise"\n'
    text += "".join(f'[[account.pool]]\nname = "{pool}"\n' for pool in POOLS)
    names = list(POOLS)
    for number in range(1, ips + 1):
        pool = names[(number - 1) * len(names) // max(ips, len(names))]
        text += f'[[sending_ip]]\naddress = "127.0.1.{number}"\nhostname = "mta{number}.relay.test"\n'
        text += f'account = 1\npool = "{pool}"\n'
    return text + route


_MAIN = """
compatibility_level = 3.6
queue_directory = {spool}
data_directory = {state}
maillog_file = {folder}/log
maillog_file_prefixes = /
multi_instance_name =
myhostname = bench.example
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [{host}]:{port}
disable_dns_lookups = yes
smtp_bind_address = 127.0.0.5
default_destination_concurrency_limit = 50
initial_destination_concurrency = 50
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
message_size_limit = 104857600
"""

_MASTER = """
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
