"""Transmissions by REST beside messages by SMTP: the same mail, the same relay, one after the other.

    python -m tests.bench.rest [--requests N] [--recipients N]

Prints recipients a second from the first request to the last arrival, and CPU per recipient.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.__main__ import Sink, charged
from tests.bench.peers import POOLS, Peer, free_port, lab, relay

_KEY = "c1" * 20
_KEY_TABLE = (
    '[[account.api_key]]\nlabel = "bench"\n'
    f'grants = ["smtp/inject", "transmissions/modify"]\nkey = "{_KEY}"\n'
)
_AT_ONCE = 4
_TEXT = ("x" * 98 + "\r\n") * 38


def _post(port: int, pool: str, recipients: int, number: int) -> None:
    """One transmission. Raises SystemExit when it is not accepted."""
    body = {
        "options": {"ip_pool": pool},
        "campaign_id": "bench",
        "recipients": [{"address": f"r{number}.{index}@dst.test"} for index in range(recipients)],
        "content": {"from": "a@src.test", "subject": "bench", "text": _TEXT},
    }
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": _KEY, "Content-Type": "application/json"}
    client.request("POST", "/api/v1/transmissions", json.dumps(body), headers)
    answer = client.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status} {told[:300]!r}")
    client.close()


def _measure(peer: Peer, sink: Sink, expected: int, put: Callable[[], None]) -> tuple[float, float]:
    """Arrivals a second, and CPU milliseconds for each."""
    before, cpu, started = sink.messages(), charged(peer)[0], time.monotonic()
    put()
    deadline = time.monotonic() + 300
    while sink.messages() - before < expected:
        if time.monotonic() > deadline:
            raise SystemExit(f"{sink.messages() - before} of {expected} arrived, and no more come")
        time.sleep(0.02)
    elapsed = time.monotonic() - started
    time.sleep(0.5)
    return expected / elapsed, 1000 * (charged(peer)[0] - cpu) / expected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--recipients", type=int, default=1000)
    given = parser.parse_args()
    total, pools, port = given.requests * given.recipients, list(POOLS), free_port()
    directory = lab().replace('plan = "enterprise"\n', f'plan = "enterprise"\n{_KEY_TABLE}', 1)
    settings: dict[str, dict[str, object]] = {
        "": {"roles": ["smtp", "api", "egress", "feed"]},
        "http": {"listen": f"127.0.0.1:{port}"},
    }

    def by_smtp() -> None:
        command = [sys.executable, "-m", "tests.bench.inject", f"127.0.0.1:{peer.port}"]
        subprocess.run([*command, "--messages", str(total), "--size", str(len(_TEXT))], check=True)

    def by_rest() -> None:
        with ThreadPoolExecutor(_AT_ONCE) as clients:
            for _ in clients.map(
                lambda number: _post(port, pools[number % 3], given.recipients, number),
                range(given.requests),
            ):
                pass

    sink = Sink()
    with (
        tempfile.TemporaryDirectory(prefix="relay-bench-") as name,
        relay(Path(name), sink.address, directory=directory, settings=settings) as peer,
    ):
        print("| 4 kB | recipients/s end to end | CPU ms a recipient |\n|---|---|---|")  # noqa: T201 - its output
        labels = ("SMTP, 50 sessions", f"REST, {given.recipients} recipients a request")
        for label, put in zip(labels, (by_smtp, by_rest), strict=True):
            rate, cpu = _measure(peer, sink, total, put)
            print(f"| {label} | {rate:.0f} | {cpu:.2f} |", flush=True)  # noqa: T201 - its output
    sink.close()


if __name__ == "__main__":
    main()
