"""`--workers N`: a parent that starts N processes on the same port and starts one again that dies."""

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable

from relay.schema.config import Config
from relay.systemd import STOPPING, notify

COULD_NOT_START = 3
"""Exit status of a worker that would fail again."""

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_LOOK_EVERY_S = 1.0
_PATIENCE_S = 120.0
"""For workers to end in good order, whose own time limits come to less."""
_MIN_LIFE_S = 1.0
"""A worker that lived shorter than this is not started again at once."""

log = logging.getLogger("relay.workers")


def supervise(count: int, work: Callable[[int], int]) -> int:
    """Fork that many workers, each doing work(its number), until SIGTERM or SIGINT; 0 when all ended well.

    Workers die with this process. Called before any thread is started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    numbers: dict[int, int] = {}
    started: dict[int, float] = {}
    missing = list(range(count))
    is_stopping, worst, patience_ends = False, 0, 0.0
    while numbers or not is_stopping:
        for number in [] if is_stopping else missing:
            pid = _fork(number, work)
            numbers[pid], started[pid] = number, time.monotonic()
        missing = []
        got = signal.sigtimedwait(_SIGNALS, _LOOK_EVERY_S)
        if got is not None and got.si_signo != signal.SIGCHLD:
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


def _fork(number: int, work: Callable[[int], int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if os.getppid() == parent:
            status = work(number)
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
