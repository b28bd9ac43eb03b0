"""Telling the other workers of a store that mail waits: SQLite has no NOTIFY, so a datagram does it."""

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from relay.domain.ids import IpAddress, WorkerId

_TOLD_AT_ONCE = 50
_LONGEST = 32 * 1024
_RETRY_S = 0.005
_MOST_UNSENT = 1000
_LOOK_AT_ALL = b" "
_HEARD_AT_ONCE = 20
_REST_S = 0.02
_MOST_NAMES = 5000
"""Names of domains that are heard within a second; for more, one look at all lanes at its end."""
_SECOND_S = 1.0
_CREDENTIALS = struct.Struct("iII")
"""struct ucred of unix(7): process, user, group."""


class DatagramWakeUps:
    """`WakeUps` over Unix datagrams in the abstract namespace: nothing to clean up after a dead process.

    A datagram that is lost costs time, not mail: lanes look for themselves every 30 s.
    """

    def __init__(self, folder: Path, worker: WorkerId | None) -> None:
        """folder: where each worker of the store has a file of its name."""
        self._folder, self._own = folder, "" if worker is None else quote(worker, safe="")
        self._room = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._resting: asyncio.TimerHandle | None = None
        self._second: asyncio.TimerHandle | None = None
        """Ends the one in which names are counted."""
        self._names_heard = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: dict[bytes, None] = {}
        self._unsent: dict[str, dict[bytes, None]] = {}
        self._sending: asyncio.Handle | None = None
        self._others: list[str] = []
        self._listed_at = 0

    def tell(self, ip: IpAddress | None = None, domain: str = "") -> None:
        """Sent when the loop comes round: what many tell at once goes in one datagram, each thing once."""
        self._told[f"{ip or ''} {domain}".encode()] = None
        if self._sending is None:
            self._sending = asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._sending = None
        told, self._told = self._told, {}
        for other in self._names() if told else ():
            unsent = self._unsent.setdefault(other, {})
            unsent.update(told)
            if len(unsent) > _MOST_UNSENT:
                self._unsent[other] = {_LOOK_AT_ALL: None}
        for other, unsent in list(self._unsent.items()):
            try:
                while unsent:
                    part = list(unsent)[:_TOLD_AT_ONCE]
                    self._socket.sendto(b"\n".join(part), self._address(other))
                    for words in part:
                        del unsent[words]
            except BlockingIOError:
                # The system keeps only a few datagrams for a process that is busy.
                if self._sending is None:
                    self._sending = asyncio.get_running_loop().call_later(_RETRY_S, self._send)
                continue
            except OSError:
                pass  # gone
            del self._unsent[other]

    def hear(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        # No permission holds in the abstract namespace; the kernel says who sent each datagram.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self._address(self._own))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive, heard)

    def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            # What was told in the last moment is sent; a command line does nothing else after it.
            self._send()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._socket)
        for timer in (self._resting, self._second):
            if timer is not None:
                timer.cancel()
        self._socket.close()

    def _receive(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        """A few datagrams a turn. At one of another user's the socket rests: a flood then waits."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_HEARD_AT_ONCE):
                octets, about, *_more = self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
                if not _is_ours(about):
                    self._rest(heard)
                    return
                for words in octets.decode("utf-8", "replace").split("\n"):
                    self._pass_on(words, heard)

    def _pass_on(self, words: str, heard: Callable[[IpAddress | None, str], None]) -> None:
        if self._second is None:
            self._second = asyncio.get_running_loop().call_later(_SECOND_S, self._end_second, heard)
        self._names_heard += 1
        if self._names_heard <= _MOST_NAMES:
            ip, _, domain = words.partition(" ")
            heard(IpAddress(ip) if ip else None, domain)

    def _end_second(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        self._second, names, self._names_heard = None, self._names_heard, 0
        if names > _MOST_NAMES:
            heard(None, "")

    def _rest(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        loop = self._loop
        assert loop is not None
        loop.remove_reader(self._socket)
        self._resting = loop.call_later(_REST_S, loop.add_reader, self._socket, self._receive, heard)

    def _names(self) -> list[str]:
        """The files of the other workers; listed again when one came or went."""
        # No descriptor may be left: then those known so far are told.
        with contextlib.suppress(OSError):
            changed_at = self._folder.stat().st_mtime_ns
            if changed_at != self._listed_at:
                self._others = [path.name for path in self._folder.iterdir() if path.name != self._own]
                self._listed_at = changed_at
        return self._others

    def _address(self, name: str) -> bytes:
        """At most 107 octets follow the zero that marks the abstract namespace (unix(7))."""
        return b"\0" + f"relay/{self._room}/{name}"[:107].encode()


def _is_ours(about: list[tuple[int, int, bytes]]) -> bool:
    """Whether the kernel names this process's user as the sender, or root, who runs commands for it."""
    return any(
        level == socket.SOL_SOCKET
        and kind == socket.SCM_CREDENTIALS
        and _CREDENTIALS.unpack(octets)[1] in (0, os.geteuid())
        for level, kind, octets in about
    )
