"""A child process of the relay: takes one question after the other from its standard input (ADR 14).

    python -m relay.process.children.child PARENT MEMORY_BYTES CPU_S

It is started fresh, with nothing of the relay's but these numbers, and ends with it, even at `kill -9`.
"""

import ctypes
import gc
import os
import resource
import signal
import sys
import traceback

from relay.domain.errors import RelayError
from relay.process.children.jobs import JOBS
from relay.process.children.wire import BUG, END, ERROR, HEAD, LENGTH, OUT_OF_MEMORY, VALUE, pack, unpack

_PR_SET_PDEATHSIG = 1


def run_child() -> None:
    parent, memory_bytes, cpu_s = map(int, sys.argv[1:4])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    # None of its own is left open for us; whoever started it may have been careless.
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # Ctrl-C is the relay's to hear; it ends us when it has no more use for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    while (question := _read_pieces()) is not None:
        _answer(question, cpu_s)


def _answer(question: list[bytearray], cpu_s: int) -> None:
    """Each piece of the answer has so much CPU time; the first includes reading the question."""
    try:
        _allow_cpu(cpu_s)
        job, argument = unpack(bytes(question.pop(0)))
        for piece in JOBS[job](argument, question):
            _write(VALUE, pack(piece))
            _allow_cpu(cpu_s)
    except RelayError as error:
        _write(ERROR, pack(error))
    except (MemoryError, RecursionError):
        # What is left of the process is not to be relied on.
        os._exit(OUT_OF_MEMORY)
    except Exception:  # noqa: BLE001 - the top of a unit of work: the relay has a log
        _write(BUG, traceback.format_exc().encode())
    else:
        _write(END, b"")


def _allow_cpu(cpu_s: int) -> None:
    """So many seconds from now on; then SIGXCPU ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _read_pieces() -> list[bytearray] | None:
    """One question; None when the relay has hung up."""
    head = _read(LENGTH.size)
    if head is None:
        return None
    pieces = []
    for _ in range(LENGTH.unpack(head)[0]):
        length = _read(LENGTH.size)
        piece = None if length is None else _read(LENGTH.unpack(length)[0])
        if piece is None:
            return None
        pieces.append(piece)
    return pieces


def _read(size: int) -> bytearray | None:
    octets = bytearray(size)
    view, at = memoryview(octets), 0
    while at < size:
        number = os.readv(0, [view[at:]])
        if not number:
            return None
        at += number
    return octets


def _write(kind: int, piece: bytes) -> None:
    for octets in (HEAD.pack(kind, len(piece)), piece):
        view = memoryview(octets)
        while view:
            view = view[os.write(1, view) :]


if __name__ == "__main__":
    run_child()
