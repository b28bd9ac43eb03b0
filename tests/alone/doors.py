"""The doors of a running relay, for inputs of the corpus, and what must hold while one is dealt with."""

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import lab_directory, rest_key_of
from relay.testing.waiting import eventually
from tests.support import judged
from tests.support.oracles import WatchedProcess, spent_by

DIRECTORY = lab_directory().replace(
    "\n# Birch", '[[account.sending_domain]]\ndomain = "acme.test"\n\n# Birch'
)
"""The lab, in which the first account may send from acme.test alone."""
DOMAINS = frozenset({"acme.test"})
PATIENCE_S = 60.0
MEMORY_BYTES = 600_000_000
GREETING_S, SMALL_MAIL_S, REST_S = 1.0, 2.0, 5.0
"""What everybody else has a right to meanwhile: a greeting and /healthz, mail by SMTP, 100 kB by REST."""
TURN_MS, LONGEST_TURN_MS = 10.0, 50.0
"""CPU of one callback of the event loop, for inputs of up to 1 MB and for any."""
CPU_S = 20.0
"""Of all processes, for one input."""


class TooLongError(AssertionError):
    """Something took too long, once: whoever shares the machine makes all longer, for some seconds."""


# ── in ───────────────────────────────────────────────────────────────────────────────────


async def post(relay: WatchedProcess, octets: bytes, path: str = "transmissions") -> int:
    """The status of a POST with that body as JSON; 0 when it was hung up on."""
    key = rest_key_of(relay.directory, 1)
    head = (
        f"POST /api/v1/{path} HTTP/1.1\r\nHost: relay.test\r\nAuthorization: {key}\r\n"
        f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(octets)}\r\n\r\n"
    )
    answer = await exchange(relay.http_address, head.encode() + octets)
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


async def hand_in(relay: WatchedProcess, content: bytes, to: str = "bob@gmail.example") -> int:
    """The code after the final dot, by SMTP with AUTH; the content's lines end in CRLF."""
    user, key = relay.login()
    token = base64.b64encode(f"\0{user}\0{key}".encode())
    opening = b"EHLO corpus.example\r\nAUTH PLAIN " + token + b"\r\nMAIL FROM:<a@acme.test>\r\n"
    opening += b"RCPT TO:<" + to.encode() + b">\r\nDATA\r\n"
    stuffed = re.sub(rb"(?m)^\.", b"..", content)
    answer = await exchange(
        (relay.host, relay.port), opening + stuffed + b"\r\n.\r\nQUIT\r\n", until=rb"(?m)^221|^421"
    )
    codes = [line[:3] for line in answer.split(b"\r\n") if line[3:4] == b" "]
    after_data = codes[codes.index(b"354") + 1 :] if b"354" in codes else codes[-1:]
    return int(after_data[0]) if after_data else 0


async def exchange(address: tuple[str, int], octets: bytes, until: bytes = rb"\Z(?!)") -> bytes:
    """All that the other side says until it hangs up or has said that; what was sent may be cut off."""
    reader, writer = await asyncio.open_connection(*address)
    said = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                writer.write(octets)
                await writer.drain()
            with contextlib.suppress(ConnectionError):
                while (piece := await reader.read(65536)) and not re.search(until, said := said + piece):
                    pass
    finally:
        writer.transport.abort()
    return said


# ── meanwhile ────────────────────────────────────────────────────────────────────────────


class Meanwhile:
    """What others met while the input was dealt with."""

    def __init__(self) -> None:
        self.greeting_s = self.health_s = self.mail_s = 0.0
        self.memory_bytes = 0


@asynccontextmanager
async def others_served(relay: WatchedProcess) -> AsyncIterator[Meanwhile]:
    """Others come and go inside; on leaving, each has been served at least once."""
    met, over = Meanwhile(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_visit(relay, met, over), name="others")
        tasks.create_task(_weigh(relay, met, over), name="memory")
        try:
            yield met
        finally:
            over.set()


async def _visit(relay: WatchedProcess, met: Meanwhile, over: asyncio.Event) -> None:
    """Somebody who greets, asks for the relay's health and hands in mail, again and again."""
    request = b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"
    is_last = False
    while not is_last:
        is_last = over.is_set()
        began = time.monotonic()
        await exchange((relay.host, relay.port), b"", until=b"220 ")
        met.greeting_s = max(met.greeting_s, time.monotonic() - began)
        began = time.monotonic()
        assert b"200 OK" in await exchange(relay.http_address, request)
        met.health_s = max(met.health_s, time.monotonic() - began)
        began = time.monotonic()
        assert await hand_in(relay, b"From: a@acme.test\r\n\r\nHello.\r\n", "other@good.example") == 250
        met.mail_s = max(met.mail_s, time.monotonic() - began)
        if not is_last:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await over.wait()


async def _weigh(relay: WatchedProcess, met: Meanwhile, over: asyncio.Event) -> None:
    while not over.is_set():
        met.memory_bytes = max(met.memory_bytes, spent_by(relay.pid).memory_bytes)
        await asyncio.sleep(0.1)


async def settled(relay: WatchedProcess, timeout_s: float = PATIENCE_S) -> None:
    """Wait until the relay and its children have nothing more to do."""

    async def is_idle() -> bool:
        before = spent_by(relay.pid).cpu_s
        await asyncio.sleep(0.3)
        return spent_by(relay.pid).cpu_s - before <= 0.03

    await eventually(is_idle, timeout_s)


# ── out ──────────────────────────────────────────────────────────────────────────────────


def all_complaints(mta: FakeMta) -> list[str]:
    """Of all that came and was not handed in by SMTP as it stands."""
    return [
        f"{attempt.recipient}: {complaint}"
        for attempt in mta.attempts
        if attempt.recipient != "other@good.example"
        for complaint in judged.of_composed(attempt, DOMAINS)
    ]


def judge_times(
    relay: WatchedProcess, mark: int, longest_ms: float, met: Meanwhile, cpu_s: float = 0.0
) -> None:
    """Raise TooLongError when the loop's turns since that mark, the others or the CPU took too long."""
    turns = [turn for turn in relay.long_turns(mark) if turn[0] > longest_ms]
    waits = (met.greeting_s <= GREETING_S, met.health_s <= GREETING_S, met.mail_s <= SMALL_MAIL_S)
    if turns or not all(waits) or cpu_s > CPU_S:
        raise TooLongError(turns, met, cpu_s)
