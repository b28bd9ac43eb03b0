"""Telling the other workers of a store that mail waits: SQLite has no NOTIFY, so a datagram does it."""

import asyncio
import contextlib
import hashlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from relay.domain.ids import IpAddress, WorkerId

_LOOK_EVERY_S = 1.0
_LONGEST = 512
_RETRY_S = 0.005
_MOST_UNSENT = 1000
_LOOK_AT_ALL = b" "


class DatagramWakeUps:
    """`WakeUps` over Unix datagrams in the abstract namespace: nothing to clean up after a dead process.

    A datagram that is lost costs time, not mail: lanes look for themselves every 30 s.
    """

    def __init__(self, folder: Path, worker: WorkerId | None) -> None:
        """folder: where each worker of the store has a file of its name."""
        self._folder, self._own = folder, "" if worker is None else quote(worker, safe="")
        self._room = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsent: dict[str, dict[bytes, None]] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._others: list[str] = []
        self._looked_at = float("-inf")

    def tell(self, ip: IpAddress | None = None, domain: str = "") -> None:
        words = f"{ip or ''} {domain}".encode()
        for other in self._names():
            unsent = self._unsent.setdefault(other, {})
            if len(unsent) < _MOST_UNSENT:
                unsent[words] = None
            else:
                self._unsent[other] = {_LOOK_AT_ALL: None}
        self._send()

    def _send(self) -> None:
        """What can be sent; the system keeps only a few datagrams for a process that is busy."""
        for other, unsent in list(self._unsent.items()):
            try:
                for words in list(unsent):
                    self._socket.sendto(words, self._address(other))
                    del unsent[words]
            except BlockingIOError:
                if self._retry is None:
                    self._retry = asyncio.get_running_loop().call_later(_RETRY_S, self._send_again)
                continue
            except OSError:
                pass  # gone
            del self._unsent[other]

    def _send_again(self) -> None:
        self._retry = None
        self._send()

    def hear(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        self._socket.bind(self._address(self._own))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive, heard)

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._socket)
        self._socket.close()

    def _receive(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                words = self._socket.recv(_LONGEST).decode("utf-8", "replace")
                ip, _, domain = words.partition(" ")
                heard(IpAddress(ip) if ip else None, domain)

    def _names(self) -> list[str]:
        """The files of the other workers, as they stood at most a second ago."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = now
            self._others = [path.name for path in self._folder.iterdir() if path.name != self._own]
        return self._others

    def _address(self, name: str) -> bytes:
        """At most 107 octets follow the zero that marks the abstract namespace (unix(7))."""
        return b"\0" + f"relay/{self._room}/{name}"[:107].encode()
