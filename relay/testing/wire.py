"""A connection on which a test writes octets as it likes, below any client library."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """The client's end of one SMTP conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def reply(self, timeout_s: float = 10) -> str:
        """One whole reply, its lines joined by LF; empty when the other side hung up. Raises TimeoutError."""
        lines: list[str] = []
        async with asyncio.timeout(timeout_s):
            while not lines or lines[-1][3:4] == "-":
                try:
                    line = await self._reader.readline()
                except ConnectionError:
                    line = b""
                if not line:
                    return ""
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        return "\n".join(lines)

    async def send(self, *lines: bytes) -> None:
        """Lines, CRLF added to each, in one write."""
        await self.write(b"".join(line + b"\r\n" for line in lines))

    async def write(self, octets: bytes) -> None:
        """Octets as they are. Raises ConnectionError when the other side hung up."""
        self._writer.write(octets)
        await self._writer.drain()

    async def ask(self, line: bytes) -> str:
        """The reply to one line."""
        await self.send(line)
        return await self.reply()


@asynccontextmanager
async def connect_wire(address: tuple[str, int], source: str = "") -> AsyncIterator[Wire]:
    """A connection; the greeting is still to be read. It is cut off at the end, without QUIT.

    source: the address that it comes from, when it matters.
    """
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0) if source else None)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
