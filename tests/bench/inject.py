"""A client that spreads its mail over many domains and pools, which smtp-source cannot.

    python -m tests.bench.inject HOST:PORT MESSAGES SESSIONS DOMAINS SIZE [LOGIN_KEY]

Each session waits for every reply, as most clients do. LOGIN_KEY: AUTH PLAIN once a session.
"""

import asyncio
import base64
import sys
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


async def _session(
    host: str, port: int, numbers: "count[int]", total: int, domains: int, size: int, key: str
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    await reader.readline()
    await _say(reader, writer, b"EHLO bench.example\r\n")
    if key:
        token = base64.b64encode(f"\0SMTP_Injection\0{key}".encode())
        await _say(reader, writer, b"AUTH PLAIN " + token + b"\r\n")
    body = (b"x" * 98 + b"\r\n") * max(1, size // 100)
    while (number := next(numbers)) < total:
        pool = _POOL_NAMES[number % len(_POOL_NAMES)]
        head = (
            f"From: a@src.test\r\nTo: r@d{number % domains}.example\r\nSubject: bench\r\n"
            f'X-MSYS-API: {{"campaign_id": "bench", "options": {{"ip_pool": "{pool}"}}}}\r\n\r\n'
        )
        await _say(reader, writer, b"MAIL FROM:<a@src.test>\r\n")
        await _say(reader, writer, f"RCPT TO:<r@d{number % domains}.example>\r\n".encode())
        await _say(reader, writer, b"DATA\r\n")
        await _say(reader, writer, head.encode() + body + b".\r\n")
    await _say(reader, writer, b"QUIT\r\n")
    writer.close()


async def main(address: str, total: int, sessions: int, domains: int, size: int, key: str) -> None:
    host, _, port = address.rpartition(":")
    numbers = count()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(sessions):
            tasks.create_task(_session(host, int(port), numbers, total, domains, size, key))


if __name__ == "__main__":
    address, *figures = sys.argv[1:6]
    total, sessions, domains, size = map(int, figures)
    uvloop.run(main(address, total, sessions, domains, size, ([*sys.argv, ""])[6]))
