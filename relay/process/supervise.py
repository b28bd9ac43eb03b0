"""`--workers N`: a parent that starts N processes on one port, and another for one that dies or hangs."""

import ctypes
import logging
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from functools import partial

from relay.config.config import Config
from relay.process.systemd import ALIVE, STOPPING, notify, watchdog_every_s

COULD_NOT_START = 3
"""Exit status of a worker that would fail again."""

HUNG_AFTER_S = 30.0
"""A worker that gave no sign of life for so long is killed, whatever it is stopped in, its start too."""
BEAT_EVERY_S = 1.0
"""How often a worker gives one, from its event loop."""
_STALLED_S = 5.0
"""Between two looks of the parent: it did not run itself, and the workers perhaps did not either."""

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_LOOK_EVERY_S = 1.0
_PATIENCE_S = 120.0
"""For workers to end in good order, whose own time limits come to less."""
_MIN_LIFE_S = 1.0
"""A worker that lived shorter than this is not started again at once."""

Beat = Callable[[], None]

log = logging.getLogger("relay.workers")


class _Beats:
    """When each worker last gave a sign of life, in memory that they share with their parent.

    Nothing has to be read for the next one to be written, and no lock is held while it is.
    """

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, 8 * count)
        self._steady_from = self._looked = time.monotonic()
        self._begun = [self._looked] * count

    def begin(self, number: int) -> None:
        """A worker is about to be started under that number."""
        self._begun[number] = time.monotonic()
        struct.pack_into("d", self._memory, 8 * number, 0.0)

    def beat(self, number: int) -> None:
        struct.pack_into("d", self._memory, 8 * number, time.monotonic())

    def look(self) -> None:
        """Before `is_hung` is asked: whether the parent itself was stalled since it was last here."""
        now = time.monotonic()
        if now - self._looked > _STALLED_S:
            self._steady_from = now
        self._looked = now

    def is_hung(self, number: int) -> bool:
        (last,) = struct.unpack_from("d", self._memory, 8 * number)
        return self._looked - max(last or self._begun[number], self._steady_from) > HUNG_AFTER_S


def supervise(
    count: int, work: Callable[[int, Beat], int], is_left: Callable[[], bool] = lambda: False
) -> int:
    """Fork that many workers until SIGTERM or SIGINT; 0 when all ended well. SIGHUP is handed on.

    is_left: whether a SIGHUP means that nobody watches any more, and is an end too.
    Each does work(its number, what it calls every BEAT_EVERY_S from its beginning on).
    Workers die with this process. Called before any thread is started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    numbers: dict[int, int] = {}
    started: dict[int, float] = {}
    missing = list(range(count))
    is_stopping, worst, patience_ends = False, 0, 0.0
    beats, every_s, tell_at = _Beats(count), watchdog_every_s(), 0.0
    look_every_s = min(_LOOK_EVERY_S, every_s or _LOOK_EVERY_S)
    while numbers or not is_stopping:
        for number in [] if is_stopping else missing:
            beats.begin(number)
            pid = _fork(number, work, partial(beats.beat, number))
            numbers[pid], started[pid] = number, time.monotonic()
        missing = []
        got = signal.sigtimedwait(_SIGNALS, look_every_s)
        if every_s is not None and time.monotonic() >= tell_at:
            tell_at = time.monotonic() + every_s / 2
            notify(ALIVE)
        beats.look()
        if not is_stopping:
            _kill_hung(numbers, beats)
        # Continued after a stop, sigtimedwait may return what is no signal at all.
        number_got = 0 if got is None else got.si_signo
        if number_got == signal.SIGHUP and not is_left():
            _pass_on(signal.SIGHUP, numbers)
        elif number_got in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            is_stopping, patience_ends = True, time.monotonic() + _PATIENCE_S
            notify(STOPPING)
            _pass_on(signal.SIGTERM, numbers)
        if is_stopping and time.monotonic() > patience_ends:
            log.error("workers=%d did not end in time, and are killed", len(numbers))
            _pass_on(signal.SIGKILL, numbers)
        for pid, status in _ended():
            number = numbers.pop(pid)
            if is_stopping:
                worst = max(worst, abs(status))
            elif status == COULD_NOT_START:
                is_stopping, worst, patience_ends = True, 1, time.monotonic() + _PATIENCE_S
                _pass_on(signal.SIGTERM, numbers)
            else:
                log.error("worker=%d pid=%d ended with %d; starting it again", number, pid, status)
                time.sleep(max(0.0, _MIN_LIFE_S - (time.monotonic() - started[pid])))
                missing.append(number)
    return min(worst, 1)


def share_of(config: Config, count: int) -> Config:
    """What one of count workers may use: connections and memory are divided."""
    smtp = config.smtp
    share = {
        "max_connections": max(1, smtp.max_connections // count),
        "body_budget_bytes": max(smtp.max_message_bytes, smtp.body_budget_bytes // count),
    }
    return config.model_copy(update={"smtp": smtp.model_copy(update=share)})


def _kill_hung(numbers: dict[int, int], beats: _Beats) -> None:
    """The store's lock and the listener of one that is stopped in a transaction are free then."""
    for pid, number in numbers.items():
        if beats.is_hung(number):
            log.error("worker=%d pid=%d gave no sign of life, and is killed", number, pid)
            os.kill(pid, signal.SIGKILL)


def _fork(number: int, work: Callable[[int, Beat], int], beat: Beat) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if os.getppid() == parent:
            status = work(number, beat)
    finally:
        logging.shutdown()
        os._exit(status)


def _ended() -> list[tuple[int, int]]:
    """Process id and exit status (negative: the signal) of workers that ended."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, os.waitstatus_to_exitcode(status)))


def _pass_on(number: signal.Signals, pids: dict[int, int]) -> None:
    for pid in pids:
        os.kill(pid, number)
