"""Ten minutes of hostile input by SMTP, REST and the console at once: no fault, no stall, no growth.

    RELAY_TEST_FUZZ_S=60 .venv/bin/pytest -s -m soak tests/soak/test_fuzz.py

Seeded, so that a run can be repeated (RELAY_TEST_FUZZ_SEED). Prints what was done and what it cost.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from relay.frames.console.routing import Pages
from relay.process import mount as mounted
from relay.sink.fake_mta import FakeMta
from relay.testing.lab import rest_key_of
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from tests.support.oracles import WatchedProcess, spent_by

SECONDS = float(os.environ.get("RELAY_TEST_FUZZ_S", "600"))
SEED = int(os.environ.get("RELAY_TEST_FUZZ_SEED", "1"))
MEMORY_BYTES = 600_000_000
_USUAL_NS = 20_000_000
"""What `_exercise` takes on a machine with nothing else to do."""
TURN_MS, LONGEST_TURN_MS = 10.0, 50.0
"""The first is what an input may take on an idle machine (tests/alone). Here the load shares the relay's
cores and caches, and looks for cycles fall into any turn: how many take longer is told, and none a multiple.
"""
PATIENCE_S = 15.0
PASSWORD = "correct horse battery staple"

ROLES: Mapping[str, Mapping[str, object]] = {
    "": {"roles": ["smtp", "api", "web", "egress", "feed"]},
    "http": {"requests_per_second": 100_000},
}


class Tally:
    """What was sent, what came back, and what must not have."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest_s = 0.0

    def note(self, door: str, sent: bytes, status: int, took_s: float) -> None:
        self.counts[f"{door} {status}"] += 1
        self.slowest_s = max(self.slowest_s, took_s)
        if status >= 500 and status != 503:
            self.faults.append(f"{door} {status}: {sent[:400]!r}")


# ── values ───────────────────────────────────────────────────────────────────────────────

_TEXTS = (
    "",
    "a",
    "bob@gmail.example",
    "Bob <bob@gmail.example>",
    "a,b@c.example",
    '"a\r\nX: y" <a@b.example>',
    "(" * 300,
    "<" * 300,
    "\0\r\n.\r\n",
    "\ud800",
    "\u2028\u202e",
    "😀" * 50,
    "{{ a }}",
    "{{ if a }}{{ each b }}{{ loop_var }}{{ end }}{{ end }}",
    "{{ render_dynamic_content(dynamic_html.a) }}",
    "{{{ a.b['c'][1] }}}" * 20,
    "{{" * 200,
    "=?utf-8?q?=0d=0a?=",
    "=?utf-8?b?" + "QUFB" * 50 + "?=",
    "x" * 2000,
    "../../etc/passwd",
    "2030-01-01T00:00:00+00:00",
    "<style>b{color:red}</style><p><b>x" * 20,
)
_NAMES = (
    *("address", "email", "name", "header_to", "tags", "metadata", "substitution_data", "return_path"),
    *("options", "ip_pool", "start_time", "inline_css", "transactional", "content", "from", "subject"),
    *("text", "html", "amp_html", "headers", "reply_to", "attachments", "inline_images", "type", "data"),
    *("email_rfc822", "recipients", "list_id", "campaign_id", "description", "domain", "label", "grants"),
    *("results", "type", "value", "constructor", "__class__", "", "\0", "loop_var", "a", "b"),
)


def value(chance: random.Random, depth: int = 0) -> Any:
    """Some JSON."""
    kind = chance.randrange(10)
    if kind < 4 or depth > 5:
        return text(chance)
    if kind == 4:
        return chance.choice((0, -1, 1, 10**30, 1.5, 1e308, True, False, None))
    if kind == 5:
        return [value(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 30)))]
    return {chance.choice(_NAMES): value(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 6)))}


def text(chance: random.Random) -> str:
    found = chance.choice(_TEXTS)
    if chance.random() < 0.2:
        found += chance.choice(_TEXTS)
    if chance.random() < 0.1:
        at = chance.randrange(len(found) + 1)
        found = found[:at] + chr(chance.randrange(0x3000)) + found[at:]
    return found


def octets_of(given: Any) -> bytes:
    return json.dumps(given).encode()


def mutated(chance: random.Random, octets: bytes) -> bytes:
    """A few octets changed, cut out or said again."""
    given = bytearray(octets)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(given) + 1)
        match chance.randrange(3):
            case 0:
                given[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 6)))
            case 1:
                del given[at : at + chance.randrange(1, 20)]
            case _:
                given[at:at] = given[max(0, at - 30) : at] * chance.choice((1, 2, 50))
    return bytes(given)


def transmission(chance: random.Random) -> Any:
    """A body of which most is right."""
    content: dict[str, Any] = {"from": "a@acme.test", "subject": text(chance), "text": text(chance)}
    if chance.random() < 0.4:
        content["html"] = text(chance)
    if chance.random() < 0.2:
        content = {"email_rfc822": message(chance).decode("latin-1")}
    body: dict[str, Any] = {
        "recipients": [
            {"address": {"email": f"r{number}@gmail.example", "name": text(chance)}}
            for number in range(chance.choice((1, 1, 2, 60)))
        ],
        "content": content,
        "options": {"ip_pool": "marketing"},
        "substitution_data": {"a": value(chance), "b": [value(chance) for _ in range(3)]},
    }
    for _ in range(chance.randrange(4)):
        whole = (body, body.get("content"), body.get("options"), body.get("substitution_data"))
        target = chance.choice([one for one in whole if isinstance(one, dict)] or [body])
        target[chance.choice(_NAMES)] = value(chance)
    return body


def message(chance: random.Random) -> bytes:
    fields = [
        b"From: " + text(chance).encode("utf-8", "replace"),
        b"Subject: " + text(chance).encode("utf-8", "replace"),
        b"X-MSYS-API: " + octets_of(value(chance)),
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: text/plain; charset*0*=utf-8''a; " + b"x=1; " * chance.choice((0, 1, 200)),
        b"Received: from a by b; now",
        b"Bcc: a@b.example",
    ]
    chosen = [field for field in fields if chance.random() < 0.5]
    body = chance.choice((b"Hello.", b"--b\r\n\r\na\r\n--b--", b"--b" * 200, b".", b"\r\r\n\n", b"{{ a }}"))
    return mutated(chance, b"\r\n".join(chosen) + b"\r\n\r\n" + body + b"\r\n")


# ── SMTP ─────────────────────────────────────────────────────────────────────────────────


async def smtp(relay: RelayProcess, chance: random.Random, tally: Tally) -> None:
    """One conversation."""
    reader, writer = await asyncio.open_connection(relay.host, relay.port)
    began = time.monotonic()
    lines: list[bytes] = [await reader.readline()]
    try:
        sent = b"EHLO fuzz.example\r\n"
        if chance.random() < 0.8:
            user, key = relay.login()
            sent += b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{key}".encode()) + b"\r\n"
        for _ in range(chance.randrange(1, 5)):
            sent += b"MAIL FROM:<" + _wire(chance, "a@acme.test") + b">" + _parameters(chance) + b"\r\n"
            sent += b"RCPT TO:<" + _wire(chance, "b@gmail.example") + b">\r\n" * chance.choice((1, 1, 3))
            if chance.random() < 0.8:
                sent += b"DATA\r\n" + _stuffed(message(chance)) + b"\r\n.\r\n"
            if chance.random() < 0.3:
                sent += (
                    chance.choice((b"RSET", b"NOOP", b"HELP", b"VRFY a", b"XCLIENT A=B", b"BDAT 9")) + b"\r\n"
                )
        if chance.random() < 0.5:
            sent = mutated(chance, sent)
        writer.write(sent + b"\r\nQUIT\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            while line := await reader.readline():
                lines.append(line)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    tally.note("SMTP", b"", 200, time.monotonic() - began)
    for line in lines:
        if line.startswith(b"451") and b"Internal" in line:
            tally.faults.append(f"SMTP {line!r} to {sent[:400]!r}")


def _wire(chance: random.Random, usual: str) -> bytes:
    if chance.random() < 0.7:
        return usual.encode()
    return text(chance).encode("utf-8", "replace").replace(b"\n", b"")


def _parameters(chance: random.Random) -> bytes:
    said = (b"SIZE=100", b"BODY=8BITMIME", b"SMTPUTF8", b"SIZE=x", b"AUTH=<>", b"RET=FULL", b"ENVID=a+0D")
    return chance.choice((b"", b"", *(b" " + parameter for parameter in said)))


def _stuffed(octets: bytes) -> bytes:
    return octets.replace(b"\r\n.", b"\r\n..")


# ── HTTP ─────────────────────────────────────────────────────────────────────────────────


async def http(
    relay: RelayProcess, tally: Tally, door: str, head: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    """The answer to one request on a connection of its own; empty when it was hung up on."""
    host, port = relay.http_address
    lines = [head, f"Host: {host}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {one}" for name, one in headers.items()]
    sent = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.transport.abort()
    status = int(answer[9:12]) if answer[:5] == b"HTTP/" else 0
    tally.note(door, sent, status, time.monotonic() - began)
    return answer


_RESOURCES = (
    *("ip-pools", "ip-pools/marketing", "sending-ips", "subaccounts", "subaccounts/123", "account"),
    *("api-keys", "billing/subscription", "sending-domains", "sending-domains/acme.test/verify"),
    *("suppression-list", "suppression-list/a@b.example", "events/message", "transmissions/1"),
)


async def rest(relay: RelayProcess, chance: random.Random, tally: Tally, key: str) -> None:
    headers = {"Authorization": key, "Content-Type": "application/json"}
    if chance.random() < 0.7:
        path, verb, body = "transmissions", "POST", octets_of(transmission(chance))
    else:
        path, verb = chance.choice(_RESOURCES), chance.choice(("GET", "POST", "PUT", "DELETE"))
        body = octets_of(value(chance)) if verb in {"POST", "PUT"} else b""
    if chance.random() < 0.2:
        path += "?" + urlencode({chance.choice(_NAMES): text(chance).encode("utf-8", "replace")})
    if chance.random() < 0.2:
        body = mutated(chance, body)
    if verb == "DELETE" and path.startswith(("ip-pools", "api-keys", "subaccounts")):
        verb = "GET"
    await http(relay, tally, "REST", f"{verb} /api/v1/{path} HTTP/1.1", headers, body)


_LEFT_OUT = re.compile(r"sign-out|sign-in")


def console_paths() -> list[tuple[str, str]]:
    """Method and pattern of all pages of the console."""
    found = []
    for module in vars(mounted).values():
        pages = getattr(module, "pages", None)
        if isinstance(pages, Pages):
            for route in pages.routes:
                found += [(method, route.path) for method in route.methods or () if method != "HEAD"]
    return sorted(one for one in found if not _LEFT_OUT.search(one[1]))


async def console(
    relay: RelayProcess, chance: random.Random, tally: Tally, cookie: str, paths: list[tuple[str, str]]
) -> None:
    method, path = chance.choice(paths)
    path = re.sub(
        r"\{\w+(:\w+)?\}", lambda _: quote(text(chance).encode("utf-8", "replace")[:200], safe=""), path
    )
    fields = {chance.choice(_NAMES): text(chance).encode("utf-8", "replace") for _ in range(4)}
    query = "?" + urlencode(fields) if method == "GET" else ""
    body = urlencode({"csrf": "x", **fields}).encode() if method == "POST" else b""
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    await http(relay, tally, "console", f"{method} {path}{query} HTTP/1.1", headers, body)


async def sign_in(relay: RelayProcess, tally: Tally) -> str:
    """The cookie of a new reader's session."""
    printed = await relay.run_cli("user", "add", "fuzz", "--role", "reader", "--account", "1")
    assert printed.status == 0, printed
    (path,) = re.findall(r"https?://[^/\s]+(/sign-in/link/\S+)", printed.out)
    page = await http(relay, tally, "sign-in", f"GET {path} HTTP/1.1", {}, b"")
    (csrf,) = re.findall(rb'name="csrf" value="([^"]+)"', page)
    visitor = _cookies(page)
    form = urlencode({"csrf": csrf, "password": PASSWORD, "again": PASSWORD}).encode()
    headers = {"Cookie": visitor, "Content-Type": "application/x-www-form-urlencoded"}
    answer = await http(relay, tally, "sign-in", f"POST {path} HTTP/1.1", headers, form)
    cookie = _cookies(answer)
    assert "session" in cookie, answer[:500]
    return cookie


def _cookies(answer: bytes) -> str:
    return "; ".join(one.decode() for one in re.findall(rb"(?im)^set-cookie: ([^;\r]+)", answer))


def slowness() -> float:
    """How many times longer the same work takes now than with nothing else to do; at least 1.

    Two threads of one core, or a core that is throttled, make CPU time longer without more being done.
    """
    shortest = min(_exercise() for _ in range(3))
    return max(1.0, shortest / _USUAL_NS)


def _exercise() -> int:
    began = time.thread_time_ns()
    total = 0
    for number in range(400_000):
        total += number & 7
    return time.thread_time_ns() - began


# ── the run ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(int(SECONDS) + 300)
async def test_nothing_breaks_under_random_input(tmp_path: Path, mta: FakeMta) -> None:
    tally, chance = Tally(), random.Random(SEED)
    memory: list[int] = []
    factors: list[float] = []
    """How much slower than idle the machine was, from time to time: load and relay share its cores."""
    async with WatchedProcess(tmp_path, mta.address, settings=ROLES) as relay:
        key, paths = rest_key_of(relay.directory, 1), console_paths()
        cookie = await sign_in(relay, tally)
        mark, ends = relay.mark(), time.monotonic() + SECONDS

        async def repeat(one: Callable[[random.Random], Any], seed: int) -> None:
            mine = random.Random(seed)
            while time.monotonic() < ends:
                await one(mine)

        async def time_the_machine() -> None:
            while time.monotonic() < ends:
                factors.append(await asyncio.to_thread(slowness))
                await asyncio.sleep(5)

        async def weigh() -> None:
            while time.monotonic() < ends:
                memory.append(spent_by(relay.pid).memory_bytes)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(weigh(), name="memory")
            tasks.create_task(time_the_machine(), name="machine")
            for number in range(2):
                seed = chance.randrange(1 << 30)
                tasks.create_task(repeat(lambda mine: smtp(relay, mine, tally), seed), name=f"smtp {number}")
                tasks.create_task(
                    repeat(lambda mine: rest(relay, mine, tally, key), seed + 1), name=f"rest {number}"
                )
            tasks.create_task(
                repeat(lambda mine: console(relay, mine, tally, cookie, paths), seed + 2), name="console"
            )
        turns = relay.long_turns(mark)
        await relay.inject("last@good.example", ip_pool="marketing")

        async def arrived() -> bool:
            return any(attempt.is_accepted for attempt in mta.attempts_for("last@good.example"))

        await eventually(arrived, timeout_s=30)
        print(f"\nseed={SEED} seconds={SECONDS:.0f} {dict(sorted(tally.counts.items()))}")  # noqa: T201 - figures
        print(  # noqa: T201 - figures
            f"slowest={tally.slowest_s:.2f} s, longest turns={turns[:5]}, "
            f"memory={memory[0] / 1e6:.0f} to {max(memory) / 1e6:.0f} MB, last {memory[-1] / 1e6:.0f} MB, "
            f"{sum(took_ms > TURN_MS for took_ms, _ in turns)} over {TURN_MS:.0f} ms, "
            f"machine slower by {min(factors):.2f} to {max(factors):.2f}"
        )
        log = relay.log.read_text(errors="replace")
    assert tally.faults == []
    assert "Traceback" not in log
    assert max(memory) < MEMORY_BYTES
    most_ms = LONGEST_TURN_MS * max(factors)
    assert [turn for turn in turns if turn[0] > most_ms] == []
