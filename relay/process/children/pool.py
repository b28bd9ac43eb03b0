"""The relay's end: a few child processes, started at first need, whose places accounts share (ADR 14)."""

import asyncio
import logging
import os
import resource
import signal
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from relay.domain.errors import Busy, RelayError, TooMuchWork
from relay.domain.ids import AccountId
from relay.ports.sandbox import Output
from relay.process.children.wire import BUG, END, ERROR, HEAD, LENGTH, MAX_PIECE, OUT_OF_MEMORY, pack, unpack

MEMORY_BYTES = 384 << 20
"""Address space of a child, its 60 MB for itself included."""
CPU_S = 5
"""For one piece of an answer."""
DEADLINE_S = 20.0
"""For one job, however busy the machine is."""
PATIENCE_S = 10.0
"""For a place."""
_FAT_BYTES = 64 << 20
"""Resident memory with which a child is not kept: what large jobs leave behind is not given back."""
_SLICE = 256 * 1024
_LIMIT = 1 << 20
_LAST_S = 2.0
"""For a child that has hung up to be gone."""
_PAGE_BYTES = resource.getpagesize()
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "HOME", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
"""Of the environment: settings of the relay may be secrets."""

log = logging.getLogger("relay.sandbox")


class ChildPool:
    """`Sandbox`. Used in one event loop; `close` ends what is left."""

    def __init__(
        self,
        places: int | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        cpu_s: int = CPU_S,
        deadline_s: float = DEADLINE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """places: children at most; None: one a core."""
        self._free = places or os.cpu_count() or 1
        self._most = max(1, self._free - 1)
        """Places that one account may have at a time: others always find one, where there are several."""
        self._taken: Counter[AccountId] = Counter()
        self._memory_bytes, self._cpu_s = memory_bytes, cpu_s
        self._deadline_s, self._patience_s = deadline_s, patience_s
        self._idle: list[_Child] = []
        self._waiting: OrderedDict[AccountId, deque[asyncio.Future[None]]] = OrderedDict()
        self._children: set[_Child] = set()

    async def run(
        self, account: AccountId, job: str, argument: object, octets: Sequence[bytes] = ()
    ) -> Output:
        # A content of many megabytes is no turn of the loop.
        question = await asyncio.to_thread(pack, (job, argument))
        async with self._place(account):
            try:
                child = await self._child()
            except OSError as failure:
                log.error("no process for hard work could be started: %s", failure)
                raise Busy from failure
            pieces: list[bytes] = []
            error: RelayError | None = None
            is_well = False
            try:
                async with asyncio.timeout(self._deadline_s):
                    error = await child.ask(question, octets, pieces)
                is_well = child.is_alive and child.resident_bytes < _FAT_BYTES
            except TimeoutError:
                error = TooMuchWork("time", self._deadline_s)
            except (OSError, EOFError):
                error = await self._why(child, job)
            finally:
                # It died, hangs, grew fat, or nobody wants its answer any more.
                if is_well:
                    self._idle.append(child)
                else:
                    child.kill()
                    self._children.discard(child)
        return Output(pieces, error)

    def read(self, piece: bytes) -> Any:
        return unpack(piece)

    async def read_large(self, piece: bytes) -> Any:
        return await asyncio.to_thread(unpack, piece)

    async def close(self) -> None:
        """End all children, whatever they do."""
        for child in list(self._children):
            child.kill()
        for child in list(self._children):
            await child.ended()

    # ── places ───────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _place(self, account: AccountId) -> AsyncIterator[None]:
        """Accounts take turns, however much each of them has to do. Raises Busy."""
        if self._free and self._taken[account] < self._most:
            self._take(account)
        else:
            await self._wait(account)
        try:
            yield
        finally:
            self._give_back(account)

    def _take(self, account: AccountId) -> None:
        self._free -= 1
        self._taken[account] += 1

    def _give_back(self, account: AccountId) -> None:
        self._free += 1
        self._taken[account] -= 1
        if not self._taken[account]:
            del self._taken[account]
        self._pass_on()

    async def _wait(self, account: AccountId) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(turn)
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(account)
            with suppress(KeyError, ValueError):
                self._waiting[account].remove(turn)
            if isinstance(error, TimeoutError):
                raise Busy from error
            raise

    def _pass_on(self) -> None:
        """A free place goes to the account whose turn it is; the next one to another."""
        for account in list(self._waiting):
            turns = self._waiting[account]
            while self._free and turns and self._taken[account] < self._most:
                turn = turns.popleft()
                if not turn.done():
                    self._take(account)
                    turn.set_result(None)
                    break
            if turns:
                self._waiting.move_to_end(account)
            else:
                del self._waiting[account]
            if not self._free:
                return

    # ── children ─────────────────────────────────────────────────────────────────────────

    async def _child(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            self._children.discard(child)
        return await self._start()

    async def _start(self) -> "_Child":
        limits = (os.getpid(), self._memory_bytes, self._cpu_s)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "relay.process.children.child", *map(str, limits)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # What is worth a line comes as an answer; the rest is a library's last words.
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            limit=_LIMIT,
        )
        child = _Child(process)
        self._children.add(child)
        return child

    async def _why(self, child: "_Child", job: str) -> RelayError:
        """What the child died of."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await child.ended()
        child.kill()
        status = await child.ended()
        if status == -signal.SIGXCPU:
            return TooMuchWork("CPU time", float(self._cpu_s))
        if status != OUT_OF_MEMORY:
            log.warning("a child died of status=%s in job=%s", status, job)
        return TooMuchWork("memory", float(self._memory_bytes >> 20))


class _Child:
    """One process and the way to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    @property
    def resident_bytes(self) -> int:
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except OSError:
            return 0

    async def ask(self, question: bytes, octets: Sequence[bytes], pieces: list[bytes]) -> RelayError | None:
        """The answer goes to pieces; returned is the error with which it ended.

        Raises OSError, EOFError when the child dies.
        """
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None
        assert reader is not None
        writer.write(LENGTH.pack(1 + len(octets)))
        for piece in (question, *octets):
            writer.write(LENGTH.pack(len(piece)))
            view = memoryview(piece)
            for at in range(0, len(piece), _SLICE):
                writer.write(view[at : at + _SLICE])
                await writer.drain()
        while True:
            kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
            if length > MAX_PIECE:
                raise EOFError("an answer that is none")
            piece = await reader.readexactly(length)
            if kind == END:
                return None
            if kind == ERROR:
                error = unpack(piece)
                if isinstance(error, RelayError):
                    return error
                raise EOFError("an answer that is none")
            if kind == BUG:
                raise RuntimeError(piece.decode("utf-8", "replace"))
            pieces.append(piece)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> int:
        return await self._process.wait()
