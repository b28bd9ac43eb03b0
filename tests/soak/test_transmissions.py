"""A hundred thousand recipients in one request, and a million in ten. Run by `make soak`, for its figures."""

import json
import os
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from relay.testing.lab import rest_key_of
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

pytestmark = pytest.mark.timeout(600)

RECIPIENTS = 100_000
MOST_MEGABYTES = 300

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """A function: prints a figure, which is what these tests are run for."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="")  # noqa: T201 - as it says

    return tell


def _peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _body(text: str, first: int = 0) -> bytes:
    recipients = [
        {
            "address": {"email": f"r{number}@d{number % 100}.example", "name": f"Recipient {number}"},
            "substitution_data": {"name": f"Nobody {number}", "number": number},
        }
        for number in range(first, first + RECIPIENTS)
    ]
    content = {"from": "news@acme.test", "subject": "Hello {{name}}", "html": text}
    return json.dumps(
        {"content": content, "recipients": recipients, "options": {"ip_pool": "marketing"}}
    ).encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<p>" + "x" * 4000 + "</p>", id="one body for all"),
        pytest.param("<p>Dear {{name}}" + "x" * 4000 + "</p>", id="a body each"),
    ],
)
async def test_a_hundred_thousand_recipients_in_one_request(tmp_path: Path, say: Say, text: str) -> None:
    """Without egress: the figures are those of acceptance and generation."""
    settings = {"": {"roles": ["smtp", "api"]}}
    body = _body(text)
    async with RelayProcess(tmp_path, "127.0.0.1:9", settings=settings) as relay:
        host, port = relay.http_address
        key = rest_key_of(relay.directory, 1)
        before, began = _cpu_s(relay.pid), time.perf_counter()
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(
                f"http://{host}:{port}/api/v1/transmissions", content=body, headers={"Authorization": key}
            )
        assert answer.json()["results"]["total_accepted_recipients"] == RECIPIENTS, answer.text
        accepted_s = time.perf_counter() - began
        peak = _peak_megabytes(relay.pid)
        say(f"{len(body) / 1e6:.0f} MB accepted in {accepted_s:.1f} s, peak {peak:.0f} MB")

        path = tmp_path / "relay.db"
        waits: list[float] = []

        async def all_there() -> bool:
            asked = time.perf_counter()
            await relay.inject("other@b.example")
            waits.append(time.perf_counter() - asked)
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
                (count,) = store.execute("SELECT count(*) FROM transmission").fetchone()
            return bool(count == 0)

        assert await eventually(all_there, 300)
        took_s, cpu_s = time.perf_counter() - began, _cpu_s(relay.pid) - before
        peak = _peak_megabytes(relay.pid)
        rate, cpu_us = RECIPIENTS / took_s, cpu_s / RECIPIENTS * 1e6
        say(f"{rate:,.0f} recipients/s, {cpu_us:.0f} µs CPU each, peak {peak:.0f} MB")
        median_ms, longest_ms = statistics.median(waits) * 1000, max(waits) * 1000
        say(f"{len(waits)} others by SMTP meanwhile: median {median_ms:.0f} ms, longest {longest_ms:.0f} ms")
        with closing(sqlite3.connect(path)) as store:
            (count,) = store.execute("SELECT count(*) FROM message WHERE domain <> 'b.example'").fetchone()
        assert count == RECIPIENTS
        assert peak < MOST_MEGABYTES


@pytest.mark.timeout(1500)
async def test_a_million_recipients_over_ten_requests_are_never_in_memory_together(
    tmp_path: Path, say: Say
) -> None:
    """The bound is that of a single request: the tenth finds the nine before it under way."""
    settings = {"": {"roles": ["smtp", "api"]}}
    text = "<p>" + "x" * 4000 + "</p>"
    requests = 10
    async with RelayProcess(tmp_path, "127.0.0.1:9", settings=settings) as relay:
        host, port = relay.http_address
        headers = {"Authorization": rest_key_of(relay.directory, 1)}
        before, began = _cpu_s(relay.pid), time.perf_counter()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}/api/v1", timeout=120) as client:
            for number in range(requests):
                body = _body(text, number * RECIPIENTS)
                answer = await client.post("/transmissions", content=body, headers=headers)
                assert answer.json()["results"]["total_accepted_recipients"] == RECIPIENTS, answer.text
        accepted_s, peak = time.perf_counter() - began, _peak_megabytes(relay.pid)
        say(f"{requests} requests accepted in {accepted_s:.0f} s, peak {peak:.0f} MB")

        path = tmp_path / "relay.db"

        async def all_there() -> bool:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
                (count,) = store.execute("SELECT count(*) FROM transmission").fetchone()
            return bool(count == 0)

        assert await eventually(all_there, 1200)
        took_s, cpu_s = time.perf_counter() - began, _cpu_s(relay.pid) - before
        peak, total = _peak_megabytes(relay.pid), requests * RECIPIENTS
        rate, cpu_us = total / took_s, cpu_s / total * 1e6
        say(f"{total:,} recipients: {rate:,.0f}/s, {cpu_us:.0f} µs CPU each, peak {peak:.0f} MB")
        with closing(sqlite3.connect(path)) as store:
            counted = store.execute("SELECT count(*), count(DISTINCT rcpt_to) FROM message").fetchone()
        assert counted == (total, total)
        assert peak < MOST_MEGABYTES
