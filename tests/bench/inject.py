"""A client that spreads its mail over domains and pools, and logs in, which smtp-source cannot.

    python -m tests.bench.inject HOST:PORT [--messages N] [--sessions N] [--domains N] [--size N]
                                 [--a-session N] [--key KEY]

Each session waits for every reply, as most clients do.
"""

import argparse
import asyncio
import base64
from itertools import count

import uvloop

from tests.bench.peers import POOLS

_POOL_NAMES = tuple(POOLS)


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes) -> bytes:
    """The last line of the reply. Raises SystemExit when it is not what an accepted message gets."""
    writer.write(octets)
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            break
    if line[:1] not in b"23":
        raise SystemExit(f"{octets[:40]!r} was answered {line!r}")
    return line


async def _session(given: argparse.Namespace, numbers: "count[int]") -> bool:
    """One connection's worth of messages; whether there are more."""
    host, _, port = given.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    await _say(reader, writer, b"EHLO bench.example\r\n")
    if given.key:
        token = base64.b64encode(f"\0SMTP_Injection\0{given.key}".encode())
        await _say(reader, writer, b"AUTH PLAIN " + token + b"\r\n")
    body = (b"x" * 98 + b"\r\n") * max(1, given.size // 100)
    for _ in range(given.a_session):
        number = next(numbers)
        if number >= given.messages:
            break
        pool = _POOL_NAMES[number % len(_POOL_NAMES)]
        head = (
            f"From: a@src.test\r\nTo: r@d{number % given.domains}.example\r\nSubject: bench\r\n"
            f'X-MSYS-API: {{"campaign_id": "bench", "options": {{"ip_pool": "{pool}"}}}}\r\n\r\n'
        )
        await _say(reader, writer, b"MAIL FROM:<a@src.test>\r\n")
        await _say(reader, writer, f"RCPT TO:<r@d{number % given.domains}.example>\r\n".encode())
        await _say(reader, writer, b"DATA\r\n")
        await _say(reader, writer, head.encode() + body + b".\r\n")
    await _say(reader, writer, b"QUIT\r\n")
    writer.close()
    return bool(number < given.messages)


async def _client(given: argparse.Namespace, numbers: "count[int]") -> None:
    while await _session(given, numbers):
        pass


async def main(given: argparse.Namespace) -> None:
    numbers = count()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(given.sessions):
            tasks.create_task(_client(given, numbers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--size", type=int, default=4_000)
    parser.add_argument("--a-session", type=int, default=1_000_000, help="messages before reconnecting")
    parser.add_argument("--key", default="", help="AUTH PLAIN with it, once a session")
    uvloop.run(main(parser.parse_args()))
