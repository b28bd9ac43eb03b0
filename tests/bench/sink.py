"""The next hop of a benchmark: takes everything, counts it, and says so when asked with SIGUSR1.

    python -m tests.bench.sink HOST:PORT [DELAY_MS] [--one-by-one]

One JSON line on standard output each time: messages, octets, the time of the last one (monotonic
seconds), and messages by source IP.
"""

import asyncio
import collections
import json
import signal
import sys
import time
from typing import cast

import uvloop

_OFFERS = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600\r\n"


class Count:
    """What arrived so far."""

    def __init__(self) -> None:
        self.messages = self.octets = 0
        self.last = 0.0
        self.by_ip: collections.Counter[str] = collections.Counter()

    def line(self) -> str:
        facts = {
            "messages": self.messages,
            "octets": self.octets,
            "last": self.last,
            "by_ip": dict(self.by_ip),
        }
        return json.dumps(facts)


class Conversation(asyncio.Protocol):
    """One client."""

    def __init__(self, count: Count, delay_s: float, offers: bytes) -> None:
        self._count, self._delay_s, self._offers = count, delay_s, offers
        self._tail = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit it
        self._ip = transport.get_extra_info("peername")[0]
        self._say(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        replies: list[bytes] = []
        while data:
            if self._in_data:
                end = data.find(b"\r\n.\r\n")
                if end < 0:
                    self._count.octets += max(0, len(data) - 4)
                    data = data[-4:]
                    break
                self._count.octets += end
                data = data[end + 5 :]
                self._in_data = False
                self._count.messages += 1
                self._count.by_ip[self._ip] += 1
                self._count.last = time.monotonic()
                replies.append(b"250 2.0.0 Ok\r\n")
                continue
            command, found, rest = data.partition(b"\r\n")
            if not found:
                break
            data = rest
            replies.append(self._answer(command[:4].upper()))
        self._tail = data
        if replies:
            self._say(b"".join(replies))

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return self._offers
        if verb == b"DATA":
            self._in_data = True
            return b"354 go on\r\n"
        return b"221 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 Ok\r\n"

    def _say(self, octets: bytes) -> None:
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, octets)
        else:
            self._transport.write(octets)


async def main(address: str, delay_s: float, offers: bytes) -> None:
    host, _, port = address.rpartition(":")
    count, over = Count(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: print(count.line(), flush=True))  # noqa: T201 - its output
    server = await loop.create_server(
        lambda: Conversation(count, delay_s, offers), host, int(port), backlog=2048
    )
    print(count.line(), flush=True)  # noqa: T201 - ready
    await over.wait()
    server.close()


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--one-by-one"]
    offers = _OFFERS if len(arguments) == len(sys.argv) - 1 else _OFFERS.replace(b"250-PIPELINING\r\n", b"")
    uvloop.run(main(arguments[0], float([*arguments, "0"][1]) / 1000, offers))
